//! What can be asked on the command line, and how a run is put together.

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::failure::Failure;
use crate::outcome::Outcome;
use crate::proc::{self, Watched};
use crate::report::{Results, pages, plot, targets};
use crate::scram::{KeyCache, Mechanism};
use crate::target::{Target, Tls, Trust, connector};
use crate::work::{self, Run};
use crate::{progress, relay};

/// Load for any XMPP server, and what it costs.
///
/// Ends with 0 when all was done, 1 when the server or the way to it failed, 2 when the command line asks for what cannot be.
#[derive(Debug, Parser)]
#[command(name = "natter-load", version)]
pub struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    workload: Workload,
}

/// Options of every workload.
#[derive(Debug, Args)]
struct Common {
    /// Where the server is: a name or an address.
    #[arg(long, global = true, default_value = "127.0.0.1")]
    host: String,
    /// Its port; 5222, or 5223 with direct TLS.
    #[arg(long, global = true)]
    port: Option<u16>,
    /// Hosts that it serves; accounts are spread over them.
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        default_value = "localhost"
    )]
    domain: Vec<String>,
    /// Domain of its rooms; conference.DOMAIN unless said.
    #[arg(long, global = true)]
    muc_domain: Option<String>,
    /// How the wire is protected.
    #[arg(long, global = true, value_enum, default_value_t = Tls::Off)]
    tls: Tls,
    /// PEM file with the authorities whose certificates are believed.
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Believe every certificate.
    #[arg(long, global = true)]
    insecure: bool,
    /// Resume TLS sessions by tickets, as clients that come back do; else each handshake is a whole one.
    #[arg(long, global = true)]
    tls_resume: bool,
    /// How clients log in.
    #[arg(long, global = true, value_enum, default_value_t = Mechanism::ScramSha1)]
    mechanism: Mechanism,
    /// What accounts are called, before their number.
    #[arg(long, global = true, default_value = "load")]
    prefix: String,
    /// The password of all accounts.
    #[arg(long, global = true, default_value = "load-secret")]
    password: String,
    /// The accounts exist: register none.
    #[arg(long, global = true)]
    no_register: bool,
    /// The server's process, when it runs on this machine: its CPU time and memory are read, with its children's.
    #[arg(long, global = true, value_name = "PID")]
    server_pid: Option<u32>,
    /// How many log in or register at the same time.
    #[arg(long, global = true, default_value_t = 20)]
    concurrency: usize,
    /// Seconds that one step may take.
    #[arg(long, global = true, default_value_t = 30)]
    timeout: u64,
    /// Seconds that the whole run may take.
    #[arg(long, global = true, default_value_t = 900)]
    max_seconds: u64,
    /// NAME=VALUE to be told in the line of JSON, such as server=ejabberd.
    #[arg(long, global = true, value_name = "NAME=VALUE")]
    tag: Vec<String>,
    /// File to which the lines of JSON are added.
    #[arg(long, global = true, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the lines of JSON alone, no tables.
    #[arg(long, global = true)]
    json: bool,
    /// Draw no progress bar.
    #[arg(long, global = true)]
    no_progress: bool,
}

#[derive(Debug, Subcommand)]
enum Workload {
    /// Connect, authenticate, bind, fetch the roster, become available.
    Login(work::login::Options),
    /// Hold sessions that do nothing: memory and CPU time of each.
    Idle(work::idle::Options),
    /// Messages between pairs, in a closed loop or at a fixed rate.
    Chat(work::chat::Options),
    /// Questions: ping, service discovery, roster.
    Iq(work::iq::Options),
    /// A room with many occupants.
    Muc(work::muc::Options),
    /// Presence among friends, broadcast by all.
    Presence(work::presence::Options),
    /// Messages to who is away, kept and handed out.
    Offline(work::offline::Options),
    /// Clients that come and are gone without a goodbye.
    Churn(work::churn::Options),
    /// Everybody comes back at once, while others go on.
    Storm(work::storm::Options),
    /// Register many accounts and log each in once: a server that has seen some life.
    Age(work::age::Options),
    /// How the costs grow: with sessions, hosts, contacts, resources, bytes.
    Growth(work::growth::Options),
    /// Start a server: how long until it accepts a connection, and what it weighs.
    Start(work::start::Options),
    /// Make tables and plots of many runs' lines of JSON.
    Report(ReportOptions),
    /// Be the floor: relay bytes as cheaply as can be, for the other workloads to run against.
    Relay(RelayOptions),
}

