//! What a mirror of ten million revocations costs: `cargo run --release -p tower-revoke-list
//! --example mirror` (another number as an argument) prints how long it takes to load, its memory,
//! how long a question takes, and how long a snapshot takes to write and to load.

#![expect(clippy::print_stdout, reason = "it prints what it measures")]

use std::{env, error::Error, fs, hint::black_box, time::Duration};

use hashbrown::HashTable;
use serde_json::json;
use tower_revoke_core::{
    BoxFuture, Change, ChangeFeed, Changes, Claims, Clock, Cursor, KeyDigest, Lift, Listed,
    Revocation, Store, StoreError, TokenId, TokenStatus, UnixTime, Use, UseOutcome, VerifiedToken,
};
use tower_revoke_list::{MirrorSnapshot, RevocationList, SnapshotState};

/// What real stores hand out at once.
const PAGE: u64 = 5_000;

/// Few enough that the tokens themselves stay in a cache of the processor; what the mirror holds
/// about them does not.
const ASKED: u64 = 100;

/// Of which the middle one counts.
const ROUNDS: u64 = 1_001;

const NOW: u64 = 1_700_000_000;

/// A store that has nothing but a feed, which it makes up: what is measured is the mirror.
struct MadeUp {
    entries: u64,
    is_down: bool,
}

impl MadeUp {
    fn answers(&self) -> Result<(), StoreError> {
        match self.is_down {
            true => Err(StoreError::Unavailable("down".into())),
            false => Ok(()),
        }
    }
}

fn id(number: u64) -> [u8; 16] {
    let mix = |mut word: u64| {
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    };
    let high = u128::from(mix(number.wrapping_mul(2)));
    let low = u128::from(mix(number.wrapping_mul(2) + 1));
    (high << 64 | low).to_be_bytes()
}

impl Store for MadeUp {
    async fn revoke(&self, _: &[Revocation]) -> Result<(), StoreError> {
        Ok(())
    }

    async fn lift(&self, _: &Lift) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, StoreError> {
        self.answers()?;
        Ok(vec![None; keys.len()])
    }

    async fn take_use(&self, _: &Use, _: UnixTime) -> Result<UseOutcome, StoreError> {
        Ok(UseOutcome::Spent)
    }

    async fn return_use(&self, _: &Use) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn purge(&self, _: UnixTime) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }
}

impl ChangeFeed for MadeUp {
    fn changes<'a>(
        &'a self,
        since: Option<&'a Cursor>,
    ) -> BoxFuture<'a, Result<Changes, StoreError>> {
        Box::pin(async move {
            self.answers()?;
            let first = since.map_or(Ok([0; 8]), |cursor| cursor.as_bytes().try_into());
            let first = u64::from_be_bytes(first.map_err(|_| StoreError::ForeignCursor)?);
            let end = self.entries.min(first + PAGE);
            let change = |number: u64| Change::Listed {
                key: KeyDigest::from_bytes(id(number)),
                listed: Listed::Revoked {
                    until: Some(UnixTime::from_secs(NOW + number % 3_600)),
                },
                at: UnixTime::from_secs(NOW - number % 3_600),
            };
            Ok(Changes {
                changes: (first..end).map(change).collect(),
                next: Cursor::new(end.to_be_bytes()),
                more: end < self.entries,
            })
        })
    }

    fn restore<'a>(&'a self, _: &'a [Change]) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move { Ok(()) })
    }
}

/// Tokens that nobody has asked about: numbers from `first` on, each `step` apart.
fn tokens(first: u64, step: u64) -> Result<Vec<VerifiedToken>, Box<dyn Error>> {
    let claims = json!({"iss": "https://id.example.com", "sub": "ann", "client_id": "web"});
    let token = |number: u64| {
        let id = TokenId::from_bytes(id(first + number * step));
        let claims = Claims::from_value(claims.clone())?;
        Ok(VerifiedToken::new(id, claims, Duration::ZERO))
    };
    (0..ASKED).map(token).collect()
}

/// Nanoseconds a question.
fn ask(
    list: &RevocationList,
    clock: &Clock,
    tokens: &[VerifiedToken],
    expected: TokenStatus,
) -> f64 {
    let begun = clock.uptime();
    let mut wrong = 0_u64;
    for token in tokens {
        wrong += u64::from(black_box(list.known_status(token)) != Some(expected));
    }
    let took = clock.uptime() - begun;
    assert_eq!(wrong, 0, "no {expected:?}");
    took.as_secs_f64() * 1e9 / ASKED as f64
}

