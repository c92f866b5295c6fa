//! The client of the control door: all of `natterctl` but where it looks for the node.

use crate::frame::{Answer, Request};
use crate::parse::Given;
use crate::socket::dial;
use config::Secret;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The command was carried out.
pub const OK: i32 = 0;
/// The command failed.
pub const FAILED: i32 = 1;
/// The command line was wrong, nothing was done.
pub const USAGE: i32 = 2;
/// No node answered.
pub const NO_NODE: i32 = 3;

const USAGE_TEXT: &str = "\
usage: natterctl [--config FILE | --data-dir DIR] [--json] [--password-stdin] COMMAND [ARGUMENTS…]

  --config FILE     the node's configuration
  --data-dir DIR    the node's data directory
  --json            prints the result as JSON
  --password-stdin  reads the command's secret argument from the first line of standard input
  --                ends the options; what follows is taken as arguments

`natterctl help` asks the node for its commands, `natterctl help COMMAND` for one.
";

/// How long the node may take to answer at all, and beyond a command's deadline.
const GRACE: Duration = Duration::from_secs(10);

/// What the command line says of where the node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// `--config FILE`.
    pub config: Option<PathBuf>,
    /// `--data-dir DIR`.
    pub data_dir: Option<PathBuf>,
}

/// The people's end of the client: where it prints, and whom it asks.
pub trait Terminal {
    /// Prints a result.
    fn out(&mut self, text: &str);
    /// Prints an error or a warning.
    fn err(&mut self, text: &str);
    /// Reads the first line of standard input, without its end.
    ///
    /// # Errors
    ///
    /// Standard input cannot be read or is at its end.
    fn line(&mut self) -> io::Result<Zeroizing<String>>;
    /// Whether there is anybody to be shown how far a command has come.
    fn watches(&self) -> bool {
        false
    }
    /// Shows how far a command has come: so many of so many of what is counted.
    fn progress(&mut self, _done: u64, _total: u64, _unit: &str) {}
    /// Takes what [`Terminal::progress`] shows away.
    fn end_progress(&mut self) {}
    /// Asks for a secret without showing it; `None` where nobody can be asked.
    ///
    /// # Errors
    ///
    /// The terminal cannot be read.
    fn ask(&mut self, prompt: &str) -> Option<io::Result<Zeroizing<String>>>;
}

/// The terminal of this process.
#[derive(Default)]
struct Standard {
    bar: Option<ProgressBar>,
}

/// A bar on standard error, which counts bytes as such.
fn bar(total: u64, unit: &str) -> ProgressBar {
    let counts = match unit {
        "bytes" => "{binary_bytes} of {binary_total_bytes}",
        _ => "{human_pos} of {human_len} {msg}",
    };
    let template = format!("{{bar:40}} {{percent:>3}} %  {counts}, {{eta}} left");
    let style = ProgressStyle::with_template(&template).expect("the template is written right");
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    bar.with_style(style).with_message(unit.to_owned())
}

impl Terminal for Standard {
    fn out(&mut self, text: &str) {
        // A reader that went away has read enough.
        let _ = io::stdout().lock().write_all(text.as_bytes());
    }

    fn err(&mut self, text: &str) {
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }

    fn line(&mut self) -> io::Result<Zeroizing<String>> {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().read_line(&mut line)?;
        while line.ends_with(['\n', '\r']) {
            line.pop();
        }
        Ok(line)
    }

    fn watches(&self) -> bool {
        io::stderr().is_terminal()
    }

    fn progress(&mut self, done: u64, total: u64, unit: &str) {
        let bar = self.bar.get_or_insert_with(|| bar(total, unit));
        bar.set_length(total);
        bar.set_position(done);
    }

