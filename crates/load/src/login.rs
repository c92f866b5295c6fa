//! The way in: connection, TLS, SASL, bind, roster, first presence (RFC 6120 §4–7, RFC 6121 §2.2, §4.2), and in-band
//! registration before it (XEP-0077 §3.1).

use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::Failure;
use crate::peek;
use crate::scram::{Exchange, Mechanism, plain};
use crate::session::{Heard, Session, Wire};
use crate::target::{Account, Target, Tls};

/// How far a login goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Until {
    /// A TCP connection, and TLS where it comes first.
    Connected,
    /// The server's stream header and features have come.
    Greeted,
    /// A resource is bound.
    Bound,
    /// The roster was fetched and the session is available: its own presence came back.
    Available,
}

/// Logs in as `account`; `resource` is what is asked for.
///
/// # Errors
///
/// A sentence that says which step failed, and for whom; each login has the target's `within`.
pub async fn log_in(
    target: &Target,
    account: &Account,
    resource: &str,
    until: Until,
) -> Result<Session, Failure> {
    let doing = || format!("logging in as {}", account.jid);
    match timeout(target.within, steps(target, account, resource, until)).await {
        Ok(result) => result.map_err(|failure| failure.while_doing(&doing())),
        Err(_) => Err(late(target, &doing())),
    }
}

/// Registers `account`. One that exists already is no failure.
///
/// # Errors
///
/// A sentence when the server refuses.
pub async fn register(target: &Target, account: &Account) -> Result<(), Failure> {
    let doing = || format!("registering {}", account.jid);
    match timeout(target.within, registration(target, account)).await {
        Ok(result) => result.map_err(|failure| failure.while_doing(&doing())),
        Err(_) => Err(late(target, &doing())),
    }
}

fn late(target: &Target, doing: &str) -> Failure {
    Failure::new(format!(
        "{doing}: not done within {} s (--timeout)",
        target.within.as_secs()
    ))
}

async fn steps(
    target: &Target,
    account: &Account,
    resource: &str,
    until: Until,
) -> Result<Session, Failure> {
    let wire = connect(target, account).await?;
    if until == Until::Connected {
        return Ok(Session::new(wire));
    }
    let (mut session, features) = greet(target, account, wire).await?;
    if until == Until::Greeted {
        return Ok(session);
    }
    authenticate(target, account, &mut session, &features).await?;
    session.restart();
    let features = open(&mut session, account).await?;
    bind(&mut session, &features, resource).await?;
    if until == Until::Available {
        become_available(&mut session).await?;
    }
    Ok(session)
}

async fn connect(target: &Target, account: &Account) -> Result<Wire, Failure> {
    let tcp = TcpStream::connect(target.address)
        .await
        .map_err(|error| Failure::new(format!("connecting to {}: {error}", target.address)))?;
    tcp.set_nodelay(true)
        .map_err(|error| Failure::new(format!("setting TCP_NODELAY: {error}")))?;
    match target.tls {
        Tls::Direct => handshake(target, account, tcp).await,
        Tls::Off | Tls::Starttls => Ok(Wire::Plain(tcp)),
    }
}

async fn handshake(target: &Target, account: &Account, tcp: TcpStream) -> Result<Wire, Failure> {
    let connector = target
        .connector
        .as_ref()
        .expect("a target with TLS has a connector");
    let name = Target::server_name(&account.domain)?;
    let tls = connector
        .connect(name, tcp)
        .await
        .map_err(|error| Failure::new(format!("the TLS handshake: {error}")))?;
    Ok(Wire::Tls(Box::new(tls)))
}

/// Opens the stream, with STARTTLS where the target wants it, and gives the features offered then.
async fn greet(
    target: &Target,
    account: &Account,
    wire: Wire,
) -> Result<(Session, Vec<u8>), Failure> {
    let mut session = Session::new(wire);
    let features = open(&mut session, account).await?;
    if target.tls != Tls::Starttls {
        return Ok((session, features));
    }
    if !peek::holds(&features, "urn:ietf:params:xml:ns:xmpp-tls") {
        return Err(Failure::new("the server offers no STARTTLS"));
    }
    session
        .send("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")
        .await?;
    let answer = session.stanza().await?;
    if peek::name(&answer) != b"proceed" {
        return Err(Failure::new(format!(
            "STARTTLS was answered: {}",
            peek::complaint(&answer)
        )));
    }
    let Wire::Plain(tcp) = session.into_wire() else {
        return Err(Failure::new("STARTTLS within TLS"));
    };
    let mut session = Session::new(handshake(target, account, tcp).await?);
    let features = open(&mut session, account).await?;
    Ok((session, features))
}

async fn open(session: &mut Session, account: &Account) -> Result<Vec<u8>, Failure> {
    let header = format!(
        "<?xml version='1.0'?><stream:stream to='{}' version='1.0' xml:lang='en' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams'>",
        peek::escape(&account.domain)
    );
    session.send(header).await?;
    loop {
        match session.hear().await? {
            Heard::Header(_) => {}
            Heard::Stanza(stanza) if peek::name(&stanza) == b"stream:features" => {
                return Ok(stanza);
            }
            Heard::Stanza(other) => {
                return Err(Failure::new(format!(
                    "features expected, heard {}",
                    peek::complaint(&other)
                )));
            }
        }
    }
}

