//! Tests auto traits, and that two lists don't share answers.

use std::{fmt::Debug, sync::Arc};

use crate::support::{end_of, token};
use static_assertions::assert_impl_all;
use tower_revoke_core::{Revocations, TokenStatus};
use tower_revoke_list::{ListStats, MemoryStore, RevocationList, RevocationListBuilder};

assert_impl_all!(RevocationList: Clone, Debug, Send, Sync, Into<Arc<dyn Revocations>>);
assert_impl_all!(MemoryStore: Clone, Debug, Default, Send, Sync);
assert_impl_all!(RevocationListBuilder<MemoryStore>: Debug, Send, Sync);
assert_impl_all!(ListStats: Copy, Debug, Send, Sync);

#[test]
fn futures_may_move_between_threads() {
    fn is_send<T: Send>(_: T) {}
    let list = RevocationList::in_memory();
    let token = token("1");
    is_send(list.status(&token));
    is_send(list.revoke(end_of(&token)));
    is_send(list.purge());
    is_send(list.ready());
}

#[tokio::test]
async fn layers_ask_the_same_list() {
    let list = RevocationList::in_memory();
    let layers: Arc<dyn Revocations> = list.clone().into();
    let token = token("1");
    assert_eq!(list.status(&token).await.unwrap(), TokenStatus::Valid);
    assert_eq!(layers.known_status(&token), Some(TokenStatus::Valid));
    layers.clone().revoke(end_of(&token)).await.unwrap();
    assert_eq!(list.known_status(&token), Some(TokenStatus::Revoked));
    assert_eq!(list.status(&token).await.unwrap(), TokenStatus::Revoked);
}

/// An answer of one list doesn't count for another list.
#[tokio::test]
async fn lists_do_not_share_answers() {
    let (one, other) = (RevocationList::in_memory(), RevocationList::in_memory());
    let token = token("1");
    other.revoke(end_of(&token)).await.unwrap();
    assert_eq!(one.status(&token).await.unwrap(), TokenStatus::Valid);
    assert_eq!(other.known_status(&token), Some(TokenStatus::Revoked));
}