/// A server that only pretends.
#[derive(Debug, Args)]
struct RelayOptions {
    /// Where it listens; port 0 picks a free one, which the first line on stdout names.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

/// Medians with their spread, targets held against them, plots.
#[derive(Debug, Args)]
struct ReportOptions {
    /// Folder with `results.jsonl`, what --out wrote with the tags server and state; `head.md`, what is to stand before
    /// the tables, and `failed.txt`, a line a run that failed, may lie beside it.
    folder: PathBuf,
    /// JSON file with a list of targets.
    #[arg(long, value_name = "FILE")]
    targets: Option<PathBuf>,
    /// The server that the targets are for.
    #[arg(long, default_value = "natterd")]
    subject: String,
    /// The server that nobody can beat.
    #[arg(long, default_value = "floor")]
    floor: String,
    /// Page into which the tables are put, between two marks; stdout unless said.
    #[arg(long, value_name = "FILE")]
    into: Option<PathBuf>,
    /// Folder for the plots; none are drawn unless said.
    #[arg(long, value_name = "FOLDER")]
    plots: Option<PathBuf>,
}

/// Does what the command line asks.
///
/// # Errors
///
/// A sentence; its kind says what the program ends with.
pub fn run(cli: Cli) -> Result<(), Failure> {
    proc::raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("starting a runtime: {error}")))?;
    let local = LocalSet::new();
    let Cli { common, workload } = cli;
    match &workload {
        Workload::Relay(options) => return local.block_on(&runtime, listen(options.listen)),
        Workload::Report(options) => return report(options),
        _ => {}
    }
    if common.no_progress {
        progress::hush();
    }
    let tags = tags(&common.tag)?;
    let most = Duration::from_secs(common.max_seconds);
    let out = common.out.clone();
    let only_json = common.json;
    let run = prepare(common)?;
    let work = async {
        match tokio::time::timeout(most, perform(&run, &workload)).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(format!(
                "not done within {} s (--max-seconds)",
                most.as_secs()
            ))),
        }
    };
    let outcomes = local.block_on(&runtime, work)?;
    print(&outcomes, &tags, out, only_json)
}

async fn perform(run: &Run, workload: &Workload) -> Result<Vec<Outcome>, Failure> {
    match workload {
        Workload::Login(options) => work::login::run(run, options).await,
        Workload::Idle(options) => work::idle::run(run, options).await,
        Workload::Chat(options) => work::chat::run(run, options).await,
        Workload::Iq(options) => work::iq::run(run, options).await,
        Workload::Muc(options) => work::muc::run(run, options).await,
        Workload::Presence(options) => work::presence::run(run, options).await,
        Workload::Offline(options) => work::offline::run(run, options).await,
        Workload::Churn(options) => work::churn::run(run, options).await,
        Workload::Storm(options) => work::storm::run(run, options).await,
        Workload::Age(options) => work::age::run(run, options).await,
        Workload::Growth(options) => work::growth::run(run, options).await,
        Workload::Start(options) => work::start::run(run, options).await,
        Workload::Relay(_) | Workload::Report(_) => Ok(Vec::new()),
    }
}

