//! Measures what a request costs in process: calls an axum router with one GET through
//! `Service::call`, with this project's stack, and compares it with another revision or with peers.
//! `CONTRIBUTING.md` lists the commands.

mod against;
mod alloc;
#[cfg(feature = "peers")]
mod beside;
#[cfg(feature = "endpoint")]
mod endpoint;
mod frames;
mod instructions;
#[cfg(feature = "peers")]
mod loopback;
mod ours;
mod rounds;
mod router;
#[cfg(feature = "stores")]
mod stores;
mod target;
mod tokens;

use std::{env, process::ExitCode};

use tower_revoke_testing::TestAlgorithm;

use crate::rounds::Outcome;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

/// The algorithms that are measured.
const ALGORITHMS: [TestAlgorithm; 4] = [
    TestAlgorithm::HS256,
    TestAlgorithm::RS256,
    TestAlgorithm::ES256,
    TestAlgorithm::EdDSA,
];

/// The command-line arguments: words and flags.
struct Args {
    words: Vec<String>,
    is_quick: bool,
    /// Replaces the kept numbers.
    is_written: bool,
    /// Sends only to the row whose name ends with this, for a profiler.
    #[cfg(feature = "peers")]
    profiled: Option<String>,
}

impl Args {
    fn read() -> Outcome<Self> {
        let mut args = Self {
            words: Vec::new(),
            is_quick: false,
            is_written: false,
            #[cfg(feature = "peers")]
            profiled: None,
        };
        for arg in env::args().skip(1) {
            match arg.strip_prefix("--") {
                None => args.words.push(arg),
                Some("quick") => args.is_quick = true,
                Some("write") => args.is_written = true,
                #[cfg(feature = "peers")]
                Some(flag) if flag.starts_with("profile=") => {
                    args.profiled = flag.split_once('=').map(|(_, row)| row.to_owned());
                }
                Some(_) => return Err(format!("there is no flag {arg}")),
            }
        }
        Ok(args)
    }
}

fn main() -> ExitCode {
    match Args::read().and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\n{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<()> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    match words[..] {
        ["against", revision, ref algorithms @ ..] => {
            against::run(revision, args.is_quick, &parse_algorithms(algorithms)?)
        }
        ["against"] => Err("against what? `-- against REVISION`".to_owned()),
        [against::TURNS, ref plan @ ..] => against::take_turns(plan),
        ["endpoint"] => endpoint(args.is_quick),
        ["http", ref algorithms @ ..] => http(args.is_quick, &parse_algorithms(algorithms)?),
        ["instructions"] => instructions::run(args.is_written),
        [instructions::REPEAT, row, count] => instructions::repeat(row, count),
        ["scale", ref count @ ..] => scale(count.first().copied().unwrap_or("1000000")),
        ["streams"] => frames::run(args.is_quick),
        ["stores", ref named @ ..] => stores(args.is_quick, named.first().copied()),
        ref algorithms => beside(args, &parse_algorithms(algorithms)?),
    }
}

/// Parses names of algorithms. No name gives an empty list.
fn parse_algorithms(names: &[&str]) -> Outcome<Vec<TestAlgorithm>> {
    let parse = |name: &&str| {
        let known = ALGORITHMS.into_iter().find(|known| known.name() == *name);
        known.ok_or_else(|| format!("{name} is none of the algorithms that are measured"))
    };
    names.iter().map(parse).collect()
}

#[cfg(feature = "endpoint")]
fn endpoint(is_quick: bool) -> Outcome<()> {
    endpoint::run(is_quick)
}

#[cfg(not(feature = "endpoint"))]
fn endpoint(_: bool) -> Outcome<()> {
    Err("the servers can't be started: add `--features endpoint`".to_owned())
}

#[cfg(feature = "stores")]
fn stores(is_quick: bool, named: Option<&str>) -> Outcome<()> {
    stores::run(is_quick, named)
}

#[cfg(feature = "stores")]
fn scale(count: &str) -> Outcome<()> {
    let number = count.parse();
    stores::scale(number.map_err(|_| format!("{count} is no number of revocations"))?)
}

#[cfg(not(feature = "stores"))]
fn scale(_: &str) -> Outcome<()> {
    stores(false, None)
}

#[cfg(not(feature = "stores"))]
fn stores(_: bool, _: Option<&str>) -> Outcome<()> {
    Err("the drivers of the stores are not built in: add `--features stores`".to_owned())
}

#[cfg(feature = "peers")]
fn http(is_quick: bool, algorithms: &[TestAlgorithm]) -> Outcome<()> {
    loopback::run(is_quick, algorithms)
}

#[cfg(not(feature = "peers"))]
fn http(_: bool, _: &[TestAlgorithm]) -> Outcome<()> {
    Err("the peers are not built in: add `--features peers`".to_owned())
}

#[cfg(feature = "peers")]
fn beside(args: &Args, algorithms: &[TestAlgorithm]) -> Outcome<()> {
    beside::run(args, algorithms)
}

#[cfg(not(feature = "peers"))]
fn beside(_: &Args, _: &[TestAlgorithm]) -> Outcome<()> {
    Err("the peers are not built in: add `--features peers`, or `-- against REVISION`".to_owned())
}
