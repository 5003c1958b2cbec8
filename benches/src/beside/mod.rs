//! Compares the stack with its peers, and checks it against targets.

pub mod peers;
mod report;

use std::{fs, io::Write, time::Duration};

use tokio::runtime::{Builder, Runtime};
use tower_revoke::MemoryStore;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use self::report::{Row, Table, Target};
use crate::{
    ALGORITHMS, Args,
    alloc::Allocated,
    ours::{self, LISTED},
    rounds::{Contender, Kind, Outcome, Plan, Run},
    router,
    tokens::{self, Tokens},
};

/// The results of a contender.
struct Figures {
    /// The time per request of each round.
    nanos: Vec<f64>,
    allocated: Allocated,
    counted: u64,
}

struct Settings {
    plan: Plan,
    tokens: usize,
    /// The number of entries of the large list.
    listed: u64,
    algorithms: Vec<TestAlgorithm>,
    /// Sends only to the row whose name ends with this, for a profiler.
    profiled: Option<String>,
}

impl Settings {
    fn new(args: &Args, algorithms: &[TestAlgorithm]) -> Self {
        let algorithms = match algorithms {
            [] => ALGORITHMS.to_vec(),
            named => named.to_vec(),
        };
        let profiled = args.profiled.clone();
        let plan = |rounds, millis| Plan {
            rounds,
            slice: Duration::from_millis(millis),
        };
        match args.is_quick {
            true => Self {
                plan: plan(5, 6),
                tokens: 2_000,
                listed: 1_000_000,
                algorithms,
                profiled,
            },
            false => Self {
                plan: plan(11, 25),
                tokens: 20_000,
                listed: 10_000_000,
                algorithms,
                profiled,
            },
        }
    }
}

/// Prints a table for each algorithm, or sends only to the row that is to be profiled.
pub fn run(args: &Args, algorithms: &[TestAlgorithm]) -> Outcome<()> {
    let settings = Settings::new(args, algorithms);
    peers::choose_backends();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let Settings { plan, tokens, .. } = &settings;
    println!(
        "One GET in process: ns above the bare router (whose own are in brackets), median of {} \
         rounds in which all take turns.",
        plan.rounds
    );
    println!(
        "Bad signature, expired, revoked: rejected by each that has a row. Load {}",
        load()
    );
    let short = runtime.block_on(ours::store(0));
    let listed = runtime.block_on(ours::store(LISTED));
    let mut targets = Vec::new();
    for algorithm in &settings.algorithms {
        let issuer = tokens::issuer(*algorithm);
        let signed = Tokens::sign(&issuer, *tokens);
        let large = match algorithm {
            TestAlgorithm::RS256 => Some(large_list(&runtime, settings.listed)),
            _ => None,
        };
        let case = Case {
            issuer: &issuer,
            tokens: &signed,
            runtime: &runtime,
            short: &short,
            listed: &listed,
            large: large.as_ref(),
        };
        if let Some(name) = &settings.profiled {
            case.profile(plan, name)?;
            continue;
        }
        for count in [1, *tokens] {
            let table = case.measure(plan, count)?;
            table.print();
            judge(&table, *algorithm, count, &mut targets);
        }
    }
    report::print_targets(&targets);
    println!("Load {}", load());
    Ok(())
}

struct Case<'a> {
    issuer: &'a TestIssuer,
    tokens: &'a Tokens,
    runtime: &'a Runtime,
    short: &'a MemoryStore,
    listed: &'a MemoryStore,
    large: Option<&'a MemoryStore>,
}