fn middle(mut rounds: Vec<f64>) -> f64 {
    rounds.sort_unstable_by(f64::total_cmp);
    rounds[rounds.len() / 2]
}

fn hash(key: &[u8; 16]) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// What the process holds (`VmRSS`), or has held at most (`VmHWM`), in bytes.
fn memory(what: &str) -> Result<f64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(what));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kilobytes.ok_or("no such line")?.parse::<f64>()? * 1_024.0)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let listed = env::args()
        .nth(1)
        .map_or(Ok(10_000_000), |text| text.parse())?;
    let clock = Clock::system();
    let before = memory("VmRSS")?;
    let begun = clock.uptime();
    let store = |is_down| MadeUp {
        entries: listed,
        is_down,
    };
    let path = env::temp_dir().join(format!("mirror-snapshot-{}", std::process::id()));
    let snapshot = MirrorSnapshot::new(&path, [7; 32]).interval(Duration::from_secs(1_000_000));
    let list = RevocationList::builder(store(false))
        .snapshot(snapshot.clone())
        .mirror_capacity(u64::MAX)
        // Nothing ends meanwhile, however long it takes.
        .clock(Clock::manual(UnixTime::from_secs(NOW)).0)
        .max_staleness(Duration::from_secs(3_600))
        .build()?;
    while list.ready().await.is_err() {}
    let took = clock.uptime() - begun;
    let entries = list.stats().mirrored;
    println!("{entries} revocations in the mirror");
    println!("loaded in      {:>7.2} s", took.as_secs_f64());
    println!(
        "memory         {:>7.0} MB",
        (memory("VmRSS")? - before) / 1e6
    );
    println!(
        "at most        {:>7.0} MB",
        (memory("VmHWM")? - before) / 1e6
    );
    let (mut hit, mut miss, mut seen) = (vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let revoked = tokens(round, listed / ASKED - 1)?;
        hit.push(ask(&list, &clock, &revoked, TokenStatus::Revoked));
        let good = tokens(listed + round * ASKED, 1)?;
        miss.push(ask(&list, &clock, &good, TokenStatus::Valid));
        seen.push(ask(&list, &clock, &good, TokenStatus::Valid));
    }
    println!("hit            {:>7.0} ns", middle(hit));
    println!("miss           {:>7.0} ns", middle(miss));
    println!("seen before    {:>7.0} ns", middle(seen));

    let begun = clock.uptime();
    list.shutdown(Duration::from_secs(600)).await?;
    let took = clock.uptime() - begun;
    println!("snapshot written in {:>5.2} s", took.as_secs_f64());
    println!(
        "its file       {:>7.0} MB",
        fs::metadata(&path)?.len() as f64 / 1e6
    );
    drop(list);
    let begun = clock.uptime();
    let list = RevocationList::builder(store(true))
        .snapshot(snapshot)
        .mirror_capacity(u64::MAX)
        .clock(Clock::manual(UnixTime::from_secs(NOW)).0)
        .build()?;
    let revoked = tokens(0, listed / ASKED - 1)?;
    while list.stats().snapshot != SnapshotState::Loaded {
        // Starts the follower. The store is down, so it fails.
        let _ = list.ready().await;
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let took = clock.uptime() - begun;
    for token in &revoked {
        assert_eq!(list.status(token).await?, TokenStatus::Revoked);
    }
    println!(
        "snapshot loaded in  {:>5.2} s, with the store down",
        took.as_secs_f64()
    );
    drop(list);
    fs::remove_file(&path)?;

    // For comparison: one table, no locks, no token. The next key is known only when the last one
    // was found, as between two requests.
    let mut bare = HashTable::with_capacity(usize::try_from(listed)?);
    for number in 0..listed {
        bare.insert_unique(hash(&id(number)), (id(number), 0_u32), |one| hash(&one.0));
    }
    let mut rounds = vec![];
    for round in 0..ROUNDS {
        let key = |number: u64| id(round + number * (listed / ASKED - 1));
        let keys: Vec<_> = (0..ASKED).map(key).collect();
        let begun = clock.uptime();
        let mut nothing = 0;
        for at in 0..keys.len() {
            let key = &keys[at + nothing];
            let found = bare.find(hash(key), |one| one.0 == *key);
            nothing = found.ok_or("it is not there")?.1 as usize;
        }
        rounds.push((clock.uptime() - begun).as_secs_f64() * 1e9 / ASKED as f64);
    }
    println!("in a bare table{:>7.0} ns", middle(rounds));
    Ok(())
}
