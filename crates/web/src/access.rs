//! Who may come to what, by where the request comes from.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use httpd::http::HeaderMap;
use httpd::{Error, Request};
use session::C2sOptions;
use stream::{Limits, Rate};

/// The addresses from which something may be asked.
#[derive(Clone)]
pub struct Access(Arc<dyn Fn(IpAddr) -> bool + Send + Sync>);

impl Access {
    /// Those of which `admits` is true.
    pub fn new(admits: impl Fn(IpAddr) -> bool + Send + Sync + 'static) -> Access {
        Access(Arc::new(admits))
    }

    pub(crate) fn admits(&self, address: IpAddr) -> bool {
        (self.0)(address.to_canonical())
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Access")
    }
}

/// What the configuration says of the paths of the server itself.
#[derive(Clone, Debug)]
pub struct WebSettings {
    /// Who may read the metrics.
    pub metrics: Access,
    /// Who may give commands, if he proves who he is.
    pub api: Access,
    /// Who may ask how the server is.
    pub health: Access,
    /// Who may come by WebSocket.
    pub websocket: Access,
    /// Who may come by BOSH.
    pub bosh_clients: Access,
    /// Who may put files.
    pub upload: Access,
    /// Names under which commands may be given, besides those of the hosts.
    pub names: Vec<String>,
    /// How many requests an address may make.
    pub rates: Rates,
    /// The proxies that are believed when they say whose request they pass on.
    pub forwarders: Access,
    /// How BOSH sessions are held.
    pub bosh: BoshSettings,
}

/// How many requests one address may make, by what they are for; none: as many as it likes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rates {
    /// All, whatever they are for.
    pub requests: Option<Rate>,
    /// For commands.
    pub commands: Option<Rate>,
    /// To open a WebSocket.
    pub websocket: Option<Rate>,
    /// Of BOSH.
    pub bosh: Option<Rate>,
    /// To put a file.
    pub upload: Option<Rate>,
}

/// What clients that come by BOSH are offered (XEP-0124 §7.2), for sessions from then on. All in whole seconds.
#[derive(Clone, Copy, Debug)]
pub struct BoshSettings {
    /// The longest that a request is held.
    pub wait: Duration,
    /// How long a client may be silent while no request of it is held.
    pub inactivity: Duration,
    /// The longest pause that it may ask for.
    pub max_pause: Duration,
    /// The shortest time between two requests that ask for nothing.
    pub polling: Duration,
}

/// What clients of XMPP that come by HTTP get.
#[derive(Clone)]
pub struct Clients {
    /// What their sessions are given. TLS lies below HTTP: what is negotiated knows none.
    pub options: Arc<C2sOptions>,
    /// What one element may cost before the login.
    pub before_login: Limits,
}

/// Where the HTTP server listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpDoor {
    /// Whether it is HTTPS.
    pub tls: bool,
    /// The port.
    pub port: u16,
}

/// The site of a host, as those reach it who come to one of these: one with TLS before one without. `None` of none.
pub(crate) fn site(host: &str, doors: &[HttpDoor]) -> Option<String> {
    let door = doors.iter().max_by_key(|door| door.tls)?;
    let ascii = idna::domain_to_ascii(host).unwrap_or_else(|_| host.to_owned());
    let (scheme, usual) = if door.tls {
        ("https", 443)
    } else {
        ("http", 80)
    };
    Some(match door.port == usual {
        true => format!("{scheme}://{ascii}"),
        false => format!("{scheme}://{ascii}:{}", door.port),
    })
}

/// The headers by which a proxy tells that a request is another's.
const PASSED_ON: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// Whether some proxy says that it passed the request on.
pub(crate) fn is_passed_on(headers: &HeaderMap) -> bool {
    PASSED_ON.iter().any(|name| headers.contains_key(*name))
}

/// Lets a request pass that comes from where it may.
///
/// One that a trusted forwarder passed on comes from where its client is. One that another proxy passed on is that proxy's
/// client's, who is nobody of this machine: it passes nowhere where the proxy's address alone would have been the reason.
///
/// # Errors
///
/// 403.
pub(crate) fn admit(access: &Access, req: &Request) -> Result<(), Error> {
    let from = req.peer().ip().to_canonical();
    if (from.is_loopback() && is_passed_on(req.headers())) || !access.admits(from) {
        let why = format!("{from} may not come here");
        return Err(Error::new(httpd::http::StatusCode::FORBIDDEN, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_is_where_a_listener_is() {
        let door = |tls, port| HttpDoor { tls, port };
        assert_eq!(site("a.example", &[]), None);
        let told = |doors: &[HttpDoor]| site("bücher.example", doors).unwrap_or_default();
        let clear = door(false, 5280);
        assert_eq!(told(&[clear]), "http://xn--bcher-kva.example:5280");
        assert_eq!(told(&[door(false, 80)]), "http://xn--bcher-kva.example");
        let both = [clear, door(true, 443)];
        assert_eq!(told(&both), "https://xn--bcher-kva.example");
    }
}
