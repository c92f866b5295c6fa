//! From words to typed arguments.

use crate::command::{Arg, ArgType, Command};
use crate::error::CommandError;
use crate::progress::Progress;
use config::{Bytes, Secret, Value as _, nearest};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroize;

/// What a caller gives to a command: words as typed, and secrets that were not typed on a command line.
///
/// Has no `Debug`: the words may hold secrets too. Zeroised when dropped.
#[derive(Clone, Default)]
pub struct Given {
    /// Arguments and switches as typed.
    pub words: Vec<String>,
    /// Values of the secret arguments in their order. With any given here, none is taken from the words.
    pub secrets: Vec<Secret>,
    /// Where relative paths among the words begin; `None`: where the node runs.
    pub folder: Option<PathBuf>,
    /// Where the command says how far it has come.
    pub progress: Progress,
}

impl Given {
    /// Gives nothing.
    pub fn nothing() -> Given {
        Given::default()
    }

    /// Gives these words.
    pub fn words<W: Into<String>>(words: impl IntoIterator<Item = W>) -> Given {
        let mut given = Given::default();
        given.words = words.into_iter().map(W::into).collect();
        given
    }

    /// Gives a secret beside the words.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Given {
        self.secrets.push(secret);
        self
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.words.zeroize();
    }
}

/// One argument, read.
enum Read {
    Text(String),
    Integer(i64),
    Duration(Duration),
    Bytes(Bytes),
    Secret(Secret),
    Pair(String, String),
}

/// The arguments of one execution, typed as the command declares them.
///
/// Asking for an argument by a name or type the command does not declare is a fault of the command and panics.
pub struct Args {
    read: BTreeMap<&'static str, Vec<Read>>,
    flags: BTreeSet<&'static str>,
    exposed: bool,
    folder: Option<PathBuf>,
    progress: Progress,
}

impl Args {
    /// Gives a required text as a path. One that is relative begins in the caller's folder, where the caller has one.
    ///
    /// # Panics
    ///
    /// It is not declared so.
    pub fn path(&self, name: &str) -> PathBuf {
        let path = PathBuf::from(self.text(name));
        match &self.folder {
            Some(folder) => folder.join(path),
            None => path,
        }
    }

    /// Gives the place to say how far the command has come.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Gives a required text, host or choice.
    ///
    /// # Panics
    ///
    /// It is not declared so.
    pub fn text(&self, name: &str) -> &str {
        self.maybe_text(name)
            .expect("the command declares the text as required")
    }

    /// Gives an optional text, host or choice.
    pub fn maybe_text(&self, name: &str) -> Option<&str> {
        self.first(name).map(|read| match read {
            Read::Text(text) => text.as_str(),
            _ => panic!("{name} is not declared as a text"),
        })
    }

    /// Gives every word of a repeated text, host or choice.
    pub fn texts(&self, name: &str) -> Vec<&str> {
        let all = self.read.get(name).map(Vec::as_slice).unwrap_or_default();
        all.iter()
            .map(|read| match read {
                Read::Text(text) => text.as_str(),
                _ => panic!("{name} is not declared as a text"),
            })
            .collect()
    }

    /// Gives a whole number, if it was given.
    pub fn integer(&self, name: &str) -> Option<i64> {
        self.first(name).map(|read| match read {
            Read::Integer(number) => *number,
            _ => panic!("{name} is not declared as a number"),
        })
    }

