//! The node's own commands as ad-hoc commands: forms out of their declared arguments, and their results as forms.

use admin::{Arg, ArgType, Caller, Command, CommandError, Given, Hosts, Scope, Value, render};
use config::Secret;
use gen_mod::prelude::*;

use crate::adhoc::{Field, FieldKind, Filled, Form, NoteKind, Step};

/// What the nodes of these commands begin with.
const PREFIX: &str = "natter/";

/// The command that a node names.
pub(super) fn name_of(node: &str) -> Option<&str> {
    node.strip_prefix(PREFIX)
}

/// Node and name of every command that the caller may give here.
pub(super) fn offered(host: &Host, caller: &Caller) -> Vec<(String, String)> {
    let all = host.commands.list_on(&host.name).into_iter();
    all.filter(|command| may(host, caller, command))
        .map(|command| (format!("{PREFIX}{}", command.name), command.doc.to_owned()))
        .collect()
}

/// Whether the caller's role and hosts allow the command; the registry asks again when it is given.
fn may(host: &Host, caller: &Caller, command: &Command) -> bool {
    let there = match command.scope {
        Scope::Node => caller.hosts == Hosts::All,
        Scope::Host => caller.hosts.contain(&host.name),
        Scope::Anywhere => true,
    };
    caller.role >= command.role && there
}

/// Asks for the command's arguments, then carries it out. One that takes none and gives nothing only changes
/// something: it is asked for as well, so that nobody stops a server by a slip.
///
/// # Errors
///
/// `item-not-found`: no such command; `forbidden`: it is not the caller's to give; `not-acceptable`: an argument
/// is missing or cannot be read.
pub(super) async fn step(
    host: &Host,
    caller: &Caller,
    name: &str,
    filled: &[Filled],
) -> Result<Step, StanzaError> {
    let all = host.commands.list_on(&host.name);
    let Some(command) = all.into_iter().find(|command| command.name == name) else {
        return Err(Condition::ItemNotFound.text("there is no such command"));
    };
    if !may(host, caller, &command) {
        return Err(Condition::Forbidden.into());
    }
    let asks = !command.args.is_empty() || !command.flags.is_empty() || command.result == "nothing";
    let given = match filled.first() {
        None if asks => return Ok(Step::ask(form(host, &command))),
        None => Given::nothing(),
        Some(filled) => given(&command, filled)?,
    };
    match host.commands.execute(caller, name, &given).await {
        Ok(value) => Ok(told(&command, &value)),
        Err(CommandError::Denied(why)) => Err(Condition::Forbidden.text(why)),
        Err(error @ (CommandError::Usage(_) | CommandError::MissingSecret(_))) => {
            Err(Condition::NotAcceptable.text(error.to_string()))
        }
        Err(CommandError::Unknown { .. }) => Err(Condition::ItemNotFound.into()),
        // §3.6: it ended, and it failed.
        Err(error) => Ok(Step::Done {
            result: None,
            note: Some((NoteKind::Error, error.to_string())),
        }),
    }
}

fn form(host: &Host, command: &Command) -> Form {
    let mut form = Form::new(command.name, command.doc);
    for arg in &command.args {
        let multi = arg.repeated || arg.kind == ArgType::Pairs;
        let kind = match arg.kind {
            _ if multi => FieldKind::TextMulti,
            ArgType::Secret => FieldKind::TextPrivate,
            ArgType::Choice(_) => FieldKind::ListSingle,
            _ => FieldKind::TextSingle,
        };
        let mut field = Field::new(kind, arg.name, label(arg));
        field.required = !arg.optional;
        match arg.kind {
            ArgType::Choice(words) => {
                let options = words.iter().map(|word| ((*word).into(), (*word).into()));
                field.options.extend(options);
            }
            ArgType::Host if !arg.optional => field = field.with([&*host.name]),
            _ => {}
        }
        form = form.field(field);
    }
    for flag in &command.flags {
        form = form.field(Field::new(FieldKind::Boolean, flag.name, flag.doc).with(["0"]));
    }
    form
}

