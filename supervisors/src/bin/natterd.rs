//! `natterd`: the server, in the foreground, logging to stderr.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser};
use otp::Clock;
use supervisors::settings::Place;
use supervisors::{CATALOG, STANDARD, Server, ServerError};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Stanzas are made by one thread and freed by another all the time, which the C library's allocator serialises: a tenth
/// of a message's cost (docs/PERFORMANCE.md).
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit codes beside 0: the server could not run, and its configuration is wrong.
const FAILED: u8 = 1;
const MISCONFIGURED: u8 = 2;

/// An XMPP server.
#[derive(Parser)]
#[command(name = "natterd", version, about)]
struct Words {
    /// Configuration file; without it /etc/natter/natter.toml, and without that none.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where data are kept, whatever the file says.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Only say whether the configuration is good.
    #[arg(long)]
    check: bool,
    /// Print a page of the documentation: protocols, hooks, config or commands; natterd.8, natterctl.8, or a completion such as natterctl.bash.
    #[arg(long, value_name = "PAGE", hide = true)]
    print_doc: Option<String>,
}

fn main() -> ExitCode {
    // The allocator asks for its memory by the gigabyte and fills it bit by bit: pages of 2 MiB make ten megabytes of nothing
    // resident. A kernel that does not know the word goes on as it is.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let words = Words::parse();
    let place = Place {
        file: words.config.clone(),
        data_dir: words.data_dir.clone(),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return complain(FAILED, &format!("cannot start: {error}")),
    };
    if let Some(page) = &words.print_doc {
        return runtime.block_on(print(page));
    }
    let loaded = match place.load(CATALOG, STANDARD) {
        Ok(loaded) => loaded,
        Err(error) => return complain(MISCONFIGURED, &error.to_string()),
    };
    if words.check {
        return match supervisors::check(&loaded, &Clock::real()) {
            Ok(notes) => say(&format!("{notes}configuration is good\n")),
            Err(error) => complain(code_of(&error), &error.to_string()),
        };
    }
    let filter = std::env::var("NATTER_LOG").unwrap_or_else(|_| loaded.settings.log.clone());
    let filter = match EnvFilter::try_new(&filter) {
        Ok(filter) => filter,
        Err(error) => return complain(MISCONFIGURED, &format!("log: `{filter}`: {error}")),
    };
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .with_filter_reloading();
    let handle = log.reload_handle();
    log.init();
    raise_file_limit();
    let (code, again) = runtime.block_on(async {
        match Server::start_loaded(place, loaded, Clock::real()).await {
            Ok(server) => {
                server.on_log(move |directives| {
                    // The environment wins, as at start. Directives were found good before they come here.
                    if std::env::var_os("NATTER_LOG").is_none()
                        && let Ok(filter) = EnvFilter::try_new(directives)
                        && let Err(error) = handle.reload(filter)
                    {
                        tracing::error!(target: "natter::node", %error, "log directives not changed");
                    }
                });
                (run(&server).await, server.starts_again())
            }
            Err(error) => (complain(code_of(&error), &error.to_string()), false),
        }
    });
    // A store's thread that hangs must not keep the program.
    runtime.shutdown_background();
    if again { start_again() } else { code }
}

/// Makes this process the program anew, with the words it was started with: who watches it by its number, such as
/// systemd, sees no end.
fn start_again() -> ExitCode {
    use std::os::unix::process::CommandExt;
    let mut words = std::env::args_os();
    let program = std::env::current_exe()
        .ok()
        .or_else(|| words.next().map(PathBuf::from));
    let Some(program) = program else {
        return complain(
            FAILED,
            "cannot start again: the program's own name is not known",
        );
    };
    // The program may have been replaced by a newer one: Linux then says where the old one was.
    let program = match program.to_string_lossy().strip_suffix(" (deleted)") {
        Some(path) => PathBuf::from(path),
        None => program,
    };
    let error = std::process::Command::new(&program)
        .args(std::env::args_os().skip(1))
        .exec();
    complain(
        FAILED,
        &format!("cannot start {} again: {error}", program.display()),
    )
}

fn code_of(error: &ServerError) -> u8 {
    if error.is_configuration() {
        MISCONFIGURED
    } else {
        FAILED
    }
}

