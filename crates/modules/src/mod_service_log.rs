//! `mod_service_log`: which packets do the clients of this host send?
//!
//! Logs them by rule to target `natter::service_log`, for who has to find out what a service is told. Never
//! what a packet holds, save bodies where a rule says so. Hook: `user_send_packet`. State: its rules.

use gen_mod::prelude::*;
use session::hooks::UserSendPacket;
use xmpp::Kind;

config::choice! {
    /// A kind of stanza, as a rule names it.
    pub enum LoggedKind {
        /// Messages.
        Message = "message",
        /// Presence, subscriptions among it.
        Presence = "presence",
        /// Requests and their answers.
        Iq = "iq",
    }
}

options! {
    /// Which packets are logged.
    pub struct LogRule {
        /// Accounts whose packets are logged, by bare JID; everybody's when none is named.
        pub senders: Vec<String> = Vec::new(),
        /// Kinds of stanza that are logged; all when none is named.
        pub kinds: Vec<LoggedKind> = Vec::new(),
        /// Whether bodies are logged as well.
        pub bodies: bool = false,
    }
}

options! {
    /// What is logged.
    pub struct ServiceLogOpts {
        /// The rules; the first that fits a packet decides. Unless said, all packets are logged without bodies.
        pub rules: Vec<LogRule> = vec![LogRule { senders: Vec::new(), kinds: Vec::new(), bodies: false }],
    }
}

/// A log of sent packets.
pub struct ModServiceLog;

impl Module for ModServiceLog {
    const NAME: &'static str = "mod_service_log";
    const SOURCES: &'static [Source] = &[];
    type Opts = ServiceLogOpts;

    async fn start(
        _ctx: &ModuleCtx,
        opts: ServiceLogOpts,
    ) -> Result<(Self, Registrations), StartError> {
        let rules = opts
            .rules
            .iter()
            .map(Rule::read)
            .collect::<Result<Vec<Rule>, StartError>>()?;
        let registrations = Registrations::new()
            .hook::<UserSendPacket>(Priority::NORMAL, move |_host, sent| log(sent, &rules));
        Ok((ModServiceLog, registrations))
    }
}

/// A rule with its addresses read.
struct Rule {
    senders: Vec<xmpp::BareJid>,
    kinds: Vec<Kind>,
    bodies: bool,
}

impl Rule {
    fn read(rule: &LogRule) -> Result<Rule, StartError> {
        let sender = |text: &String| {
            xmpp::parse_bare(text).map_err(|error| StartError::Option {
                key: "rules",
                why: format!("sender `{text}`: {error}"),
            })
        };
        let kind = |kind: &LoggedKind| match kind {
            LoggedKind::Message => Kind::Message,
            LoggedKind::Presence => Kind::Presence,
            LoggedKind::Iq => Kind::Iq,
        };
        Ok(Rule {
            senders: rule.senders.iter().map(sender).collect::<Result<_, _>>()?,
            kinds: rule.kinds.iter().map(kind).collect(),
            bodies: rule.bodies,
        })
    }

    fn fits(&self, sent: &UserSendPacket) -> bool {
        (self.kinds.is_empty() || self.kinds.contains(&sent.stanza.kind()))
            && (self.senders.is_empty() || self.senders.contains(&sent.user.to_bare()))
    }
}

/// Logs a packet and passes it on as it is.
fn log(sent: UserSendPacket, rules: &[Rule]) -> Flow<UserSendPacket> {
    if let Some(rule) = rules.iter().find(|rule| rule.fits(&sent)) {
        let stanza = &sent.stanza;
        tracing::info!(
            target: "natter::service_log",
            trace = sent.meta.trace,
            from = %sent.user,
            to = stanza.to().map(tracing::field::display),
            kind = ?stanza.stanza_type(),
            id = stanza.id(),
            payload = stanza.payload_ns().filter(|_| stanza.kind() == Kind::Iq),
            bytes = stanza.len(),
            body = body(&sent, rule),
            "sent"
        );
    }
    Flow::Next(sent)
}

/// The body, where the rule says that it is logged.
fn body(sent: &UserSendPacket, rule: &Rule) -> Option<String> {
    let said = rule.bodies && sent.stanza.kind() == Kind::Message;
    said.then(|| sent.stanza.child_text("body", ns::CLIENT))
        .flatten()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn sent(text: &str) -> UserSendPacket {
        let (clock, _hand) = otp::Clock::manual();
        let router = router::Router::new(&otp::System::new("test", clock));
        UserSendPacket {
            user: Arc::new(xmpp::parse_full("alice@x/1").expect("a JID")),
            stanza: Stanza::parse(text).expect("a stanza"),
            meta: router.meta(router::Origin::Server),
        }
    }

    fn rule(senders: &[&str], kinds: &[LoggedKind], bodies: bool) -> Result<Rule, StartError> {
        let senders = senders.iter().map(|&sender| sender.to_owned()).collect();
        Rule::read(&LogRule {
            senders,
            kinds: kinds.to_vec(),
            bodies,
        })
    }

    #[test]
    fn rules_choose_by_sender_and_kind() {
        let message = sent("<message to='bob@x'><body>hi</body></message>");
        let fits = |senders: &[&str], kinds: &[LoggedKind]| {
            rule(senders, kinds, false).expect("a rule").fits(&message)
        };
        assert!(fits(&[], &[]));
        assert!(fits(&["Alice@x"], &[LoggedKind::Iq, LoggedKind::Message]));
        assert!(!fits(&["bob@x"], &[]));
        assert!(!fits(&[], &[LoggedKind::Presence]));
        assert!(rule(&["a@b@c"], &[], false).is_err());
    }

    #[test]
    fn bodies_are_told_only_where_the_rule_says_so() {
        let message = sent("<message to='bob@x'><body>hi</body></message>");
        assert_eq!(
            body(&message, &rule(&[], &[], false).expect("a rule")),
            None
        );
        assert_eq!(
            body(&message, &rule(&[], &[], true).expect("a rule")),
            Some("hi".to_owned())
        );
    }
}
