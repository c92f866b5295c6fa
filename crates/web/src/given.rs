//! From the arguments of a request to what a command is given.

use admin::{Arg, ArgType, Command, CommandError, Given};
use config::{Secret, nearest};
use serde_json::{Map, Value};

use crate::gate::Refusal;

/// What `arguments` give to `command`: names to values, those of texts as texts. Flags are `true` or `false`; repeated
/// arguments lists, or one value; pairs an object, or a list of `key=value`. What is `null` is not given.
///
/// # Errors
///
/// 400, naming the argument: unknown, missing, or of another type.
pub(crate) fn given(command: &Command, arguments: Map<String, Value>) -> Result<Given, Refusal> {
    let mut arguments: Map<String, Value> = arguments
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .collect();
    let missing: Vec<&str> = command
        .args
        .iter()
        .filter(|arg| !arg.optional && !arguments.contains_key(arg.name))
        .map(|arg| arg.name)
        .collect();
    let mut given = Given::nothing();
    for flag in &command.flags {
        match arguments.remove(flag.name) {
            None => {}
            Some(value) if is_false(&value) => {}
            Some(value) if is_true(&value) => given.words.push(format!("--{}", flag.name)),
            Some(_) => return Err(wrong(flag.name, "expected true or false")),
        }
    }
    let mut positional = Vec::new();
    let mut left_out = None;
    for arg in &command.args {
        let Some(value) = arguments.remove(arg.name) else {
            if arg.kind == ArgType::Secret && arg.optional {
                left_out = Some(arg.name);
            }
            continue;
        };
        let words = words(arg, value)?;
        if arg.kind == ArgType::Secret {
            if let Some(before) = left_out {
                return Err(wrong(arg.name, &format!("is given without `{before}`")));
            }
            given.secrets.extend(words.into_iter().map(Secret::new));
        } else if arg.optional {
            let named = words.iter().map(|word| format!("--{}={word}", arg.name));
            given.words.extend(named);
        } else if words.is_empty() {
            return Err(wrong(arg.name, "is empty"));
        } else {
            positional.extend(words);
        }
    }
    if let Some(name) = arguments.keys().next() {
        let known = command.args.iter().map(|arg| arg.name);
        let known = known.chain(command.flags.iter().map(|flag| flag.name));
        let meant = nearest(name, known);
        let meant = meant.map(|meant| format!(" (did you mean `{meant}`?)"));
        let why = format!(
            "is no argument of `{}`{}",
            command.name,
            meant.unwrap_or_default()
        );
        return Err(wrong(name, &why));
    }
    if let [first, ..] = missing.as_slice() {
        let why = match missing.as_slice() {
            [_] => format!("{first}: is missing"),
            all => format!("{}: are missing", all.join(", ")),
        };
        return Err(Refusal::new(400, "usage", why).argument(*first));
    }
    given.words.push("--".to_owned());
    given.words.extend(positional);
    Ok(given)
}

fn wrong(name: &str, why: &str) -> Refusal {
    Refusal::new(400, "usage", format!("{name}: {why}")).argument(name)
}

fn is_true(value: &Value) -> bool {
    *value == Value::Bool(true) || matches!(value.as_str(), Some("true" | "1" | ""))
}

fn is_false(value: &Value) -> bool {
    *value == Value::Bool(false) || matches!(value.as_str(), Some("false" | "0"))
}

/// The words of one argument.
fn words(arg: &Arg, value: Value) -> Result<Vec<String>, Refusal> {
    match value {
        Value::Object(pairs) if arg.kind == ArgType::Pairs => pairs
            .into_iter()
            .map(|(key, value)| Ok(format!("{key}={}", word(arg, value)?)))
            .collect(),
        Value::Array(values) if arg.repeated => {
            values.into_iter().map(|value| word(arg, value)).collect()
        }
        value => Ok(vec![word(arg, value)?]),
    }
}

fn word(arg: &Arg, value: Value) -> Result<String, Refusal> {
    match (value, arg.kind) {
        (Value::String(text), _) => Ok(text),
        (Value::Number(number), ArgType::Integer(..) | ArgType::Pairs) => Ok(number.to_string()),
        (Value::Bool(truth), ArgType::Pairs) => Ok(truth.to_string()),
        (_, ArgType::Integer(..)) => Err(wrong(arg.name, "expected a whole number")),
        _ => Err(wrong(arg.name, "expected a text")),
    }
}

