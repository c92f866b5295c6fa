//! Hats: what occupants are to one another beyond roles (XEP-0317), made and given by ad-hoc commands (XEP-0050).
//!
//! Who manages the members gives hats, owners make and destroy them. They are stored with the configuration.

use minidom::Element;
use sha1::{Digest, Sha1};
use xmpp::{
    BareJid, Condition, Fragment, Stanza, StanzaError, escape_text, ns, parse_jid, push_attr,
    random_id,
};

use crate::form::{Filled, FormText, Kind};
use crate::presence::Why;
use crate::room::{Heard, Phase, Room};
use crate::rules::{Right, has};
use crate::service::sender;

/// The type of the forms.
const FORM: &str = "urn:xmpp:hats:commands";

/// The field that keeps hats with a room's configuration.
pub(crate) const STORED: &str = "{urn:xmpp:hats:0}hats";

/// How many hats a room has, and how many of its accounts may wear one.
const HATS: usize = 100;
const WEARERS: usize = 1000;

/// The longest title and address of a hat, in bytes.
const LONGEST: usize = 1024;

/// A hat, and who wears it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hat {
    pub(crate) uri: String,
    pub(crate) title: String,
    pub(crate) hue: Option<f64>,
    pub(crate) wearers: Vec<BareJid>,
}

impl Hat {
    /// As it is stored: lines that hold no line break.
    pub(crate) fn stored(&self) -> String {
        let hue = self.hue.map_or(String::new(), |hue| hue.to_string());
        let wearers: Vec<&str> = self.wearers.iter().map(|jid| jid.as_str()).collect();
        [&self.uri, &self.title, &hue, &wearers.join(" ")]
            .map(String::as_str)
            .join("\n")
    }

    pub(crate) fn restored(text: &str) -> Option<Hat> {
        let mut lines = text.split('\n');
        let (uri, title) = (lines.next()?.to_owned(), lines.next()?.to_owned());
        let hue = lines.next()?.parse().ok();
        let wearers = lines
            .next()?
            .split(' ')
            .filter_map(|jid| BareJid::new(jid).ok());
        Some(Hat {
            uri,
            title,
            hue,
            wearers: wearers.collect(),
        })
    }

    fn write(&self, out: &mut String) {
        out.push_str("<hat");
        push_attr("title", &self.title, out);
        push_attr("uri", &self.uri, out);
        if let Some(hue) = self.hue {
            push_attr("hue", &hue.to_string(), out);
        }
        out.push_str("/>");
    }
}

/// What can be done, by the end of the node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deed {
    Create,
    Destroy,
    List,
    Assign,
    Unassign,
    ListAssigned,
}

const DEEDS: &[(&str, Deed, &str)] = &[
    ("create", Deed::Create, "Create a hat"),
    ("destroy", Deed::Destroy, "Destroy a hat"),
    ("list", Deed::List, "List hats"),
    ("assign", Deed::Assign, "Assign a hat"),
    ("unassign", Deed::Unassign, "Remove a hat"),
    ("list-assigned", Deed::ListAssigned, "List assigned hats"),
];

/// The commands that a room offers, as items of its node of commands.
pub(crate) fn items(here: &str) -> String {
    let mut out = String::new();
    for (name, _, title) in DEEDS {
        out.push_str("<item");
        push_attr("jid", here, &mut out);
        push_attr("node", &format!("{FORM}:{name}"), &mut out);
        push_attr("name", title, &mut out);
        out.push_str("/>");
    }
    out
}

impl Room {
    /// What somebody wears, as everybody is shown it; nothing where there are no hats at all.
    pub(crate) fn hats_of(&self, user: &BareJid) -> String {
        let worn: Vec<&Hat> = self
            .hats
            .iter()
            .filter(|hat| hat.wearers.contains(user))
            .collect();
        if worn.is_empty() {
            return String::new();
        }
        let mut out = String::from("<hats");
        push_attr("xmlns", ns::HATS, &mut out);
        out.push('>');
        worn.iter().for_each(|hat| hat.write(&mut out));
        out + "</hats>"
    }

    /// The hash of the list of hats, for those who know an older one (§3).
    pub(crate) fn hats_hash(&self) -> Option<String> {
        if self.hats.is_empty() {
            return None;
        }
        let mut hasher = Sha1::new();
        for hat in &self.hats {
            hasher.update(hat.stored().rsplit_once('\n').map_or("", |(hat, _)| hat));
            hasher.update([0]);
        }
        Some(
            hasher
                .finalize()
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect(),
        )
    }

