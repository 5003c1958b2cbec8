//! Caches that look right and lose revocations. The exploration must find a failure in each.

#![expect(
    clippy::disallowed_methods,
    reason = "these are the mistakes that clippy.toml warns of"
)]

use moka::{future::Cache, ops::compute::Op};

use super::*;

struct Broken {
    store: Yielding,
    answers: Cache<TokenId, bool>,
    read: Read,
    forget: Forget,
}

#[derive(Clone, Copy)]
enum Read {
    GetWith,
    GetThenInsert,
    Compute,
}

#[derive(Clone, Copy)]
enum Forget {
    Insert,
    Invalidate,
}

impl Broken {
    fn new(read: Read, forget: Forget) -> Self {
        Self {
            store: Yielding(MemoryStore::new()),
            answers: Cache::new(100),
            read,
            forget,
        }
    }

    async fn ask(&self) -> bool {
        let key = KeyDigest::of_token(token().id());
        self.store.look_up(&[key]).await.expect("an answer")[0].is_none()
    }
}

impl Subject for Broken {
    async fn status(&self) -> bool {
        let id = token().id();
        match self.read {
            Read::GetWith => self.answers.get_with(id, self.ask()).await,
            Read::GetThenInsert => {
                if let Some(good) = self.answers.get(&id).await {
                    return good;
                }
                let good = self.ask().await;
                self.answers.insert(id, good).await;
                good
            }
            Read::Compute => {
                if let Some(good) = self.answers.get(&id).await {
                    return good;
                }
                let asked = self.answers.entry(id).and_compute_with(|known| async move {
                    match known {
                        Some(_) => Op::Nop,
                        None => Op::Put(self.ask().await),
                    }
                });
                let entry = asked.await.into_entry().expect("an answer");
                entry.into_value()
            }
        }
    }

    fn known_good(&self) -> bool {
        false
    }

    async fn revoke(&self) {
        let id = token().id();
        let revocation = Revocation::of_token(id, None);
        self.store.revoke(&[revocation]).await.expect("revoked");
        match self.forget {
            Forget::Insert => self.answers.insert(id, false).await,
            Forget::Invalidate => self.answers.invalidate(&id).await,
        }
    }
}

fn broken_is_caught(read: Read, forget: Forget) -> bool {
    is_caught(move || two_readers_and_a_revoker(Broken::new(read, forget), 2))
}

#[test]
fn trap_02_get_with_and_insert_are_caught() {
    assert!(broken_is_caught(Read::GetWith, Forget::Insert));
}

#[test]
fn trap_02_get_with_and_invalidate_are_caught() {
    assert!(broken_is_caught(Read::GetWith, Forget::Invalidate));
}

#[test]
fn trap_02_get_then_insert_is_caught() {
    assert!(broken_is_caught(Read::GetThenInsert, Forget::Insert));
}

#[test]
fn trap_31_compute_and_invalidate_are_caught() {
    assert!(broken_is_caught(Read::Compute, Forget::Invalidate));
}

#[test]
fn trap_02_a_stamp_that_is_read_after_the_store_was_asked_is_caught() {
    assert!(is_caught(|| {
        let mut subject = OurEngine::new(End::Token);
        Arc::get_mut(&mut subject.engine)
            .expect("no other handle")
            .stamp_late = true;
        two_readers_and_a_revoker(subject, 2);
    }));
}
