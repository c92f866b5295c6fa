//! Commands as documents: one page each, an overview, and the reference in Markdown.

use crate::command::{Arg, ArgType, Command, Scope};
use crate::commands::Commands;
use crate::role::Caller;
use crate::value::Value;
use std::sync::Arc;

pub(crate) const HELP_PAGE: &str =
    "help [COMMAND]\n\nLists the commands you may give, or describes one of them.\n";

/// The commands a caller may give, each with its sentence.
pub(crate) fn overview(commands: &[Arc<Command>], caller: &Caller) -> Value {
    let own = (
        "help [COMMAND]".to_owned(),
        "Lists the commands, or describes one of them.".to_owned(),
    );
    let allowed = commands
        .iter()
        .filter(|command| command.role <= caller.role);
    let mut rows: Vec<(String, String)> = allowed.map(|c| (c.usage(), c.doc.to_owned())).collect();
    rows.push(own);
    rows.sort();
    let empty = Value::table(["command", "what it does"]);
    rows.into_iter().fold(empty, |table, (usage, doc)| {
        table.row([usage.into(), doc.into()])
    })
}

/// One command in full, for a terminal.
pub(crate) fn page(command: &Command) -> String {
    let mut text = format!("{}\n\n{}\n", command.usage(), command.doc);
    let flags = command
        .flags
        .iter()
        .map(|flag| (format!("--{}", flag.name), flag.doc.to_owned()));
    let args = command.args.iter().map(|arg| (arg.usage(), sentence(arg)));
    let rows: Vec<(String, String)> = args.chain(flags).collect();
    let width = rows
        .iter()
        .map(|(name, _)| name.chars().count())
        .max()
        .unwrap_or(0);
    if !rows.is_empty() {
        text.push('\n');
    }
    for (name, doc) in rows {
        text.push_str(&format!("  {name:width$}  {doc}\n"));
    }
    text.push_str(&format!(
        "\ngives {}; for role {}; {}; within {}\n",
        command.result,
        command.role,
        place(command.scope),
        within(command)
    ));
    text
}

/// Prints the reference of every command in Markdown.
pub fn reference(commands: &Commands) -> String {
    let mut page = String::new();
    for command in commands.list() {
        if !page.is_empty() {
            page.push('\n');
        }
        page.push_str(&format!(
            "## `{}`\n\n`{}`\n\n{}\n\n",
            command.name,
            command.usage(),
            command.doc
        ));
        for arg in &command.args {
            page.push_str(&format!("- `{}`: {}\n", arg.usage(), sentence(arg)));
        }
        for flag in &command.flags {
            page.push_str(&format!("- `--{}`: {}\n", flag.name, flag.doc));
        }
        page.push_str(&format!(
            "- Gives {}. Role: {}. Where: {}. Deadline: {}.\n",
            command.result,
            command.role,
            place(command.scope),
            within(&command)
        ));
    }
    page
}

fn sentence(arg: &Arg) -> String {
    let kind = match arg.kind {
        ArgType::Text | ArgType::Host | ArgType::Pairs => return arg.doc.to_owned(),
        ArgType::Integer(least, most) => format!("whole number, {least} to {most}"),
        ArgType::Duration => "duration such as \"5 s\"".to_owned(),
        ArgType::Bytes => "size such as \"256 KiB\"".to_owned(),
        ArgType::Choice(words) => words.join(" | "),
        ArgType::Secret => "secret; asked for when left out".to_owned(),
    };
    format!("{} ({kind})", arg.doc)
}

fn place(scope: Scope) -> &'static str {
    match scope {
        Scope::Node => "the node",
        Scope::Host => "the named host",
        Scope::Anywhere => "anywhere",
    }
}

fn within(command: &Command) -> String {
    use config::Value as _;
    command.deadline.show().replace('"', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::role::Role;
    use otp::Clock;

    fn commands() -> Commands {
        let commands = Commands::new(Clock::manual().0);
        let start = Command::new("module_start", "Starts a module.", |_, _| async {
            Ok(Value::Nothing)
        })
        .arg(Arg::host("host", "The host."))
        .arg(Arg::secret("key", "Its key."))
        .arg(Arg::pairs("options", "Its options."))
        .flag("transient", "Keeps nothing.")
        .allow(Role::HostAdmin, Scope::Host);
        commands.register(start, "node").expect("free");
        commands
    }

    #[test]
    fn the_reference_describes_every_command() {
        let expected = "\
## `module_start`

`module_start HOST KEY [KEY=VALUE…] [--transient]`

Starts a module.

- `HOST`: The host.
- `KEY`: Its key. (secret; asked for when left out)
- `[KEY=VALUE…]`: Its options.
- `--transient`: Keeps nothing.
- Gives nothing. Role: host admin. Where: the named host. Deadline: 30 s.
";
        assert_eq!(reference(&commands()), expected);
    }

    #[test]
    fn a_page_fits_a_terminal() {
        let expected = "\
module_start HOST KEY [KEY=VALUE…] [--transient]

Starts a module.

  HOST          The host.
  KEY           Its key. (secret; asked for when left out)
  [KEY=VALUE…]  Its options.
  --transient   Keeps nothing.

gives nothing; for role host admin; the named host; within 30 s
";
        assert_eq!(
            page(&commands().get("module_start").expect("there")),
            expected
        );
    }
}
