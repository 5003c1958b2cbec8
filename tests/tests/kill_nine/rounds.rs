//! The rounds: a writer is started and killed, and what it said is looked for.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use futures_util::future::join_all;
use tower_revoke::core::{ClaimOutcome, KeyDigest, Listed, Store};
use tower_revoke_tests::acks::Ack;

const ROUNDS: u64 = 100;

/// The longest that a writer lives, in acknowledgements.
const LIFE: u64 = 400;

/// All that was ever acknowledged, by every writer on the file.
#[derive(Default)]
struct Acknowledged {
    revoked: Vec<u64>,
    /// The winning claim.
    won: BTreeMap<u64, u8>,
    lost: Vec<(u64, u8)>,
}

/// Ended with the test, however that ends.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        // SIGKILL, on Unix.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Kills a writer on the store of this kind a hundred times.
pub(crate) async fn survives<S: Store>(kind: &str, place: &Path, open: impl AsyncFn() -> S) {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut all = Acknowledged::default();
    for round in 0..ROUNDS {
        // Some end while they still open the file.
        let life = random.u64(0..LIFE).saturating_sub(LIFE / 10);
        let before = (all.won.len(), all.lost.len());
        all.run_and_kill(kind, place, round, life);
        // What a writer leaves behind, the next one has to cope with.
        if round % 10 != 5 {
            let store = open().await;
            all.is_there(&store, before).await;
        }
    }
    let store = open().await;
    all.is_there(&store, (0, 0)).await;
    println!(
        "{} revocations, {} claims won, {} lost",
        all.revoked.len(),
        all.won.len(),
        all.lost.len()
    );
    assert!(all.revoked.len() > 1_000 && all.won.len() > 1_000);
    assert!(all.lost.len() > 1_000, "of two claims one has to lose");
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
        let said = writer.0.stdout.take().expect("a pipe was asked for");
        let mut lines = BufReader::new(said).lines();
        for _ in 0..life {
            match lines.next() {
                Some(line) => self.add(&line.expect("text")),
                None => panic!("the writer of round {round} ended by itself"),
            }
        }
        drop(writer);
        // Said before it died.
        for line in lines {
            self.add(&line.expect("text"));
        }
    }

    fn add(&mut self, line: &str) {
        match line.parse().expect("an acknowledgement") {
            Ack::Revoked(number) => self.revoked.push(number),
            Ack::Won(number, claim) => {
                let other = self.won.insert(number, claim);
                assert_eq!(other, None, "two have won the only use of {number}");
            }
            Ack::Lost(number, claim) => self.lost.push((number, claim)),
        }
    }

    /// All is listed; and each claim that came later than so many gets the same answer again.
    async fn is_there<S: Store>(&self, store: &S, (won_before, lost_before): (usize, usize)) {
        let key = |number: &u64| KeyDigest::of_token(Ack::token(*number));
        let revoked: Vec<_> = self.revoked.iter().map(key).collect();
        for (place, listed) in store
            .look_up(&revoked)
            .await
            .expect("an answer")
            .iter()
            .enumerate()
        {
            let is_revoked = matches!(listed, Some(Listed::Revoked { until: None }));
            assert!(
                is_revoked,
                "the revocation of {} is gone: {listed:?}",
                self.revoked[place]
            );
        }
        let spent: Vec<_> = self.won.keys().map(key).collect();
        for (number, listed) in self
            .won
            .keys()
            .zip(store.look_up(&spent).await.expect("an answer"))
        {
            let is_spent = matches!(listed, Some(Listed::Spent { until: None }));
            assert!(is_spent, "the use of {number} is free again: {listed:?}");
        }
        let won = self.won.iter().map(|(number, claim)| (*number, *claim));
        let won = won.skip(won_before).map(async |(number, claim)| {
            let outcome = store
                .claim(&Ack::claim(number, claim))
                .await
                .expect("an answer");
            assert_eq!(
                outcome,
                ClaimOutcome::Won { left: 0 },
                "of {number} by {claim}"
            );
        });
        join_all(won).await;
        let lost = self.lost[lost_before..]
            .iter()
            .map(async |(number, claim)| {
                let outcome = store
                    .claim(&Ack::claim(*number, *claim))
                    .await
                    .expect("an answer");
                assert_eq!(outcome, ClaimOutcome::Spent, "of {number} by {claim}");
            });
        join_all(lost).await;
    }
}