    /// Gives a duration, if it was given.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.first(name).map(|read| match read {
            Read::Duration(duration) => *duration,
            _ => panic!("{name} is not declared as a duration"),
        })
    }

    /// Gives a size, if it was given.
    pub fn bytes(&self, name: &str) -> Option<Bytes> {
        self.first(name).map(|read| match read {
            Read::Bytes(bytes) => *bytes,
            _ => panic!("{name} is not declared as a size"),
        })
    }

    /// Gives a required secret.
    ///
    /// # Panics
    ///
    /// It is not declared so.
    pub fn secret(&self, name: &str) -> &Secret {
        self.maybe_secret(name)
            .expect("the command declares the secret as required")
    }

    /// Gives an optional secret.
    pub fn maybe_secret(&self, name: &str) -> Option<&Secret> {
        self.first(name).map(|read| match read {
            Read::Secret(secret) => secret,
            _ => panic!("{name} is not declared as a secret"),
        })
    }

    /// Gives the `key=value` words.
    pub fn pairs(&self, name: &str) -> Vec<(&str, &str)> {
        let all = self.read.get(name).map(Vec::as_slice).unwrap_or_default();
        all.iter()
            .map(|read| match read {
                Read::Pair(key, value) => (key.as_str(), value.as_str()),
                _ => panic!("{name} is not declared as pairs"),
            })
            .collect()
    }

    /// Says whether the switch was given.
    pub fn flag(&self, name: &str) -> bool {
        self.flags.contains(name)
    }

    /// Says whether a secret stood among the words, where other people of the machine may have seen it.
    pub fn exposed(&self) -> bool {
        self.exposed
    }

    fn first(&self, name: &str) -> Option<&Read> {
        self.read.get(name).and_then(|all| all.first())
    }

    /// Prints the arguments for the log: secrets and the values of pairs as `***`.
    pub(crate) fn for_log(&self, command: &Command) -> String {
        let mut words = Vec::new();
        for arg in &command.args {
            for read in self.read.get(arg.name).into_iter().flatten() {
                words.push(match read {
                    Read::Text(text) => text.show(),
                    Read::Integer(number) => number.to_string(),
                    Read::Duration(duration) => duration.show(),
                    Read::Bytes(bytes) => bytes.show(),
                    Read::Secret(_) => "***".to_owned(),
                    Read::Pair(key, _) => format!("{key}=***"),
                });
            }
        }
        words.extend(self.flags.iter().map(|flag| format!("--{flag}")));
        words.join(" ")
    }
}

/// Reads what was given as the arguments of `command`.
///
/// # Errors
///
/// An unknown switch, a missing argument, one too many, or one that is not of its type: each names the argument and
/// ends with the usage line.
pub fn parse(command: &Command, given: &Given) -> Result<Args, CommandError> {
    let usage = |why: String| {
        CommandError::Usage(format!(
            "{}: {why}\nusage: {}",
            command.name,
            command.usage()
        ))
    };
    let mut args = Args {
        read: BTreeMap::new(),
        flags: BTreeSet::new(),
        exposed: false,
        folder: given.folder.clone(),
        progress: given.progress.clone(),
    };
    let mut named = BTreeMap::new();
    let words = split_flags(command, given, &mut args.flags, &mut named).map_err(usage)?;
    let mut words = words.into_iter();
    let mut secrets = given.secrets.iter();
    let mut missing = Vec::new();
    for arg in &command.args {
        if arg.kind == ArgType::Secret && !given.secrets.is_empty() {
            if let Some(secret) = secrets.next() {
                args.read
                    .insert(arg.name, vec![Read::Secret(secret.clone())]);
            } else if !arg.optional {
                missing.push(arg);
            }
            continue;
        }
        let taken: Vec<&str> = match (named.remove(arg.name), arg.repeated) {
            (Some(values), false) if values.len() > 1 => {
                return Err(usage(format!("--{} is given twice", arg.name)));
            }
            (Some(values), _) => values,
            (None, true) => words.by_ref().collect(),
            (None, false) => words.next().into_iter().collect(),
        };
        if taken.is_empty() && !arg.optional {
            missing.push(arg);
        }
        args.exposed |= arg.kind == ArgType::Secret && !taken.is_empty();
        let read: Result<Vec<Read>, String> =
            taken.into_iter().map(|word| read(arg, word)).collect();
        let read = read.map_err(|why| usage(format!("{}: {why}", label(arg))))?;
        if !read.is_empty() {
            args.read.insert(arg.name, read);
        }
    }
    if !missing.is_empty() {
        return Err(tell_missing(&missing, usage));
    }
    if let Some(word) = words.next() {
        return Err(usage(format!(
            "unexpected argument {}",
            word.to_owned().show()
        )));
    }
    if secrets.next().is_some() {
        return Err(usage("takes no further secret".to_owned()));
    }
    Ok(args)
}

/// Takes the switches out of the words, and the optional arguments that are given by name, as `--host HOST` or
/// `--host=HOST`; after `--` every word is an argument.
fn split_flags<'g>(
    command: &Command,
    given: &'g Given,
    flags: &mut BTreeSet<&'static str>,
    named: &mut BTreeMap<&'static str, Vec<&'g str>>,
) -> Result<Vec<&'g str>, String> {
    let by_name = |arg: &&Arg| arg.optional && arg.kind != ArgType::Secret;
    let mut words = Vec::new();
    let mut all_words = given.words.iter();
    while let Some(word) = all_words.next() {
        let Some(name) = word.strip_prefix("--") else {
            words.push(word.as_str());
            continue;
        };
        if name.is_empty() {
            words.extend(all_words.by_ref().map(String::as_str));
            break;
        }
        if let Some(flag) = command.flags.iter().find(|flag| flag.name == name) {
            flags.insert(flag.name);
            continue;
        }
        let (name, value) = match name.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (name, None),
        };
        let mut args = command.args.iter().filter(by_name);
        match args.find(|arg| arg.name == name) {
            Some(arg) => {
                let next = || all_words.next().map(String::as_str);
                let value = value
                    .or_else(next)
                    .ok_or_else(|| format!("`--{name}` lacks its value"))?;
                named.entry(arg.name).or_default().push(value);
            }
            None => {
                let args = command.args.iter().filter(by_name).map(|arg| arg.name);
                let flags = command.flags.iter().map(|flag| flag.name);
                let meant = nearest(name, flags.chain(args));
                let meant = meant
                    .map(|flag| format!(" (did you mean `--{flag}`?)"))
                    .unwrap_or_default();
                return Err(format!("unknown switch `{word}`{meant}"));
            }
        }
    }
    Ok(words)
}

