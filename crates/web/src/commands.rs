//! The commands that concern HTTP.

use admin::{Command, Value};

use crate::{Web, tokens};

/// Registers the commands of the HTTP server, under the owner `web`.
///
/// # Panics
///
/// Another has registered one of these names: a fault of ours.
pub fn register_commands(web: &Web) {
    let all = [http_routes(web)].into_iter().chain(tokens::commands(web));
    for command in all {
        let registered = web.parts().commands.register(command, "web");
        registered.expect("commands have different names");
    }
}

fn http_routes(web: &Web) -> Command {
    let web = web.clone();
    Command::new(
        "http_routes",
        "Lists the paths that HTTP requests find, in the order in which they are looked for.",
        move |_, _| {
            let table = web.table();
            let all = Value::table(["host", "path", "handler"]);
            let rows = table.rules().fold(all, |rows, rule| {
                rows.row([
                    rule.host.unwrap_or("any").into(),
                    rule.path.unwrap_or("any").into(),
                    short(rule.target.name()).into(),
                ])
            });
            async move { Ok(rows) }
        },
    )
    .reads()
    .returns("a table: host, path, handler")
}

/// A type's name without the modules it lies in.
fn short(name: &str) -> String {
    let (plain, rest) = name.split_at(name.find('<').unwrap_or(name.len()));
    let own = plain.rsplit("::").next().unwrap_or(plain);
    format!("{own}{rest}")
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn names_are_short() {
        assert_eq!(short("web::health::Health"), "Health");
        assert_eq!(short("a::F<b::C>"), "F<b::C>");
    }
}