    fn end_progress(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn ask(&mut self, prompt: &str) -> Option<io::Result<Zeroizing<String>>> {
        io::stdin()
            .is_terminal()
            .then(|| rpassword::prompt_password(prompt).map(Zeroizing::new))
    }
}

/// Runs `natterctl` with the arguments after its name and gives its exit code: [`OK`], [`FAILED`], [`USAGE`],
/// [`NO_NODE`]. `find` says where the control socket of the node at a [`Place`] is, or why that cannot be told.
pub fn run(
    args: impl Iterator<Item = String>,
    find: impl Fn(&Place) -> Result<PathBuf, String>,
) -> i32 {
    run_on(&mut Standard::default(), args, find)
}

/// As [`run`], on another terminal.
pub fn run_on(
    terminal: &mut dyn Terminal,
    args: impl Iterator<Item = String>,
    find: impl Fn(&Place) -> Result<PathBuf, String>,
) -> i32 {
    let asked = match Asked::parse(args) {
        Ok(asked) => asked,
        Err(why) => {
            terminal.err(&format!("natterctl: {why}\n{USAGE_TEXT}"));
            return USAGE;
        }
    };
    let Some(command) = asked.command else {
        return match asked.help {
            true => {
                terminal.out(USAGE_TEXT);
                OK
            }
            false => {
                terminal.err(USAGE_TEXT);
                USAGE
            }
        };
    };
    let mut request = Request {
        command,
        given: Given::words(asked.words),
        json: asked.json,
        progress: terminal.watches(),
    };
    request.given.folder = std::env::current_dir().ok();
    if asked.password_stdin {
        match terminal.line() {
            Ok(line) if line.is_empty() => {
                terminal.err("natterctl: --password-stdin: standard input is empty\n");
                return USAGE;
            }
            Ok(line) => request.given.secrets.push(Secret::new(line.as_str())),
            Err(error) => {
                terminal.err(&format!("natterctl: --password-stdin: {error}\n"));
                return USAGE;
            }
        }
    }
    let socket = match find(&asked.place) {
        Ok(socket) => socket,
        Err(why) => {
            terminal.err(&format!("natterctl: {why}\n"));
            return USAGE;
        }
    };
    converse(terminal, &socket, request)
}

/// Asks the node; where only secrets are missing, asks the people for them and the node once more.
fn converse(terminal: &mut dyn Terminal, socket: &Path, mut request: Request) -> i32 {
    let mut asked_before = false;
    loop {
        let answer = ask(terminal, socket, &request);
        terminal.end_progress();
        match answer {
            Ok(Answer::Error {
                kind,
                message,
                secrets,
            }) if kind == "secret" && !asked_before => {
                asked_before = true;
                if let Err(why) = ask_for(terminal, &secrets, &mut request.given) {
                    terminal.err(&format!("natterctl: {}: {message}{why}\n", request.command));
                    return USAGE;
                }
            }
            Ok(Answer::Error { kind, message, .. }) => {
                terminal.err(&format!("natterctl: {message}\n"));
                return match kind.as_str() {
                    "usage" | "unknown" | "secret" => USAGE,
                    _ => FAILED,
                };
            }
            Ok(Answer::Done { output, exposed }) => {
                if exposed {
                    terminal.err(
                        "natterctl: warning: a secret on the command line can be seen by other users and is kept by \
                         the shell; leave it out to be asked for it, or use --password-stdin\n",
                    );
                }
                terminal.out(&output);
                return OK;
            }
            Ok(Answer::Wait(_) | Answer::Progress { .. }) => {
                terminal.err("natterctl: the node did not end its answer\n");
                return FAILED;
            }
            Err(AskError::NoNode(why)) => {
                terminal.err(&format!(
                    "natterctl: no node at {}: {why}\n",
                    socket.display()
                ));
                return NO_NODE;
            }
            Err(AskError::Lost(why)) => {
                terminal.err(&format!("natterctl: the node did not answer: {why}\n"));
                return FAILED;
            }
        }
    }
}

fn ask_for(terminal: &mut dyn Terminal, names: &[String], given: &mut Given) -> Result<(), String> {
    for name in names {
        let prompt = format!("{name}: ");
        match terminal.ask(&prompt) {
            None => return Err("; give it by --password-stdin".to_owned()),
            Some(Err(error)) => return Err(format!("; {error}")),
            Some(Ok(secret)) if secret.is_empty() => return Err("; nothing was typed".to_owned()),
            Some(Ok(secret)) => given.secrets.push(Secret::new(secret.as_str())),
        }
    }
    Ok(())
}

/// The command line, taken apart.
#[derive(Default)]
struct Asked {
    place: Place,
    json: bool,
    password_stdin: bool,
    help: bool,
    command: Option<String>,
    words: Vec<String>,
}

impl Asked {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Asked, String> {
        let mut asked = Asked::default();
        while let Some(arg) = args.next() {
            match (arg.as_str(), asked.command.is_some()) {
                ("--json", _) => asked.json = true,
                ("--password-stdin", _) => asked.password_stdin = true,
                ("--", true) => {
                    asked.words.push(arg);
                    asked.words.extend(args);
                    break;
                }
                (_, true) => asked.words.push(arg),
                ("--help" | "-h", false) => {
                    asked.help = true;
                    break;
                }
                ("--config", false) => asked.place.config = Some(value("--config", args.next())?),
                ("--data-dir", false) => {
                    asked.place.data_dir = Some(value("--data-dir", args.next())?)
                }
                (option, false) if option.starts_with('-') => match option.split_once('=') {
                    Some(("--config", file)) => asked.place.config = Some(file.into()),
                    Some(("--data-dir", folder)) => asked.place.data_dir = Some(folder.into()),
                    _ => return Err(unknown(option)),
                },
                (_, false) => asked.command = Some(arg),
            }
        }
        if asked.place.config.is_some() && asked.place.data_dir.is_some() {
            return Err("--config and --data-dir exclude each other".to_owned());
        }
        Ok(asked)
    }
}

fn value(option: &str, given: Option<String>) -> Result<PathBuf, String> {
    given
        .map(PathBuf::from)
        .ok_or_else(|| format!("{option} lacks its value"))
}

fn unknown(option: &str) -> String {
    let known = [
        "--config",
        "--data-dir",
        "--json",
        "--password-stdin",
        "--help",
    ];
    match config::nearest(option, known.into_iter()) {
        Some(meant) => format!("unknown option `{option}` (did you mean `{meant}`?)"),
        None => format!("unknown option `{option}`"),
    }
}

/// Why there is no answer.
enum AskError {
    /// Nobody is there.
    NoNode(String),
    /// Somebody was there and went away, or talks otherwise.
    Lost(String),
}

/// Says one request and reads its answer.
fn ask(terminal: &mut dyn Terminal, socket: &Path, request: &Request) -> Result<Answer, AskError> {
    let no_node = |error: io::Error| AskError::NoNode(error.to_string());
    let lost = |error: io::Error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            AskError::Lost("it is too slow".to_owned())
        }
        _ => AskError::Lost(error.to_string()),
    };
    let stream = dial(socket).map_err(no_node)?;
    stream.set_write_timeout(Some(GRACE)).map_err(lost)?;
    let line = Zeroizing::new(request.line());
    (&stream).write_all(line.as_bytes()).map_err(lost)?;
    let mut read = BufReader::new(&stream);
    let mut patience = GRACE;
    loop {
        stream.set_read_timeout(Some(patience)).map_err(lost)?;
        let mut line = Vec::new();
        read.read_until(b'\n', &mut line).map_err(lost)?;
        if line.is_empty() {
            return Err(AskError::Lost("it closed the connection".to_owned()));
        }
        match Answer::parse(&line) {
            Some(Answer::Wait(deadline)) => patience = deadline.saturating_add(GRACE),
            Some(Answer::Progress { done, total, unit }) => terminal.progress(done, total, &unit),
            Some(answer) => return Ok(answer),
            None => {
                return Err(AskError::Lost(
                    "it talks otherwise than this natterctl".to_owned(),
                ));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Asked, String> {
        Asked::parse(args.iter().map(|arg| (*arg).to_owned()))
    }

    #[test]
    fn options_before_the_command_are_ours() {
        let Ok(asked) = parse(&[
            "--data-dir",
            "d",
            "--json",
            "register",
            "--config",
            "x",
            "--password-stdin",
        ]) else {
            panic!("refused")
        };
        assert_eq!(asked.place.data_dir.as_deref(), Some(Path::new("d")));
        assert_eq!((asked.json, asked.password_stdin), (true, true));
        assert_eq!(asked.command.as_deref(), Some("register"));
        assert_eq!(asked.words, ["--config", "x"]);
        let Ok(asked) = parse(&["--config=c.toml", "x", "--", "--json"]) else {
            panic!("refused")
        };
        assert_eq!(asked.place.config.as_deref(), Some(Path::new("c.toml")));
        assert_eq!(
            (asked.json, asked.words),
            (false, vec!["--".to_owned(), "--json".to_owned()])
        );
    }

    #[test]
    fn wrong_options_are_named() {
        let pairs: [(&[&str], &str); 4] = [
            (
                &["--cofnig", "x"],
                "unknown option `--cofnig` (did you mean `--config`?)",
            ),
            (&["--zzzzzzzz"], "unknown option `--zzzzzzzz`"),
            (&["--config"], "--config lacks its value"),
            (
                &["--config", "a", "--data-dir=b", "x"],
                "--config and --data-dir exclude each other",
            ),
        ];
        for (args, message) in pairs {
            assert_eq!(parse(args).err().as_deref(), Some(message));
        }
    }
}
