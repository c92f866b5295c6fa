//! What a session and a message cost the server: figures for docs/PERFORMANCE.md.
//!
//! `cargo build --release -p supervisors && cargo run --release -p tests --bin measure` starts the built
//! `natterd` in a process of its own and reads what the kernel says of that process. Bounded: it makes
//! [`SESSIONS`] connections and [`MESSAGES`] messages, then ends the server.

use std::process::ExitCode;

use tests::binary::Binaries;
use tests::client::{Client, Login, password_of};
use tests::deadline::Stopwatch;
use tests::stage::{Asked, Door, Server, Troupe};

/// Idle sessions held at once.
const SESSIONS: usize = 2000;
/// Accounts they belong to.
const ACCOUNTS: usize = 20;
/// Pairs that chat.
const PAIRS: usize = 40;
/// Messages routed in all.
const MESSAGES: usize = 100_000;
/// Kernel clock ticks a second, as Linux shows them to programs everywhere.
const TICKS: f64 = 100.0;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    match runtime.block_on(measure()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_line(&format!("measure: {error}"));
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout)]
fn print_line(line: &str) {
    println!("{line}");
}

async fn measure() -> Result<(), Failed> {
    // Cargo puts the programs of one profile side by side.
    let folder = std::env::current_exe()?
        .parent()
        .ok_or("this program lies nowhere")?
        .to_owned();
    let troupe = Binaries::from(folder);
    print_line("| figure | value |\n| --- | --- |");
    // A server of its own for each memory figure: one that has freed memory would take it again.
    for (door, name) in [(Door::Plain, "plain"), (Door::StartTls, "TLS")] {
        let (server, pid) = start(&troupe).await?;
        if door == Door::Plain {
            print_line(&format!(
                "| memory, {ACCOUNTS} accounts, no session | {:.1} MB PSS |",
                pss(pid)? / 1e6
            ));
        }
        idle(&*server, pid, door, name).await?;
        server.stop().await;
    }
    let (server, pid) = start(&troupe).await?;
    for window in [1, 10] {
        chat(&*server, pid, window).await?;
    }
    server.stop().await;
    Ok(())
}

async fn start(troupe: &Binaries) -> Result<(Box<dyn Server>, u32), Failed> {
    let server = troupe
        .start("", false)
        .await
        .map_err(|failure| format!("{failure:?}"))?;
    let pid = pid_of(&*server).await?;
    for number in 0..ACCOUNTS {
        server
            .register(
                &format!("u{number}@localhost"),
                &password_of(&format!("u{number}")),
            )
            .await?;
    }
    Ok((server, pid))
}

async fn pid_of(server: &dyn Server) -> Result<u32, Failed> {
    let asked = server
        .admin(vec!["status".into()])
        .await
        .map_err(|unable| unable.0)?;
    let Asked::Output(text) = asked else {
        return Err("status was refused".into());
    };
    let line = text
        .lines()
        .find(|line| line.starts_with("pid:"))
        .ok_or("status names no pid")?;
    Ok(line.trim_start_matches("pid:").trim().parse()?)
}

/// Proportional set size of a process, in bytes.
fn pss(pid: u32) -> Result<f64, Failed> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = rollup
        .lines()
        .find(|line| line.starts_with("Pss:"))
        .ok_or("no Pss")?;
    let kilobytes: f64 = line.split_whitespace().nth(1).ok_or("no Pss")?.parse()?;
    Ok(kilobytes * 1024.0)
}

/// CPU seconds of all threads of a process so far, in user mode and in the kernel.
fn cpu(pid: u32) -> Result<f64, Failed> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .ok_or("no stat")?
        .split_whitespace()
        .collect();
    let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
    Ok(ticks / TICKS)
}

async fn idle(server: &dyn Server, pid: u32, door: Door, name: &str) -> Result<(), Failed> {
    let before = pss(pid)?;
    let started = cpu(pid)?;
    let mut held = Vec::with_capacity(SESSIONS);
    for number in 0..SESSIONS {
        held.push(log_in(server, number % ACCOUNTS, &format!("idle{number}"), door).await?);
    }
    let logins = cpu(pid)? - started;
    let after = pss(pid)?;
    let each = (after - before) / SESSIONS as f64;
    print_line(&format!(
        "| idle session, {name}, just bound ({SESSIONS} held) | {:.1} KB PSS |",
        each / 1e3
    ));
    print_line(&format!(
        "| login with SCRAM-SHA-1, {name} | {:.0} µs CPU |",
        logins / SESSIONS as f64 * 1e6
    ));
    for client in &mut held {
        client.close().await?;
    }
    Ok(())
}

async fn log_in(
    server: &dyn Server,
    account: usize,
    resource: &str,
    door: Door,
) -> Result<Client, Failed> {
    let mut login = Login::new(&format!("u{account}"), "localhost", resource);
    login.door = door;
    Ok(Client::connect(server, &login).await?)
}

/// Pairs that throw `window` messages to and fro until all are routed.
async fn chat(server: &dyn Server, pid: u32, window: usize) -> Result<(), Failed> {
    let mut pairs = Vec::new();
    for pair in 0..PAIRS {
        let left = log_in(
            server,
            pair % ACCOUNTS,
            &format!("left{pair}-{window}"),
            Door::Plain,
        )
        .await?;
        let right = log_in(
            server,
            (pair + 1) % ACCOUNTS,
            &format!("right{pair}-{window}"),
            Door::Plain,
        )
        .await?;
        pairs.push((left, right));
    }
    let started = cpu(pid)?;
    let clock = Stopwatch::start();
    let each = MESSAGES / PAIRS / 2;
    let mut games = tokio::task::JoinSet::new();
    for (mut left, mut right) in pairs {
        let (to_right, to_left) = (message(right.jid()), message(left.jid()));
        for _ in 0..window {
            left.send(&to_right).await?;
        }
        games.spawn(async move {
            for _ in 0..each {
                right.hear().await?;
                right.send(&to_left).await?;
                left.hear().await?;
                left.send(&to_right).await?;
            }
            Ok::<_, Failed>((left, right))
        });
    }
    while let Some(game) = games.join_next().await {
        game??;
    }
    let spent = cpu(pid)? - started;
    let routed = (each * PAIRS * 2) as f64;
    print_line(&format!(
        "| routed message, window {window} ({PAIRS} pairs, about 300 bytes) | {:.1} µs CPU, {:.0} a second |",
        spent / routed * 1e6,
        routed / clock.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn message(to: &str) -> String {
    let body = "The rain it raineth every day, and the server keeps its peace. ".repeat(2);
    format!(
        "<message to='{to}' type='chat' id='m1234567' xml:lang='en'><body>{body}</body>\
         <active xmlns='http://jabber.org/protocol/chatstates'/></message>"
    )
}
