//! `mod_echo`: says everything back, to prove that a service can be added to a running node.
//!
//! Source: XEP-0030 §3 and XEP-0199 §4.2 for its own address. Route: option `host`. State: its address.

use gen_mod::prelude::*;
use router::Outcome;
use xmpp::payload::{DiscoInfoResult, Identity};
use xmpp::{Fragment, IqType, Kind, Payload};

options! {
    /// Where `mod_echo` listens.
    pub struct EchoOpts {
        /// Domain the service answers at; `@HOST@` is the host's name.
        pub host: String = "echo.@HOST@".into() => Restart,
        /// How many processes answer.
        pub instances: usize [1..=64] = 1 => Restart,
        /// What decides which of them answers a packet.
        pub domain_balancing: Balancing = Balancing::Random => Restart,
    }
}

/// Echo. Each of its processes answers its packets one by one.
pub struct ModEcho;

impl Module for ModEcho {
    const NAME: &'static str = "mod_echo";
    const SOURCES: &'static [Source] = &[
        xep(
            30,
            "2.5.0",
            Partial("who the service is; it has no items and no nodes"),
        ),
        xep(199, "2.0.1", Complete),
    ];
    type Opts = EchoOpts;

    fn instances(opts: &EchoOpts) -> usize {
        opts.instances
    }

    async fn start(ctx: &ModuleCtx, opts: EchoOpts) -> Result<(Self, Registrations), StartError> {
        let domain = ctx.domain("host", &opts.host)?;
        let registrations = match ctx.instances {
            1 => Registrations::new().route(domain),
            _ => Registrations::new().route_balanced(domain, opts.domain_balancing.into()),
        };
        Ok((ModEcho, registrations))
    }

    async fn handle_info(&mut self, info: Info, ctx: &ModuleCtx) {
        let Info::Route(parcel) = info else { return };
        let answer = answer(&parcel.get().stanza);
        let packet = parcel.take();
        if let Some(answer) = answer {
            ctx.host
                .router
                .route(ctx.host.router.answer(answer, &packet.meta))
                .await;
        }
        packet.receipt.resolve(Outcome::Delivered);
    }
}

/// What is said back. Nothing to errors and results, lest two echoes talk for ever (RFC 6120 §8.3.1).
fn answer(stanza: &Stanza) -> Option<Stanza> {
    match stanza.kind() {
        _ if stanza.is_error() => None,
        Kind::Message | Kind::Presence => Some(echo(stanza)),
        Kind::Iq => match stanza.iq_type() {
            IqType::Get => reply(stanza, about_me(stanza)),
            IqType::Set => reply(stanza, Err(Condition::ServiceUnavailable.into())),
            IqType::Result | IqType::Error => None,
        },
    }
}

/// The same stanza with `from` and `to` exchanged.
fn echo(stanza: &Stanza) -> Stanza {
    stanza
        .edit()
        .from(stanza.to().cloned())
        .to(stanza.from().cloned())
        .finish()
}

fn reply(request: &Stanza, answer: Result<Fragment, StanzaError>) -> Option<Stanza> {
    match answer {
        Ok(payload) => Some(Stanza::iq_result(request, payload)),
        Err(error) => request.error_reply(&error),
    }
}

/// Says who the service is, and that it lives.
///
/// # Errors
///
/// - `item-not-found`: a disco node; there is none.
/// - `service-unavailable`: anything else.
fn about_me(request: &Stanza) -> Result<Fragment, StanzaError> {
    match request.payload_ns() {
        Some(ns::PING) => Ok(Fragment::empty()),
        Some(ns::DISCO_INFO)
            if request
                .dom()
                .children()
                .any(|query| query.attr("node").is_some()) =>
        {
            Err(Condition::ItemNotFound.into())
        }
        Some(ns::DISCO_INFO) => Ok(DiscoInfoResult {
            node: None,
            identities: vec![Identity::new("component", "generic", "en", "Echo")],
            features: [ns::DISCO_INFO, ns::PING].map(str::to_owned).into(),
            extensions: Vec::new(),
        }
        .to_fragment()),
        _ => Err(Condition::ServiceUnavailable.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Option<String> {
        let stanza = Stanza::parse(text).expect("a stanza");
        answer(&stanza).map(|stanza| String::from_utf8(stanza.bytes().to_vec()).expect("UTF-8"))
    }

    #[test]
    fn messages_and_presence_come_back_whole() {
        assert_eq!(
            said("<message from='a@x/1' to='echo.x' id='m' type='chat'><body>hi &lt;</body><x xmlns='urn:x'/></message>"),
            Some(
                "<message from=\"echo.x\" to=\"a@x/1\" id=\"m\" type=\"chat\"><body>hi &lt;</body><x xmlns='urn:x'/></message>"
                    .into()
            )
        );
        assert_eq!(
            said("<presence from='a@x' to='b@echo.x' type='subscribe'/>"),
            Some("<presence from=\"b@echo.x\" to=\"a@x\" type=\"subscribe\"/>".into())
        );
    }

    #[test]
    fn requests_are_answered_and_answers_are_not() {
        let ping = said(
            "<iq from='a@x/1' to='echo.x' id='p' type='get'><ping xmlns='urn:xmpp:ping'/></iq>",
        );
        assert_eq!(
            ping,
            Some("<iq from=\"echo.x\" to=\"a@x/1\" id=\"p\" type=\"result\"/>".into())
        );
        let info = |node| {
            said(&format!(
                "<iq from='a@x/1' to='echo.x' id='i' type='get'><query xmlns='{}'{node}/></iq>",
                ns::DISCO_INFO
            ))
            .expect("an answer")
        };
        assert!(
            info("").contains("category=\"component\"")
                || info("").contains("category='component'"),
            "{}",
            info("")
        );
        assert!(info(" node='x'").contains("<item-not-found"));
        for text in [
            "<iq from='a@x/1' to='echo.x' id='v' type='get'><query xmlns='jabber:iq:version'/></iq>",
            "<iq from='a@x/1' to='echo.x' id='v' type='set'><ping xmlns='urn:xmpp:ping'/></iq>",
        ] {
            assert!(
                said(text)
                    .expect("an answer")
                    .contains("<service-unavailable"),
                "{text}"
            );
        }
        for text in [
            "<message from='a@x' to='echo.x' type='error'/>",
            "<presence from='a@x' to='echo.x' type='error'/>",
            "<iq from='a@x' to='echo.x' id='1' type='error'/>",
            "<iq from='a@x' to='echo.x' id='1' type='result'/>",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
    }
}
