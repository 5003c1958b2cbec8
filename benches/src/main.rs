//! What one request costs in process: a router of axum with one GET, called through
//! `Service::call`, with this project's stack and with its peers.
//!
//! `cargo run --release --manifest-path benches/Cargo.toml` takes less than three minutes,
//! `-- --quick` less than half of one; `-- RS256` measures one algorithm only; and
//! `-- RS256 '--profile=seen before, list of 0'` sends to one row for five seconds, for a profiler.

mod alloc;
mod ours;
mod peers;
mod report;
mod rounds;
mod stores;
mod target;
mod tokens;

use std::{env, fs, process::ExitCode, time::Duration};

use tokio::runtime::{Builder, Runtime};
use tower_revoke::MemoryStore;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::{
    ours::Cache,
    report::{Table, Target},
    rounds::{Contender, Kind, Outcome, Plan},
    tokens::Tokens,
};

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

const LISTED: u64 = 100_000;

struct Settings {
    plan: Plan,
    tokens: usize,
    /// Of the large list.
    listed: u64,
    algorithms: Vec<TestAlgorithm>,
    /// The end of the name of the one row that is sent to.
    profiled: Option<String>,
}

impl Settings {
    fn read() -> Self {
        let args: Vec<String> = env::args().skip(1).collect();
        let is_quick = args.iter().any(|arg| arg == "--quick");
        let mut algorithms = vec![
            TestAlgorithm::HS256,
            TestAlgorithm::RS256,
            TestAlgorithm::ES256,
            TestAlgorithm::EdDSA,
        ];
        if args.iter().any(|arg| !arg.starts_with("--")) {
            algorithms.retain(|algorithm| args.iter().any(|arg| arg == algorithm.name()));
        }
        let profiled = args.iter().find_map(|arg| arg.strip_prefix("--profile="));
        let profiled = profiled.map(str::to_owned);
        let plan = |rounds, millis| Plan {
            rounds,
            slice: Duration::from_millis(millis),
        };
        match is_quick {
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

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let is_quick = args.iter().any(|arg| arg == "--quick");
    let mut words = args.iter().filter(|arg| !arg.starts_with("--"));
    let measured = match words.next().map(String::as_str) {
        Some("stores") => stores::run(is_quick, words.next().map(String::as_str)),
        _ => run(&Settings::read()),
    };
    match measured {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Outcome<()> {
    peers::choose_backends();
    let runtime = Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let Settings { plan, tokens, .. } = settings;
    println!(
        "One GET in process: ns above the bare router (whose own are in brackets), median of {} \
         rounds in which all take turns.",
        plan.rounds
    );
    println!(
        "Bad signature, expired, revoked: refused by each that has a row. Load {}",
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
            contender("bare axum 0.8", Kind::Bare, peers::bare()),
            Contender {
                is_axum07: true,
                ..contender("bare axum 0.7", Kind::Bare, peers::bare_axum07())
            },
        ];
        let mut left_out = Vec::new();
        for peer in self.runtime.block_on(peers::all(self.issuer)) {
            match peer.router {
                Ok(target) => contenders.push(Contender {
                    is_axum07: peer.is_axum07,
                    ..contender(peer.name, Kind::Peer, target)
                }),
                Err(reason) => left_out.push(format!("{} {reason}", peer.name)),
            }
        }
        contenders.extend(self.ours(plan, count));
        let figures = plan.run(self.runtime, &mut contenders, self.tokens, count)?;
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

    /// Nothing but one row of this project's, with one token.
    fn profile(&self, plan: &Plan, name: &str) -> Outcome<()> {
        let mut rows = self.ours(plan, 1);
        rows.retain(|row| row.name.ends_with(name));
        let plan = Plan {
            rounds: 5,
            slice: Duration::from_secs(1),
        };
        plan.run(self.runtime, &mut rows, self.tokens, 1).map(drop)
    }

    fn ours(&self, plan: &Plan, count: usize) -> Vec<Contender> {
        let (new, cache) = match count {
            1 => ("verified each time", Cache::None),
            // Those of the first slice fill it.
            _ => ("every token new", Cache::Of(count / (plan.rounds + 2))),
        };
        let mut all = Vec::new();
        let mut add = |what: &str, kind, target| {
            all.push(Contender {
                has_list: true,
                once: kind == Kind::New && count > 1,
                ..contender(&format!("tower-revoke, {what}"), kind, target)
            });
        };
        let stores = [Some(self.short), Some(self.listed), self.large];
        for store in stores.into_iter().flatten() {
            let what = format!("seen before, list of {}", store.len() - 1);
            add(
                &what,
                Kind::Seen,
                ours::stack(self.issuer, store, Cache::Default),
            );
        }
        let target = ours::monitored(self.issuer, self.listed);
        add("the same with 100000, monitored", Kind::Monitored, target);
        for store in [self.short, self.listed] {
            let what = format!("{new}, list of {}", store.len() - 1);
            add(&what, Kind::New, ours::stack(self.issuer, store, cache));
        }
        all
    }
}

fn contender(name: &str, kind: Kind, target: Box<dyn target::Target>) -> Contender {
    Contender {
        name: name.to_owned(),
        kind,
        is_axum07: false,
        has_list: false,
        once: false,
        target,
    }
}

/// The rows that have a target.
fn judge(table: &Table, algorithm: TestAlgorithm, count: usize, targets: &mut Vec<Target>) {
    let what = |row: &report::Row| {
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
            (Kind::Monitored, ..) => {
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

/// Says what it takes.
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

/// Bytes of memory that this process holds.
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
