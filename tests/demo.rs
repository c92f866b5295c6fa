//! `make demo`: a node in a folder of its own, two clients that chat, a service added while they do, the tree.

use std::process::ExitCode;

use tests::binary::Binaries;
use tests::client::{Client, Heard, Login, password_of};
use tests::run::{on_a_runtime, tell};
use tests::stage::{Asked, Door, Failure, Server, Troupe};

fn main() -> ExitCode {
    let played = Binaries::beside_this_program().and_then(|binaries| on_a_runtime(show(&binaries)));
    match played {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            tell(&format!("demo: {why}"));
            ExitCode::FAILURE
        }
    }
}

async fn show(binaries: &Binaries) -> Result<(), String> {
    tell("# natterd starts in a temporary folder");
    let server = match binaries.start("", false).await {
        Ok(server) => server,
        Err(Failure::Failed(why)) => return Err(why),
        Err(Failure::Unable(why)) => return Err(why.to_owned()),
    };
    let played = play(server.as_ref()).await;
    server.stop().await;
    tell("# natterd has ended");
    played
}

async fn play(server: &dyn Server) -> Result<(), String> {
    let mut people = Vec::new();
    for user in ["alice", "bob"] {
        tell(&format!("$ natterctl register {user} localhost …"));
        server
            .register(&format!("{user}@localhost"), &password_of(user))
            .await?;
        let mut login = Login::new(user, "localhost", "demo");
        login.door = Door::StartTls;
        let mut client = Client::connect(server, &login)
            .await
            .map_err(|broken| broken.to_string())?;
        client
            .become_available(0)
            .await
            .map_err(|broken| broken.to_string())?;
        tell(&format!("# {} is logged in over TLS", client.jid()));
        people.push(client);
    }
    let [alice, bob] = people.as_mut_slice() else {
        return Err("two people expected".to_owned());
    };
    exchange(alice, bob, "Good morning, Bob!").await?;
    exchange(bob, alice, "Good morning, Alice! Is there an echo in here?").await?;

    command(server, "module_start localhost mod_echo").await?;
    let (shout, echo) = ("Is there an echo?", "echo.localhost");
    say(alice, echo, shout).await?;
    let heard = hear(alice, shout).await?;
    tell(&format!("{heard} → {}: {shout}", alice.jid()));
    exchange(alice, bob, "There is one now.").await?;
    command(server, "module_stop localhost mod_echo").await?;
    command(server, "tree").await
}

async fn command(server: &dyn Server, words: &str) -> Result<(), String> {
    tell(&format!("$ natterctl {words}"));
    match server
        .admin(words.split(' ').map(str::to_owned).collect())
        .await
    {
        Ok(Asked::Output(output)) => {
            tell(output.trim_end());
            Ok(())
        }
        Ok(Asked::Refused(why)) => Err(why),
        Err(unable) => Err(unable.0.to_owned()),
    }
}

async fn exchange(from: &mut Client, to: &mut Client, text: &str) -> Result<(), String> {
    let jid = to.jid().to_owned();
    say(from, &jid, text).await?;
    let heard = hear(to, text).await?;
    tell(&format!("{heard} → {jid}: {text}"));
    Ok(())
}

async fn say(from: &mut Client, to: &str, text: &str) -> Result<(), String> {
    let message = format!("<message to='{to}' type='chat'><body>{text}</body></message>");
    from.send(&message)
        .await
        .map_err(|broken| broken.to_string())
}

/// Waits for a message with this text. Gives who sent it.
async fn hear(client: &mut Client, text: &str) -> Result<String, String> {
    loop {
        match client.hear().await.map_err(|broken| broken.to_string())? {
            Heard::Element(element) if element.name == "message" => {
                let body = element
                    .child("jabber:client", "body")
                    .map(tests::dom::Element::text);
                return match body.as_deref() == Some(text) && element.attr("type") != Some("error")
                {
                    true => Ok(element.attr("from").unwrap_or_default().to_owned()),
                    false => Err(client
                        .broken(&format!("{text:?} expected, {element} heard"))
                        .to_string()),
                };
            }
            Heard::Element(_) => {}
            Heard::Over { .. } => return Err(client.broken("the stream is over").to_string()),
        }
    }
}
