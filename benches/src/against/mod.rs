//! Compares this tree with another revision.
//!
//! Processes of both take turns, so that a slow phase of the machine affects both. Each row is
//! divided by the bare router's of the same process.

mod revision;
mod turns;

use std::{env, time::Duration};

use tower_revoke_testing::TestAlgorithm;

pub use self::turns::{TURNS, take_turns};
use self::{
    revision::Revision,
    turns::{Process, RowName},
};
use crate::rounds::{Outcome, Plan, median};

/// Differences up to this are never reported.
const LEAST_LIMIT: f64 = 0.03;

struct Settings {
    /// How often the processes are restarted. The placement of code and memory, which changes with
    /// each start, affects a row by some percent.
    passes: usize,
    plan: Plan,
    tokens: usize,
    algorithms: Vec<TestAlgorithm>,
}

impl Settings {
    fn new(is_quick: bool, algorithms: &[TestAlgorithm]) -> Self {
        let (passes, rounds, millis, tokens) = match is_quick {
            true => (5, 5, 3, 500),
            false => (11, 11, 5, 2_000),
        };
        Self {
            passes,
            plan: Plan {
                rounds,
                slice: Duration::from_millis(millis),
            },
            tokens,
            algorithms: match algorithms {
                // The cheapest signature shows the other costs best. RS256 is the most common.
                [] => vec![TestAlgorithm::HS256, TestAlgorithm::RS256],
                named => named.to_vec(),
            },
        }
    }
}

/// The results of one row.
#[derive(Default)]
struct Row {
    /// The row divided by the bare row, as the median of each pass.
    old: Vec<f64>,
    new: Vec<f64>,
    /// New divided by old, as the median of each pass.
    ratios: Vec<f64>,
    /// One process of the old revision divided by another one.
    among_old: Vec<f64>,
}

/// Runs the comparison and prints the table.
///
/// # Errors
/// If a row of cached tokens is slower than in the other revision by more than its limit.
pub fn run(revision: &str, is_quick: bool, algorithms: &[TestAlgorithm]) -> Outcome<()> {
    if cfg!(any(feature = "peers", feature = "stores")) {
        return Err(
            "run this without features: they change how shared dependencies are built, \
                    and the other revision is built without"
                .to_owned(),
        );
    }
    // Building the other revision may replace the executable.
    let new = revision::copy_of(&env::current_exe().map_err(|error| error.to_string())?)?;
    let old = Revision::resolve(revision)?;
    let old_program = old.build()?;
    let settings = Settings::new(is_quick, algorithms);
    println!(
        "Ratio to the bare router, against {old}: medians of {} passes with {} rounds each.\n\
         Limit: twice the spread of old against old, at least {:.0} %.",
        settings.passes,
        settings.plan.rounds,
        LEAST_LIMIT * 100.0,
    );
    let mut rows: Vec<(RowName, Row)> = Vec::new();
    for pass in 0..settings.passes {
        let programs = [&old_program, &old_program, &new];
        let mut processes = Vec::with_capacity(programs.len());
        for program in programs {
            let plan = (&settings.plan, settings.tokens);
            processes.push(Process::start(program, plan, &settings.algorithms)?);
        }
        for name in processes[2].rows().to_vec() {
            let places: Option<Vec<usize>> = processes.iter().map(|one| one.find(&name)).collect();
            // Only rows that both revisions have are compared.
            let Some(places) = places else { continue };
            let found = measure(&settings.plan, &mut processes, &places, pass)?;
            let known = rows.iter().position(|(known, _)| *known == name);
            let place = known.unwrap_or_else(|| {
                rows.push((name, Row::default()));
                rows.len() - 1
            });
            rows[place].1.add(&found);
        }
        for process in processes {
            process.end()?;
        }
    }
    print(&rows)
}

/// Measures a row divided by the bare row, for each process and round.
fn measure(
    plan: &Plan,
    processes: &mut [Process],
    places: &[usize],
    pass: usize,
) -> Outcome<[Vec<f64>; 3]> {
    let mut found = [const { Vec::new() }; 3];
    for round in 0..plan.rounds {
        for turn in 0..found.len() {
            // Rotates the order.
            let which = (turn + round + pass) % found.len();
            found[which].push(processes[which].slice(places[which])?);
        }
    }
    Ok(found)
}

impl Row {
    fn add(&mut self, [old, other_old, new]: &[Vec<f64>; 3]) {
        let ratio = |of: &[f64], to: &[f64]| {
            let ratios: Vec<f64> = of.iter().zip(to).map(|(of, to)| of / to).collect();
            median(&ratios)
        };
        let both: Vec<f64> = old
            .iter()
            .zip(other_old)
            .map(|(a, b)| (a + b) / 2.0)
            .collect();
        self.old.push(median(&both));
        self.new.push(median(new));
        self.ratios.push(ratio(new, &both));
        self.among_old.push(ratio(other_old, old));
    }

    fn ratio(&self) -> f64 {
        median(&self.ratios)
    }

    /// Returns the 75th percentile of the difference between two processes of the old revision. The
    /// median of a few passes is often too small by chance.
    fn spread(&self) -> f64 {
        let mut apart: Vec<f64> = self
            .among_old
            .iter()
            .map(|ratio| (ratio - 1.0).abs())
            .collect();
        apart.sort_by(f64::total_cmp);
        apart[apart.len() * 3 / 4]
    }

    fn limit(&self) -> f64 {
        LEAST_LIMIT.max(2.0 * self.spread())
    }
}

fn print(rows: &[(RowName, Row)]) -> Outcome<()> {
    println!(
        "\n  {:<58}{:>7}{:>7}{:>9}{:>9}{:>8}",
        "", "old", "new", "new/old", "spread", "limit"
    );
    let mut slower = 0;
    for (name, row) in rows {
        let (ratio, limit) = (row.ratio(), row.limit());
        let mark = match ratio - 1.0 {
            more if more > limit && name.is_seen => "  SLOWER",
            more if more > limit => "  slower",
            more if more < -limit => "  faster",
            _ => "",
        };
        slower += usize::from(mark == "  SLOWER");
        println!(
            "  {:<58}{:>7.2}{:>7.2}{:>9.3}{:>7.1} %{:>6.1} %{mark}",
            name.name,
            median(&row.old),
            median(&row.new),
            ratio,
            row.spread() * 100.0,
            limit * 100.0,
        );
    }
    match slower {
        0 if rows.is_empty() => Err("the two have no row in common".to_owned()),
        0 => Ok(()),
        _ => Err(format!(
            "{slower} rows of tokens seen before are beyond the limit"
        )),
    }
}
