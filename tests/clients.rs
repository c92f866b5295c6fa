//! Another library's client against our server: tokio-xmpp logs in, talks and is talked to.

use std::path::PathBuf;
use std::process::Command;

use futures_util::StreamExt;
use tests::client::{Client, Heard, Login, password_of};
use tests::deadline::within;
use tests::run::{on_a_runtime, troupe};
use tests::stage::{Door, Failure, Server, Unable};
use tokio_xmpp::connect::{DnsConfig, ServerConnector, StartTlsServerConnector};
use tokio_xmpp::jid::Jid;
use tokio_xmpp::parsers::message::{Lang, Message, MessageType};
use tokio_xmpp::parsers::ns;
use tokio_xmpp::parsers::presence::Presence;
use tokio_xmpp::xmlstream::Timeouts;
use tokio_xmpp::{Event, Stanza};

/// Says hello with `theirs` and hears the answer of our own client.
async fn converse(server: &dyn Server, mut theirs: tokio_xmpp::Client) -> Result<(), String> {
    let overdue = |_| "tokio-xmpp heard nothing in time".to_owned();
    loop {
        match within(theirs.next()).await.map_err(overdue)? {
            Some(Event::Online { .. }) => break,
            Some(Event::Disconnected(error)) => return Err(format!("tokio-xmpp: {error}")),
            Some(Event::Stanza(_)) => {}
            None => return Err("tokio-xmpp gave up".into()),
        }
    }
    let say = |error: std::io::Error| error.to_string();
    theirs
        .send_stanza(Presence::available().into())
        .await
        .map_err(say)?;
    let mut ours = Client::connect(server, &Login::new("bob", "localhost", "ours"))
        .await
        .map_err(|broken| broken.to_string())?;
    let to: Jid = ours
        .jid()
        .parse()
        .map_err(|_| "our own address is no address")?;
    let mut message = Message::new(Some(to));
    message.type_ = MessageType::Chat;
    message
        .bodies
        .insert(Lang::default(), "hello from tokio-xmpp".into());
    theirs.send_stanza(message.into()).await.map_err(say)?;
    let from = loop {
        match ours.hear().await.map_err(|broken| broken.to_string())? {
            Heard::Element(element) if element.name == "message" => {
                let body = element
                    .child("jabber:client", "body")
                    .map(tests::dom::Element::text);
                if body.as_deref() != Some("hello from tokio-xmpp") {
                    return Err(format!("not what was said: {element}"));
                }
                break element.attr("from").unwrap_or_default().to_owned();
            }
            Heard::Element(_) => {}
            Heard::Over { .. } => return Err("our stream is over".into()),
        }
    };
    let answer = format!("<message to='{from}' type='chat'><body>hello back</body></message>");
    ours.send(&answer)
        .await
        .map_err(|broken| broken.to_string())?;
    loop {
        match within(theirs.next()).await.map_err(overdue)? {
            Some(Event::Stanza(Stanza::Message(message))) => {
                return match message.bodies.values().any(|body| body == "hello back") {
                    true => Ok(()),
                    false => Err(format!("not what was answered: {message:?}")),
                };
            }
            Some(Event::Disconnected(error)) => return Err(format!("tokio-xmpp: {error}")),
            Some(_) => {}
            None => return Err("tokio-xmpp gave up".into()),
        }
    }
}

/// Runs a conversation with tokio-xmpp in one thread. Its receiver (6.0.0) takes a lock that its sender holds for
/// a moment; finding it taken, it waits without asking to be woken, and hears nothing any more. In one thread the
/// sender is never seen half-way.
fn on_one_thread<T>(check: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("no runtime: {error}"))?;
    runtime.block_on(check)
}

async fn start() -> Result<Option<Box<dyn Server>>, String> {
    let server = match troupe()?.start("", false).await {
        Ok(server) => server,
        Err(Failure::Failed(why)) => return Err(why),
        Err(Failure::Unable(_)) => return Ok(None),
    };
    for user in ["alice", "bob"] {
        server
            .register(&format!("{user}@localhost"), &password_of(user))
            .await?;
    }
    Ok(Some(server))
}

