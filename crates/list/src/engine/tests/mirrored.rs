//! Tests of the mirror: a page that was read before a write must not undo it, in any order.

use super::*;

/// An engine with a live mirror, on a store that other nodes write to as well.
struct Mirrored(Arc<OurEngine>);

impl Mirrored {
    /// The token was ended, and the mirror contains that. Then other nodes undid it, which is in
    /// the feed but not yet read. So the next page makes a token valid that is being ended again.
    fn new(end: End) -> (Self, Cursor) {
        let ours = OurEngine::new(end);
        let cursor = block_on(async {
            let store = &ours.engine.source.store.0;
            match end {
                End::Token => {
                    let revocation = Revocation::of_token(token().id(), None);
                    store.revoke(&[revocation]).await.expect("revoked");
                }
                End::Rule => {
                    let subject = RevocationKey::subject(ISSUER, "ann");
                    let rule = Revocation::rule(subject, UnixTime::from_secs(1_000));
                    store
                        .revoke(&[rule.expect("a rule")])
                        .await
                        .expect("revoked");
                }
                End::Use => drop(
                    store
                        .take_use(&others(), UnixTime::EPOCH)
                        .await
                        .expect("taken"),
                ),
            }
            let cursor = ours.load().await;
            assert!(!ours.status().await);
            match end {
                End::Token => drop(store.lift(&lift_ahead()).await.expect("lifted")),
                End::Rule => {
                    let key = RevocationKey::subject(ISSUER, "ann");
                    let lift = Lift::new(key).at(AHEAD);
                    store.lift(&lift).await.expect("lifted");
                }
                End::Use => drop(store.return_use(&others()).await.expect("released")),
            }
            cursor
        });
        (Self(Arc::new(ours)), cursor)
    }
}

impl OurEngine {
    async fn load(&self) -> Cursor {
        let mirror = self.engine.source.mirror.as_ref().expect("a mirror");
        mirror.enter(Phase::Loading);
        let loaded = self.engine.source.load(mirror).await;
        loaded.expect("no gap").0
    }

    async fn catch_up(&self, cursor: Cursor) -> Cursor {
        let mirror = self.engine.source.mirror.as_ref().expect("a mirror");
        let followed = self.engine.source.catch_up(mirror, cursor).await;
        followed.expect("no gap").0
    }
}

/// The clock is ahead of the engine's, so only the order in the feed shows which change is the
/// last.
const AHEAD: UnixTime = UnixTime::from_secs(9_000);

fn lift_ahead() -> Lift {
    lift().at(AHEAD)
}

/// A use that another node took.
fn others() -> Use {
    let mut others = new_use();
    others.id = UseId::from_bytes([2; 16]);
    others
}

impl Subject for Mirrored {
    async fn status(&self) -> bool {
        self.0.status().await
    }

    fn known_good(&self) -> bool {
        self.0.engine.known_status(&self.0.token) == Some(TokenStatus::Valid)
    }

    async fn revoke(&self) {
        self.0.revoke().await;
    }
}

fn a_page_two_readers_and_a_revoker(subject: Mirrored, cursor: Cursor) {
    let ours = subject.0.clone();
    spawn(async move {
        ours.catch_up(cursor).await;
    });
    two_readers_and_a_revoker(subject, 1);
}

fn every_schedule(end: End) -> usize {
    exhaustively(move || {
        let (subject, cursor) = Mirrored::new(end);
        a_page_two_readers_and_a_revoker(subject, cursor);
    })
}

#[test]
fn trap_02_no_schedule_of_a_page_and_a_revocation_undoes_it() {
    let walked = every_schedule(End::Token);
    assert!(walked > 500, "all of {walked} schedules");
}

#[test]
fn trap_02_no_schedule_of_a_page_and_a_rule_undoes_it() {
    let walked = every_schedule(End::Rule);
    assert!(walked > 500, "all of {walked} schedules");
}

#[test]
fn trap_02_no_schedule_of_a_page_and_the_last_use_undoes_it() {
    let walked = every_schedule(End::Use);
    assert!(walked > 500, "all of {walked} schedules");
}

