//! Man pages and shell completions, printed from what the programs take.

use admin::ArgType;
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Command};
use clap_complete::Shell;

/// The page or completion of that name: `natterd.8`, `natterctl.8`, `natterctl.bash`, `.zsh`, `.fish`; `natterd` is its
/// command line. `None`: there is no such page.
pub async fn page(name: &str, natterd: Command) -> Option<Result<String, String>> {
    let (program, kind) = name.rsplit_once('.')?;
    let mut command = match program {
        "natterd" => natterd,
        "natterctl" => match natterctl().await {
            Ok(command) => command,
            Err(error) => return Some(Err(error)),
        },
        _ => return None,
    };
    let mut text = Vec::new();
    match kind {
        "8" => {
            let man = clap_mangen::Man::new(command).section("8");
            if let Err(error) = man.render(&mut text) {
                return Some(Err(error.to_string()));
            }
        }
        shell => {
            let shell: Shell = shell.parse().ok()?;
            clap_complete::generate(shell, &mut command, program.to_owned(), &mut text);
        }
    }
    Some(String::from_utf8(text).map_err(|error| error.to_string()))
}

/// The command line of `natterctl` with every command that a node has.
async fn natterctl() -> Result<Command, String> {
    let top = Command::new("natterctl")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Gives commands to a running natterd")
        .arg(value("config", "FILE").help("The node's configuration"))
        .arg(value("data-dir", "DIR").help("The node's data directory"))
        .arg(flag("json").help("Print the result as JSON"))
        .arg(flag("password-stdin").help("Read the secret argument from standard input"));
    let commands = crate::docs::with_commands(|commands| commands.list()).await?;
    Ok(commands
        .iter()
        .fold(top, |top, command| top.subcommand(subcommand(command))))
}

fn value(name: &'static str, placeholder: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(placeholder)
}

fn flag(name: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue)
}

fn subcommand(command: &admin::Command) -> Command {
    let made = Command::new(command.name).about(command.doc);
    let made = command.args.iter().fold(made, |made, arg| {
        let new = Arg::new(arg.name).help(arg.doc).required(!arg.optional);
        let new = match arg.repeated {
            true => new.num_args(0..),
            false => new,
        };
        made.arg(match arg.kind {
            ArgType::Choice(words) => new.value_parser(PossibleValuesParser::new(words)),
            _ => new,
        })
    });
    let flags = command.flags.iter();
    flags.fold(made, |made, f| made.arg(flag(f.name).help(f.doc)))
}
