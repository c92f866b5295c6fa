//! STARTTLS (RFC 6120 §5).

use std::sync::Arc;

use futures_util::future::BoxFuture;
use net::ServerConfig;
use xml::Element;
use xmpp::ns;

use super::{Feature, Negotiable, Outcome, Phase, State, Then};

/// What a listener demands of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Nothing is offered before STARTTLS is done.
    Required,
    /// STARTTLS is offered beside the rest.
    Optional,
    /// The handshake comes before the first byte of XMPP (XEP-0368).
    Direct,
    /// No TLS at all; passwords travel in clear if a client chooses so.
    Off,
}

/// The STARTTLS negotiable.
pub struct StartTls {
    policy: TlsPolicy,
    config: Option<Arc<ServerConfig>>,
}

impl StartTls {
    /// Offers `config` under `policy`. Without a configuration every request fails (§5.4.2.2).
    pub fn new(policy: TlsPolicy, config: Option<Arc<ServerConfig>>) -> StartTls {
        StartTls { policy, config }
    }
}

impl Negotiable for StartTls {
    fn phases(&self) -> &'static [Phase] {
        &[Phase::Connected]
    }

    fn feature(&self, state: &mut State) -> Option<Feature> {
        if state.tls.is_some() || self.config.is_none() {
            return None;
        }
        match self.policy {
            TlsPolicy::Required => Some(Feature {
                xml: format!("<starttls xmlns='{}'><required/></starttls>", ns::TLS),
                alone: true,
            }),
            TlsPolicy::Optional => Some(Feature::new(format!("<starttls xmlns='{}'/>", ns::TLS))),
            TlsPolicy::Direct | TlsPolicy::Off => None,
        }
    }

    fn claims(&self, element: &Element, _state: &State) -> bool {
        element.namespace() == ns::TLS && element.name() == "starttls"
    }

    fn inline<'a>(&'a self, state: &'a mut State, _element: Element) -> BoxFuture<'a, Outcome> {
        let offered = matches!(self.policy, TlsPolicy::Required | TlsPolicy::Optional);
        let config = self
            .config
            .clone()
            .filter(|_| offered && state.tls.is_none());
        let outcome = match config {
            Some(config) => Outcome::with(
                format!("<proceed xmlns='{}'/>", ns::TLS),
                Then::StartTls(config),
            ),
            // §5.4.2.2: failure, closing tag, end of the connection; no stream error in between.
            // A second request inside TLS is a client out of step and gets the same (our choice).
            None => Outcome::with(format!("<failure xmlns='{}'/>", ns::TLS), Then::Close),
        };
        Box::pin(std::future::ready(outcome))
    }
}