    /// A command about hats.
    ///
    /// # Errors
    ///
    /// `item-not-found`: no such command, or no such hat; `forbidden`: not with that affiliation; `bad-request`: a
    /// value that cannot be; `not-acceptable`: too many.
    pub(crate) async fn hat_command(&mut self, stanza: &Stanza, command: &Element) -> Heard {
        let node = command.attr("node").unwrap_or_default();
        let name = node
            .strip_prefix(FORM)
            .and_then(|rest| rest.strip_prefix(':'));
        let deed = DEEDS.iter().find(|(known, ..)| Some(*known) == name);
        let deed = deed.ok_or(Condition::ItemNotFound)?.1;
        if self.phase != Phase::Open {
            return Err(Condition::NotAllowed.text("configure the room first"));
        }
        let by = self.standing(sender(stanza)).await?;
        let right = match deed {
            Deed::Create | Deed::Destroy => Right::Own,
            Deed::Assign | Deed::Unassign | Deed::ListAssigned => Right::EditMembers,
            Deed::List => Right::EnterOpen,
        };
        if !has(by.affiliation, right) {
            return Err(Condition::Forbidden.into());
        }
        let session = command
            .attr("sessionid")
            .map_or_else(random_id, str::to_owned);
        if command.attr("action") == Some("cancel") {
            return Ok(self.hat_answer(stanza, node, &session, "canceled", ""));
        }
        match deed {
            Deed::List => {
                let rows = self.hats.iter().map(|hat| row(hat, None)).collect();
                let table = table("Hats List", &rows);
                return Ok(self.hat_answer(stanza, node, &session, "completed", &table));
            }
            Deed::ListAssigned => {
                let worn = |hat: &Hat| -> Vec<Row> {
                    hat.wearers.iter().map(|jid| row(hat, Some(jid))).collect()
                };
                let rows = self.hats.iter().flat_map(worn).collect();
                let table = table("Assigned Hats List", &rows);
                return Ok(self.hat_answer(stanza, node, &session, "completed", &table));
            }
            _ => {}
        }
        let Some(filled) = Filled::within(command) else {
            let form = self.hat_form(deed);
            return Ok(self.hat_answer(stanza, node, &session, "executing", &form));
        };
        filled.of_type(FORM)?;
        let (hats, touched) = self.with_hats(deed, &filled)?;
        let before = std::mem::replace(&mut self.hats, hats);
        let mut batch = storage::Batch::new();
        batch.put_room(self.stored(&self.config));
        if let Err(error) = self.commit(batch).await {
            self.hats = before;
            return Err(error);
        }
        let outcome = self.hat_answer(stanza, node, &session, "completed", "");
        for user in touched {
            let worn = self.hats_of(&user);
            for number in self.occupants.of(&user) {
                if let Some(who) = self.occupants.change(number) {
                    who.hats.clone_from(&worn);
                }
                self.announce(number, &Why::default());
            }
        }
        if matches!(deed, Deed::Create | Deed::Destroy) {
            self.tell_statuses(&[104]);
        }
        Ok(outcome)
    }

    fn hat_answer(
        &mut self,
        stanza: &Stanza,
        node: &str,
        session: &str,
        status: &str,
        inside: &str,
    ) -> router::Outcome {
        let mut out = String::from("<command");
        push_attr("xmlns", ns::COMMANDS, &mut out);
        push_attr("node", node, &mut out);
        push_attr("sessionid", session, &mut out);
        push_attr("status", status, &mut out);
        let actions = match status {
            "executing" => "<actions execute='complete'><complete/></actions>",
            _ => "",
        };
        let answer = Fragment::from(format!("{out}>{actions}{inside}</command>"));
        self.answer(stanza, answer)
    }

    fn hat_form(&self, deed: Deed) -> String {
        let form = FormText::new("form", FORM);
        let uris: Vec<(String, String)> = self
            .hats
            .iter()
            .map(|hat| (hat.uri.clone(), hat.title.clone()))
            .collect();
        let form = match deed {
            Deed::Create => form
                .title("Creating a Hat", "Fill out this form to create a hat.")
                .required("hats#title", Kind::Text, "Hat Title")
                .required("hats#uri", Kind::Text, "Hat URI")
                .field("hats#hue", Kind::Text, "Hat Hue", &[]),
            Deed::Destroy => form
                .title("Destroying a Hat", "Fill out this form to destroy a hat.")
                .choice("hats#uri", "The hat", &uris),
            _ => form
                .title("A Hat", "Fill out this form to say who wears a hat.")
                .required("hats#jid", Kind::Jid, "User Address")
                .choice("hats#uri", "The hat", &uris),
        };
        form.finish()
    }

