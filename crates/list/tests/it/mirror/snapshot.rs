//! Tests a start from a snapshot of the mirror: what a node rejects while the store is down, and
//! what becomes of the snapshot once the store answers.

use std::{fs, path::PathBuf, time::Duration};

use tempfile::TempDir;
use tokio::time::sleep;
use tower_revoke_core::{KeyDigest, Store, TokenStatus, UnixTime, UseOutcome};
use tower_revoke_list::{
    MemoryStore, MirrorSnapshot, MirrorState, RevocationList, RevocationListError, SnapshotError,
    SnapshotState,
};
use tower_revoke_testing::{Behavior, StoreOp};

use super::{ANSWER_WITHIN, Node, World};
use crate::support::{ISSUED, ann_logs_out, end_of, lift, new_use, token};

const KEY: [u8; 32] = [7; 32];
const EVERY: Duration = Duration::from_secs(60);

/// A world in which nodes keep a snapshot.
struct Kept {
    world: World,
    folder: TempDir,
}

impl Kept {
    fn new() -> Self {
        Self {
            world: World::new(),
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("revocations")
    }

    fn node(&self) -> Node {
        self.node_in(&self.world, KEY)
    }

    fn node_in(&self, world: &World, key: [u8; 32]) -> Node {
        let snapshot = MirrorSnapshot::new(self.path(), key).interval(EVERY);
        world.node_with(|builder| builder.snapshot(snapshot))
    }

    /// Lets a node follow the store, and end after it has written its snapshot.
    async fn runs(&self, node: Node) {
        node.list.ready().await.unwrap();
        node.polled().await;
        node.list.shutdown(ANSWER_WITHIN).await.unwrap();
    }

    /// Starts a node whose store is down.
    async fn starts_without_its_store(&self) -> Node {
        let node = self.node();
        node.script.set_all(Behavior::Fails);
        assert!(node.list.ready().await.is_err());
        node.finds(SnapshotState::Loaded).await;
        node
    }
}

impl Node {
    /// Waits until this has become of the snapshot.
    async fn finds(&self, state: SnapshotState) {
        for _ in 0..1_000 {
            if self.list.stats().snapshot == state {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("{:?}, not {state:?}", self.list.stats());
    }

    /// Ends the outage, and returns how many pages the node read until it was ready.
    async fn recovers(&self) -> u64 {
        let pages = self.script.calls(StoreOp::Changes);
        self.script.set_all(Behavior::Works);
        self.becomes(MirrorState::Live).await;
        self.list.ready().await.unwrap();
        self.script.calls(StoreOp::Changes) - pages
    }
}

#[tokio::test(start_paused = true)]
async fn g5_without_its_store_a_node_only_rejects_what_the_snapshot_lists() {
    let kept = Kept::new();
    let server = &kept.world.server;
    let (revoked, spent, other) = (token("r"), token("s"), token("o"));
    for jti in 0..50 {
        let revocation = end_of(&token(&jti.to_string()));
        server.revoke(&[revocation]).await.unwrap();
    }
    let node = kept.node();
    node.list.revoke(end_of(&revoked)).await.unwrap();
    node.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    kept.runs(node).await;

    let node = kept.starts_without_its_store().await;
    assert_eq!(node.status(&revoked).await, TokenStatus::Revoked);
    assert_eq!(node.status(&token("49")).await, TokenStatus::Revoked);
    assert_eq!(node.status(&spent).await, TokenStatus::Spent);
    for token in [&other, &token("50")] {
        assert!(node.list.status(token).await.is_err());
    }
    // G4: a snapshot makes nothing fresh.
    for token in [&revoked, &other] {
        assert_eq!(node.list.known_status(token), None);
    }
    assert!(!node.list.is_ready());
    let stats = node.list.stats();
    assert_eq!(
        (stats.mirror, stats.mirror_lag),
        (MirrorState::Loading, None)
    );

    // A full load would take more than ten pages of five.
    server.page(5);
    let late = token("late");
    server.revoke(&[end_of(&late)]).await.unwrap();
    assert!(node.recovers().await <= 3);
    node.finds(SnapshotState::TakenOver).await;
    for token in [&revoked, &token("0"), &late] {
        assert_eq!(node.list.known_status(token), Some(TokenStatus::Revoked));
    }
    assert_eq!(node.list.known_status(&spent), Some(TokenStatus::Spent));
    assert_eq!(node.list.known_status(&other), Some(TokenStatus::Valid));
    let stats = node.list.stats();
    assert_eq!((stats.mirror_reloads, stats.written_back), (0, 0));
    assert_eq!(stats.snapshots_rejected, 0);
}

#[tokio::test(start_paused = true)]
async fn a_lift_made_while_the_node_was_down_takes_effect_once_the_store_answers() {
    let kept = Kept::new();
    let server = &kept.world.server;
    let (lifted, freed) = (token("1"), token("2"));
    let node = kept.node();
    node.list.revoke(end_of(&lifted)).await.unwrap();
    node.list
        .revoke(ann_logs_out(UnixTime::EPOCH))
        .await
        .unwrap();
    node.list.take_use(new_use(&freed, 1, 1)).await.unwrap();
    kept.runs(node).await;
    server.lift(&lift(lifted.id())).await.unwrap();
    server.return_use(&new_use(&freed, 1, 1)).await.unwrap();

    let node = kept.starts_without_its_store().await;
    assert_eq!(node.status(&lifted).await, TokenStatus::Revoked);
    assert_eq!(node.status(&freed).await, TokenStatus::Spent);
    // It answers look-ups, and its feed is still down.
    node.script.set(StoreOp::LookUp, Behavior::Works);
    assert_eq!(node.status(&lifted).await, TokenStatus::Valid);
    assert_eq!(node.status(&freed).await, TokenStatus::Valid);
    node.recovers().await;
    for token in [&lifted, &freed] {
        assert_eq!(node.list.known_status(token), Some(TokenStatus::Valid));
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_older_than_the_feed_is_replaced_by_a_full_load() {
    let kept = Kept::new();
    let server = &kept.world.server;
    let (revoked, lifted, late) = (token("1"), token("2"), token("3"));
    let node = kept.node();
    for token in [&revoked, &lifted] {
        node.list.revoke(end_of(token)).await.unwrap();
    }
    let freed = new_use(&token("4"), 1, 1);
    node.list.take_use(freed).await.unwrap();
    kept.runs(node).await;
    server.lift(&lift(lifted.id())).await.unwrap();
    server.return_use(&freed).await.unwrap();
    server.revoke(&[end_of(&late)]).await.unwrap();
    server.trim();

    let node = kept.starts_without_its_store().await;
    node.recovers().await;
    node.finds(SnapshotState::Rejected(SnapshotError::TooOld))
        .await;
    for token in [&revoked, &late] {
        assert_eq!(node.list.known_status(token), Some(TokenStatus::Revoked));
    }
    for token in [&lifted, &token("4")] {
        assert_eq!(node.list.known_status(token), Some(TokenStatus::Valid));
    }
    assert_eq!(node.list.stats().snapshots_rejected, 1);
}

#[tokio::test(start_paused = true)]
async fn g3_a_history_that_went_back_while_the_node_was_down_is_written_back() {
    let kept = Kept::new();
    let server = &kept.world.server;
    let (lost, spent) = (token("1"), token("2"));
    let history = server.history();
    let node = kept.node();
    node.list.revoke(end_of(&lost)).await.unwrap();
    node.list
        .revoke(ann_logs_out(UnixTime::EPOCH))
        .await
        .unwrap();
    node.list.take_use(new_use(&spent, 1, 1)).await.unwrap();
    kept.runs(node).await;
    server.set_back(history, true).await;
    assert_eq!(server.lists(lost.keys()[0]).await, None);

    let node = kept.starts_without_its_store().await;
    node.recovers().await;
    let rule = ann_logs_out(UnixTime::EPOCH).key().digest();
    for key in [lost.keys()[0], rule] {
        assert!(server.lists(key).await.is_some());
    }
    let again = node.list.take_use(new_use(&spent, 2, 1)).await.unwrap();
    assert_eq!(again, UseOutcome::Spent);
    assert_eq!(node.list.stats().snapshot, SnapshotState::TakenOver);
    assert_eq!(node.list.stats().written_back, 3);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_another_store_is_ignored() {
    let kept = Kept::new();
    let revoked = token("1");
    let node = kept.node();
    node.list.revoke(end_of(&revoked)).await.unwrap();
    kept.runs(node).await;
    let other = World::new();
    other.server.replace().await;
    let node = kept.node_in(&other, KEY);
    node.list.ready().await.unwrap();
    node.finds(SnapshotState::Rejected(SnapshotError::OtherStore))
        .await;
    assert_eq!(node.list.known_status(&revoked), Some(TokenStatus::Valid));
    assert_eq!(node.list.stats().mirrored, 0);
    assert_eq!(other.server.history(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_not_this_snapshot_never_keeps_a_node_from_starting() {
    let kept = Kept::new();
    let revoked = token("1");
    let node = kept.node();
    node.list.revoke(end_of(&revoked)).await.unwrap();
    kept.runs(node).await;
    let whole = fs::read(kept.path()).unwrap();
    let starts = async |key: [u8; 32], error: SnapshotError| {
        let node = kept.node_in(&kept.world, key);
        node.script.set_all(Behavior::Fails);
        assert!(node.list.ready().await.is_err());
        node.finds(SnapshotState::Rejected(error)).await;
        // It lists nothing, as without a file.
        assert!(node.list.status(&revoked).await.is_err());
        node.recovers().await;
        assert_eq!(node.list.known_status(&revoked), Some(TokenStatus::Revoked));
        assert_eq!(node.list.stats().snapshots_rejected, 1);
    };
    starts([8; 32], SnapshotError::OtherKey).await;
    fs::write(kept.path(), &whole[..whole.len() - 1]).unwrap();
    starts(KEY, SnapshotError::Damaged).await;
    fs::write(kept.path(), "revocations").unwrap();
    starts(KEY, SnapshotError::Damaged).await;
    fs::write(kept.path(), vec![b'#'; 1_000]).unwrap();
    starts(KEY, SnapshotError::NotASnapshot).await;
    fs::remove_file(kept.path()).unwrap();
    fs::create_dir(kept.path()).unwrap();
    starts(KEY, SnapshotError::Io(std::io::ErrorKind::IsADirectory)).await;
    fs::remove_dir(kept.path()).unwrap();
    fs::write(kept.path(), &whole).unwrap();
    let node = kept.node();
    node.list.ready().await.unwrap();
    assert_eq!(node.list.stats().snapshot, SnapshotState::TakenOver);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_larger_than_the_mirror_is_ignored() {
    let kept = Kept::new();
    let node = kept.node();
    for jti in 0..4 {
        let revocation = end_of(&token(&jti.to_string()));
        node.list.revoke(revocation).await.unwrap();
    }
    kept.runs(node).await;
    let snapshot = MirrorSnapshot::new(kept.path(), KEY);
    let small = kept
        .world
        .node_with(|builder| builder.snapshot(snapshot).mirror_capacity(3));
    small.list.ready().await.unwrap();
    small
        .finds(SnapshotState::Rejected(SnapshotError::TooLarge(3)))
        .await;
    small.becomes(MirrorState::Full).await;
    // A mirror that was dropped is no snapshot.
    let error = small.list.shutdown(ANSWER_WITHIN).await;
    assert_eq!(error, Err(SnapshotError::NoMirror));
    assert_eq!(small.list.stats().snapshot_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_written_at_intervals_if_something_has_changed() {
    let kept = Kept::new();
    let node = kept.node();
    node.list.ready().await.unwrap();
    let minute = async || {
        kept.world.hand.advance(EVERY);
        for _ in 0..3 {
            node.polled().await;
        }
        node.list.stats().snapshots_written
    };
    assert_eq!(minute().await, 1);
    assert_eq!(minute().await, 1);
    node.list.revoke(end_of(&token("1"))).await.unwrap();
    assert_eq!(minute().await, 2);
    // It writes no token and no subject.
    let file = fs::read(kept.path()).unwrap();
    let has = |word: &[u8]| file.windows(word.len()).any(|bytes| bytes == word);
    assert!(!has(b"ann") && !has(b"id.example.com"));
    let key: KeyDigest = token("1").keys()[0];
    assert!(has(key.as_bytes()));
    // One that crashes afterwards starts from there.
    drop(node);
    let node = kept.starts_without_its_store().await;
    assert_eq!(node.status(&token("1")).await, TokenStatus::Revoked);
    // Without a mirror of the store there is nothing to write.
    let error = node.list.shutdown(ANSWER_WITHIN).await;
    assert_eq!(error, Err(SnapshotError::NoMirror));
}

#[tokio::test(start_paused = true)]
async fn what_has_expired_leaves_the_mirror_after_a_start() {
    let kept = Kept::new();
    let node = kept.node();
    node.list.revoke(end_of(&token("1"))).await.unwrap();
    kept.runs(node).await;
    kept.world.hand.advance(Duration::from_secs(3 * 3_600));
    let node = kept.starts_without_its_store().await;
    assert_eq!(node.list.stats().mirrored, 1);
    node.recovers().await;
    assert_eq!(node.list.stats().mirrored, 0);
    assert!(kept.world.clock.now() > ISSUED);
    assert_eq!(node.status(&token("1")).await, TokenStatus::Revoked);
}

#[test]
fn a_snapshot_that_can_not_work_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let snapshot = || MirrorSnapshot::new(folder.path().join("a"), KEY);
    let error = RevocationList::builder(MemoryStore::new())
        .snapshot(snapshot())
        .build();
    assert_eq!(
        error.map(drop),
        Err(RevocationListError::SnapshotWithoutMirror)
    );
    let error_of = |snapshot: MirrorSnapshot| {
        let (store, _) = tower_revoke_testing::ScriptedStore::over(MemoryStore::new());
        let list = RevocationList::builder(store).snapshot(snapshot);
        list.build().map(drop)
    };
    assert_eq!(error_of(snapshot()), Ok(()));
    let short = Duration::from_millis(999);
    assert_eq!(
        error_of(snapshot().interval(short)),
        Err(RevocationListError::SnapshotInterval(short))
    );
    let missing = folder.path().join("missing");
    assert_eq!(
        error_of(MirrorSnapshot::new(missing.join("a"), KEY)),
        Err(RevocationListError::SnapshotFolder(missing))
    );
    // The folder of the others has a random name.
    assert!(!format!("{:?}", MirrorSnapshot::new("a", KEY)).contains('7'));
}