async fn run(server: &Server) -> ExitCode {
    let mut ready = String::from("natterd ready");
    for address in server.addresses() {
        ready.push_str(&format!(
            " {}={} ({})",
            address.kind, address.at, address.tls
        ));
    }
    ready.push('\n');
    say(&ready);
    let supervisor = Systemd::find();
    supervisor.say("READY=1\nSTATUS=all listeners are open");
    match server.first_words().await {
        Ok(Some(words)) => drop(complain(0, &words)),
        Ok(None) => {}
        Err(error) => tracing::warn!(target: "natter::node", %error, "accounts not counted"),
    }
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    );
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = signals else {
        return complain(FAILED, "cannot listen to signals");
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = server.stop_ordered() => break,
            reason = server.failed() => {
                return complain(FAILED, &format!("the supervision tree gave up: {reason}"));
            }
            _ = hangup.recv() => {
                supervisor.say(&format!("RELOADING=1\nMONOTONIC_USEC={}", monotonic_micros()));
                match server.reload().await {
                    Ok(changes) => changes.iter().for_each(|c| tracing::info!(target: "natter::node", "reload: {c}")),
                    Err(why) => tracing::error!(target: "natter::node", "reload: {why}"),
                }
                supervisor.say("READY=1");
            }
            () = supervisor.heartbeat() => supervisor.say("WATCHDOG=1"),
        }
    }
    tracing::info!(target: "natter::node", "stopping");
    supervisor.say("STOPPING=1");
    match server.stop().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => complain(FAILED, "the orderly end took too long and was cut short"),
    }
}

/// systemd, where it started this program with `Type=notify` and wants to be told.
struct Systemd {
    #[cfg(target_os = "linux")]
    notify: Option<net::Notify>,
    /// Half of the time after which it takes silence for a hang (`WATCHDOG_USEC`).
    beat: Option<Duration>,
    clock: Clock,
}

impl Systemd {
    fn find() -> Systemd {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let is_ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let beat = number("WATCHDOG_USEC").filter(|_| is_ours);
        Systemd {
            #[cfg(target_os = "linux")]
            notify: std::env::var("NOTIFY_SOCKET").ok().and_then(|address| {
                let found = net::Notify::new(&address);
                found
                    .inspect_err(|error| tracing::warn!(target: "natter::node", address, %error, "NOTIFY_SOCKET is of no use"))
                    .ok()
            }),
            beat: beat.map(|micros| Duration::from_micros(micros / 2)),
            clock: Clock::real(),
        }
    }

    fn say(&self, state: &str) {
        #[cfg(target_os = "linux")]
        if let Some(notify) = &self.notify
            && let Err(error) = notify.say(state)
        {
            tracing::warn!(target: "natter::node", %error, state, "systemd was not told");
        }
    }

    /// Resolves when a sign of life is due; never where none is wanted.
    async fn heartbeat(&self) {
        match self.beat {
            Some(beat) => self.clock.sleep(beat).await,
            None => std::future::pending().await,
        }
    }
}

/// CLOCK_MONOTONIC, which systemd compares a reload's begin with.
fn monotonic_micros() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000
        + u64::try_from(now.tv_nsec).unwrap_or(0) / 1000
}

/// Raises the limit of open files to what this process may have: each connection is one.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    match setrlimit(Resource::Nofile, limit) {
        Ok(()) => tracing::info!(target: "natter::node", files = ?limit.current, "file limit"),
        Err(error) => tracing::warn!(target: "natter::node", %error, "file limit not raised"),
    }
}

async fn print(page: &str) -> ExitCode {
    let text = match page {
        "protocols" => supervisors::docs::protocols(),
        "hooks" => supervisors::docs::hooks(),
        "config" => supervisors::docs::config(),
        "commands" => match supervisors::docs::commands().await {
            Ok(text) => text,
            Err(error) => return complain(FAILED, &error),
        },
        other => match supervisors::manual::page(other, Words::command()).await {
            Some(Ok(text)) => text,
            Some(Err(error)) => return complain(FAILED, &error),
            None => {
                return complain(
                    MISCONFIGURED,
                    &format!(
                        "`{other}` is none of protocols, hooks, config, commands, PROGRAM.8, PROGRAM.SHELL"
                    ),
                );
            }
        },
    };
    say(&text)
}

fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(FAILED),
    }
}

fn complain(code: u8, text: &str) -> ExitCode {
    // Nobody hears it: the code still tells.
    let _ = writeln!(std::io::stderr().lock(), "natterd: {text}");
    ExitCode::from(code)
}
