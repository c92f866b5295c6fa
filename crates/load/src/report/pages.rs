//! The report as a page: tables in Markdown, put between two marks so that what people wrote around them stays.

use std::fmt::Write as _;

use super::targets::{Against, Target};
use super::{Results, Spread};
use crate::failure::Failure;
use crate::outcome::plural;

/// Where the printed part begins in a page.
pub const BEGIN: &str =
    "<!-- measured: begin; printed by make bench-peers, do not edit between the marks -->";
/// Where it ends.
pub const END: &str = "<!-- measured: end -->";

/// Who is who in a report.
#[derive(Debug, Clone, Copy)]
pub struct Cast<'a> {
    /// Whom the targets are for.
    pub subject: &'a str,
    /// What nobody can beat.
    pub floor: &'a str,
}

/// Puts `printed` into `page` between the marks, or behind it where there are none yet.
///
/// # Errors
///
/// A sentence when only one of the marks is there, or they stand in the wrong order.
pub fn put_between_marks(page: &str, printed: &str) -> Result<String, Failure> {
    let block = format!("{BEGIN}\n\n{}\n\n{END}", printed.trim());
    match (page.find(BEGIN), page.find(END)) {
        (None, None) => Ok(format!("{}\n\n{block}\n", page.trim_end())),
        (Some(begin), Some(end)) if begin < end => {
            Ok([&page[..begin], &block, &page[end + END.len()..]].concat())
        }
        _ => Err(Failure::new(
            "the page has one mark without the other: put both back, or neither",
        )),
    }
}

/// The whole printed part. `head` is what the runs were made on, in Markdown; `failed` the runs that failed.
pub fn print(
    results: &Results,
    targets: &[Target],
    cast: Cast<'_>,
    head: &str,
    failed: &str,
    plots: &[(String, String)],
) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "## Measured\n\n{}\n", head.trim());
    if !failed.trim().is_empty() {
        let _ = writeln!(out, "Runs that failed and are missing below:\n");
        for line in failed.lines().filter(|line| !line.trim().is_empty()) {
            let _ = writeln!(out, "- {line}");
        }
        out.push('\n');
    }
    if !targets.is_empty() {
        judged(&mut out, results, targets, cast);
    }
    let _ = writeln!(
        out,
        "### CPU time of the server for one unit\n\nMicroseconds, all threads and children: the median of all rounds, least and greatest in brackets.\n"
    );
    table(&mut out, results, "cpu", |figure| format!("{figure:.1}"));
    let _ = writeln!(
        out,
        "### Latency\n\nMilliseconds, p50 / p99 (the median of all rounds).\n"
    );
    latencies(&mut out, results);
    let _ = writeln!(
        out,
        "### Units a second\n\nServer and generator on one machine; in open loops the rate that was asked for.\n"
    );
    table(&mut out, results, "per_second", |figure| {
        format!("{figure:.0}")
    });
    let _ = writeln!(
        out,
        "### Memory, start and others\n\nMemory is the proportional set size. Kernel memory is that of both ends of each connection.\n"
    );
    figures(&mut out, results);
    let _ = writeln!(
        out,
        "### The generator's own CPU time for one unit\n\nMicroseconds.\n"
    );
    table(&mut out, results, "own", |figure| format!("{figure:.1}"));
    for axis in results.axes() {
        growth(&mut out, results, &axis);
    }
    for (title, path) in plots {
        let _ = writeln!(out, "![{title}]({path})\n");
    }
    out
}

fn judged(out: &mut String, results: &Results, targets: &[Target], cast: Cast<'_>) {
    let _ = writeln!(
        out,
        "### Targets\n\n{} at its worst state, the others at their best; \"the best\" is the better peer.\n\n\
         | target | {} | beside | ratio | bound | met |\n| --- | --- | --- | --- | --- | --- |",
        cast.subject, cast.subject
    );
    let mut missed = 0;
    for target in targets {
        let name = &target.name;
        let Some(verdict) = target.judge(results, cast.subject, cast.floor) else {
            let _ = writeln!(
                out,
                "| {name} | – | – | – | {} | not measured |",
                target.bound()
            );
            continue;
        };
        let beside = match &verdict.other {
            Some((server, figure)) => format!("{server}: {}", short(*figure)),
            None => "–".to_owned(),
        };
        let ratio = match target.against {
            Against::Nothing => "–".to_owned(),
            _ => format!("{:.3}", verdict.value),
        };
        let met = match verdict.met {
            true => "yes",
            false => "**no**",
        };
        missed += usize::from(!verdict.met);
        let own = short(verdict.own);
        let _ = writeln!(
            out,
            "| {name} | {own} | {beside} | {ratio} | {} | {met} |",
            target.bound()
        );
    }
    let _ = writeln!(out, "\n{} targets, {missed} missed.\n", targets.len());
}

