//! The pages of docs/ that are printed from code.

use std::fmt::Write;

use gen_mod::Completeness;
use router::{HookInfo, OnPanic};

use crate::server::CATALOG;
use crate::steering::described;

/// docs/PROTOCOLS.md: what is implemented, and by which module.
#[must_use]
pub fn protocols() -> String {
    let mut page = heading(
        "Protocols",
        "What Natter implements. The core is in the crates; each module names its own sources.",
    );
    page.push_str(
        "| Specification | Version or section | By | Completeness |\n| --- | --- | --- | --- |\n",
    );
    let core = [
        (
            "RFC 6120",
            "streams, TLS, SASL, bind, stanzas",
            "stream, session, router",
            "partial: streams with clients; none between servers",
        ),
        (
            "RFC 6121",
            "§4 presence, §8 delivery",
            "session",
            "complete",
        ),
        ("RFC 7590", "TLS 1.2 and 1.3", "net", "complete"),
        (
            "RFC 5802",
            "SCRAM-SHA-1, and with channel binding",
            "auth",
            "complete",
        ),
        (
            "RFC 7677",
            "SCRAM-SHA-256, and with channel binding",
            "auth",
            "complete",
        ),
        (
            "XEP-0178",
            "1.1, §2 clients",
            "auth, net",
            "partial: nothing between servers",
        ),
        ("RFC 5929", "§4 tls-server-end-point", "net", "complete"),
        (
            "RFC 9266",
            "tls-exporter",
            "net",
            "partial: inside TLS 1.3 only",
        ),
        ("RFC 7395", "WebSocket", "web", "complete"),
        (
            "XEP-0124",
            "1.11.2",
            "web",
            "partial: one stream a session; no compressed requests",
        ),
        ("XEP-0206", "1.4", "web", "complete"),
        ("XEP-0440", "0.4.1", "stream", "complete"),
        ("RFC 4616", "PLAIN", "auth", "complete"),
        ("XEP-0368", "1.1", "net, stream", "partial: for clients"),
    ];
    for (source, version, by, completeness) in core {
        let _ = writeln!(page, "| {source} | {version} | {by} | {completeness} |");
    }
    let mut rows: Vec<(String, String)> = Vec::new();
    for kind in CATALOG.0 {
        for source in kind.sources {
            let completeness = match source.completeness {
                Completeness::Complete => "complete".to_owned(),
                Completeness::Partial(missing) => format!("partial: {missing}"),
            };
            let row = format!(
                "| {source} | {} | {} | {completeness} |",
                source.version, kind.name
            );
            rows.push((source.to_string(), row));
        }
    }
    rows.sort();
    for (_, row) in rows {
        page.push_str(&row);
        page.push('\n');
    }
    page
}

/// docs/HOOKS.md: every hook, who runs it and what a handler may do.
#[must_use]
pub fn hooks() -> String {
    let mut page = heading(
        "Hooks",
        "Every fold that modules can take part in. A handler runs in the process that runs the hook; low priorities run first.",
    );
    page.push_str("| Hook | Run by | In the process | Carries | Stopping and dropping | When a handler panics | May wait |\n");
    page.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    let mut all: Vec<HookInfo> = [router::HOOKS, session::HOOKS, modules::hooks::HOOKS].concat();
    all.sort_by_key(|hook| hook.name);
    for hook in all {
        let on_panic = match hook.on_panic {
            OnPanic::Continue => "goes on",
            OnPanic::Deny => "denies",
        };
        let waits = if hook.may_wait { "yes" } else { "no" };
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} | {on_panic} | {waits} |",
            hook.name, hook.run_by, hook.process, hook.carries, hook.stopping
        );
    }
    page
}

/// docs/CONFIG.md: every key of the configuration file.
#[must_use]
pub fn config() -> String {
    let intro = "Every key of natter.toml. `natterd --check` finds what is wrong with a file, `natterctl config_show --origin` shows what holds and why.";
    heading("Configuration", intro) + &config::reference(&described(CATALOG))
}

/// docs/COMMANDS.md: every command of natterctl.
///
/// # Errors
///
/// In words: the server that is asked for its commands did not start.
pub async fn commands() -> Result<String, String> {
    let reference = with_commands(admin::reference).await?;
    Ok(heading("Commands", "Every command of natterctl.") + &reference)
}

/// What `ask` makes of the commands of a server, which is started for that.
pub(crate) async fn with_commands<T>(ask: impl FnOnce(&admin::Commands) -> T) -> Result<T, String> {
    let folder = std::env::temp_dir().join(format!("natter-docs-{}", std::process::id()));
    let place = crate::settings::Place {
        file: None,
        data_dir: Some(folder.clone()),
    };
    let mut loaded = place
        .load(CATALOG, crate::server::STANDARD)
        .map_err(|error| error.to_string())?;
    for listener in &mut loaded.listeners {
        listener.address = vec!["127.0.0.1:0".to_owned()];
    }
    let server = crate::Server::start_loaded(place, loaded, otp::Clock::real()).await;
    let server = server.map_err(|error| error.to_string())?;
    let asked = ask(&server.node().commands);
    // Ended or cut short, the page is the same.
    let _ = server.stop().await;
    let _ = std::fs::remove_dir_all(folder);
    Ok(asked)
}

fn heading(title: &str, intro: &str) -> String {
    format!("<!-- Printed by `make doc`; do not edit. -->\n\n# {title}\n\n{intro}\n\n")
}
