//! The revocation list of tower-revoke, which rejects tokens whose signature is still valid.
//!
//! Revoke all tokens of a subject ("log out everywhere"), and one token:
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use tower_revoke_core::{
//!     Claims, Revocation, RevocationKey, TokenId, TokenStatus, UnixTime, VerifiedToken,
//! };
//! use tower_revoke_list::RevocationList;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let list = RevocationList::in_memory();
//!
//! // A verifier makes these; this one is made by hand.
//! let issuer = "https://id.example.com";
//! let claims = Claims::from_value(json!({"iss": issuer, "sub": "ann", "iat": 1_700_000_000}))?;
//! let token = VerifiedToken::new(TokenId::of_jwt(issuer, "42"), claims, Duration::from_secs(30));
//! assert_eq!(list.status(&token).await?, TokenStatus::Valid);
//!
//! let everywhere = Revocation::all_of(RevocationKey::subject(issuer, "ann"))?
//!     .by("ann")
//!     .because("logged out everywhere");
//! list.revoke(everywhere).await?;
//! assert_eq!(list.status(&token).await?, TokenStatus::Revoked);
//!
//! let other = TokenId::of_jwt(issuer, "43");
//! list.revoke(Revocation::of_token(other, Some(UnixTime::from_secs(1_700_003_600)))).await?;
//! # Ok(()) }
//! ```
//!
//! # For operators
//! Operators can query who was revoked, by whom and why, export and import revocations, and lift
//! them.
//!
//! ```
//! use tower_revoke_core::{Lift, Revocation, RevocationKey, UnixTime, RecordFilter};
//! use tower_revoke_list::RevocationList;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let list = RevocationList::in_memory();
//! let now = UnixTime::from_secs(1_700_000_100);
//! let ann = RevocationKey::subject("https://id.example.com", "ann");
//! list.revoke(Revocation::all_of(ann.clone())?.by("bob").because("laptop lost")).await?;
//!
//! let mut lost = list.records(RecordFilter::all().because("laptop lost"));
//! while let Some(page) = lost.next_page().await? {
//!     for record in page {
//!         println!("{:?}, revoked by {} at {}", record.key, record.by, record.at);
//!     }
//! }
//! assert_eq!(list.count(RecordFilter::all().since(now)).await?, 1);
//! assert!(list.inspect(ann.clone()).await?.listed.is_some());
//!
//! let mut file = String::new();
//! let mut export = list.export(RecordFilter::all());
//! while let Some(lines) = export.next_lines().await? {
//!     file += &lines;
//! }
//! let other = RevocationList::in_memory();
//! assert_eq!(other.import(file.lines()).await?, 1);
//!
//! assert!(list.lift(Lift::new(ann.clone()).by("bob").because("laptop found")).await?);
//! let lift = list.inspect(ann).await?.last_lift.expect("a lift");
//! assert_eq!(lift.by, "bob");
//! # Ok(()) }
//! ```
//!
//! # Audit
//! What operators do through the handle is logged as `tracing` events of level `INFO` with the target
//! `tower_revoke::audit`: [`revoke`](RevocationList::revoke), [`lift`](RevocationList::lift) and
//! [`import`](RevocationList::import), done or failed. So set author and reason, and put neither a token
//! nor a secret into them. What layers revoke through `Arc<dyn Revocations>` is not among it.
//!
//! # The mirror
//! If the store has a feed ([`Store::feed`](tower_revoke_core::Store::feed)), the list mirrors
//! everything that is listed in memory. The mirror is loaded before the list is ready. A task keeps
//! it up to date: it starts with the first call in a tokio runtime and ends with the last handle.
//!
//! While the feed is healthy, a token that is not in the mirror is valid, so no check needs a
//! look-up in the store. A revocation on one node takes effect on the others as soon as they have
//! read it from the feed. The list polls the feed every quarter of `max_staleness`, and whenever
//! the store signals a change.
//!
//! When the feed fails, the mirror is used until it is `max_staleness` old. Then each token is
//! looked up in the store, as it is without a feed or above
//! [`mirror_capacity`](RevocationListBuilder::mirror_capacity). [`ListStats::mirror`] and the log
//! report it.
//!
//! With a [`MirrorSnapshot`], a node that starts while the store is down still rejects what it knew
//! to be revoked.
//!
//! A store may lose history, through a fail-over, a restore from a backup, or a replaced database.
//! Each list then writes back what its mirror holds before its node is ready again: revocations,
//! rules, lifts, spent tokens as revocations, and the uses that were taken through this list, under
//! their own ids. Until then, tokens that the mirror rejects are still rejected. Writing back
//! undoes no lift. A write that was acknowledged through a list and is then missing from the feed
//! is written again.
//!
//! # Guarantees
//! * **Coherence.** Once [`revoke`](RevocationList::revoke) has returned, every check on this list
//!   that begins afterwards reflects it. The same holds for [`take_use`](RevocationList::take_use),
//!   [`return_use`](RevocationList::return_use) and [`lift`](RevocationList::lift).
//! * **Bounded staleness.** Every other list over the same store reflects it within
//!   [`max_staleness`](RevocationListBuilder::max_staleness), whether its feed is healthy or not.
//!   The age of an answer counts from before the look-up, and the age of the mirror from before the
//!   last call of the feed that returned everything. Once a list has found a token revoked, only
//!   the store can make it valid again.
//! * **Fail closed.** Answers younger than `max_staleness` are used even during an outage.
//!   Otherwise, and for every use, the call fails within
//!   [`store_timeout`](RevocationListBuilder::store_timeout), and the caller must reject the
//!   request. A token that is known to be revoked or spent is still rejected.
//! * **No revocation is lost.** The cache never holds the only copy: an answer that it evicts is
//!   looked up again. The mirror is complete or not used. Purging uses a clock that never steps
//!   back. A token whose entries may have been purged is rejected, even if the wall clock is set
//!   back.
//! * **Rules** concern tokens issued *at or before* a second, so a token that was issued in the
//!   same second is rejected too. So is a token that was issued later by up to the verifier's
//!   leeway: a new login may have to wait that long. Rules are kept for ever, unless
//!   [`max_token_life`](RevocationListBuilder::max_token_life) is set.
//! * **One retention.** The entries of a token are kept until its `exp` +
//!   [`retention::MARGIN`](tower_revoke_core::retention::MARGIN), which no verifier's leeway
//!   exceeds, so verifiers with different leeways may share a list or a store.
//!
//! # What is tested, and what is not
//! The tests run the list with the real moka under the shuttle scheduler. They explore all
//! interleavings of two readers and one revoker, and random ones of more tasks. With a mirror, they
//! include pages that were read before a write and are applied after it.
//!
//! The interleavings are those at the await points of the store and of the list. Whatever moka and
//! an executor do between two await points runs as one step, and memory is sequentially consistent.
//! The uses of the [`MemoryStore`] are explored with shuttle's own locks. Further tests race real
//! threads.

#![cfg_attr(
    feature = "metrics",
    doc = "
# Metrics
With the feature `metrics`, [`ListStats::report`] tells the recorder of the program what the list
does, without labels:

| name | kind | |
|---|---|---|
| `tower_revoke_list_max_staleness_seconds` | gauge | within this time a revocation on one node is obeyed by every other |
| `tower_revoke_list_max_answer_age_seconds` | gauge | the age of the oldest answer ever served: never more than that |
| `tower_revoke_list_last_answer_timestamp_seconds` | gauge | when the store last answered, in Unix time; NaN if it never has |
| `tower_revoke_list_mirror_live` | gauge | 1 while the mirror answers; 0 while the store is asked about each token |
| `tower_revoke_list_mirror_full` | gauge | 1 while more is listed than `mirror_capacity`, so that there is no mirror |
| `tower_revoke_list_mirror_age_seconds` | gauge | the age of the mirror; NaN while it has no answers to give |
| `tower_revoke_list_mirror_entries` | gauge | entries of the mirror |
| `tower_revoke_list_cached_answers` | gauge | answers cached beside the mirror |
| `tower_revoke_list_local_answers_total` | counter | answers that needed no call of the store |
| `tower_revoke_list_store_lookups_total` | counter | look-ups of a token in the store |
| `tower_revoke_list_store_failures_total` | counter | calls of any kind that the store did not answer, or not in time |
| `tower_revoke_list_mirror_reloads_total` | counter | how often the mirror was loaded again |
| `tower_revoke_list_restored_entries_total` | counter | entries written back to a store that had forgotten them |
| `tower_revoke_list_snapshots_written_total` | counter | snapshots of the mirror that were written |
| `tower_revoke_list_snapshot_failures_total` | counter | snapshots that could not be written |
| `tower_revoke_list_snapshots_rejected_total` | counter | snapshots that were ignored: damaged, forged, too old, or of another store |

A feed that breaks shows as a mirror whose age grows; at the bound it is live no more.
"
)]

mod builder;
mod engine;
mod error;
mod health;
mod list;
mod memory;
mod mirror;
mod operators;
#[cfg(feature = "metrics")]
mod series;
mod snapshot;
mod stats;
mod status;
mod sync;
mod timer;
mod watchers;

pub use self::{
    builder::RevocationListBuilder,
    error::RevocationListError,
    list::RevocationList,
    memory::MemoryStore,
    operators::{Export, ImportError, Inspection, Pages},
    snapshot::{MirrorSnapshot, SnapshotError, SnapshotState},
    stats::{ListStats, MirrorState},
};
