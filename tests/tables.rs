//! The tables of `tests/tables/`, cell by cell, each on a server of its own.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::Trial;
use tests::run::{conclude, here, on_a_runtime, tell, trial, troupe};
use tests::stage::Troupe;
use tests::tables::{Cell, Direction, delivery, read, subscription};

/// Which table a file holds.
#[derive(Clone, Copy)]
enum Table {
    Delivery,
    Subscription(Direction),
}

/// The tables, with how many cells RFC 6121 gives each: one left out would be a hole nobody sees.
const TABLES: [(&str, Table, usize); 3] = [
    ("delivery", Table::Delivery, 55),
    (
        "subscription_outbound",
        Table::Subscription(Direction::Outbound),
        36,
    ),
    (
        "subscription_inbound",
        Table::Subscription(Direction::Inbound),
        36,
    ),
];

fn main() -> ExitCode {
    let prepared = troupe().and_then(|troupe| {
        let troupe: Arc<dyn Troupe> = Arc::from(troupe);
        let mut trials = Vec::new();
        for (name, table, count) in TABLES {
            trials.extend(
                cells(name, count)?
                    .into_iter()
                    .map(|cell| check(name, table, cell, &troupe)),
            );
        }
        Ok((troupe.at_once(), trials))
    });
    match prepared {
        Ok((at_once, trials)) => conclude("table cells", at_once, trials),
        Err(why) => {
            tell(&format!("tables: {why}"));
            ExitCode::FAILURE
        }
    }
}

fn cells(name: &str, count: usize) -> Result<Vec<Cell>, String> {
    let path = here().join("tables").join(format!("{name}.txt"));
    let text =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let cells = read(&format!("tests/tables/{name}.txt"), &text)?;
    match cells.len() == count {
        true => Ok(cells),
        false => Err(format!(
            "tests/tables/{name}.txt: {count} cells expected, {} found",
            cells.len()
        )),
    }
}

fn check(name: &str, table: Table, cell: Cell, troupe: &Arc<dyn Troupe>) -> Trial {
    let troupe = Arc::clone(troupe);
    let title = format!("{name}: {} to {}", cell.column, cell.row);
    trial(&title, false, move || {
        on_a_runtime(async {
            match table {
                Table::Delivery => delivery(&cell, troupe.as_ref()).await,
                Table::Subscription(direction) => {
                    subscription(&cell, direction, troupe.as_ref()).await
                }
            }
        })
    })
}
