//! Requests per second and CPU time per request over loopback, beside bare axum, other crates and
//! HAProxy. Each server runs on the first core, and wrk on the second one.

mod server;
mod wrk;

use std::{sync::Arc, time::Duration};

use tempfile::TempDir;
use tower_revoke::MemoryStore;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use self::{server::Server, wrk::Wrk};
use crate::{
    beside::peers,
    ours::{self, Cache, LISTED},
    rounds::{Outcome, quartiles},
    router,
    tokens::{self, Tokens},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Row {
    Bare,
    Ours,
    WithMonitor,
    JwtAuthorizer,
    ResourceServer,
    HaProxy,
}

use Row::{Bare, HaProxy, JwtAuthorizer, Ours, ResourceServer, WithMonitor};

const ROWS: [Row; 6] = [
    Bare,
    Ours,
    WithMonitor,
    JwtAuthorizer,
    ResourceServer,
    HaProxy,
];

impl Row {
    fn name(self) -> &'static str {
        match self {
            Bare => "bare axum 0.8",
            Ours => "tower-revoke: preserve, bearer, list of 100000",
            WithMonitor => "the same, monitored",
            JwtAuthorizer => "jwt-authorizer 0.15",
            ResourceServer => "tower-oauth2-resource-server 0.12",
            HaProxy => "HAProxy: jwt_verify, map of 100000",
        }
    }

    /// Whether it rejects the revoked token.
    fn has_list(self) -> bool {
        matches!(self, Ours | WithMonitor | HaProxy)
    }
}

/// Which tokens are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Same,
    InTurn,
    /// Each once, to a server that was just started.
    New,
}

/// A ratio and its goal.
struct Goal {
    what: String,
    /// Quartiles.
    ratios: [f64; 3],
    is_reached: bool,
    to_reach: String,
}

struct Bench {
    issuer: Arc<TestIssuer>,
    store: MemoryStore,
    tokens: Tokens,
    folder: TempDir,
    rounds: usize,
}

/// The results of a row, by round.
#[derive(Default)]
struct Figures {
    per_second: Vec<f64>,
    /// CPU time of the server per request, in nanoseconds.
    cpu: Vec<f64>,
}

/// The number of tokens that are sent in turn.
const IN_TURN: usize = 20_000;

/// Enough tokens for a second in which each is new.
const NEW: usize = 60_000;

const SECONDS: u64 = 1;

/// Measures RS256 and ES256, or the algorithms that are named.
pub fn run(is_quick: bool, algorithms: &[TestAlgorithm]) -> Outcome<()> {
    let algorithms = match algorithms {
        [] => &[TestAlgorithm::RS256, TestAlgorithm::ES256],
        named => named,
    };
    peers::choose_backends();
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let store = runtime.block_on(ours::store(LISTED));
    let rounds = if is_quick { 5 } else { 21 };
    println!(
        "Over loopback, the server on one core and wrk with 32 connections on the other, {rounds} \
         rounds of {SECONDS} s in which all take turns in random order. Lower quartile, median, upper \
         quartile of what each round gave, divided by bare axum's of that round."
    );
    let mut goals = Vec::new();
    for algorithm in algorithms {
        let issuer = Arc::new(tokens::issuer(*algorithm));
        let bench = Bench {
            tokens: Tokens::sign(&issuer, NEW),
            issuer,
            store: store.clone(),
            folder: tempfile::tempdir().map_err(|error| error.to_string())?,
            rounds,
        };
        for case in [Case::Same, Case::InTurn, Case::New] {
            bench.measure(case, &mut goals)?;
        }
    }
    println!("\nGoals:");
    for goal in goals {
        let [lower, median, upper] = goal.ratios;
        let verdict = if goal.is_reached { "" } else { "   MISSED" };
        println!(
            "  {:<66} {lower:>6.2} {median:>6.2} {upper:>6.2}   {}{verdict}",
            goal.what, goal.to_reach
        );
    }
    Ok(())
}

impl Bench {
    fn measure(&self, case: Case, goals: &mut Vec<Goal>) -> Outcome<()> {
        let count = match case {
            Case::Same => 1,
            Case::InTurn => IN_TURN,
            Case::New => NEW,
        };
        let wrk = Wrk::new(self.folder.path(), &self.tokens.good[..count]);
        let wrk = wrk.map_err(|error| error.to_string())?;
        let mut servers = Vec::new();
        if case != Case::New {
            for row in ROWS {
                let server = self.start(row)?;
                let mut sent = 0;
                while sent < 2 * count as u64 {
                    sent += wrk.send(server.addr, SECONDS)?.requests;
                }
                servers.push(server);
            }
        }
        let mut figures: [Figures; ROWS.len()] = Default::default();
        let mut order: Vec<usize> = (0..ROWS.len()).collect();
        for _ in 0..self.rounds {
            fastrand::shuffle(&mut order);
            for &row in &order {
                let fresh = match case {
                    Case::New => Some(self.start(ROWS[row])?),
                    Case::Same | Case::InTurn => None,
                };
                let server = fresh.as_ref().unwrap_or_else(|| &servers[row]);
                let begun = server.cpu_nanos()?;
                let sent = wrk.send(server.addr, SECONDS)?;
                let cpu = server.cpu_nanos()? - begun;
                if case == Case::New && ROWS[row] != Bare && sent.requests > wrk.count() as u64 {
                    return Err(format!("{} requests: too few tokens", sent.requests));
                }
                figures[row].per_second.push(sent.per_second);
                figures[row].cpu.push(cpu as f64 / sent.requests as f64);
            }
            eprint!(".");
        }
        for (row, server) in ROWS.into_iter().zip(&servers) {
            self.check_rejections(row, server)?;
        }
        self.print(case, &figures);
        self.judge(case, &figures, goals);
        Ok(())
    }

