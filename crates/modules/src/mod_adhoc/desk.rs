//! Executions under way: whose they are, how far they came, how long they wait (XEP-0050 §3.3, §3.4).

use std::collections::HashMap;

use gen_mod::prelude::*;
use minidom::Element;
use otp::Instant;
use parking_lot::Mutex;
use tokio::sync::watch;
use xmpp::{Fragment, random_id};

use super::{AdhocOpts, Outcome};
use crate::adhoc::Filled;

/// Most executions of a host; the oldest that wait are forgotten beyond it.
const MAX_SITTINGS: usize = 10_000;

/// Most steps of one execution.
const MAX_STEPS: usize = 100;

/// What the asker wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Execute,
    Next,
    Prev,
    Complete,
    Cancel,
}

/// A request, read.
pub(super) struct Request {
    pub(super) node: String,
    pub(super) session: Option<String>,
    pub(super) action: Action,
    pub(super) form: Option<Filled>,
}

/// `bad-request` with a condition of XEP-0050 §4.6.
pub(super) fn bad(condition: &str) -> StanzaError {
    StanzaError::from(Condition::BadRequest).with_extra(Fragment::element(
        condition,
        ns::COMMANDS,
        &[],
        "",
    ))
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// `bad-request`: no command, no node, or an action that is none.
    pub(super) fn read(iq: &Iq) -> Result<Request, StanzaError> {
        let payload = iq.stanza.dom().children().next();
        let command = payload
            .filter(|command| command.is("command", ns::COMMANDS))
            .ok_or_else(|| Condition::BadRequest.text("not a command"))?;
        let Some(node) = command.attr("node").filter(|node| !node.is_empty()) else {
            return Err(Condition::BadRequest.text("a command has a node"));
        };
        let action = match command.attr("action") {
            None | Some("execute") => Action::Execute,
            Some("next") => Action::Next,
            Some("prev") => Action::Prev,
            Some("complete") => Action::Complete,
            Some("cancel") => Action::Cancel,
            Some(_) => return Err(bad("malformed-action")),
        };
        let form = command.children().find(|c| c.is("x", ns::DATA_FORMS));
        Ok(Request {
            node: node.to_owned(),
            session: command.attr("sessionid").map(str::to_owned),
            action,
            form: form.map(|form: &Element| Filled::read(form)),
        })
    }
}

/// One execution between two steps.
#[derive(Clone)]
pub(super) struct Sitting {
    pub(super) id: String,
    node: String,
    from: Jid,
    /// What was filled in so far.
    pub(super) filled: Vec<Filled>,
    /// Nothing is asked after the form that is out.
    pub(super) last: bool,
    /// A form is out.
    pub(super) is_asked: bool,
    /// The step that is being worked on.
    pub(super) running: Option<watch::Receiver<Outcome>>,
}

impl Sitting {
    pub(super) fn new(from: &Jid, node: &str) -> Sitting {
        Sitting {
            id: random_id(),
            node: node.to_owned(),
            from: from.clone(),
            filled: Vec::new(),
            last: false,
            is_asked: false,
            running: None,
        }
    }

    /// Goes forward or back, as the request says. A first request may bring a form along.
    ///
    /// # Errors
    ///
    /// `bad-request` with `bad-action`: this step does not offer that.
    pub(super) fn turn(&mut self, request: &Request) -> Result<(), StanzaError> {
        if !self.is_asked {
            self.filled.extend(request.form.clone());
            return Ok(());
        }
        match request.action {
            Action::Prev => {
                self.filled.pop().ok_or_else(|| bad("bad-action"))?;
                return Ok(());
            }
            Action::Next if self.last => return Err(bad("bad-action")),
            Action::Complete if !self.last => return Err(bad("bad-action")),
            _ if self.filled.len() >= MAX_STEPS => return Err(bad("bad-action")),
            _ => {}
        }
        // A form without fields may come back as none.
        self.filled.push(request.form.clone().unwrap_or_default());
        Ok(())
    }
}

/// The executions of a host.
pub(super) struct Desk {
    opts: AdhocOpts,
    sittings: Mutex<HashMap<String, (Sitting, Instant)>>,
}

impl Desk {
    pub(super) fn new(opts: AdhocOpts) -> Desk {
        Desk {
            opts,
            sittings: Mutex::default(),
        }
    }

