//! Friends: groups of accounts each of which sees all others (RFC 6121 §3.1).

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::time::Duration;

use crate::crew::{Countdown, Finish, drive};
use crate::failure::Failure;
use crate::peek;
use crate::session::Session;

/// How long the server may be silent before a run is given up.
const SILENCE: Duration = Duration::from_secs(30);

/// Addresses in the roster `result` that see and are seen.
fn both(result: &[u8]) -> HashSet<String> {
    let text = String::from_utf8_lossy(result);
    let items = text
        .split("<item")
        .skip(1)
        .map(|rest| format!("<item{rest}"));
    items
        .filter(|item| peek::attribute(item.as_bytes(), "subscription") == Some(b"both"))
        .map(|item| peek::attribute_text(item.as_bytes(), "jid").to_owned())
        .collect()
}

/// Makes friends of all `sessions` of each group: a group is `size` sessions that follow each other. Who are friends
/// already stay it and are not asked again. Each session is another account's, and is available.
///
/// # Errors
///
/// A subscription that the server refuses, a connection that ends, silence.
pub async fn befriend(mut sessions: Vec<Session>, size: usize) -> Result<Vec<Session>, Failure> {
    let bare: Vec<String> = sessions
        .iter()
        .map(|session| session.bare().to_owned())
        .collect();
    let mut missing: HashSet<(usize, String)> = HashSet::new();
    for (number, session) in sessions.iter_mut().enumerate() {
        let iq = "<iq type='get' id='friends'><query xmlns='jabber:iq:roster'/></iq>";
        let friends = both(&session.ask("friends", iq).await?);
        let group = number - number % size;
        for (other, jid) in bare.iter().enumerate().skip(group).take(size) {
            if other != number && !friends.contains(jid) {
                missing.insert((number, jid.clone()));
            }
        }
    }
    let finish = Finish::new();
    let countdown = Countdown::new(missing.len() as u64, &finish);
    for (number, other) in &missing {
        let ask = format!("<presence type='subscribe' to='{}'/>", peek::escape(other));
        sessions[*number].out().extend_from_slice(ask.as_bytes());
    }
    let all = missing.len() as u64;
    let missing = RefCell::new(missing);
    let countdown = Rc::new(countdown);
    let counted = countdown.clone();
    // What was heard while rosters were asked for may hold requests from before.
    for session in &mut sessions {
        for stanza in session.take_kept() {
            grant(&stanza, session.out());
        }
    }
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, out| {
        grant(stanza, out);
        if !stanza.starts_with(b"<presence") {
            return Ok(());
        }
        match peek::attribute(stanza, "type") {
            Some(b"subscribed") => {
                let from = peek::attribute_text(stanza, "from");
                let from = from.split('/').next().unwrap_or(from).to_owned();
                if missing.borrow_mut().remove(&(number, from)) {
                    counted.step();
                }
                Ok(())
            }
            Some(b"error") => Err(Failure::new(format!(
                "subscribing was refused: {}",
                peek::complaint(stanza)
            ))),
            _ => Ok(()),
        }
    });
    crate::work::shown("befriending", all, || countdown.made(), work).await
}

/// Says yes to who asks to see us.
fn grant(stanza: &[u8], out: &mut Vec<u8>) {
    if stanza.starts_with(b"<presence") && peek::attribute(stanza, "type") == Some(b"subscribe") {
        out.extend_from_slice(b"<presence type='subscribed' to='");
        out.extend_from_slice(peek::attribute(stanza, "from").unwrap_or_default());
        out.extend_from_slice(b"'/>");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mutual_contacts_are_friends() {
        let roster = b"<iq type='result'><query xmlns='jabber:iq:roster'><item jid='a@x' subscription='both'/>\
            <item subscription=\"to\" jid=\"b@x\"/><item jid='c@x' name='&lt;item' subscription='both'><group>g</group></item></query></iq>";
        let mut friends: Vec<String> = both(roster).into_iter().collect();
        friends.sort();
        assert_eq!(friends, ["a@x", "c@x"]);
    }

    #[test]
    fn requests_are_granted() {
        let mut out = Vec::new();
        grant(b"<presence from='a@x' type='subscribe'/>", &mut out);
        grant(b"<presence from='b@x' type='unsubscribe'/>", &mut out);
        assert_eq!(out, b"<presence type='subscribed' to='a@x'/>");
    }
}