/// The account tokio-xmpp uses.
fn alice() -> Result<Jid, String> {
    "alice@localhost/theirs"
        .parse()
        .map_err(|_| "an address".to_owned())
}

#[test]
fn tokio_xmpp_chats_over_tcp() {
    let outcome = on_one_thread(async {
        let Some(server) = start().await? else {
            return Ok(());
        };
        let place = DnsConfig::Addr {
            addr: address(server.as_ref(), Door::Plain)?,
        };
        let theirs = tokio_xmpp::Client::new_plaintext(
            alice()?,
            password_of("alice"),
            place,
            Default::default(),
        );
        let outcome = converse(server.as_ref(), theirs).await;
        server.stop().await;
        outcome
    });
    outcome.expect("tokio-xmpp and ours hear each other");
}

fn address(server: &dyn Server, door: Door) -> Result<String, String> {
    let at = server.address(door).map_err(|Unable(why)| why)?;
    Ok(at.to_string())
}

/// What tells this program, run by itself, that its environment trusts the server's authority.
const TRUSTING: &str = "NATTER_TEST_TRUSTING";

/// tokio-xmpp reads the authorities it trusts from the environment when it first needs them, so the conversation
/// takes place in a process that was started with the right ones. A process without them must fail.
#[test]
fn tokio_xmpp_verifies_the_certificate() {
    if std::env::var_os(TRUSTING).is_some() {
        return;
    }
    let outcome = on_a_runtime(async {
        let Some(server) = start().await? else {
            return Ok(());
        };
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let (right, wrong) = (
            folder.path().join("right.pem"),
            folder.path().join("wrong.pem"),
        );
        let write = |path: &PathBuf, pem: &str| {
            std::fs::write(path, pem).map_err(|error| error.to_string())
        };
        write(&right, &server.authority_pem())?;
        write(&wrong, &tests::authority::Authority::new()?.pem())?;
        let door = address(server.as_ref(), Door::StartTls)?;
        let outcome =
            run_trusting(&right, &door).and_then(|()| match run_trusting(&wrong, &door) {
                Ok(()) => Err("a wrong authority was accepted".to_owned()),
                Err(_) => Ok(()),
            });
        server.stop().await;
        outcome
    });
    outcome.expect("only a certificate of the right authority is accepted");
}

/// Runs the login below in a process that trusts the authority in `pem`.
fn run_trusting(pem: &PathBuf, door: &str) -> Result<(), String> {
    let test = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(test)
        .args(["--exact", "in_a_process_that_trusts", "--include-ignored"])
        .env(TRUSTING, door)
        .env("SSL_CERT_FILE", pem)
        .env_remove("SSL_CERT_DIR")
        .output()
        .map_err(|error| error.to_string())?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    match output.status.success() && printed.contains("1 passed") {
        true => Ok(()),
        false => Err(printed),
    }
}

#[test]
#[ignore = "run by tokio_xmpp_verifies_the_certificate in a process of its own"]
fn in_a_process_that_trusts() {
    let door = std::env::var(TRUSTING).expect("started with the address of the server");
    let outcome = on_one_thread(async {
        let place = DnsConfig::Addr { addr: door };
        let connector = StartTlsServerConnector::from(place);
        // The client itself would try again for ever; this says at once why it cannot.
        let account = alice()?;
        let entered = connector.connect(&account, ns::JABBER_CLIENT, Timeouts::default());
        match within(entered)
            .await
            .map_err(|_| "no TLS in time".to_owned())?
        {
            Ok(_) => {}
            Err(error) => return Err(format!("tokio-xmpp: {error}")),
        }
        let password = password_of("alice");
        let mut theirs = tokio_xmpp::Client::new_with_connector(
            account,
            password,
            connector,
            Timeouts::default(),
        );
        loop {
            match within(theirs.next())
                .await
                .map_err(|_| "no login in time".to_owned())?
            {
                Some(Event::Online { .. }) => return Ok(()),
                Some(Event::Disconnected(error)) => return Err(format!("tokio-xmpp: {error}")),
                Some(Event::Stanza(_)) => {}
                None => return Err("tokio-xmpp gave up".into()),
            }
        }
    });
    outcome.expect("logged in over STARTTLS");
}
