//! Reads a store's feed.

use tower_revoke::core::{Changes, Store};

/// Reads the feed to its end, into one page.
///
/// # Panics
/// If the store is not reachable.
pub async fn whole_feed(store: &impl Store) -> Changes {
    let mut whole = store
        .feed()
        .expect("a feed")
        .changes(None)
        .await
        .expect("a page");
    while whole.more {
        let page = store
            .feed()
            .expect("a feed")
            .changes(Some(&whole.next))
            .await
            .expect("a page");
        whole.changes.extend(page.changes);
        whole.next = page.next;
        whole.more = page.more;
    }
    whole
}
