//! The figures as a part of a page.

use std::fmt::Write;

use crate::load::{self, Round};
use crate::{lookups, servers};

/// What stands before and behind what is printed.
const BEGIN: &str =
    "<!-- http: begin; printed by make bench-http, do not edit between the marks -->";
const END: &str = "<!-- http: end -->";

/// The median, and the least and the most.
struct Figures {
    median: f64,
    least: f64,
    most: f64,
}

fn figures(values: impl Iterator<Item = f64>) -> Figures {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    Figures {
        median: if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        },
        least: values[0],
        most: values[values.len() - 1],
    }
}

fn shown(of: &Figures, places: usize) -> String {
    let Figures {
        median,
        least,
        most,
    } = of;
    format!("{median:.places$} ({least:.places$}–{most:.places$})")
}

/// The tables.
pub fn text(
    rounds: usize,
    requests: usize,
    served: &[Vec<Round>],
    looked_up: &[Vec<f64>],
) -> String {
    let mut text = String::new();
    let busy = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let busy = busy.split(' ').next().unwrap_or("unknown");
    let connections = load::CONNECTIONS;
    let _ = write!(
        text,
        "\n## HTTP\n\n\
         Printed by `make bench-http`: {rounds} rounds in which all take their turn, medians, the least and the most in \
         parentheses, ratios\nas the median of each round's. Each server is a process of one thread; {requests} requests a \
         round over {connections} connections that are\nkept, the generator on the same machine. CPU time is the server's own; all \
         are built as natterd is: thin link-time optimisation, mimalloc.\nLoad average at the end: {busy}.\n\n\
         | `GET /users/joe` | CPU time of a request, µs | beside hyper | requests a second | beside hyper |\n\
         | --- | --- | --- | --- | --- |\n"
    );
    let names = [
        "hyper, no route",
        "axum, routed",
        "httpd, routed, a process a connection",
    ];
    for (number, rounds) in served.iter().enumerate() {
        let beside = |of: fn(&Round) -> f64| {
            let ratios = rounds.iter().zip(&served[0]);
            figures(ratios.map(|(round, hyper)| of(round) / of(hyper))).median
        };
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} | {} | {:.2} |",
            names[number],
            shown(&figures(rounds.iter().map(|round| round.cpu)), 1),
            beside(|round| round.cpu),
            shown(
                &figures(rounds.iter().map(|round| round.requests_a_second)),
                0
            ),
            beside(|round| round.requests_a_second),
        );
    }
    debug_assert_eq!(names.len(), servers::KINDS.len());
    text.push_str(
        "\nA lookup among the 130 routes of matchit's own bench, each route once in a pass. All give what the \
         path's names take.\nNeither matchit nor wayfind knows hosts, escapes, dot segments or bytes that no path holds; the last row is a \
         host of 51, each\nname in a path constrained.\n\n\
         | lookup | CPU time, ns | beside matchit |\n| --- | --- | --- |\n",
    );
    for (number, rounds) in looked_up.iter().enumerate() {
        let ratios = rounds.iter().zip(&looked_up[0]);
        let _ = writeln!(
            text,
            "| {} | {} | {:.2} |",
            lookups::KINDS[number],
            shown(&figures(rounds.iter().copied()), 0),
            figures(ratios.map(|(of, matchit)| of / matchit)).median,
        );
    }
    text.push('\n');
    text
}

/// Puts `text` between the marks of a page.
pub fn put(page: &str, text: &str) -> Result<(), String> {
    let old = std::fs::read_to_string(page).map_err(|error| format!("{page}: {error}"))?;
    let parts = old
        .split_once(BEGIN)
        .and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, behind) = parts.ok_or_else(|| format!("{page} has no place for it: {BEGIN}"))?;
    std::fs::write(page, format!("{before}{BEGIN}\n{text}{END}{behind}"))
        .map_err(|error| format!("{page}: {error}"))
}