/// Every server in every state it was measured in.
fn columns(results: &Results) -> Vec<(String, String)> {
    let mut columns = Vec::new();
    for server in results.servers() {
        for state in results.states(&server) {
            let any = results.workloads().iter().any(|workload| {
                results
                    .spread(workload, &server, &state, "per_second")
                    .is_some()
            });
            if any {
                columns.push((server.clone(), state));
            }
        }
    }
    columns
}

fn heading(out: &mut String, first: &str, columns: &[(String, String)]) {
    let _ = write!(out, "| {first} |");
    for (server, state) in columns {
        let _ = match state.is_empty() {
            true => write!(out, " {server} |"),
            false => write!(out, " {server}, {state} |"),
        };
    }
    let _ = writeln!(out, "\n|{}", " --- |".repeat(columns.len() + 1));
}

fn table(out: &mut String, results: &Results, figure: &str, show: impl Fn(f64) -> String) {
    let columns = columns(results);
    heading(out, "workload", &columns);
    for workload in results.workloads() {
        let cells: Vec<Option<Spread>> = columns
            .iter()
            .map(|(server, state)| results.spread(&workload, server, state, figure))
            .collect();
        if cells.iter().all(Option::is_none) || workload == "start" {
            continue;
        }
        let _ = write!(out, "| {workload}, by {} |", results.unit(&workload));
        for cell in cells {
            let _ = match cell {
                Some(spread) if spread.count > 1 => {
                    write!(
                        out,
                        " {} ({}–{}) |",
                        show(spread.median),
                        show(spread.low),
                        show(spread.high)
                    )
                }
                Some(spread) => write!(out, " {} |", show(spread.median)),
                None => write!(out, " – |"),
            };
        }
        out.push('\n');
    }
    out.push('\n');
}

fn latencies(out: &mut String, results: &Results) {
    let columns = columns(results);
    heading(out, "workload", &columns);
    for workload in results.workloads() {
        let at = |server: &str, state: &str| {
            let figure = |name| {
                results
                    .spread(&workload, server, state, name)
                    .map(|spread| spread.median / 1e3)
            };
            Some(format!(
                "{} / {}",
                short(figure("p50")?),
                short(figure("p99")?)
            ))
        };
        let cells: Vec<Option<String>> = columns
            .iter()
            .map(|(server, state)| at(server, state))
            .collect();
        if cells.iter().all(Option::is_none) {
            continue;
        }
        let _ = write!(out, "| {workload} |");
        for cell in cells {
            let _ = write!(out, " {} |", cell.unwrap_or_else(|| "–".to_owned()));
        }
        out.push('\n');
    }
    out.push('\n');
}

/// Figures of the workloads' own.
fn figures(out: &mut String, results: &Results) {
    let usual = ["cpu", "own", "per_second", "p50", "p99", "p999", "max", "x"];
    let columns = columns(results);
    heading(out, "figure", &columns);
    for workload in results.workloads() {
        let mut names: Vec<&String> = results
            .rows
            .iter()
            .filter(|row| row.workload == workload)
            .flat_map(|row| row.figures.keys())
            .filter(|name| !usual.contains(&name.as_str()))
            .collect();
        names.sort();
        names.dedup();
        for name in names {
            let _ = write!(out, "| {workload}: {} |", name.replace('_', " "));
            for (server, state) in &columns {
                let cell = results.spread(&workload, server, state, name);
                let cell = cell.map_or_else(|| "–".to_owned(), |spread| short(spread.median));
                let _ = write!(out, " {cell} |");
            }
            out.push('\n');
        }
    }
    out.push('\n');
}

/// What a point on an axis costs, and which figure says whether it grows as it should.
pub fn growth_figure(axis: &str) -> (&'static str, &'static str) {
    match axis {
        "growth roster" => ("server_cpu_us_per_contact", "CPU µs per contact"),
        "growth stanza" => ("server_cpu_us_per_kB", "CPU µs per kB"),
        _ => ("cpu", "CPU µs per unit"),
    }
}

fn growth(out: &mut String, results: &Results, axis: &str) {
    let (figure, called) = growth_figure(axis);
    let servers = results.servers();
    let lines: Vec<Vec<(f64, f64)>> = servers
        .iter()
        .map(|server| results.line(axis, server, figure))
        .collect();
    let mut places: Vec<f64> = lines.iter().flatten().map(|(x, _)| *x).collect();
    places.sort_by(f64::total_cmp);
    places.dedup();
    let title = axis.replace("growth ", "Growth: ");
    let units = plural(results.unit(axis));
    let _ = writeln!(
        out,
        "### {title}\n\n{called}, {units} measured at each point.\n"
    );
    let _ = write!(out, "| {} |", axis.trim_start_matches("growth "));
    let mut memory = Vec::new();
    for server in &servers {
        let line = results.line(axis, server, "server_kB_per_session");
        let _ = write!(out, " {server} |");
        memory.push(line);
    }
    let any_memory = memory.iter().any(|line| !line.is_empty());
    if any_memory {
        for server in &servers {
            let _ = write!(out, " {server}, kB a session |");
        }
    }
    let width = servers.len() * (1 + usize::from(any_memory)) + 1;
    let _ = writeln!(out, "\n|{}", " --- |".repeat(width));
    for x in places {
        let _ = write!(out, "| {x} |");
        let all = lines.iter().chain(memory.iter().filter(|_| any_memory));
        for line in all {
            let cell = line.iter().find(|(at, _)| *at == x);
            let cell = cell.map_or_else(|| "–".to_owned(), |(_, y)| short(*y));
            let _ = write!(out, " {cell} |");
        }
        out.push('\n');
    }
    out.push('\n');
}

