//! Clauses of `changes`: what a follower of the feed may rely on.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tower_revoke_core::{Change, Clock, Cursor, KeyDigest, Listed, Store, StoreError, UnixTime};

use super::{
    Ability, Fault, Fixture,
    follower::Follower,
    world::{
        Node, World, at_once, has_feed, joined, key, lacks, lift, new_use, revocation, rule,
        subject, token, worked,
    },
};

/// More changes than any store returns in one page.
const MANY: u64 = 6_000;

async fn revoke_many<S: Store>(node: &Node<S>, numbers: std::ops::Range<u64>, until: UnixTime) {
    let all: Vec<_> = numbers
        .map(|number| revocation(number, Some(until)))
        .collect();
    for batch in all.chunks(1_000) {
        node.revoke(batch).await;
    }
}

/// A full load returns, page by page, all that has not expired: revocations, rules, spent tokens,
/// and both entries of a token that is revoked and spent.
pub async fn a_full_load_returns_all_current_entries<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(2).await;
    let until = Some(world.end());
    assert_eq!(Follower::default().catch_up(&nodes[1]).await, []);
    revoke_many(&nodes[0], 0..MANY, world.end()).await;
    nodes[0].revoke(&[rule(subject(1), world.now())]).await;
    assert!(nodes[0].lift(&lift(token(5), world.now())).await);
    for number in [MANY, MANY + 1, 3] {
        assert!(nodes[0].wins(&world.new_use(token(number), 1, 1)).await);
    }
    assert!(
        nodes[0]
            .return_use(&world.new_use(token(MANY + 1), 1, 1))
            .await
    );
    let mut keys: Vec<_> = (0..MANY + 2).map(key).collect();
    keys.push(subject(1).digest());
    let mut follower = Follower::default();
    let told = follower.catch_up(&nodes[1]).await;
    follower.agrees(&nodes[1], &keys).await;
    let is_revoked = |change: &Change| {
        matches!(change, Change::Listed { key: of, listed, .. }
            if *of == key(3) && *listed == Listed::Revoked { until })
    };
    let used_up = Change::UsedUp { key: key(3), until };
    assert!(told.iter().any(is_revoked), "revoked, and used up");
    assert!(told.contains(&used_up), "used up, and revoked");
}

/// A full load loses no change that is made during the load, and can be continued through another
/// handle.
pub async fn a_full_load_completes_while_others_write<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(3).await;
    revoke_many(&nodes[0], 0..MANY, world.end()).await;
    let mut follower = Follower::default();
    let mut number = 0;
    for turn in 0.. {
        let is_new = MANY + turn;
        revoke_many(&nodes[0], is_new..is_new + 1, world.end()).await;
        assert!(nodes[0].lift(&lift(token(number), world.now())).await);
        let before = follower.cursor.clone();
        let page = follower.turn(&nodes[1 + turn as usize % 2]).await;
        let page = worked("changes", page);
        // Scattered, so that some are before the load's position in the store's order and some
        // after.
        number = (number + 997) % MANY;
        if before.is_some() && page.len() < 4 || turn == 900 {
            break;
        }
    }
    let keys: Vec<_> = (0..MANY + 1_000).map(key).collect();
    follower.agrees(&nodes[1], &keys).await;
}

/// A full load sets `more` to `false` only after it has also returned what was acknowledged during
/// the load.
pub async fn a_full_load_includes_changes_made_meanwhile<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(2).await;
    revoke_many(&nodes[0], 0..MANY, world.end()).await;
    let mut follower = Follower::default();
    let mut acknowledged = MANY;
    for page in 0.. {
        worked("changes", follower.turn(&nodes[1]).await);
        if follower.is_at_the_end() {
            break;
        }
        assert!(page < 1_000, "the load does not end");
        // Ends before and after those of the entries loaded, in case the store loads in that order.
        for until in [world.end().as_secs() - 1, world.end().as_secs() + 1] {
            let some = acknowledged..acknowledged + 10;
            acknowledged = some.end;
            revoke_many(&nodes[0], some, UnixTime::from_secs(until)).await;
        }
    }
    let not_told = (0..acknowledged).find(|number| follower.listed(&key(*number)).is_none());
    assert_eq!(not_told, None, "it was acknowledged, and is not told");
}