    /// The hats after what was asked for, and whose presence that changes.
    fn with_hats(
        &self,
        deed: Deed,
        filled: &Filled,
    ) -> Result<(Vec<Hat>, Vec<BareJid>), StanzaError> {
        let text = |var: &'static str| {
            let text = filled
                .one(var)
                .filter(|text| text.len() <= LONGEST && !text.contains('\n'));
            text.ok_or_else(|| Condition::BadRequest.text(format!("{var} is needed, in one line")))
        };
        let uri = text("hats#uri")?;
        let mut hats = self.hats.clone();
        let at = hats.iter().position(|hat| hat.uri == uri);
        let user = || {
            let jid = parse_jid(text("hats#jid")?);
            let jid = jid.map_err(|error| Condition::JidMalformed.text(error.to_string()))?;
            Ok::<BareJid, StanzaError>(jid.to_bare())
        };
        let touched = match (deed, at) {
            (Deed::Create, at) => {
                let title = text("hats#title")?.to_owned();
                let hue = filled.one("hats#hue").map(str::parse::<f64>).transpose();
                let hue = hue
                    .ok()
                    .filter(|hue| hue.is_none_or(|hue| (0.0..360.0).contains(&hue)));
                let hue =
                    hue.ok_or_else(|| Condition::BadRequest.text("a hue is an angle below 360"))?;
                let hat = Hat {
                    uri: uri.to_owned(),
                    title,
                    hue,
                    wearers: at.map_or_else(Vec::new, |at| hats[at].wearers.clone()),
                };
                let wearers = hat.wearers.clone();
                match at {
                    Some(at) => hats[at] = hat,
                    None if hats.len() >= HATS => {
                        return Err(Condition::NotAcceptable.text("the room has too many hats"));
                    }
                    None => hats.push(hat),
                }
                wearers
            }
            (_, None) => return Err(Condition::ItemNotFound.text("there is no such hat")),
            (Deed::Destroy, Some(at)) => hats.remove(at).wearers,
            (Deed::Unassign, Some(at)) => {
                let user = user()?;
                hats[at].wearers.retain(|jid| *jid != user);
                vec![user]
            }
            (_, Some(at)) => {
                let user = user()?;
                if hats.iter().map(|hat| hat.wearers.len()).sum::<usize>() >= WEARERS {
                    return Err(Condition::NotAcceptable.text("too many wear hats"));
                }
                if !hats[at].wearers.contains(&user) {
                    hats[at].wearers.push(user.clone());
                }
                vec![user]
            }
        };
        Ok((hats, touched))
    }
}

type Row = Vec<(&'static str, String)>;

fn row(hat: &Hat, wearer: Option<&BareJid>) -> Row {
    let mut row = Vec::new();
    if let Some(wearer) = wearer {
        row.push(("hats#jid", wearer.to_string()));
    }
    row.push(("hats#title", hat.title.clone()));
    row.push(("hats#uri", hat.uri.clone()));
    row.push((
        "hats#hue",
        hat.hue.map_or(String::new(), |hue| hue.to_string()),
    ));
    row
}

/// A form that shows rows (XEP-0004 §3.4).
fn table(title: &str, rows: &Vec<Row>) -> String {
    let mut out = String::from("<x");
    push_attr("xmlns", ns::DATA_FORMS, &mut out);
    push_attr("type", "result", &mut out);
    out.push_str("><title>");
    escape_text(title, &mut out);
    out.push_str("</title><reported>");
    let names = rows.first().map_or_else(
        || vec!["hats#title", "hats#uri", "hats#hue"],
        |row| row.iter().map(|(name, _)| *name).collect(),
    );
    for name in names {
        out.push_str(&format!("<field var='{name}'/>"));
    }
    out.push_str("</reported>");
    for row in rows {
        out.push_str("<item>");
        for (name, value) in row {
            out.push_str(&format!("<field var='{name}'><value>"));
            escape_text(value, &mut out);
            out.push_str("</value></field>");
        }
        out.push_str("</item>");
    }
    out + "</x>"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hat_is_stored_and_restored() {
        let jid = |text| BareJid::new(text).expect("an address");
        for hat in [
            Hat {
                uri: "urn:hat".into(),
                title: "Teacher's <Assistant>".into(),
                hue: Some(327.25),
                wearers: vec![jid("a@x"), jid("b@y")],
            },
            Hat {
                uri: "u".into(),
                title: "t".into(),
                hue: None,
                wearers: Vec::new(),
            },
        ] {
            assert_eq!(Hat::restored(&hat.stored()), Some(hat));
        }
        assert_eq!(Hat::restored("x"), None);
    }
}
