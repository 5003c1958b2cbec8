//! A process that measures a row on request, and the side that sends the requests.
//!
//! The arguments are `turns ROUNDS MICROSECONDS TOKENS ALGORITHM…`. The process writes one line per
//! row to its standard output, `seen NAME` or `new NAME`, and then an empty line. After that it
//! reads numbers of rows from its standard input, one a line, and writes for each that row's
//! nanoseconds per request divided by the bare router's. It ends with its input.
//!
//! Other revisions speak this protocol too. After a change they can't be compared any more.

use std::{
    fmt,
    io::{BufRead, BufReader, Write, stdin, stdout},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

use tokio::runtime::Builder;
use tower_revoke_testing::TestAlgorithm;

use crate::{
    ours, parse_algorithms,
    rounds::{Contender, Kind, Outcome, Plan, Run},
    router,
    tokens::{self, Tokens},
};

/// The first argument of such a process.
pub const TURNS: &str = "turns";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowName {
    pub name: String,
    /// Whether its tokens are in the cache.
    pub is_seen: bool,
}

/// Runs the measuring side, until the standard input ends.
pub fn take_turns(args: &[&str]) -> Outcome<()> {
    let [rounds, micros, count, algorithms @ ..] = args else {
        return Err("turns ROUNDS MICROSECONDS TOKENS ALGORITHM…".to_owned());
    };
    let number = |arg: &str| arg.parse::<usize>().map_err(text);
    let plan = Plan {
        rounds: number(rounds)?,
        slice: Duration::from_micros(number(micros)? as u64),
    };
    let count = number(count)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(text)?;
    let short = runtime.block_on(ours::store(0));
    let listed = runtime.block_on(ours::store(ours::LISTED));
    let mut signed = Vec::new();
    for algorithm in parse_algorithms(algorithms)? {
        let issuer = tokens::issuer(algorithm);
        let tokens = Tokens::sign(&issuer, count);
        signed.push((issuer, tokens));
    }

    let mut bares = Vec::new();
    let mut rows = Vec::new();
    for (issuer, tokens) in &signed {
        for count in [1, count] {
            let prepare = |row| Run::prepare(&plan, &runtime, row, tokens, count);
            bares.push(prepare(Contender::new("bare", Kind::Bare, router::bare()))?);
            let mut all = ours::rows(issuer, (&short, &listed), None, &plan, count);
            all.retain(|row| !row.once);
            for row in all {
                let how = if count == 1 { "one token" } else { "in turn" };
                let what = row.name.trim_start_matches("tower-revoke, ");
                let name = RowName {
                    name: format!("{} {how}, {what}", issuer.algorithm().name()),
                    is_seen: row.kind.is_seen(),
                };
                rows.push((name, bares.len() - 1, prepare(row)?));
            }
        }
    }

    let mut out = stdout().lock();
    for (name, ..) in &rows {
        writeln!(out, "{name}").map_err(text)?;
    }
    writeln!(out).map_err(text)?;
    for line in stdin().lock().lines() {
        let line = line.map_err(text)?;
        let row = rows.get_mut(number(&line)?);
        let (_, bare, run) = row.ok_or_else(|| format!("there is no row {line}"))?;
        let bare = bares[*bare].slice()?;
        writeln!(out, "{}", run.slice()? / bare).map_err(text)?;
    }
    for (.., run) in &mut rows {
        run.check_rejections()?;
    }
    Ok(())
}

/// A measuring process. Killed when dropped.
pub struct Process {
    child: Child,
    asks: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    rows: Vec<RowName>,
}

impl Process {
    /// Starts the process, and returns once it is ready.
    pub fn start(
        program: &Path,
        (plan, tokens): (&Plan, usize),
        algorithms: &[TestAlgorithm],
    ) -> Outcome<Self> {
        let numbers = [plan.rounds, plan.slice.as_micros() as usize, tokens];
        let mut child = Command::new(program)
            .arg(TURNS)
            .args(numbers.map(|number| number.to_string()))
            .args(algorithms.iter().map(|algorithm| algorithm.name()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("{}: {error}", program.display()))?;
        let asks = child.stdin.take();
        let answers = child.stdout.take().ok_or("no standard output")?;
        let mut process = Self {
            child,
            asks,
            answers: BufReader::new(answers),
            rows: Vec::new(),
        };
        loop {
            let line = process.read()?;
            match line.split_once(' ') {
                _ if line.is_empty() => return Ok(process),
                Some((kind @ ("seen" | "new"), name)) => process.rows.push(RowName {
                    name: name.to_owned(),
                    is_seen: kind == "seen",
                }),
                _ => return Err(format!("{} answers {line:?}", program.display())),
            }
        }
    }

    pub fn rows(&self) -> &[RowName] {
        &self.rows
    }

    pub fn find(&self, row: &RowName) -> Option<usize> {
        self.rows.iter().position(|own| own == row)
    }

    /// Returns the row's time per request divided by the bare router's.
    pub fn slice(&mut self, row: usize) -> Outcome<f64> {
        let asks = self.asks.as_mut().ok_or("no standard input")?;
        writeln!(asks, "{row}").map_err(text)?;
        self.read()?.parse().map_err(text)
    }

    /// Ends the process, which checks again that it rejects invalid tokens.
    pub fn end(mut self) -> Outcome<()> {
        self.asks = None;
        let status = self.child.wait().map_err(text)?;
        match status.success() {
            true => Ok(()),
            false => Err(format!("a process of the benches ended with {status}")),
        }
    }

    fn read(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line).map_err(text)? {
            0 => Err("a process of the benches ended early".to_owned()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_seen { "seen" } else { "new" };
        write!(f, "{kind} {}", self.name)
    }
}

fn text(error: impl fmt::Display) -> String {
    error.to_string()
}