fn report(options: &ReportOptions) -> Result<(), Failure> {
    let results = Results::read_file(&options.folder.join("results.jsonl"))?;
    let targets = match &options.targets {
        Some(file) => targets::read_file(file)?,
        None => Vec::new(),
    };
    let beside =
        |name: &str| std::fs::read_to_string(options.folder.join(name)).unwrap_or_default();
    let mut head = beside("head.md");
    for (name, value) in proc::machine() {
        head.push_str(&format!("\n- {name}: {value}"));
    }
    let drawn = match &options.plots {
        Some(folder) => plot::draw(&results, folder)?,
        None => Vec::new(),
    };
    let near = options.plots.as_deref().map(|folder| match &options.into {
        Some(page) => folder
            .strip_prefix(page.parent().unwrap_or(folder))
            .unwrap_or(folder),
        None => folder,
    });
    let plots: Vec<(String, String)> = drawn
        .into_iter()
        .map(|(title, file)| {
            (
                title,
                near.unwrap_or(Path::new(""))
                    .join(file)
                    .display()
                    .to_string(),
            )
        })
        .collect();
    let cast = pages::Cast {
        subject: &options.subject,
        floor: &options.floor,
    };
    let printed = pages::print(
        &results,
        &targets,
        cast,
        &head,
        &beside("failed.txt"),
        &plots,
    );
    let Some(page) = &options.into else {
        return say(&printed);
    };
    let wrong = |error: std::io::Error| Failure::new(format!("--into {}: {error}", page.display()));
    let before = std::fs::read_to_string(page).map_err(wrong)?;
    std::fs::write(page, pages::put_between_marks(&before, &printed)?).map_err(wrong)
}

async fn listen(address: SocketAddr) -> Result<(), Failure> {
    let wrong = |error: std::io::Error| Failure::new(format!("listening on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(wrong)?;
    let bound = listener.local_addr().map_err(wrong)?;
    say(&format!("natter-load relay listens on {bound}\n"))?;
    relay::serve(listener).await
}

fn prepare(common: Common) -> Result<Run, Failure> {
    let port = common.port.unwrap_or(match common.tls {
        Tls::Direct => 5223,
        Tls::Off | Tls::Starttls => 5222,
    });
    let unknown =
        |why: &dyn std::fmt::Display| Failure::Usage(format!("--host {}: {why}", common.host));
    let address = (common.host.as_str(), port)
        .to_socket_addrs()
        .map_err(|error| unknown(&error))?
        .next()
        .ok_or_else(|| unknown(&"no address has this name"))?;
    let connector = match (common.tls, &common.ca, common.insecure) {
        (Tls::Off, None, false) => None,
        (Tls::Off, _, _) => {
            return Err(Failure::Usage(
                "--ca and --insecure mean nothing without --tls".to_owned(),
            ));
        }
        (_, Some(file), false) => Some(connector(Trust::Authorities(file), common.tls_resume)?),
        (_, None, true) => Some(connector(Trust::Anything, common.tls_resume)?),
        _ => {
            return Err(Failure::Usage(
                "--tls needs either --ca FILE, whose certificates to believe, or --insecure"
                    .to_owned(),
            ));
        }
    };
    let first = common.domain.first().cloned().unwrap_or_default();
    if common.domain.iter().any(String::is_empty) {
        return Err(Failure::Usage("--domain is empty".to_owned()));
    }
    let target = Target {
        address,
        muc_domain: common
            .muc_domain
            .unwrap_or_else(|| format!("conference.{first}")),
        domains: common.domain,
        tls: common.tls,
        connector,
        mechanism: common.mechanism,
        prefix: common.prefix,
        password: common.password,
        within: Duration::from_secs(common.timeout),
        keys: KeyCache::default(),
    };
    Ok(Run {
        target: Rc::new(target),
        server: common.server_pid.map(Watched::new).transpose()?,
        register: !common.no_register,
        at_once: common.concurrency.max(1),
    })
}

fn tags(words: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let split = |word: &String| {
        let (name, value) = word
            .split_once('=')
            .ok_or_else(|| Failure::Usage(format!("--tag {word}: NAME=VALUE expected")))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    words.iter().map(split).collect()
}

fn print(
    outcomes: &[Outcome],
    tags: &[(String, String)],
    file: Option<PathBuf>,
    only_json: bool,
) -> Result<(), Failure> {
    let mut lines = String::new();
    for outcome in outcomes {
        let line = outcome.json(tags);
        if !only_json {
            say(&outcome.table())?;
        }
        lines.push_str(&line);
        lines.push('\n');
    }
    say(&lines)?;
    let Some(file) = file else {
        return Ok(());
    };
    let wrong = |error: std::io::Error| Failure::new(format!("--out {}: {error}", file.display()));
    let mut out = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&file)
        .map_err(wrong)?;
    out.write_all(lines.as_bytes()).map_err(wrong)
}

fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::new(format!("writing to stdout: {error}")))
}
