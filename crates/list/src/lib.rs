//! The revocation list of tower-revoke: who is rejected although the signature is good.
//!
//! Log out everywhere, and end one token:
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use tower_revoke_core::{Claims, Revocation, RevocationKey, TokenStatus, TokenId, UnixTime, VerifiedToken};
//! use tower_revoke_list::RevocationList;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let list = RevocationList::in_memory();
//!
//! // Verifiers make these; here one is made by hand.
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
//! Who is revoked, by whom and why; the same as a file, and back; and the end of a revocation.
//!
//! ```
//! use tower_revoke_core::{Lift, Revocation, RevocationKey, UnixTime, RecordFilter};
//! use tower_revoke_list::RevocationList;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let list = RevocationList::in_memory();
//! let now = UnixTime::from_secs(1_700_000_100);
//! let ann = RevocationKey::subject("https://id.example.com", "ann");
//! list.revoke(Revocation::all_of(ann.clone())?.by("bob").because("laptop lost")).await?;
//!
//! let mut lost = list.records(RecordFilter::all().because("laptop lost"));
//! while let Some(page) = lost.next_page().await? {
//!     for record in page {
//!         println!("{:?}, said by {} at {}", record.key, record.by, record.at);
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
//! let (by, reason) = ("bob".to_owned(), "found again".to_owned());
//! assert!(list.lift(Lift { key: ann, at: now, by, reason }).await?);
//! # Ok(()) }
//! ```
//!
//! # The mirror
//! Of a store with a feed ([`Store::feed`](tower_revoke_core::Store::feed)) the list keeps
//! all that is listed in memory: loaded before it is ready, and kept current by a task of its own,
//! which starts with the first call in a tokio runtime and ends with the last handle. While the
//! feed is healthy, a miss is an answer: no token costs a question to the store, and what one node
//! revokes the others reject as soon as the feed has told them. The list asks the feed every
//! quarter of `max_staleness`, and whenever the store wakes it.
//!
//! When the feed breaks, the mirror answers until it is `max_staleness` old, and then the store is
//! asked about each token, as it is without a feed or above
//! [`mirror_capacity`](RevocationListBuilder::mirror_capacity). [`ListStats::mirror`] and the log say so.
//!
//! A store whose history went back (a fail-over, a backup that was played back, another database in its
//! place) is told what the mirrors know before their nodes are ready again: revocations, rules, lifts, spent tokens as
//! revocations, and the uses that were won through this list under their own ids. Until then what
//! the mirror knows to be rejected is rejected. A lift is not undone by that. What was written
//! through a list and is then missing in the feed is written again.
//!
//! # What it promises
//! * **Coherence.** When [`revoke`](RevocationList::revoke) has returned, every check that begins
//!   afterwards on this list sees it. So it is with [`use`](RevocationList::take_use),
//!   [`release`](RevocationList::return_use) and [`lift`](RevocationList::lift).
//! * **Bounded staleness.** Every other list over the same store sees it within
//!   [`max_staleness`](RevocationListBuilder::max_staleness), whether its feed is healthy or not.
//!   The age of an answer counts from before the store was asked; that of the mirror, from before
//!   the last call of the feed was made that told everything. Once a list has found a token
//!   revoked, it calls it good again only if the store does.
//! * **It fails closed.** Younger answers are given even while the store is down; else, and for
//!   every use, the call fails within [`store_timeout`](RevocationListBuilder::store_timeout),
//!   and whoever asked must reject. What was known to be revoked or spent stays so.
//! * **Nothing un-revokes.** The cache holds answers, never the only copy: whatever it drops is
//!   asked again. The mirror is whole or not used. Purge goes by a clock that never steps back. Once something was forgotten,
//!   a token whose life ended before that is rejected, even if the wall clock is set back.
//! * **Rules** concern tokens issued *at or before* a second, so a token that was issued in the
//!   same second is rejected too; so is, for the verifier's leeway, one that was issued a little
//!   later: a new login may have to wait that long. Rules are kept for ever, unless
//!   [`max_token_life`](RevocationListBuilder::max_token_life) is set.
//! * **One retention.** What is known of a token is kept until its `exp` +
//!   [`retention::MARGIN`](tower_revoke_core::retention::MARGIN), which no verifier's leeway exceeds:
//!   verifiers with different leeways may share a list, or a store.
//!
//! # What was explored, and what was not
//! The tests drive the list on the real moka under the shuttle scheduler: all interleavings of
//! two readers and one revoker, and random ones of more; and of a mirror, with pages that were read
//! before a write and come after it. They are those at the await points
//! of the store and of the list; what moka and an executor do between two of them runs as one
//! step, and memory is sequentially consistent there. The uses of the [`MemoryStore`] are
//! explored over shuttle's own locks. Real threads race in further tests.

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
| `tower_revoke_list_mirror_age_seconds` | gauge | the age of the mirror; NaN while it has no answers to give |
| `tower_revoke_list_mirror_entries` | gauge | entries of the mirror |
| `tower_revoke_list_cached_answers` | gauge | answers cached beside the mirror |
| `tower_revoke_list_local_answers_total` | counter | answers that needed no call of the store |
| `tower_revoke_list_store_lookups_total` | counter | look-ups of a token in the store |
| `tower_revoke_list_store_failures_total` | counter | calls of any kind that the store did not answer, or not in time |
| `tower_revoke_list_mirror_reloads_total` | counter | how often the mirror was loaded again |
| `tower_revoke_list_restored_entries_total` | counter | entries written back to a store that had forgotten them |

A feed that breaks shows as a mirror whose age grows; at the bound it is live no more.
"
)]

mod builder;
mod engine;
mod error;
mod judge;
mod list;
mod memory;
mod mirror;
mod operators;
#[cfg(feature = "metrics")]
mod series;
mod shared;
mod stats;
mod sync;

pub use self::{
    builder::RevocationListBuilder,
    error::RevocationListError,
    list::RevocationList,
    memory::MemoryStore,
    operators::{Export, ImportError, Inspection, Pages},
    stats::{ListStats, MirrorState},
};