fn tell_missing(missing: &[&Arg], usage: impl Fn(String) -> CommandError) -> CommandError {
    let names: Vec<String> = missing.iter().map(|arg| arg.upper_name()).collect();
    if missing.iter().all(|arg| arg.kind == ArgType::Secret) {
        return CommandError::MissingSecret(names);
    }
    let verb = if names.len() == 1 { "is" } else { "are" };
    usage(format!("{} {verb} missing", names.join(", ")))
}

fn label(arg: &Arg) -> String {
    match arg.kind {
        ArgType::Pairs => "KEY=VALUE".to_owned(),
        _ => arg.upper_name(),
    }
}

fn read(arg: &Arg, word: &str) -> Result<Read, String> {
    let quoted = || word.to_owned().show();
    match arg.kind {
        ArgType::Text if word.is_empty() => Err("is empty".to_owned()),
        ArgType::Text => Ok(Read::Text(word.to_owned())),
        ArgType::Host if word.is_empty() => Err("is empty".to_owned()),
        ArgType::Host => Ok(Read::Text(word.to_lowercase())),
        ArgType::Integer(least, most) => match word.parse::<i64>() {
            Ok(number) if (least..=most).contains(&number) => Ok(Read::Integer(number)),
            Ok(number) => Err(format!("{number} is outside {least} to {most}")),
            Err(_) => Err(format!("expected a whole number, found {}", quoted())),
        },
        ArgType::Duration => Duration::from_text(word).map(Read::Duration),
        ArgType::Bytes => Bytes::from_text(word).map(Read::Bytes),
        ArgType::Choice(words) if words.contains(&word) => Ok(Read::Text(word.to_owned())),
        ArgType::Choice(words) => {
            let meant = nearest(word, words.iter().copied());
            let meant = meant
                .map(|word| format!(" (did you mean `{word}`?)"))
                .unwrap_or_default();
            Err(format!(
                "expected one of {}, found {}{meant}",
                words.join(", "),
                quoted()
            ))
        }
        ArgType::Secret if word.is_empty() => Err("is empty".to_owned()),
        ArgType::Secret => Ok(Read::Secret(Secret::new(word))),
        ArgType::Pairs => match word.split_once('=') {
            Some((key, value)) if !key.trim().is_empty() => {
                Ok(Read::Pair(key.trim().to_owned(), value.to_owned()))
            }
            _ => Err(format!("expected key=value, found {}", quoted())),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    fn command() -> Command {
        Command::new("module_start", "Starts a module.", |_, _| async {
            Ok(Value::Nothing)
        })
        .arg(Arg::host("host", "The host."))
        .arg(Arg::text("module", "The module."))
        .arg(Arg::pairs("options", "Its options."))
        .flag("transient", "Keeps nothing.")
    }

    fn register() -> Command {
        Command::new("register", "Makes an account.", |_, _| async {
            Ok(Value::Nothing)
        })
        .arg(Arg::text("user", "The name."))
        .arg(Arg::host("host", "The host."))
        .arg(Arg::secret("password", "The password."))
        .arg(Arg::new("days", ArgType::Integer(1, 9), "How long.").optional())
    }

    fn told(command: &Command, words: &[&str]) -> String {
        match parse(command, &Given::words(words.iter().copied())) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn words_become_typed_arguments() {
        let words = [
            "LocalHost",
            "--transient",
            "mod_echo",
            "host=a.b",
            "max=1=2",
        ];
        let Ok(args) = parse(&command(), &Given::words(words)) else {
            panic!("refused")
        };
        assert_eq!(args.text("host"), "localhost");
        assert_eq!(args.text("module"), "mod_echo");
        assert_eq!(args.pairs("options"), [("host", "a.b"), ("max", "1=2")]);
        assert!(args.flag("transient"));
        assert_eq!(
            args.for_log(&command()),
            "\"localhost\" \"mod_echo\" host=*** max=*** --transient"
        );
    }

    #[test]
    fn errors_name_the_argument_and_the_usage() {
        let usage = "\nusage: module_start HOST MODULE [KEY=VALUE…] [--transient]";
        let pairs: [(&[&str], &str); 5] = [
            (&[], "module_start: HOST, MODULE are missing"),
            (&["a"], "module_start: MODULE is missing"),
            (
                &["a", "b", "c"],
                "module_start: KEY=VALUE: expected key=value, found \"c\"",
            ),
            (
                &["a", "b", "--transeint"],
                "module_start: unknown switch `--transeint` (did you mean `--transient`?)",
            ),
            (&["a", ""], "module_start: MODULE: is empty"),
        ];
        for (words, text) in pairs {
            assert_eq!(told(&command(), words), format!("{text}{usage}"));
        }
        let usage = "\nusage: register USER HOST PASSWORD [DAYS]";
        let pairs: [(&[&str], &str); 3] = [
            (&["u", "h", "p", "0"], "register: DAYS: 0 is outside 1 to 9"),
            (
                &["u", "h", "p", "x"],
                "register: DAYS: expected a whole number, found \"x\"",
            ),
            (
                &["u", "h", "p", "1", "2"],
                "register: unexpected argument \"2\"",
            ),
        ];
        for (words, text) in pairs {
            assert_eq!(told(&register(), words), format!("{text}{usage}"));
        }
    }

    #[test]
    fn optional_arguments_can_be_given_by_name() {
        let export = Command::new("export", "Writes.", |_, _| async { Ok(Value::Nothing) })
            .arg(Arg::text("file", "Where to."))
            .arg(Arg::host("host", "Of which.").optional())
            .arg(Arg::text("user", "Whose.").optional())
            .arg(Arg::pairs("host-map", "Names."))
            .flag("check", "Only looks.");
        let read = |words: &[&str]| {
            let mut given = Given::words(words.iter().copied());
            given.folder = Some("/srv/me".into());
            parse(&export, &given)
        };
        let Ok(args) = read(&[
            "--user",
            "al",
            "out",
            "--check",
            "--host=A.b",
            "--host-map",
            "x=y",
            "--host-map=z=w",
        ]) else {
            panic!("refused")
        };
        assert_eq!(args.path("file"), PathBuf::from("/srv/me/out"));
        let given = (
            args.maybe_text("host"),
            args.maybe_text("user"),
            args.flag("check"),
        );
        assert_eq!(given, (Some("a.b"), Some("al"), true));
        assert_eq!(args.pairs("host-map"), [("x", "y"), ("z", "w")]);
        let Ok(args) = read(&["/out", "a.b"]) else {
            panic!("refused")
        };
        assert_eq!(args.path("file"), PathBuf::from("/out"));
        assert_eq!(
            (args.maybe_text("host"), args.maybe_text("user")),
            (Some("a.b"), None)
        );
        let usage = "\nusage: export FILE [HOST] [USER] [KEY=VALUE…] [--check]";
        for (words, text) in [
            (&["out", "--host"][..], "export: `--host` lacks its value"),
            (
                &["out", "--host", "a", "--host=b"],
                "export: --host is given twice",
            ),
            (
                &["out", "--hosts=a"],
                "export: unknown switch `--hosts=a` (did you mean `--host`?)",
            ),
            (&["--file", "x"], "export: unknown switch `--file`"),
        ] {
            let told = read(words).err().map(|error| error.to_string());
            assert_eq!(told, Some(format!("{text}{usage}")), "{words:?}");
        }
    }

    #[test]
    fn secrets_come_beside_the_words_or_among_them() {
        let given = Given::words(["u", "h", "3"]).secret(Secret::new("--hunter2"));
        let Ok(args) = parse(&register(), &given) else {
            panic!("refused")
        };
        assert_eq!(
            (args.secret("password").expose(), args.integer("days")),
            ("--hunter2", Some(3))
        );
        assert!(!args.exposed());
        assert_eq!(args.for_log(&register()), "\"u\" \"h\" *** 3");

        let Ok(args) = parse(&register(), &Given::words(["u", "h", "--", "--p"])) else {
            panic!("refused")
        };
        assert_eq!(args.secret("password").expose(), "--p");
        assert!(args.exposed());

        let missing = parse(&register(), &Given::words(["u", "h"])).err();
        assert_eq!(
            missing,
            Some(CommandError::MissingSecret(vec!["PASSWORD".to_owned()]))
        );
    }
}
