//! Starts and kills writers, and checks that the store has what they acknowledged.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use futures_util::future::join_all;
use tower_revoke::core::{KeyDigest, Listed, Store, UseOutcome};
use tower_revoke_testing::rounds;
use tower_revoke_tests::{acks::Ack, load::now};

/// The longest life of a writer, in acknowledgements.
const LIFE: u64 = 400;

const REVOKED: Listed = Listed::Revoked { until: None };
const SPENT: Listed = Listed::Spent { until: None };

/// All acknowledgements, of every writer on the file.
#[derive(Default)]
struct Acknowledged {
    revoked: Vec<u64>,
    /// The winning use.
    won: BTreeMap<u64, u8>,
    lost: Vec<(u64, u8)>,
}

/// Kills the process on drop, so that it never outlives the test.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        // SIGKILL, on Unix.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills twenty or a hundred writers on a store of this kind, after `earlier` uses were taken.
pub(crate) async fn survives<S: Store>(
    kind: &str,
    place: &Path,
    earlier: u64,
    open: impl AsyncFn() -> S,
) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = Acknowledged::default();
    // Numbers that no writer reaches.
    let earlier: Vec<_> = (u64::MAX - earlier..u64::MAX).collect();
    take_once(&open().await, &earlier).await;
    let rounds = rounds(20, 100);
    for round in 0..rounds {
        // Some writers are killed while they open the file.
        let life = random.u64(0..LIFE).saturating_sub(LIFE / 10);
        let before = (all.won.len(), all.lost.len());
        all.run_and_kill(kind, place, round, life);
        // Most rounds leave recovery to the next writer.
        if round % 10 != 5 {
            let store = open().await;
            all.is_there(&store, before).await;
        }
    }
    let store = open().await;
    all.is_there(&store, (0, 0)).await;
    let keys: Vec<_> = earlier.iter().map(key).collect();
    for (number, listed) in earlier.iter().zip(look_up(&store, &keys).await) {
        assert_eq!(listed, Some(SPENT), "earlier token {number}");
    }
    println!(
        "{} revocations, {} uses won, {} lost",
        all.revoked.len(),
        all.won.len(),
        all.lost.len()
    );
    let many = 10 * usize::try_from(rounds).expect("a few");
    assert!(all.revoked.len() > many && all.won.len() > many);
    assert!(all.lost.len() > many, "one of two uses must lose");
}

async fn take_once<S: Store>(store: &S, numbers: &[u64]) {
    for some in numbers.chunks(1_024) {
        let uses = some.iter().map(async |number| {
            let outcome = store.take_use(&Ack::new_use(*number, 1), now()).await;
            assert_eq!(outcome.expect("an answer"), UseOutcome::Taken { left: 0 });
        });
        join_all(uses).await;
    }
}

fn key(number: &u64) -> KeyDigest {
    KeyDigest::of_token(Ack::token(*number))
}

async fn look_up<S: Store>(store: &S, keys: &[KeyDigest]) -> Vec<Option<Listed>> {
    store.look_up(keys).await.expect("an answer")
}

impl Acknowledged {
    fn run_and_kill(&mut self, kind: &str, place: &Path, round: u64, life: u64) {
        let writer = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_store-writer")])
            .arg(kind)
            .arg(place)
            .arg(round.to_string())
            .stdout(Stdio::piped())
            .spawn();
        let mut writer = Writer(writer.expect("setpriv, of util-linux, runs"));
        let said = writer.0.stdout.take().expect("a piped stream");
        let mut lines = BufReader::new(said).lines();
        for _ in 0..life {
            match lines.next() {
                Some(line) => self.add(&line.expect("text")),
                None => panic!("the writer of round {round} ended by itself"),
            }
        }
        drop(writer);
        // Acknowledged before the kill.
        for line in lines {
            self.add(&line.expect("text"));
        }
    }

    fn add(&mut self, line: &str) {
        match line.parse().expect("an acknowledgement") {
            Ack::Revoked(number) => self.revoked.push(number),
            Ack::Won(number, use_) => {
                let other = self.won.insert(number, use_);
                assert_eq!(other, None, "two winners of the only use of {number}");
            }
            Ack::Lost(number, use_) => self.lost.push((number, use_)),
        }
    }

    /// Asserts that everything is listed, and that each use from these indices on gets the same
    /// outcome again.
    async fn is_there<S: Store>(&self, store: &S, (won_before, lost_before): (usize, usize)) {
        let revoked: Vec<_> = self.revoked.iter().map(key).collect();
        for (number, listed) in self.revoked.iter().zip(look_up(store, &revoked).await) {
            assert_eq!(listed, Some(REVOKED), "the revocation of {number} was lost");
        }
        let spent: Vec<_> = self.won.keys().map(key).collect();
        for (number, listed) in self.won.keys().zip(look_up(store, &spent).await) {
            assert_eq!(listed, Some(SPENT), "the use of {number} was lost");
        }
        let won = self.won.iter().map(|(number, use_)| (*number, *use_));
        let won = won.skip(won_before).map(async |(number, use_)| {
            let outcome = store
                .take_use(&Ack::new_use(number, use_), now())
                .await
                .expect("an answer");
            assert_eq!(
                outcome,
                UseOutcome::Taken { left: 0 },
                "token {number}, use {use_}"
            );
        });
        join_all(won).await;
        let lost = self.lost[lost_before..].iter().map(async |(number, use_)| {
            let outcome = store
                .take_use(&Ack::new_use(*number, *use_), now())
                .await
                .expect("an answer");
            assert_eq!(outcome, UseOutcome::Spent, "token {number}, use {use_}");
        });
        join_all(lost).await;
    }
}