#[test]
fn trap_02_a_mirror_that_forgets_what_was_written_here_is_caught() {
    for end in [End::Token, End::Rule, End::Use] {
        assert!(is_caught(move || {
            let (mut subject, cursor) = Mirrored::new(end);
            let ours = Arc::get_mut(&mut subject.0).expect("no other handle");
            let engine = Arc::get_mut(&mut ours.engine).expect("no other handle");
            let source = Arc::get_mut(&mut engine.source).expect("no other handle");
            source.mirror.as_mut().expect("a mirror").forgets_own = true;
            a_page_two_readers_and_a_revoker(subject, cursor);
        }));
    }
}

/// Writes that are made while the mirror is loaded are in the new tables.
#[test]
fn trap_02_no_schedule_of_a_load_and_a_revocation_forgets_it() {
    let walked = exhaustively(|| {
        let subject = Arc::new(Mirrored(Arc::new(OurEngine::new(End::Token))));
        let at_work = Arc::new(AtomicUsize::new(2));
        let (loading, left) = (subject.clone(), at_work.clone());
        spawn(async move {
            loading.0.load().await;
            nothing_is_stale(&*loading, &left).await;
        });
        block_on(async {
            subject.revoke().await;
            assert!(!subject.known_good(), "a stale answer was kept");
            nothing_is_stale(&*subject, &at_work).await;
        });
    });
    assert!(walked > 20, "all of {walked} schedules");
}

#[test]
fn trap_02_a_load_two_readers_and_a_revocation_at_random() {
    at_random(1_000, || {
        let ours = Arc::new(OurEngine::new(End::Token));
        let loader = ours.clone();
        spawn(async move {
            loader.load().await;
        });
        two_readers_and_a_revoker(Mirrored(ours), 2);
    });
}

/// Runs local and remote writes, with pages in between. Once a call that began after all of them is
/// applied, the mirror must agree with the store.
#[test]
fn after_random_local_and_remote_writes_the_mirror_agrees_with_the_store() {
    at_random(3_000, || {
        let (subject, cursor) = Mirrored::new(End::Token);
        let ours = subject.0;
        let at_work = Arc::new(AtomicUsize::new(7));
        let follower = ours.clone();
        let (cursors, left) = (Arc::new(Mutex::new(cursor)), at_work.clone());
        let followed = cursors.clone();
        spawn(async move {
            for _ in 0..3 {
                let cursor = followed.lock().expect("a cursor").clone();
                let cursor = follower.catch_up(cursor).await;
                *followed.lock().expect("a cursor") = cursor;
            }
            the_mirror_is_right(&follower, &followed, &left).await;
        });
        for task in 0..6 {
            let (ours, at_work, cursors) = (ours.clone(), at_work.clone(), cursors.clone());
            spawn(async move {
                let (engine, store) = (&ours.engine, &ours.engine.source.store);
                let revocation = Revocation::of_token(ours.token.id(), None);
                match task {
                    0 => ours.end(End::Token).await,
                    1 => drop(engine.lift(&lift()).await.expect("an answer")),
                    2 => {
                        // A use is returned only after it was taken.
                        ours.end(End::Use).await;
                        engine
                            .clone()
                            .return_use(new_use())
                            .await
                            .expect("an answer");
                    }
                    3 => drop(
                        store
                            .take_use(&others(), UnixTime::EPOCH)
                            .await
                            .expect("an answer"),
                    ),
                    4 => store.revoke(&[revocation]).await.expect("revoked"),
                    _ => drop(store.lift(&lift()).await.expect("an answer")),
                }
                the_mirror_is_right(&ours, &cursors, &at_work).await;
            });
        }
    });
}

/// Checked by the last task to finish.
async fn the_mirror_is_right(ours: &OurEngine, cursor: &Mutex<Cursor>, at_work: &AtomicUsize) {
    if at_work.fetch_sub(1, Ordering::SeqCst) > 1 {
        return;
    }
    let cursor = cursor.lock().expect("a cursor").clone();
    ours.catch_up(cursor).await;
    let listed = ours.engine.source.store.0.look_up(ours.token.keys()).await;
    let truth = status_of(&ours.token, &listed.expect("an answer")).expect("an answer");
    let seen = ours.engine.known_status(&ours.token);
    assert_eq!(seen, Some(truth), "a stale answer was left");
    let mirror = ours.engine.source.mirror.as_ref().expect("a mirror");
    assert_eq!(mirror.known_status(&ours.token), Some(truth));
    assert_eq!(mirror.written_back.load(Ordering::Relaxed), 0);
}
