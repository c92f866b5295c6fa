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
/// already stay it and are not asked again. Each session is another account's, and is available. One group is made
/// after the other, and in it everybody asks for one friend at a time: some servers stand still when all ask for all.
///
/// # Errors
///
/// A subscription that the server refuses, a connection that ends, silence.
pub async fn befriend(sessions: Vec<Session>, size: usize) -> Result<Vec<Session>, Failure> {
    let mut strangers = sessions.into_iter();
    let mut friends = Vec::new();
    loop {
        let group: Vec<Session> = strangers.by_ref().take(size).collect();
        if group.is_empty() {
            return Ok(friends);
        }
        friends.extend(befriend_all(group).await?);
    }
}

/// Makes all `sessions` friends of each other.
async fn befriend_all(mut sessions: Vec<Session>) -> Result<Vec<Session>, Failure> {
    let bare: Vec<String> = sessions
        .iter()
        .map(|session| session.bare().to_owned())
        .collect();
    // Of each those that it has to ask, and last whom it has asked.
    let mut missing: Vec<Vec<String>> = Vec::new();
    for session in &mut sessions {
        let iq = "<iq type='get' id='friends'><query xmlns='jabber:iq:roster'/></iq>";
        let friends = both(&session.ask("friends", iq).await?);
        let others = bare.iter().filter(|jid| *jid != session.bare());
        missing.push(
            others
                .filter(|jid| !friends.contains(*jid))
                .cloned()
                .collect(),
        );
    }
    let all = missing.iter().map(|missing| missing.len() as u64).sum();
    let finish = Finish::new();
    let countdown = Rc::new(Countdown::new(all, &finish));
    let counted = countdown.clone();
    for (session, missing) in sessions.iter_mut().zip(&missing) {
        ask(missing, session.out());
        // What was heard while rosters were asked for may hold requests from before.
        for stanza in session.take_kept() {
            grant(&stanza, session.out());
        }
    }
    let missing = RefCell::new(missing);
    let work = drive(sessions, &finish, SILENCE, move |number, stanza, out| {
        grant(stanza, out);
        if !stanza.starts_with(b"<presence") {
            return Ok(());
        }
        match peek::attribute(stanza, "type") {
            Some(b"subscribed") => {
                let from = peek::attribute_text(stanza, "from");
                let from = from.split('/').next().unwrap_or(from);
                let missing = &mut missing.borrow_mut()[number];
                if missing.last().is_some_and(|asked| asked == from) {
                    missing.pop();
                    ask(missing, out);
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

/// Asks the last of those who are missing.
fn ask(missing: &[String], out: &mut Vec<u8>) {
    if let Some(other) = missing.last() {
        let ask = format!("<presence type='subscribe' to='{}'/>", peek::escape(other));
        out.extend_from_slice(ask.as_bytes());
    }
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