/// A long run of changes is returned page by page, and has a last page.
pub async fn many_changes_are_followed_in_pages<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(2).await;
    let mut follower = Follower::default();
    follower.catch_up(&nodes[1]).await;
    revoke_many(&nodes[0], 0..MANY, world.end()).await;
    let keys: Vec<_> = (0..MANY).map(key).collect();
    follower.agrees(&nodes[1], &keys).await;
}

/// A follower ends with the state of the store, even while many write through several handles.
pub async fn no_change_is_lost_under_concurrent_writes<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(4).await;
    let (now, end) = (world.now(), world.end());
    revoke_many(&nodes[0], 0..1_000, end).await;
    let mut follower = Follower::default();
    follower.catch_up(&nodes[3]).await;
    let writers = nodes.iter().take(3).enumerate().map(|(writer, node)| {
        let node = node.clone();
        let writer = writer as u64;
        async move {
            for turn in 0..60 {
                // Keys of this writer, and some that all three writers share.
                let own = 10_000 * (writer + 1) + turn;
                let shared = 5_000 + turn % 7;
                let said = revocation(own, Some(end));
                let also = revocation(shared, Some(end));
                node.revoke(&[said, also]).await;
                if turn % 3 == 0 {
                    node.lift(&lift(token(shared), now)).await;
                }
                let use_ = new_use(token(7_000 + turn % 5), own, 1, Some(end));
                if node.wins(&use_).await && turn % 2 == 0 {
                    node.return_use(&use_).await;
                }
            }
        }
    });
    let mut writing = tokio::spawn(at_once(writers.collect::<Vec<_>>()));
    loop {
        tokio::select! {
            done = &mut writing => {
                joined(done);
                break;
            }
            _ = follower.catch_up(&nodes[3]) => {}
        }
        tokio::task::yield_now().await;
    }
    let own = (1..4).flat_map(|writer| (0..60).map(move |turn| 10_000 * writer + turn));
    let numbers = (0..1_000)
        .chain(5_000..5_007)
        .chain(7_000..7_005)
        .chain(own);
    let keys: Vec<KeyDigest> = numbers.map(key).collect();
    follower.agrees(&nodes[3], &keys).await;
}

/// A page with `more` set to `false` completes every write that was acknowledged before the page
/// was requested, even while others write. One call later is too late.
pub async fn the_last_page_includes_all_acknowledged_writes<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(4).await;
    let end = world.end();
    let mut follower = Follower::default();
    follower.catch_up(&nodes[3]).await;
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let writers = nodes.iter().take(3).enumerate().map(|(writer, node)| {
        let (node, acknowledged) = (node.clone(), Arc::clone(&acknowledged));
        async move {
            for turn in 0..50 {
                let number = 1_000 * (writer as u64 + 1) + turn;
                if turn % 2 == 0 {
                    let said = revocation(number, Some(end));
                    node.revoke(&[said]).await;
                } else {
                    let use_ = new_use(token(number), number, 1, Some(end));
                    assert!(node.wins(&use_).await);
                }
                acknowledged.lock().expect("no writer panics").push(number);
            }
        }
    });
    let writing = tokio::spawn(at_once(writers.collect::<Vec<_>>()));
    let (mut told, mut has_ended) = (0, false);
    while !has_ended {
        has_ended = writing.is_finished();
        let before = acknowledged.lock().expect("no writer panics").len();
        follower.catch_up(&nodes[3]).await;
        // `before` was read before these pages were requested, so they must cover all up to there.
        let all = acknowledged.lock().expect("no writer panics")[told..before].to_vec();
        for number in all {
            let listed = follower.listed(&key(number));
            assert!(
                listed.is_some(),
                "{number} was acknowledged, and is not told"
            );
        }
        told = before;
        tokio::task::yield_now().await;
    }
    joined(writing.await);
    assert_eq!(told, 150);
}