/// Three digits that count.
fn short(figure: f64) -> String {
    match figure.abs() {
        large if large >= 100.0 => format!("{figure:.0}"),
        middle if middle >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::targets;
    use super::super::tests::line;
    use super::*;

    const CAST: Cast<'static> = Cast {
        subject: "ours",
        floor: "floor",
    };

    #[test]
    fn what_people_wrote_stays() {
        let page = "# Performance\n\nWhat it costs and why.\n";
        let once = put_between_marks(page, "first").expect("no marks yet");
        assert!(once.starts_with(page));
        let behind = format!("{once}\nMore words.\n");
        let twice = put_between_marks(&behind, "second").expect("both marks");
        assert!(
            twice.starts_with(page) && twice.ends_with("\nMore words.\n"),
            "{twice}"
        );
        assert!(twice.contains("second") && !twice.contains("first"));
        assert_eq!(put_between_marks(&twice, "second"), Ok(twice.clone()));
    }

    #[test]
    fn a_page_with_half_a_mark_is_left_alone() {
        assert!(put_between_marks(&format!("a\n{BEGIN}\nb"), "x").is_err());
        assert!(put_between_marks(&format!("{END}\n{BEGIN}"), "x").is_err());
    }

    #[test]
    fn a_page_has_every_table() {
        let lines = [
            line("floor", "fresh", "chat", 5.0, 1000.0),
            line("ours", "fresh", "chat", 9.0, 2000.0),
            line("ours", "fresh", "chat", 11.0, 2000.0),
            line("e", "fresh", "chat", 60.0, 3000.0),
        ]
        .concat()
        .replace("\"p99_us\"", "\"p50_us\":500,\"p99_us\"")
        .replace(
            "\"unit\"",
            "\"per_second\":100,\"figures\":{\"empty_MB\":9.5},\"unit\"",
        );
        let results = Results::read(&lines).expect("lines");
        let targets = targets::read(
            r#"[{"name":"chat","workload":"chat","figure":"cpu","against":"best","at_most":0.25},
                {"name":"tight","workload":"chat","figure":"cpu","against":"floor","at_most":1.5},
                {"name":"muc","workload":"muc","figure":"cpu","at_most":1}]"#,
        )
        .expect("targets");
        let page = print(
            &results,
            &targets,
            CAST,
            "A machine.",
            "e fresh 1 muc: no rooms",
            &[],
        );
        for row in [
            "A machine.",
            "- e fresh 1 muc: no rooms",
            "| chat | 10.0 | e: 60.0 | 0.167 | ≤ 0.25 × the best | yes |",
            "| tight | 10.0 | floor: 5.00 | 2.000 | ≤ 1.5 × floor | **no** |",
            "| muc | – | – | – | ≤ 1 | not measured |",
            "3 targets, 1 missed.",
            "| workload | floor, fresh | ours, fresh | e, fresh |",
            "| chat, by message | 5.0 | 10.0 (9.0–11.0) | 60.0 |",
            "| chat | 0.50 / 1.00 | 0.50 / 2.00 | 0.50 / 3.00 |",
            "| chat: empty MB | 9.50 | 9.50 | 9.50 |",
        ] {
            assert!(page.contains(row), "{row:?} in\n{page}");
        }
    }

    #[test]
    fn growth_is_a_table() {
        let point = |x: u32, cpu: f64| {
            format!(
                "{{\"server\":\"ours\",\"workload\":\"growth sessions\",\"unit\":\"message\",\"server_cpu_us_per_unit\":{cpu},\
                 \"figures\":{{\"x\":{x},\"server_kB_per_session\":11}}}}\n"
            )
        };
        let results =
            Results::read(&[point(100, 10.0), point(1000, 12.0)].concat()).expect("lines");
        let page = print(
            &results,
            &[],
            CAST,
            "",
            "",
            &[("Growth".to_owned(), "plots/g.svg".to_owned())],
        );
        for row in [
            "### Growth: sessions",
            "| sessions | ours | ours, kB a session |",
            "| 1000 | 12.0 | 11.0 |",
            "![Growth](plots/g.svg)",
        ] {
            assert!(page.contains(row), "{row:?} in\n{page}");
        }
    }
}