async fn authenticate(
    target: &Target,
    account: &Account,
    session: &mut Session,
    features: &[u8],
) -> Result<(), Failure> {
    const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";
    let name = target.mechanism.name();
    if !peek::holds(features, &format!(">{name}<")) {
        let features = String::from_utf8_lossy(features);
        let offered: Vec<&str> = features
            .split("<mechanism>")
            .skip(1)
            .filter_map(|rest| rest.split('<').next())
            .collect();
        return Err(Failure::new(match offered.is_empty() {
            true => "the server offers no SASL mechanism here (does it want TLS first? --tls)"
                .to_owned(),
            false => format!(
                "the server does not offer {name}, but {}",
                offered.join(", ")
            ),
        }));
    }
    if target.mechanism == Mechanism::Plain {
        let initial = plain(&account.user, &target.password);
        session
            .send(format!(
                "<auth xmlns='{SASL}' mechanism='PLAIN'>{initial}</auth>"
            ))
            .await?;
        return accepted(&session.stanza().await?);
    }
    let mut exchange = Exchange::new(
        target.mechanism,
        &account.user,
        &account.jid,
        &target.password,
        nonce()?,
    );
    let first = exchange.first();
    session
        .send(format!(
            "<auth xmlns='{SASL}' mechanism='{name}'>{first}</auth>"
        ))
        .await?;
    let challenge = session.stanza().await?;
    if peek::name(&challenge) != b"challenge" {
        return accepted(&challenge).and(Err(Failure::new("the server asked for no proof")));
    }
    let challenge = peek::text_after(&challenge, "<challenge").unwrap_or("");
    let answer = exchange
        .answer(challenge, &target.keys)
        .map_err(Failure::new)?;
    session
        .send(format!("<response xmlns='{SASL}'>{answer}</response>"))
        .await?;
    let last = session.stanza().await?;
    accepted(&last)?;
    match exchange.is_the_server(peek::text_after(&last, "<success").unwrap_or("")) {
        true => Ok(()),
        false => Err(Failure::new("the server's own signature is wrong")),
    }
}

fn accepted(answer: &[u8]) -> Result<(), Failure> {
    match peek::name(answer) {
        b"success" => Ok(()),
        _ => Err(Failure::new(format!(
            "SASL failed: {}",
            peek::complaint(answer)
        ))),
    }
}

fn nonce() -> Result<String, Failure> {
    let mut bytes = [0; 12];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure::new(format!("asking for random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

async fn bind(session: &mut Session, features: &[u8], resource: &str) -> Result<(), Failure> {
    let bind = format!(
        "<iq type='set' id='bind'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>\
         <resource>{}</resource></bind></iq>",
        peek::escape(resource)
    );
    let bound = session
        .ask("bind", &bind)
        .await
        .map_err(|failure| failure.while_doing("binding"))?;
    session.jid = peek::text_after(&bound, "<jid>")
        .ok_or_else(|| Failure::new("bind was answered without a JID"))?
        .to_owned();
    if insists_on_session(features) {
        let iq =
            "<iq type='set' id='sess'><session xmlns='urn:ietf:params:xml:ns:xmpp-session'/></iq>";
        session.ask("sess", iq).await?;
    }
    Ok(())
}

/// Whether RFC 3921's session is offered, and not as optional.
fn insists_on_session(features: &[u8]) -> bool {
    let offer = memchr::memmem::find(features, b"<session");
    offer.is_some_and(|at| {
        let offer = &features[at..];
        let end = memchr::memchr(b'>', offer).map_or(offer.len(), |end| end + 1);
        !offer[end..].starts_with(b"<optional")
    })
}

/// Fetches the roster, says the first presence and waits until it comes back (RFC 6121 §4.2.2).
///
/// # Errors
///
/// A sentence when the roster is refused or the connection ends.
pub async fn become_available(session: &mut Session) -> Result<(), Failure> {
    let roster = "<iq type='get' id='roster'><query xmlns='jabber:iq:roster'/></iq>";
    session
        .ask("roster", roster)
        .await
        .map_err(|failure| failure.while_doing("fetching the roster"))?;
    session.send("<presence/>").await?;
    loop {
        let stanza = session.stanza().await?;
        let own = peek::attribute_text(&stanza, "from") == session.jid;
        if own && stanza.starts_with(b"<presence") {
            return Ok(());
        }
    }
}

async fn registration(target: &Target, account: &Account) -> Result<(), Failure> {
    let wire = connect(target, account).await?;
    let (mut session, _) = greet(target, account, wire).await?;
    let iq = format!(
        "<iq type='set' id='reg' to='{}'><query xmlns='jabber:iq:register'>\
         <username>{}</username><password>{}</password></query></iq>",
        peek::escape(&account.domain),
        peek::escape(&account.user),
        peek::escape(&target.password)
    );
    session.send(iq).await?;
    let answer = session.stanza().await?;
    let there_already = peek::holds(&answer, "<conflict");
    match peek::attribute_text(&answer, "type") {
        "result" => {}
        _ if there_already => {}
        _ => {
            return Err(Failure::new(format!(
                "the server refuses in-band registration: {} (register the accounts yourself and say --no-register)",
                peek::complaint(&answer)
            )));
        }
    }
    session.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_old_session_is_asked_for_only_where_it_must_be() {
        assert!(!insists_on_session(
            b"<stream:features><bind/></stream:features>"
        ));
        assert!(!insists_on_session(
            b"<session xmlns=\"s\"><optional/></session>"
        ));
        assert!(insists_on_session(b"<session xmlns='s'/><x/>"));
        assert!(insists_on_session(b"<bind/><session xmlns='s'></session>"));
    }
}
