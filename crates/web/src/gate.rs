//! Who gives commands by HTTP: where the request comes from, that no other site made the browser send it, and in whose
//! name it speaks. Nobody is trusted for being on this machine.

use std::net::IpAddr;

use admin::{Caller, Door, Role};
use auth::{Channel, Step};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use httpd::http::header::{AUTHORIZATION, HOST, ORIGIN};
use httpd::{Error, Request};
use sha2::{Digest, Sha256};
use xmpp::{BareJid, SaslCondition};
use zeroize::Zeroizing;

use crate::Web;
use crate::access::admit;

/// Why a request is not served, told to whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// One word for programs.
    pub(crate) kind: &'static str,
    /// One sentence for people.
    pub(crate) message: String,
    /// The argument that is at fault.
    pub(crate) argument: Option<String>,
}

impl Refusal {
    pub(crate) fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Refusal {
        Refusal {
            status,
            kind,
            message: message.into(),
            argument: None,
        }
    }

    pub(crate) fn argument(self, name: impl Into<String>) -> Refusal {
        Refusal {
            argument: Some(name.into()),
            ..self
        }
    }
}

/// In whose name a request speaks.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) caller: Caller,
    /// The only commands that may be given; none: all that the caller may.
    pub(crate) only: Option<Vec<String>>,
}

impl Identity {
    /// Whether the command may be given, as far as its credentials are concerned.
    ///
    /// # Errors
    ///
    /// 403: a token that is limited to other commands. None limited can make one that is not.
    pub(crate) fn may(&self, command: &str) -> Result<(), Refusal> {
        let Some(only) = &self.only else {
            return Ok(());
        };
        if command != "token_create" && only.iter().any(|name| name == command) {
            return Ok(());
        }
        let why = format!("the token is not for `{command}`");
        Err(Refusal::new(403, "denied", why))
    }
}

/// Lets a request in and says who sent it.
///
/// # Errors
///
/// The outer error where it comes from where nobody may (403, without a word); the inner one: 401, 403, 503.
pub(crate) async fn enter(web: &Web, req: &Request) -> Result<Result<Identity, Refusal>, Error> {
    admit(&web.settings().api, req)?;
    if let Err(refusal) = own_site(web, req) {
        return Ok(Err(refusal));
    }
    Ok(identify(web, req).await)
}

/// As [`enter`]; a request without credentials in its header is nobody's yet where `has_header` is false.
///
/// # Errors
///
/// As [`enter`].
pub(crate) async fn enter_as(
    web: &Web,
    req: &Request,
    has_header: bool,
) -> Result<Result<Option<Identity>, Refusal>, Error> {
    if has_header {
        return Ok(enter(web, req).await?.map(Some));
    }
    admit(&web.settings().api, req)?;
    Ok(own_site(web, req).map(|()| None))
}

/// Checks that the request is for a name that is ours, so that no foreign name that leads to this address can be used
/// (DNS rebinding), and that no page of another site sent it.
fn own_site(web: &Web, req: &Request) -> Result<(), Refusal> {
    let host = req.host().trim_matches(['[', ']']);
    let is_ours = |name: &str| {
        let canonical = xmpp::canonical_domain(name);
        canonical.is_ok_and(|name| web.parts().router.is_local(&name))
    };
    let settings = web.settings();
    let is_known = host == "localhost"
        || host.parse::<IpAddr>().is_ok()
        || settings
            .names
            .iter()
            .any(|name| name.eq_ignore_ascii_case(host))
        || is_ours(host);
    if !is_known {
        let why = format!("commands are not given under the name `{host}`; see `http.names`");
        return Err(Refusal::new(403, "denied", why));
    }
    let foreign = || Refusal::new(403, "denied", "the request comes from another site");
    if let Some(site) = req.header("sec-fetch-site")
        && !matches!(site, "same-origin" | "none")
    {
        return Err(foreign());
    }
    if !req.headers().contains_key(ORIGIN) {
        return Ok(());
    }
    let origin = req
        .header(ORIGIN)
        .and_then(|origin| origin.split_once("://"));
    match (origin, req.header(HOST)) {
        (Some((_, authority)), Some(own)) if authority.eq_ignore_ascii_case(own) => Ok(()),
        _ => Err(foreign()),
    }
}

async fn identify(web: &Web, req: &Request) -> Result<Identity, Refusal> {
    let given = req.header(AUTHORIZATION);
    let (scheme, rest) = given
        .and_then(|given| given.split_once(' '))
        .ok_or_else(|| {
            unknown("credentials are needed: Basic with an account, or a bearer token")
        })?;
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => basic(web, req, rest.trim()).await,
        "bearer" => bearer(web, rest.trim()).await,
        _ => Err(unknown("the authorization is neither Basic nor Bearer")),
    }
}

fn unknown(why: &str) -> Refusal {
    Refusal::new(401, "unauthorized", why)
}

