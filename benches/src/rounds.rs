//! The measurement of one contender: checks its responses, then sends requests in short slices.

use std::time::Duration;

use http::StatusCode;
use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::Runtime;

#[cfg(feature = "peers")]
use crate::alloc::{self, Allocated};
use crate::{target::Target, tokens::Tokens};

/// The middleware in a contender's router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// None. Others are compared with the bare router of the same axum version.
    Bare,
    #[cfg(feature = "peers")]
    Peer,
    /// This project's stack, with tokens in its cache.
    Seen,
    /// The same, with calls counted per client.
    Monitor,
    /// This project's stack, with tokens that aren't in its cache.
    New,
}

impl Kind {
    /// Returns whether its tokens are in the cache.
    pub fn is_seen(self) -> bool {
        matches!(self, Self::Seen | Self::Monitor)
    }
}

pub struct Contender {
    pub name: String,
    pub kind: Kind,
    #[cfg(feature = "peers")]
    pub is_axum07: bool,
    /// Whether it has a revocation list with one of the tokens on it.
    pub has_list: bool,
    /// Whether each token may be sent only once.
    pub once: bool,
    pub target: Box<dyn Target>,
}

impl Contender {
    pub fn new(name: &str, kind: Kind, target: Box<dyn Target>) -> Self {
        Self {
            name: name.to_owned(),
            kind,
            #[cfg(feature = "peers")]
            is_axum07: false,
            has_list: false,
            once: false,
            target,
        }
    }
}

/// The number of slices per contender, and their length.
pub struct Plan {
    pub rounds: usize,
    pub slice: Duration,
}

pub type Outcome<T> = Result<T, String>;

/// A prepared contender, and its position in the tokens.
pub struct Run<'a> {
    runtime: &'a Runtime,
    contender: Contender,
    tokens: &'a Tokens,
    headers: usize,
    /// The number of requests in a slice.
    count: usize,
    sent: usize,
}

impl<'a> Run<'a> {
    pub fn prepare(
        plan: &Plan,
        runtime: &'a Runtime,
        contender: Contender,
        tokens: &'a Tokens,
        headers: usize,
    ) -> Outcome<Self> {
        let mut run = Run {
            runtime,
            tokens,
            headers,
            // One slice warms up, one counts allocations, and the others are the rounds.
            count: headers / (plan.rounds + 2),
            sent: 0,
            contender,
        };
        run.check_rejections()?;
        if !run.contender.once {
            // Warms up, and fills the caches with all tokens.
            run.count = run.headers.max(200);
            run.send()?;
            run.count = 200;
            let took = run.send()?.as_secs_f64() / 200.0;
            run.count = ((plan.slice.as_secs_f64() / took) as usize).max(50);
        } else {
            run.send()?;
        }
        Ok(run)
    }

    #[cfg(feature = "peers")]
    pub fn contender(&self) -> &Contender {
        &self.contender
    }

    /// Returns what some requests allocate, and the number of these requests.
    #[cfg(feature = "peers")]
    pub fn count_allocations(&mut self) -> Outcome<(Allocated, u64)> {
        let slice = self.count;
        self.count = slice.min(2_000);
        alloc::start();
        let sent = self.send();
        let allocated = alloc::stop();
        let counted = self.count as u64;
        self.count = slice;
        sent.map(|_| (allocated, counted))
    }

    /// Sends a slice, and returns the nanoseconds per request.
    pub fn slice(&mut self) -> Outcome<f64> {
        let took = self.send()?;
        Ok(took.as_nanos() as f64 / self.count as f64)
    }

    /// Sends a slice of valid tokens, and returns the CPU time.
    fn send(&mut self) -> Outcome<Duration> {
        let headers = &self.tokens.good[..self.headers];
        let sending = self.contender.target.send(headers, self.sent, self.count);
        let begun = worked();
        let statuses = self.runtime.block_on(sending);
        let took = worked().saturating_sub(begun);
        self.sent += self.count;
        match statuses.are_all(StatusCode::OK, self.count) {
            true => Ok(took),
            false => Err(format!(
                "{}: {statuses} in place of 200",
                self.contender.name
            )),
        }
    }

    /// Checks that invalid tokens are rejected. Called before and after the measurement.
    pub fn check_rejections(&mut self) -> Outcome<()> {
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
            // Sent twice, since a result that the first request left in a cache must not let the
            // second pass.
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
}

/// Returns the CPU time of this thread, which runs everything. Other processes don't affect it.
pub fn worked() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

pub fn median(values: &[f64]) -> f64 {
    quartiles(values)[1]
}

/// Returns the lower quartile, the median and the upper quartile.
pub fn quartiles(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    [1, 2, 3].map(|quarter| sorted[(sorted.len() * quarter / 4).min(sorted.len() - 1)])
}