/// The feed returns each kind of change: listed, lifted, used up and returned. A lift is later than
/// the revocation that it lifts. Changes of one key come in the order in which they were made.
pub async fn the_feed_reports_revocations_lifts_and_uses<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let nodes = world.nodes(2).await;
    let now = world.now();
    let until = Some(world.end());
    let mut follower = Follower::default();
    follower.catch_up(&nodes[1]).await;
    let mut last_lift = UnixTime::EPOCH;
    for round in 0..5 {
        let revocation = revocation(1, until).at(now);
        nodes[0].revoke(&[revocation]).await;
        let told = news(&mut follower, &nodes[1], key(1)).await;
        let Change::Listed { listed, at, .. } = told else {
            panic!("round {round}: it was revoked, and the feed says {told:?}");
        };
        assert_eq!(listed, Listed::Revoked { until });
        assert!(
            at >= last_lift.max(now),
            "said at {at}, lifted at {last_lift}"
        );
        assert!(nodes[0].lift(&lift(token(1), now)).await);
        let said = at;
        let told = news(&mut follower, &nodes[1], key(1)).await;
        let Change::Lifted { at, until: end, .. } = told else {
            panic!("round {round}: it was lifted, and the feed says {told:?}");
        };
        assert!(at > said, "a lift is newer than what it lifts");
        assert_eq!(end, until, "until when it would have been remembered");
        last_lift = at;
    }
    for id in 0..3 {
        assert!(nodes[0].wins(&world.new_use(token(2), id, 1)).await);
        let told = news(&mut follower, &nodes[1], key(2)).await;
        assert_eq!(told, Change::UsedUp { key: key(2), until });
        assert!(nodes[0].return_use(&world.new_use(token(2), id, 1)).await);
        let told = news(&mut follower, &nodes[1], key(2)).await;
        let is_freed = matches!(told, Change::Returned { .. });
        assert!(is_freed, "a use was returned, and the feed says {told:?}");
    }
}