fn wrong() -> Refusal {
    unknown("the credentials are wrong")
}

fn unsure(error: &impl std::fmt::Display) -> Refusal {
    tracing::warn!(target: "natter::web", %error, "credentials not checked");
    Refusal::new(503, "unavailable", "credentials cannot be checked now")
}

/// RFC 7617: the account's bare JID and its password.
async fn basic(web: &Web, req: &Request, encoded: &str) -> Result<Identity, Refusal> {
    let decoded = BASE64_STANDARD.decode(encoded).map(Zeroizing::new);
    let decoded = decoded.map_err(|_| unknown("the authorization is not base64"))?;
    let text =
        std::str::from_utf8(&decoded).map_err(|_| unknown("the authorization is not UTF-8"))?;
    let (name, password) = text
        .split_once(':')
        .ok_or_else(|| unknown("the authorization has no password"))?;
    password_of(web, req, name, password).await
}

/// Who that is, if the password is the account's. Wrong ones are counted as those of logins are.
pub(crate) async fn password_of(
    web: &Web,
    req: &Request,
    name: &str,
    password: &str,
) -> Result<Identity, Refusal> {
    let account = xmpp::parse_bare(name).ok();
    let account = account.filter(|account| account.node().is_some());
    let account = account.ok_or_else(|| unknown("the name is not of the form user@host"))?;
    let host = account.domain().as_str();
    if !web.parts().router.is_local(host) {
        return Err(wrong());
    }
    let channel = Channel {
        address: Some(req.peer()),
        // What is between a client and a listener without TLS is whoever configured it so answers for.
        protected: true,
        ..Channel::default()
    };
    let local = account.node().map_or("", |node| node.as_str());
    let plain = Zeroizing::new(format!("\0{local}\0{password}"));
    let started = web.parts().sessions.auth.start(host, "PLAIN", channel);
    let mut exchange = started.map_err(|_| wrong())?;
    match exchange.begin(Some(plain.as_bytes())).await {
        Step::Success { account, .. } => speaker(web, account, None).await,
        Step::Challenge(_) => Err(wrong()),
        Step::Failure(failure) if failure.condition == SaslCondition::TemporaryAuthFailure => {
            let why = failure.text.as_deref();
            let why = why.unwrap_or("credentials cannot be checked now");
            Err(Refusal::new(503, "unavailable", why))
        }
        Step::Failure(_) => Err(wrong()),
    }
}

/// RFC 6750 §2.1.
async fn bearer(web: &Web, token: &str) -> Result<Identity, Refusal> {
    let found = web.parts().storage.tokens.find(&hash(token)).await;
    let found = found.map_err(|error| unsure(&error))?;
    let now = web.parts().system.clock().wall();
    let Some(found) = found.filter(|found| now < found.expires) else {
        return Err(wrong());
    };
    let disabled = web.parts().sessions.auth.is_disabled(&found.account).await;
    if disabled.map_err(|error| unsure(&error))? != Some(false) {
        return Err(wrong());
    }
    let identity = speaker(web, found.account, Some(&found.id)).await?;
    let only = found.commands;
    Ok(Identity { only, ..identity })
}

/// What an account may: its role now, where it has it.
async fn speaker(web: &Web, account: BareJid, token: Option<&str>) -> Result<Identity, Refusal> {
    let domain = account.domain().as_str().to_owned();
    // A name in the store whose domain was taken from this server says nothing of whoever bears it now.
    let role = if web.parts().router.is_local(&domain) {
        let role = web.parts().storage.accounts.role(&account).await;
        role.map_err(|error| unsure(&error))?
    } else {
        None
    };
    let name = match token {
        Some(id) => format!("{account} (token {id})"),
        None => account.to_string(),
    };
    let role = role_of(role.ok_or_else(wrong)?);
    let caller = match role {
        Role::Admin => Caller::admin(name, Door::Api),
        role => Caller::on_host(name, role, domain, Door::Api),
    };
    Ok(Identity { caller, only: None })
}

/// A stored role as commands have it.
pub(crate) fn role_of(role: storage::Role) -> Role {
    match role {
        storage::Role::User => Role::User,
        storage::Role::HostAdmin => Role::HostAdmin,
        storage::Role::Admin => Role::Admin,
    }
}

/// What a token is kept by. It has so many random bits that a plain hash cannot be turned back.
pub(crate) fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

/// A new token and what operators call it.
///
/// # Errors
///
/// The system gives no random bytes.
pub(crate) fn new_token() -> Result<(Zeroizing<String>, String), getrandom::Error> {
    let (mut secret, mut id) = (Zeroizing::new([0_u8; 32]), [0_u8; 6]);
    getrandom::fill(&mut *secret)?;
    getrandom::fill(&mut id)?;
    let encoded = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(*secret));
    let token = Zeroizing::new(format!("natter_{}", *encoded));
    Ok((token, id.iter().map(|byte| format!("{byte:02x}")).collect()))
}
