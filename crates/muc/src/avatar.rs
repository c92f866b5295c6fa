//! A room's vCard, and in it its picture (XEP-0486, XEP-0054).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use minidom::Element;
use sha1::{Digest, Sha1};
use storage::Batch;
use xmpp::{Condition, Fragment, Stanza, StanzaError, ns};

use crate::room::{Heard, Phase, Room};
use crate::rules::{Right, has};
use crate::service::sender;

/// The largest vCard of a room, in bytes.
const MOST: usize = 192 * 1024;

/// The hashes of all forms of the picture in a vCard, as XEP-0153 computes them.
pub(crate) fn hashes(vcard: &Element) -> Vec<String> {
    let photos = vcard.children().filter(|child| child.name() == "PHOTO");
    photos
        .filter_map(|photo| {
            let data = photo.children().find(|child| child.name() == "BINVAL")?;
            let text: String = data.text().split_whitespace().collect();
            let bytes = STANDARD
                .decode(text)
                .ok()
                .filter(|bytes| !bytes.is_empty())?;
            let hash = Sha1::digest(bytes);
            Some(hash.iter().map(|byte| format!("{byte:02x}")).collect())
        })
        .collect()
}

impl Room {
    /// The vCard; an empty one if there is none.
    pub(crate) async fn vcard(&self) -> Result<Fragment, StanzaError> {
        let stored = self.service.host.storage.rooms.vcard(&self.address).await?;
        Ok(match stored.and_then(|text| Fragment::parse(&text).ok()) {
            Some(vcard) => vcard,
            None => Fragment::element("vCard", ns::VCARD, &[], ""),
        })
    }

    /// Sets the vCard; an empty one takes the picture away.
    ///
    /// # Errors
    ///
    /// `forbidden`: no owner; `not-acceptable`: too large; `not-allowed`: the room is being made.
    pub(crate) async fn set_vcard(&mut self, stanza: &Stanza, vcard: &Element) -> Heard {
        let by = self.standing(sender(stanza)).await?;
        if !has(by.affiliation, Right::Own) {
            return Err(Condition::Forbidden.text("only owners set what a room looks like"));
        }
        if self.phase != Phase::Open {
            return Err(Condition::NotAllowed.text("configure the room first"));
        }
        let text = String::from(vcard);
        if text.len() > MOST {
            return Err(Condition::NotAcceptable.text(format!("more than {MOST} bytes")));
        }
        let kept = vcard.children().next().is_some().then_some(text);
        let mut batch = Batch::new();
        batch.set_vcard(&self.address, kept);
        self.commit(batch).await?;
        self.avatars = hashes(vcard);
        let outcome = self.answer(stanza, Fragment::empty());
        self.tell_statuses(&[104]);
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_picture_has_its_hash() {
        let of = |inside: &str| {
            let text = format!("<vCard xmlns='vcard-temp'>{inside}</vCard>");
            hashes(&text.parse().expect("well-formed"))
        };
        assert!(of("").is_empty());
        assert!(of("<PHOTO><TYPE>image/png</TYPE></PHOTO>").is_empty());
        assert!(of("<PHOTO><BINVAL>!!</BINVAL></PHOTO>").is_empty());
        let two = of(
            "<PHOTO><BINVAL>YW\nJj</BINVAL></PHOTO><FN>x</FN><PHOTO><BINVAL>YWJj</BINVAL></PHOTO>",
        );
        assert_eq!(two, ["a9993e364706816aba3e25717850c26c9cd0d89d"; 2]);
    }
}
