//! The measurement: every contender is checked, then all take turns in short slices.

use std::{
    io::{self, Write},
    time::{Duration, Instant},
};

use http::StatusCode;
use tokio::runtime::Runtime;

use crate::{
    alloc::{self, Allocated},
    target::Target,
    tokens::Tokens,
};

/// What stands in the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing. Its cost is taken off those that stand on the same axum.
    Bare,
    Peer,
    /// This project, with tokens that were verified before.
    Seen,
    /// The same, and calls are counted by client.
    Monitored,
    /// This project, with tokens that were not.
    New,
}

pub struct Contender {
    pub name: String,
    pub kind: Kind,
    pub is_axum07: bool,
    /// Whether it has a list, with one of the tokens on it.
    pub has_list: bool,
    /// Whether no token may be sent to it a second time.
    pub once: bool,
    pub target: Box<dyn Target>,
}

/// What was found of a contender.
pub struct Figures {
    /// Per request, in each round.
    pub nanos: Vec<f64>,
    pub allocated: Allocated,
    pub counted: u64,
}

pub struct Plan {
    pub rounds: usize,
    pub slice: Duration,
}

pub type Outcome<T> = Result<T, String>;

impl Plan {
    /// The figures of each, in the same order.
    pub fn run(
        &self,
        runtime: &Runtime,
        contenders: &mut [Contender],
        tokens: &Tokens,
        headers: usize,
    ) -> Outcome<Vec<Figures>> {
        let mut runs = Vec::with_capacity(contenders.len());
        for contender in contenders {
            runs.push(Run::prepare(self, runtime, contender, tokens, headers)?);
        }
        for _ in 0..self.rounds {
            for run in &mut runs {
                run.slice()?;
            }
        }
        runs.into_iter().map(Run::end).collect()
    }
}

/// A contender on its way through the tokens.
struct Run<'a> {
    runtime: &'a Runtime,
    contender: &'a mut Contender,
    tokens: &'a Tokens,
    headers: usize,
    /// How many requests make a slice.
    count: usize,
    sent: usize,
    nanos: Vec<f64>,
    allocated: Allocated,
    counted: u64,
}

impl<'a> Run<'a> {
    fn prepare(
        plan: &Plan,
        runtime: &'a Runtime,
        contender: &'a mut Contender,
        tokens: &'a Tokens,
        headers: usize,
    ) -> Outcome<Self> {
        let mut run = Run {
            runtime,
            tokens,
            headers,
            // One slice to warm up, one to count allocations, and the rounds.
            count: headers / (plan.rounds + 2),
            sent: 0,
            nanos: Vec::with_capacity(plan.rounds),
            allocated: Allocated::default(),
            counted: 0,
            contender,
        };
        run.check_refusals()?;
        if !run.contender.once {
            // All tokens are known, and the machine is warm.
            run.count = run.headers.max(200);
            run.send()?;
            run.count = 200;
            let took = run.send()?.as_secs_f64() / 200.0;
            run.count = ((plan.slice.as_secs_f64() / took) as usize).max(50);
        } else {
            run.send()?;
        }
        let slice = run.count;
        run.count = slice.min(2_000);
        run.counted = run.count as u64;
        alloc::start();
        let sent = run.send();
        run.allocated = alloc::stop();
        sent?;
        run.count = slice;
        Ok(run)
    }

    fn slice(&mut self) -> Outcome<()> {
        let took = self.send()?;
        self.nanos.push(took.as_nanos() as f64 / self.count as f64);
        Ok(())
    }

    /// Sends a slice of good tokens.
    fn send(&mut self) -> Outcome<Duration> {
        let headers = &self.tokens.good[..self.headers];
        let sending = self.contender.target.send(headers, self.sent, self.count);
        let begun = Instant::now();
        let statuses = self.runtime.block_on(sending);
        let took = begun.elapsed();
        self.sent += self.count;
        match statuses.are_all(StatusCode::OK, self.count) {
            true => Ok(took),
            false => Err(format!(
                "{}: {statuses} in place of 200",
                self.contender.name
            )),
        }
    }

    /// What must be refused is refused, before and after anything is timed.
    fn check_refusals(&mut self) -> Outcome<()> {
        if self.contender.kind == Kind::Bare {
            return Ok(());
        }
        let Tokens {
            bad_signature,
            expired,
            revoked,
            ..
        } = self.tokens;
        let mut cases = vec![
            ("a bad signature", bad_signature),
            ("an expired token", expired),
        ];
        if self.contender.has_list {
            cases.push(("a revoked token", revoked));
        }
        for (what, header) in cases {
            // Twice: what is remembered of the first must not help the second.
            let headers = [header.clone()];
            let sending = self.contender.target.send(&headers, 0, 2);
            let statuses = self.runtime.block_on(sending);
            if !statuses.are_all(StatusCode::UNAUTHORIZED, 2) {
                let name = &self.contender.name;
                return Err(format!("{name}: {statuses} in place of 401 for {what}"));
            }
        }
        Ok(())
    }

    fn end(mut self) -> Outcome<Figures> {
        self.check_refusals()?;
        progress();
        Ok(Figures {
            nanos: self.nanos,
            allocated: self.allocated,
            counted: self.counted,
        })
    }
}

fn progress() {
    eprint!(".");
    let _ = io::stderr().flush();
}