impl Case<'_> {
    fn measure(&self, plan: &Plan, count: usize) -> Outcome<Table> {
        let mut contenders = vec![
            Contender::new("bare axum 0.8", Kind::Bare, router::bare()),
            Contender {
                is_axum07: true,
                ..Contender::new("bare axum 0.7", Kind::Bare, peers::bare_axum07())
            },
        ];
        let mut left_out = Vec::new();
        for peer in self.runtime.block_on(peers::all(self.issuer)) {
            match peer.router {
                Ok(target) => contenders.push(Contender {
                    is_axum07: peer.is_axum07,
                    ..Contender::new(peer.name, Kind::Peer, target)
                }),
                Err(reason) => left_out.push(format!("{} {reason}", peer.name)),
            }
        }
        contenders.extend(self.ours(plan, count));
        let runs = self.take_turns(plan, contenders, count)?;
        let (contenders, figures): (Vec<_>, Vec<_>) = runs
            .iter()
            .map(|(run, figures)| (run.contender(), figures))
            .unzip();
        let name = self.issuer.algorithm().name();
        let length = self.tokens.good[0].len() - "Bearer ".len();
        let how = match count {
            1 => "one token repeated".to_owned(),
            _ => format!("{count} tokens in turn"),
        };
        let mut title = format!("{name}, {length} bytes, {how}");
        for reason in left_out {
            title += &format!("; left out: {reason}");
        }
        Ok(Table::new(title, &contenders, &figures))
    }

    /// Sends one token to one row of this project, without measuring others.
    fn profile(&self, plan: &Plan, name: &str) -> Outcome<()> {
        let mut rows = self.ours(plan, 1);
        rows.retain(|row| row.name.ends_with(name));
        let plan = Plan {
            rounds: 5,
            slice: Duration::from_secs(1),
        };
        self.take_turns(&plan, rows, 1).map(drop)
    }

    /// Measures all contenders in turns, and returns the results in their order.
    fn take_turns(
        &self,
        plan: &Plan,
        contenders: Vec<Contender>,
        count: usize,
    ) -> Outcome<Vec<(Run<'_>, Figures)>> {
        let mut runs = Vec::with_capacity(contenders.len());
        for contender in contenders {
            let mut run = Run::prepare(plan, self.runtime, contender, self.tokens, count)?;
            let (allocated, counted) = run.count_allocations()?;
            let figures = Figures {
                nanos: Vec::with_capacity(plan.rounds),
                allocated,
                counted,
            };
            runs.push((run, figures));
        }
        for _ in 0..plan.rounds {
            for (run, figures) in &mut runs {
                figures.nanos.push(run.slice()?);
            }
        }
        for (run, _) in &mut runs {
            run.check_rejections()?;
            eprint!(".");
            let _ = std::io::stderr().flush();
        }
        Ok(runs)
    }

    fn ours(&self, plan: &Plan, count: usize) -> Vec<Contender> {
        let stores = (self.short, self.listed);
        ours::rows(self.issuer, stores, self.large, plan, count)
    }
}

/// Compares rows with their targets.
fn judge(table: &Table, algorithm: TestAlgorithm, count: usize, targets: &mut Vec<Target>) {
    let what = |row: &Row| {
        let tokens = if count == 1 { "one token" } else { "in turn" };
        let row = row.name.trim_start_matches("tower-revoke, ");
        format!("{} {tokens}, {row}", algorithm.name())
    };
    let seen = format!("tower-revoke, seen before, list of {LISTED}");
    let seen = table
        .rows
        .iter()
        .find(|row| row.name == seen)
        .map_or(0.0, |row| row.added);
    for row in &table.rows {
        let (limit, goal) = match (row.kind, algorithm, count) {
            (Kind::Bare | Kind::Peer, ..) => continue,
            (Kind::Monitor, ..) => {
                let what = format!("{}, above that", what(row));
                targets.push(Target::nanos(what, row.added - seen, 150.0, Some(120.0)));
                continue;
            }
            (Kind::New, TestAlgorithm::HS256, _) => (1.03, Some(0.75)),
            (Kind::New, TestAlgorithm::RS256, _) => (1.03, Some(0.85)),
            (Kind::New, ..) => (1.03, Some(1.0)),
            (Kind::Seen, TestAlgorithm::RS256, 1) => (1.0 / 40.0, Some(1.0 / 50.0)),
            (Kind::Seen, TestAlgorithm::ES256, 1) => (1.0 / 100.0, Some(1.0 / 130.0)),
            (Kind::Seen, TestAlgorithm::EdDSA, 1) => (1.0 / 95.0, None),
            (Kind::Seen, TestAlgorithm::HS256, 1) => (1.0 / 8.0, None),
            (Kind::Seen, ..) => {
                targets.push(Target::nanos(what(row), row.added, 700.0, None));
                continue;
            }
        };
        targets.push(Target::ratio(what(row), row.ratio, limit, goal));
    }
}

/// Fills a large list and prints its size in memory.
fn large_list(runtime: &Runtime, entries: u64) -> MemoryStore {
    let before = resident();
    let store = runtime.block_on(ours::store(entries));
    let taken = resident().saturating_sub(before);
    println!(
        "\nA list in memory of {entries}: {} MB, {} bytes an entry",
        taken / 1_000_000,
        taken / entries
    );
    store
}

/// Returns the resident memory of this process in bytes.
fn resident() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .unwrap_or(0);
    pages * 4_096
}

fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
