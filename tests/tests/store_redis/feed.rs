//! Tests how much of the feed is kept, and loads during which more is written.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tower_revoke::{
    MirrorState, RevocationList,
    core::{ChangeFeed, Store, StoreError, UnixTime},
};
use tower_revoke_store_redis::RedisStore;
use tower_revoke_testing::{ScriptedStore, StoreOp};
use tower_revoke_tests::{
    feed::whole_feed,
    load::{new_use, now, revocation},
    servers::Redis,
};

/// TRAPS 55: by the end of a load, the feed had trimmed the position where the load began.
#[tokio::test(flavor = "multi_thread")]
async fn trap_55_a_load_ends_while_more_is_written_than_the_feed_keeps() {
    const ROWS: u64 = 50_000;
    let redis = Redis::start(&["--appendfsync", "no"]).await;
    let store = RedisStore::builder(&redis.url()).feed_capacity(5_000);
    let store = store.connect().await.unwrap();
    let some = |numbers: std::ops::Range<u64>| numbers.map(revocation).collect::<Vec<_>>();
    store.revoke(&some(0..ROWS)).await.unwrap();
    let (scripted, script) = ScriptedStore::over(store.clone());
    // Several times as many changes as are kept, though fewer between two pages.
    let writer = tokio::spawn(async move {
        let mut pages = 0;
        for batch in 0.. {
            // One that begins after the last batch, or a writer that was held up would write several.
            script.called(StoreOp::Changes, pages + 1).await;
            let first = ROWS + batch * 1_024;
            store.revoke(&some(first..first + 1_024)).await.unwrap();
            pages = script.calls(StoreOp::Changes);
        }
    });
    let list = RevocationList::builder(scripted)
        .store_timeout(Duration::from_secs(60))
        .build()
        .unwrap();
    list.ready().await.unwrap();
    let stats = list.stats();
    assert_eq!((stats.mirror, stats.mirror_reloads), (MirrorState::Live, 0));
    assert!(stats.mirrored > ROWS + 15_000, "{stats:?}");
    writer.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_feed_keeps_as_many_changes_as_its_capacity() {
    let redis = Redis::start(&["--appendfsync", "no"]).await;
    let store = RedisStore::builder(&redis.url()).feed_capacity(1_000);
    let store = store.connect().await.unwrap();
    let begun = whole_feed(&store).await.next;
    for first in 0..200 {
        let some: Vec<_> = (first * 10..first * 10 + 10).map(revocation).collect();
        store.revoke(&some).await.unwrap();
    }
    let uses: Vec<_> = (0..8_000).map(|number| new_use(number, 1, 1)).collect();
    let taken = uses.iter().map(|use_| store.take_use(use_, now()));
    futures_util::future::try_join_all(taken).await.unwrap();
    let entries = || -> u64 {
        let length = redis.cli(&["XLEN", "{tower-revoke:0}:feed"]);
        length.parse().unwrap()
    };
    // Trimmed in the course of the writes.
    assert!(entries() < 200, "{} entries", entries());
    let end = whole_feed(&store).await.next;
    for number in 10_000..10_100 {
        store.revoke(&[revocation(number)]).await.unwrap();
    }
    store.purge(UnixTime::EPOCH).await.unwrap();
    let kept = store.changes(Some(&end)).await.unwrap();
    assert_eq!((kept.changes.len(), kept.more), (100, false));
    let rejected = store.changes(Some(&begun)).await;
    assert!(
        matches!(rejected, Err(StoreError::CursorTooOld)),
        "{rejected:?}"
    );
    // The trimmed part leaves nothing behind.
    let none = RedisStore::builder(&redis.url()).feed_capacity(0);
    let none = none.connect().await.unwrap();
    none.purge(UnixTime::EPOCH).await.unwrap();
    assert_eq!(entries(), 0);
    let counted = redis.cli(&["HGET", "{tower-revoke:0}:meta", "kept"]);
    assert_eq!(counted, "0");
}

/// Returns how many commands clients have sent since the statistics were reset, by name. Scripts send
/// the others.
fn sent(redis: &Redis) -> Vec<(String, u64)> {
    let told = redis.cli(&["INFO", "commandstats"]);
    let by_scripts = [
        "hdel", "hget", "hset", "time", "xadd", "xlen", "xrange", "xtrim", "zadd",
    ];
    let lines = told.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let calls = rest.split_once(',')?.0.parse().ok()?;
        let is_sent = !by_scripts.contains(&name) && !["info", "config|resetstat"].contains(&name);
        is_sent.then(|| (name.to_owned(), calls))
    });
    lines.collect()
}

/// Counts the commands of 50 followers: while nothing changes, and while one writer writes all the
/// time.
#[tokio::test(flavor = "multi_thread")]
async fn followers_ask_rarely() {
    const FOLLOWERS: usize = 50;
    const WATCHED: Duration = Duration::from_secs(4);
    let redis = Redis::start(&["--appendfsync", "no"]).await;
    let mut lists = Vec::new();
    for _ in 0..FOLLOWERS {
        let store = RedisStore::connect(&redis.url()).await.unwrap();
        let list = RevocationList::new(store);
        list.ready().await.unwrap();
        lists.push(list);
    }
    let watched = async |what: &str| {
        redis.cli(&["CONFIG", "RESETSTAT"]);
        let began = tokio::time::Instant::now();
        tokio::time::sleep(WATCHED).await;
        let sent = sent(&redis);
        let seconds = began.elapsed().as_secs_f64();
        println!("{FOLLOWERS} followers, {what}, in {seconds:.1} s: {sent:?}");
        let of = |wanted: &dyn Fn(&str) -> bool| {
            let counted = sent.iter().filter(|(name, _)| wanted(name));
            counted.map(|(_, calls)| *calls as f64).sum::<f64>() / seconds
        };
        (
            of(&|_| true),
            of(&|name| name == "xread"),
            of(&|name| name == "evalsha"),
        )
    };
    let (all, ..) = watched("idle").await;
    assert!(all <= 100.0, "{all} commands a second");

    let writer = RedisStore::connect(&redis.url()).await.unwrap();
    // Each is a script too.
    let written = Arc::new(AtomicU64::new(0));
    let writes = written.clone();
    let writing = tokio::spawn(async move {
        for number in 0.. {
            writer.revoke(&[revocation(number)]).await.unwrap();
            writes.store(number + 1, Ordering::SeqCst);
        }
    });
    let before = written.load(Ordering::SeqCst);
    let (_, waits, scripts) = watched("one writer").await;
    let written = (written.load(Ordering::SeqCst) - before) as f64 / WATCHED.as_secs_f64();
    writing.abort();
    let reads = scripts - written;
    println!("{waits} waits and {reads} reads of the feed a second, beside {written} writes");
    let [waits, reads] = [waits, reads].map(|sum| sum / FOLLOWERS as f64);
    assert!(waits <= 30.0, "{waits} waits a second of each");
    // Most waits bring what has changed.
    assert!(reads <= 4.0, "{reads} reads of the feed a second of each");

    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = lists[0].stats().mirrored;
    lists[0].revoke(revocation(1 << 40)).await.unwrap();
    let began = tokio::time::Instant::now();
    for list in &lists {
        while list.stats().mirrored <= before {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    println!("all have a lone change after {:?}", began.elapsed());
}