fn label(arg: &Arg) -> String {
    let kind = match arg.kind {
        ArgType::Integer(least, most) => format!(" (whole number, {least} to {most})"),
        ArgType::Duration => " (such as 5 s)".to_owned(),
        ArgType::Bytes => " (such as 256 KiB)".to_owned(),
        ArgType::Pairs => " (key=value, one a line)".to_owned(),
        _ if arg.repeated => " (one a line)".to_owned(),
        _ => String::new(),
    };
    format!("{}{kind}", arg.doc)
}

/// The words of a command line out of a form.
///
/// # Errors
///
/// `not-acceptable`: an argument is missing that others follow.
fn given(command: &Command, filled: &Filled) -> Result<Given, StanzaError> {
    let mut given = Given::nothing();
    let switches = command.flags.iter().filter(|flag| filled.is_yes(flag.name));
    given
        .words
        .extend(switches.map(|flag| format!("--{}", flag.name)));
    // What was filled in is an argument, whatever it begins with.
    given.words.push("--".to_owned());
    let mut missing: Option<&Arg> = None;
    for arg in &command.args {
        let values = filled.all(arg.name);
        if values.is_empty() {
            missing = missing.or(Some(arg));
            continue;
        }
        if let Some(missing) = missing {
            return Err(Condition::NotAcceptable.text(format!("{} is missing", missing.name)));
        }
        if arg.kind == ArgType::Secret {
            given = given.secret(Secret::new(values[0]));
        } else if arg.repeated || arg.kind == ArgType::Pairs {
            given.words.extend(values.into_iter().map(str::to_owned));
        } else {
            given.words.push(values[0].to_owned());
        }
    }
    Ok(given)
}

/// What came of it: a form for what has parts, a note for a word.
fn told(command: &Command, value: &Value) -> Step {
    let form = Form::new(command.name, command.doc);
    let line = |value: &Value| render(value).trim_end().to_owned();
    match value {
        Value::Nothing => Step::said("Done."),
        Value::Text(text) if text.is_empty() => Step::said("Done."),
        Value::Text(text) if !text.contains('\n') => Step::said(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Bool(_) => Step::said(line(value)),
        Value::Text(_) | Value::Tree { .. } => {
            let text = render(value);
            Step::shown(
                form.field(Field::new(FieldKind::TextMulti, "result", "Result").with(text.lines())),
            )
        }
        Value::List(values) => Step::shown(
            form.field(
                Field::new(FieldKind::TextMulti, "result", command.result)
                    .with(values.iter().map(line)),
            ),
        ),
        Value::Record(entries) => Step::shown(entries.iter().fold(form, |form, (name, value)| {
            let text = line(value);
            form.field(Field::new(FieldKind::TextMulti, name, name).with(text.lines()))
        })),
        Value::Table { columns, rows } => {
            let rows = rows.iter().map(|row| row.iter().map(line).collect());
            Step::shown(Form {
                table: Some((columns.clone(), rows.collect())),
                ..form
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(fields: &[(&str, &str)]) -> Filled {
        let mut form = Form::default();
        for (var, value) in fields {
            form = form.field(Field::new(FieldKind::TextSingle, *var, "").with([*value]));
        }
        let mut text = String::new();
        form.write("submit", &mut text);
        Filled::read(&text.parse().expect("XML"))
    }

    fn command() -> Command {
        Command::new("c", "Does.", |_, _| async { Ok(Value::Nothing) })
            .arg(Arg::text("user", "who"))
            .arg(Arg::secret("password", "what"))
            .arg(Arg::text("reason", "why").optional())
            .arg(Arg::text("more", "more").optional())
            .flag("quiet", "says nothing")
    }

    #[test]
    fn forms_become_words() {
        let read = |fields: &[(&str, &str)]| {
            let given = given(&command(), &filled(fields)).map_err(|error| error.condition)?;
            let secrets: Vec<&str> = given.secrets.iter().map(Secret::expose).collect();
            Ok::<_, Condition>(format!("{} / {}", given.words.join(" "), secrets.join(" ")))
        };
        assert_eq!(
            read(&[("password", "p"), ("user", "--quiet"), ("quiet", "1")]).as_deref(),
            Ok("--quiet -- --quiet / p")
        );
        assert_eq!(read(&[("user", "u")]).as_deref(), Ok("-- u / "));
        assert_eq!(
            read(&[("user", "u"), ("password", "p"), ("more", "m")]),
            Err(Condition::NotAcceptable)
        );
    }
}