    fn start(&self, row: Row) -> Outcome<Server> {
        let (issuer, store) = (Arc::clone(&self.issuer), self.store.clone());
        let server = match row {
            HaProxy => Server::haproxy(self.folder.path(), &self.issuer, LISTED),
            Bare => Server::router(async || router::bare()),
            Ours => Server::router(async move || ours::stack(&issuer, &store, Cache::Default)),
            WithMonitor => Server::router(async move || ours::monitored(&issuer, &store)),
            JwtAuthorizer => Server::router(async move || peers::jwt_authorizer(&issuer).await),
            ResourceServer => Server::router(async move || {
                let router = peers::tower_oauth2(&issuer).await;
                router.expect("an asymmetric algorithm")
            }),
        }?;
        self.check_rejections(row, &server)?;
        Ok(server)
    }

    /// Checks that a valid token passes, and that invalid ones are rejected.
    fn check_rejections(&self, row: Row, server: &Server) -> Outcome<()> {
        let Tokens {
            good,
            bad_signature,
            expired,
            revoked,
        } = &self.tokens;
        let rejected = if row == Bare { 200 } else { 401 };
        let mut cases = vec![
            (&good[0], 200),
            (bad_signature, rejected),
            (expired, rejected),
        ];
        if row.has_list() {
            cases.push((revoked, 401));
        }
        for (number, (token, expected)) in cases.into_iter().enumerate() {
            let status = server.status(token)?;
            if status != expected {
                let name = row.name();
                return Err(format!(
                    "{name}: {status} in place of {expected}, check {number}"
                ));
            }
        }
        Ok(())
    }

    fn print(&self, case: Case, figures: &[Figures]) {
        let name = self.issuer.algorithm().name();
        let length = self.tokens.good[0].len() - "Bearer ".len();
        let how = match case {
            Case::Same => "one token".to_owned(),
            Case::InTurn => format!("{IN_TURN} tokens in turn, seen before"),
            Case::New => "every token new".to_owned(),
        };
        println!(
            "\n{:<50}{:>11}{:>22}{:>10}{:>22}",
            format!("{name}, {length} bytes, {how}"),
            "requests/s",
            "of bare axum",
            "CPU",
            "of bare axum",
        );
        for (row, own) in ROWS.into_iter().zip(figures) {
            let [_, per_second, _] = quartiles(&own.per_second);
            let [_, cpu, _] = quartiles(&own.cpu);
            let cpu = Duration::from_nanos(cpu as u64).as_secs_f64() * 1e6;
            let [a, b, c] = ratios(&own.per_second, &figures[0].per_second);
            let [d, e, f] = ratios(&own.cpu, &figures[0].cpu);
            println!(
                "  {:<48}{per_second:>11.0}    {a:>5.2} {b:>5.2} {c:>5.2}{cpu:>8.1} µs    {d:>5.2} {e:>5.2} \
                 {f:>5.2}",
                row.name()
            );
        }
    }

    fn judge(&self, case: Case, figures: &[Figures], goals: &mut Vec<Goal>) {
        let of = |row: Row| &figures[ROWS.iter().position(|known| *known == row).unwrap_or(0)];
        let algorithm = self.issuer.algorithm();
        let how = match case {
            Case::Same => "one token",
            Case::InTurn => "in turn",
            Case::New => "new",
        };
        let name = |what: &str| format!("{} {how}: {what}", algorithm.name());
        let mut at_least = |what: &str, row: Row, beside: Row, least: f64| {
            let ratios = ratios(&of(row).per_second, &of(beside).per_second);
            goals.push(Goal {
                what: name(what),
                ratios,
                is_reached: ratios[1] >= least,
                to_reach: format!("at least {least}"),
            });
        };
        let is_rs256 = algorithm == TestAlgorithm::RS256;
        if case == Case::New {
            if is_rs256 {
                at_least("of HAProxy's requests", Ours, HaProxy, 1.5);
                at_least("of jwt-authorizer's", Ours, JwtAuthorizer, 1.3);
                at_least(
                    "of tower-oauth2-resource-server's",
                    Ours,
                    ResourceServer,
                    1.3,
                );
            }
            return;
        }
        at_least("of bare axum's requests", Ours, Bare, 0.93);
        at_least("monitored, of bare axum's", WithMonitor, Bare, 0.9);
        let times = if is_rs256 { 5.0 } else { 11.0 };
        at_least("of HAProxy's", Ours, HaProxy, times);
        let cpu = ratios(&of(WithMonitor).cpu, &of(Ours).cpu);
        goals.push(Goal {
            what: name("CPU per request with the monitor, of that without"),
            ratios: cpu,
            is_reached: cpu[1] <= 1.03,
            to_reach: "at most 1.03".to_owned(),
        });
    }
}

/// Returns the quartiles of the ratios of each round.
fn ratios(own: &[f64], beside: &[f64]) -> [f64; 3] {
    let ratios: Vec<f64> = own
        .iter()
        .zip(beside)
        .map(|(own, beside)| own / beside)
        .collect();
    quartiles(&ratios)
}
