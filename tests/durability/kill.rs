//! `kill -9` under roster sets, messages for somebody who is away, and registrations.

use std::collections::BTreeSet;
use std::sync::Arc;

use tests::client::{Client, Login, password_of, unguessable};
use tests::deadline::within;
use tests::numbered::{Talker, Tally, settle_accounts};
use tests::program::{Place, Program, Signal};
use tests::stage::{Asked, Server};
use tokio::sync::watch;

/// How often it is killed.
const ROUNDS: u64 = 6;

/// The most answered writes of each kind before it is killed; the least is one.
const MOST: u64 = 40;

/// What one kind of writer was answered, over all rounds. `next` numbers its writes, answered or not.
#[derive(Default)]
struct Written {
    answered: BTreeSet<String>,
    next: u64,
}

/// In several rounds everything is killed at a random moment and looked at after a restart.
pub async fn under_load() -> Result<(), String> {
    let place = Place::new("[modules.mod_offline]\nmax_messages = 1000000\n").await?;
    let mut program = Arc::new(place.start().await?);
    for user in ["alice", "bob", "carol"] {
        program
            .register(&format!("{user}@localhost"), &password_of(user))
            .await?;
    }
    let (mut roster, mut accounts) = (Written::default(), Written::default());
    let tally = Tally::default();
    for round in 0..ROUNDS {
        let goal = 1 + random() % MOST;
        let progress = watch::Sender::new((0, 0));
        let server: Arc<dyn Server> = program.clone();
        // Another name in each round, so that the numbers of its messages are its own.
        let login = Login::new("bob", "localhost", &format!("round-{round}"));
        let talker = Talker::enter_once_as(
            server,
            login,
            &format!("bob{round}"),
            &["carol@localhost"],
            &tally,
        )
        .await?;
        talker.talk();
        let enough = async {
            let mut seen = progress.subscribe();
            let written =
                seen.wait_for(|(items, users)| *items >= goal && *users >= goal.div_ceil(4));
            written.await.map_err(|_| "nobody writes".to_owned())?;
            talker.rounds_more(goal.div_ceil(4)).await?;
            program.signal(Signal::Kill).await
        };
        // The writers go on until the program is gone.
        let (set, registered, killed) = tokio::join!(
            set_items(&program, &mut roster, &progress),
            register_users(&program, &mut accounts, &progress),
            within(enough),
        );
        killed.map_err(|_| format!("round {round}: too slow to reach {goal} writes"))??;
        set?;
        registered?;
        talker.over().await?;
        program.ended().await?;
        program = Arc::new(place.start().await?);
        look(&program, &roster, &accounts)
            .await
            .map_err(|why| format!("round {round}: {why}"))?;
    }
    let server: Arc<dyn Server> = program.clone();
    let carol = Talker::enter(server, Login::new("carol", "localhost", "pad"), &[], &tally).await?;
    settle_accounts(&*program, &[&carol], &tally).await
}

fn random() -> u64 {
    u64::from_str_radix(&unguessable()[..15], 16).expect("hexadecimal digits")
}

/// Alice adds contacts one after the other until the connection is gone.
async fn set_items(
    program: &Arc<Program>,
    written: &mut Written,
    progress: &watch::Sender<(u64, u64)>,
) -> Result<(), String> {
    let mut alice = Client::connect(&**program, &Login::new("alice", "localhost", "desk"))
        .await
        .map_err(|broken| broken.to_string())?;
    loop {
        written.next += 1;
        let jid = format!("contact{}@elsewhere.example", written.next);
        let item =
            format!("<query xmlns='jabber:iq:roster'><item jid='{jid}' name='{jid}'/></query>");
        let Ok(answer) = alice.ask("set", None, &item).await else {
            return Ok(());
        };
        if answer.attr("type") != Some("result") {
            return Err(format!("a roster set was refused: {answer}"));
        }
        written.answered.insert(jid);
        progress.send_modify(|(items, _)| *items += 1);
    }
}

/// An administrator registers accounts one after the other until nobody answers.
async fn register_users(
    program: &Arc<Program>,
    written: &mut Written,
    progress: &watch::Sender<(u64, u64)>,
) -> Result<(), String> {
    loop {
        written.next += 1;
        let user = format!("user{}", written.next);
        if program
            .register(&format!("{user}@localhost"), &password_of(&user))
            .await
            .is_err()
        {
            return Ok(());
        }
        written.answered.insert(user);
        progress.send_modify(|(_, users)| *users += 1);
    }
}

/// Everything that was answered is there.
async fn look(program: &Arc<Program>, roster: &Written, accounts: &Written) -> Result<(), String> {
    let say = |broken: tests::wire::Broken| broken.to_string();
    let mut alice = Client::connect(&**program, &Login::new("alice", "localhost", "desk"))
        .await
        .map_err(say)?;
    let fetched = alice.fetch_roster().await.map_err(say)?;
    let query = fetched
        .child("jabber:iq:roster", "query")
        .ok_or("no roster")?;
    let items: BTreeSet<String> = query
        .children()
        .filter_map(|item| item.attr("jid").map(str::to_owned))
        .collect();
    let lost: Vec<_> = roster.answered.difference(&items).collect();
    if !lost.is_empty() {
        return Err(format!(
            "{} contacts are lost, such as {:?}",
            lost.len(),
            lost.first()
        ));
    }
    alice.close().await.map_err(say)?;
    let listed = match program
        .admin(
            ["registered_users", "localhost"]
                .map(str::to_owned)
                .to_vec(),
        )
        .await
    {
        Ok(Asked::Output(text)) => text,
        other => return Err(format!("registered_users: {other:?}")),
    };
    let listed: BTreeSet<String> = listed
        .split_whitespace()
        .map(|word| word.split('@').next().unwrap_or(word).to_owned())
        .collect();
    let lost: Vec<_> = accounts.answered.difference(&listed).collect();
    if !lost.is_empty() {
        return Err(format!(
            "{} accounts are lost, such as {:?}",
            lost.len(),
            lost.first()
        ));
    }
    // An account is there with its credentials: the last that was answered can log in.
    let last = format!("user{}", accounts.next - 1);
    if accounts.answered.contains(&last) {
        let mut user = Client::connect(&**program, &Login::new(&last, "localhost", "x"))
            .await
            .map_err(say)?;
        user.close().await.map_err(say)?;
    }
    Ok(())
}