    /// Takes an execution out, to go on with it.
    ///
    /// # Errors
    ///
    /// `bad-request` with `bad-sessionid`: there is none of this name, node and asker; `not-allowed` with
    /// `session-expired`: it waited too long.
    pub(super) fn take(
        &self,
        id: &str,
        from: &Jid,
        node: &str,
        now: Instant,
    ) -> Result<Sitting, StanzaError> {
        let mut sittings = self.sittings.lock();
        let theirs = |sitting: &Sitting| sitting.from == *from && sitting.node == node;
        if !sittings.get(id).is_some_and(|(sitting, _)| theirs(sitting)) {
            return Err(bad("bad-sessionid"));
        }
        let (sitting, since) = sittings.remove(id).expect("looked up a line above");
        if now - since >= self.opts.session_timeout {
            let expired = Fragment::element("session-expired", ns::COMMANDS, &[], "");
            return Err(StanzaError::from(Condition::NotAllowed).with_extra(expired));
        }
        Ok(sitting)
    }

    /// Keeps an execution until its next step.
    ///
    /// # Errors
    ///
    /// `resource-constraint`: the asker has as many as it may.
    pub(super) fn keep(&self, mut sitting: Sitting, now: Instant) -> Result<(), StanzaError> {
        let mut sittings = self.sittings.lock();
        // Those that waited too long are told so when they come back, unless that takes long as well.
        let forget = self.opts.session_timeout * 2;
        sittings.retain(|_, (_, since)| now - *since < forget);
        let own = |(other, since): &&(Sitting, Instant)| {
            other.from == sitting.from && now - *since < self.opts.session_timeout
        };
        if sittings.values().filter(own).count() >= self.opts.max_per_user
            || sittings.len() >= MAX_SITTINGS
        {
            return Err(Condition::ResourceConstraint.text("too many commands are under way"));
        }
        sitting.is_asked = true;
        sittings.insert(sitting.id.clone(), (sitting, now));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn desk() -> Desk {
        Desk::new(AdhocOpts {
            session_timeout: Duration::from_secs(60),
            max_per_user: 2,
        })
    }

    fn refusal<T>(result: Result<T, StanzaError>) -> String {
        let error = result.err().expect("an error");
        let extra = error.extra.map(|extra| extra.as_str().to_owned());
        format!("{} {}", error.condition, extra.unwrap_or_default())
    }

    fn request(action: Action) -> Request {
        Request {
            node: "n".into(),
            session: None,
            action,
            form: None,
        }
    }

    #[tokio::test]
    async fn an_execution_is_its_askers_and_waits_so_long() {
        let (clock, hand) = otp::Clock::manual();
        let desk = desk();
        let [me, other] = ["a@x/1", "a@x/2"].map(|jid| xmpp::parse_jid(jid).expect("a JID"));
        let sitting = Sitting::new(&me, "n");
        let id = sitting.id.clone();
        desk.keep(sitting, clock.now()).expect("room");
        assert!(refusal(desk.take(&id, &other, "n", clock.now())).contains("bad-sessionid"));
        assert!(refusal(desk.take(&id, &me, "m", clock.now())).contains("bad-sessionid"));
        let sitting = desk.take(&id, &me, "n", clock.now()).expect("there");
        assert!(refusal(desk.take(&id, &me, "n", clock.now())).contains("bad-sessionid"));
        desk.keep(sitting, clock.now()).expect("room");
        hand.advance(Duration::from_secs(60)).await;
        assert!(
            refusal(desk.take(&id, &me, "n", clock.now()))
                .starts_with("not-allowed <session-expired")
        );
        desk.keep(Sitting::new(&me, "n"), clock.now())
            .expect("room");
        desk.keep(Sitting::new(&me, "n"), clock.now())
            .expect("room");
        assert!(
            refusal(desk.keep(Sitting::new(&me, "n"), clock.now()))
                .starts_with("resource-constraint")
        );
        desk.keep(Sitting::new(&other, "n"), clock.now())
            .expect("room for another");
    }

    #[test]
    fn a_step_offers_what_it_offers() {
        let me = xmpp::parse_jid("a@x/1").expect("a JID");
        let mut sitting = Sitting::new(&me, "n");
        sitting.is_asked = true;
        assert!(refusal(sitting.turn(&request(Action::Prev))).contains("bad-action"));
        assert!(refusal(sitting.turn(&request(Action::Complete))).contains("bad-action"));
        sitting.turn(&request(Action::Next)).expect("goes on");
        sitting.last = true;
        assert!(refusal(sitting.turn(&request(Action::Next))).contains("bad-action"));
        sitting.turn(&request(Action::Complete)).expect("ends");
        assert_eq!(sitting.filled.len(), 2);
        sitting.turn(&request(Action::Prev)).expect("goes back");
        assert_eq!(sitting.filled.len(), 1);
    }
}