/// Follows until the follower agrees with the store, and returns the last change of the key.
async fn news<S: Store>(follower: &mut Follower, node: &Node<S>, key: KeyDigest) -> Change {
    let listed = node.look_up(&[key]).await[0];
    let mut last = None;
    let told = tokio::time::timeout(node.patience, async {
        while last.is_none() || follower.listed(&key) != listed {
            let told = follower.catch_up(node).await;
            last = told
                .into_iter()
                .rfind(|change| *change.key() == key)
                .or(last);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    let in_time = told.await.is_ok();
    match last {
        Some(last) if in_time => last,
        last => panic!("the feed doesn't tell that {key:?} is {listed:?}, only {last:?}"),
    }
}

/// A cursor works with any handle to the same data, even one that is opened later.
pub async fn a_cursor_outlives_its_handle<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let mut node = world.node().await;
    let mut follower = Follower::default();
    for round in 0..4 {
        follower.catch_up(&node).await;
        let writer = world.node().await;
        revoke_many(&writer, 10 * round..10 * round + 10, world.end()).await;
        assert!(writer.lift(&lift(token(10 * round), world.now())).await);
        drop(node);
        node = world.node().await;
    }
    let keys: Vec<_> = (0..40).map(key).collect();
    follower.agrees(&node, &keys).await;
}

/// A cursor works after a restart of the store, and no change is lost in between.
pub async fn a_cursor_outlives_a_restart<G: Fixture>() {
    if !has_feed::<G>().await || lacks::<G>(Ability::Restart) {
        return;
    }
    let world = World::<G>::alone().await;
    let mut node = world.node().await;
    let mut follower = Follower::default();
    revoke_many(&node, 0..30, world.end()).await;
    for round in 0..3 {
        follower.catch_up(&node).await;
        assert!(node.lift(&lift(token(round), world.now())).await);
        assert!(node.wins(&world.new_use(token(100 + round), 1, 1)).await);
        drop(node);
        world.inject(Fault::Restart).await;
        node = world.node().await;
        revoke_many(&node, 200 + round..201 + round, world.end()).await;
    }
    let keys: Vec<_> = (0..30).chain(100..103).chain(200..203).map(key).collect();
    follower.agrees(&node, &keys).await;
}

/// A cursor of another store fails with `ForeignCursor`. A damaged cursor fails or is harmless.
pub async fn a_foreign_cursor_is_rejected<G: Fixture>() {
    let Some(world) = World::<G>::with_feed().await else {
        return;
    };
    let node = world.node().await;
    revoke_many(&node, 0..5, world.end()).await;
    let own = node.changes(None).await.next;
    let fixture = G::empty(Clock::system()).await;
    let other = fixture.open().await;
    let feed = other.feed().expect("handles of one store are alike");
    let others = node.in_time("changes", feed.changes(None)).await;
    let others = worked("changes", others).next;
    let foreign = [
        vec![],
        vec![0],
        vec![0; 8],
        vec![0xff; 16],
        vec![0; 24],
        b"0-0".to_vec(),
        vec![b'9'; 40],
        vec![0xAA; 100_000],
        others.as_bytes().to_vec(),
    ];
    for bytes in foreign {
        let shown = format!("{:02x?}", &bytes[..bytes.len().min(40)]);
        let answer = node.try_changes(Some(&Cursor::new(bytes))).await;
        let rejected = matches!(answer, Err(StoreError::ForeignCursor));
        assert!(rejected, "{shown}: {answer:?}");
    }
    let bytes = own.as_bytes();
    let cut = (0..bytes.len()).map(|len| bytes[..len].to_vec());
    let flipped = (0..bytes.len()).map(|at| {
        let mut flipped = bytes.to_vec();
        flipped[at] ^= 0x81;
        flipped
    });
    for bytes in cut.chain(flipped) {
        let answer = node.try_changes(Some(&Cursor::new(bytes))).await;
        let is_harmless = matches!(
            answer,
            Ok(_)
                | Err(StoreError::ForeignCursor
                    | StoreError::CursorTooOld
                    | StoreError::HistoryWentBack)
        );
        assert!(is_harmless, "{answer:?}");
    }
    revoke_many(&node, 5..6, world.end()).await;
    let since = node.changes(Some(&own)).await.changes;
    let has_news = since.iter().any(|change| *change.key() == key(5));
    assert!(has_news, "after all that its own cursor works: {since:?}");
}

/// A cursor that is older than the trimmed feed fails with `CursorTooOld`; a new full load and the
/// feed after it are complete.
pub async fn a_cursor_older_than_the_feed_is_rejected<G: Fixture>() {
    if !has_feed::<G>().await || lacks::<G>(Ability::Trim) {
        return;
    }
    let world = World::<G>::alone().await;
    let node = world.node().await;
    let mut follower = Follower::default();
    revoke_many(&node, 0..5, world.end()).await;
    follower.catch_up(&node).await;
    let begun = follower.cursor.clone();
    revoke_many(&node, 5..10, world.end()).await;
    assert!(node.lift(&lift(token(7), world.now())).await);
    world.inject(Fault::Trim).await;
    let answer = node.try_changes(begun.as_ref()).await;
    let told = matches!(answer, Err(StoreError::CursorTooOld));
    assert!(told, "changes since the cursor are gone: {answer:?}");
    let mut follower = Follower::default();
    let keys: Vec<_> = (0..20).map(key).collect();
    follower.agrees(&node, &keys).await;
    revoke_many(&node, 10..15, world.end()).await;
    follower.agrees(&node, &keys).await;
    // The old cursor stays too old.
    let answer = node.try_changes(begun.as_ref()).await;
    assert!(
        matches!(answer, Err(StoreError::CursorTooOld)),
        "{answer:?}"
    );
}

/// What is listed is read to its end though the feed is trimmed after each page, and is complete with
/// the feed from [`end`](tower_revoke_core::ChangeFeed::end) on.
pub async fn listed_entries_can_be_read_while_the_feed_is_trimmed<G: Fixture>() {
    if !has_feed::<G>().await || lacks::<G>(Ability::Trim) {
        return;
    }
    let world = World::<G>::alone().await;
    let nodes = world.nodes(2).await;
    revoke_many(&nodes[0], 0..MANY, world.end()).await;
    let feed = nodes[1].feed();
    let end = worked("end", nodes[1].in_time("end", feed.end()).await);
    let Some(end) = end else {
        return;
    };
    let mut follower = Follower::default();
    follower.cursor = Some(end);
    let (mut after, mut lifted, mut written) = (None, 0, MANY);
    for page in 0.. {
        let read = nodes[1].in_time("listed", feed.listed(after.as_ref()));
        let read = worked("listed", read.await);
        follower.take_all(&read.changes);
        if !read.more {
            break;
        }
        assert!(page < 1_000, "the listing does not end");
        after = Some(read.next);
        revoke_many(&nodes[0], written..written + 10, world.end()).await;
        assert!(nodes[0].lift(&lift(token(lifted), world.now())).await);
        written += 10;
        lifted = (lifted + 1_009) % MANY;
        follower.catch_up(&nodes[1]).await;
        world.inject(Fault::Trim).await;
    }
    let keys: Vec<_> = (0..written).map(key).collect();
    follower.agrees(&nodes[1], &keys).await;
}

/// After a restored backup, a cursor that has seen more fails with `HistoryWentBack`, even after
/// the feed has grown beyond its position again. What was lost can be restored.
pub async fn lost_history_is_detected<G: Fixture>() {
    if !has_feed::<G>().await || lacks::<G>(Ability::SetBack) {
        return;
    }
    for grown in [0, 20] {
        let world = World::<G>::alone().await;
        let node = world.node().await;
        revoke_many(&node, 0..5, world.end()).await;
        drop(node);
        world.inject(Fault::Backup).await;
        let node = world.node().await;
        let mut follower = Follower::default();
        follower.catch_up(&node).await;
        revoke_many(&node, 5..8, world.end()).await;
        let own = world.new_use(token(100), 1, 1);
        assert!(node.wins(&own).await);
        let lost = follower.catch_up(&node).await;
        drop(node);
        world.inject(Fault::PlayBack).await;
        let node = world.node().await;
        assert_eq!(
            node.listed(token(5)).await,
            None,
            "the fixture has restored the backup"
        );
        revoke_many(&node, 1_000..1_000 + grown, world.end()).await;
        let cursor = follower.cursor.as_ref().expect("it has caught up");
        // How long the test watches. Nothing has to happen within this time.
        let news = tokio::time::timeout(Duration::from_millis(100), node.feed().changed(cursor));
        if let Ok(Some(news)) = news.await {
            panic!("with {grown} new changes, handed over: {news:?}");
        }
        let answer = node.try_changes(Some(cursor)).await;
        let noticed = matches!(answer, Err(StoreError::HistoryWentBack));
        assert!(noticed, "with {grown} new changes: {answer:?}");
        node.restore(&lost).await;
        assert!(node.wins(&own).await, "a use is written back by its id");
        let keys: Vec<_> = (0..8).chain(1_000..1_000 + grown).map(key).collect();
        let listed = node.look_up(&keys).await;
        assert!(listed.iter().all(Option::is_some), "{listed:?}");
        Follower::default().agrees(&node, &keys).await;
    }
}