/// What came of a command, for whoever is far away: usage lines are for terminals.
pub(crate) fn refusal(command: Option<&Command>, error: CommandError) -> Refusal {
    let kind = error.kind();
    match error {
        CommandError::Usage(text) => {
            let line = text.lines().next().unwrap_or_default();
            let told = command.and_then(|command| at_fault(command, line));
            match told {
                Some((name, why)) => wrong(name, why),
                None => Refusal::new(400, kind, line),
            }
        }
        CommandError::MissingSecret(names) => {
            let names: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
            let why = format!("{}: is missing", names.join(", "));
            let first = names.into_iter().next().unwrap_or_default();
            Refusal::new(400, "usage", why).argument(first)
        }
        CommandError::Unknown { .. } => Refusal::new(404, kind, error.to_string()),
        CommandError::Denied(_) => Refusal::new(403, kind, error.to_string()),
        CommandError::Failed(why) => Refusal::new(422, kind, why),
        CommandError::TimedOut(_) => Refusal::new(504, kind, error.to_string()),
        // What fell is in the log, and nobody else's affair.
        CommandError::Panicked(_) => Refusal::new(500, kind, "the command crashed"),
    }
}

/// The argument that a line `command: LABEL: why` names, and why.
fn at_fault<'a>(command: &'a Command, line: &'a str) -> Option<(&'a str, &'a str)> {
    let rest = line.strip_prefix(command.name)?.strip_prefix(": ")?;
    let (label, why) = rest.split_once(": ")?;
    let label_of = |arg: &Arg| match arg.kind {
        ArgType::Pairs => "KEY=VALUE".to_owned(),
        _ => arg.upper_name(),
    };
    let arg = command.args.iter().find(|arg| label_of(arg) == label)?;
    Some((arg.name, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn command() -> Command {
        Command::new("do", "Does.", |_, _| async { Ok(admin::Value::Nothing) })
            .arg(Arg::text("user", "Who."))
            .arg(Arg::secret("password", "With what."))
            .arg(Arg::host("host", "Where."))
            .arg(Arg::new("days", ArgType::Integer(1, 9), "How long.").optional())
            .arg(Arg::pairs("more", "More."))
            .flag("plan", "Only says.")
    }

    fn read(arguments: Value) -> Result<(Vec<String>, usize), Refusal> {
        let Value::Object(arguments) = arguments else {
            panic!("an object")
        };
        given(&command(), arguments).map(|given| (given.words.clone(), given.secrets.len()))
    }

    #[test]
    fn names_become_words_that_the_command_reads() {
        let all = json!({
            "user": "--al", "password": "--plan", "host": "A.example", "days": 3,
            "more": { "a": "b=c", "n": 1 }, "plan": true,
        });
        let Value::Object(map) = all else {
            panic!("an object")
        };
        let given = given(&command(), map).expect("good");
        let Ok(args) = admin::parse(&command(), &given) else {
            panic!("refused")
        };
        assert_eq!(
            (args.text("user"), args.text("host")),
            ("--al", "a.example")
        );
        assert_eq!((args.integer("days"), args.flag("plan")), (Some(3), true));
        assert_eq!(args.pairs("more"), [("a", "b=c"), ("n", "1")]);
        assert!(*args.secret("password") == Secret::new("--plan"));
        let least =
            json!({ "user": "al", "password": "x", "host": "h", "days": null, "plan": "false" });
        assert_eq!(
            read(least),
            Ok((["--", "al", "h"].map(str::to_owned).into(), 1))
        );
    }

    #[test]
    fn what_is_wrong_names_its_argument() {
        let full = |key: &str, value: Value| {
            let mut all = json!({ "user": "al", "password": "x", "host": "h" });
            all[key] = value;
            all
        };
        for (arguments, name, message) in [
            (
                json!({ "user": "al", "host": "h" }),
                "password",
                "password: is missing",
            ),
            (
                json!({ "user": "al" }),
                "password",
                "password, host: are missing",
            ),
            (
                full("hots", json!("x")),
                "hots",
                "hots: is no argument of `do` (did you mean `host`?)",
            ),
            (full("user", json!(7)), "user", "user: expected a text"),
            (full("user", json!(["a"])), "user", "user: expected a text"),
            (
                full("days", json!({})),
                "days",
                "days: expected a whole number",
            ),
            (
                full("plan", json!("x")),
                "plan",
                "plan: expected true or false",
            ),
        ] {
            let refused = read(arguments).expect_err(message);
            assert_eq!(
                (
                    refused.status,
                    refused.argument.as_deref(),
                    refused.message.as_str()
                ),
                (400, Some(name), message)
            );
        }
    }

    #[test]
    fn what_the_command_finds_wrong_names_its_argument_too() {
        let error = CommandError::Usage("do: DAYS: 12 is outside 1 to 9\nusage: do …".to_owned());
        let refused = refusal(Some(&command()), error);
        assert_eq!(refused.argument.as_deref(), Some("days"));
        assert_eq!(refused.message, "days: 12 is outside 1 to 9");
        let error = CommandError::Usage("do: something else".to_owned());
        let refused = refusal(Some(&command()), error);
        assert_eq!((refused.status, refused.argument), (400, None));
    }
}
