//! The revocation list of tower-revoke: who is refused although the signature is good.
//!
//! Log out everywhere, and end one token:
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use tower_revoke_core::{Claims, Revocation, RevocationKey, Standing, TokenId, UnixTime, VerifiedToken};
//! use tower_revoke_list::RevocationList;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let list = RevocationList::in_memory();
//!
//! // Verifiers make these; here one is made by hand.
//! let issuer = "https://id.example.com";
//! let claims = Claims::from_value(json!({"iss": issuer, "sub": "ann", "iat": 1_700_000_000}))?;
//! let token = VerifiedToken::new(TokenId::of_jwt(issuer, "42"), claims, Duration::from_secs(30));
//! assert_eq!(list.check(&token).await?, Standing::Good);
//!
//! let now = UnixTime::from_secs(1_700_000_100);
//! let everywhere = Revocation::rule(RevocationKey::subject(issuer, "ann"), now)?
//!     .by("ann")
//!     .because("logged out everywhere");
//! list.revoke(everywhere).await?;
//! assert_eq!(list.check(&token).await?, Standing::Revoked);
//!
//! let other = TokenId::of_jwt(issuer, "43");
//! list.revoke(Revocation::of_token(other, Some(UnixTime::from_secs(1_700_003_600)))).await?;
//! # Ok(()) }
//! ```
//!
//! # What it promises
//! * **Coherence.** When [`revoke`](RevocationList::revoke) has returned, every check that begins
//!   afterwards on this list sees it. So it is with [`claim`](RevocationList::claim),
//!   [`release`](RevocationList::release) and [`lift`](RevocationList::lift).
//! * **Bounded staleness.** Every other list over the same store sees it within
//!   [`max_staleness`](RevocationListBuilder::max_staleness). The age of an answer counts from
//!   before the store was asked. Once a list has found a token revoked, it calls it good again
//!   only if the store does.
//! * **It fails closed.** Younger answers are given even while the store is down; else, and for
//!   every claim, the call fails within [`answer_within`](RevocationListBuilder::answer_within),
//!   and whoever asked must refuse. What was known to be revoked or spent stays so.
//! * **Nothing un-revokes.** The cache holds answers, never the only copy: whatever it drops is
//!   asked again. Purge goes by a clock that never steps back. Once something was forgotten,
//!   a token whose life ended before that is refused, even if the wall clock is set back.
//! * **Rules** concern tokens issued *at or before* a second, so a token that was issued in the
//!   same second is refused too; so is, for the verifier's leeway, one that was issued a little
//!   later: a new login may have to wait that long. Rules without an end are kept for ever.
//!
//! # What was explored, and what was not
//! The tests drive the list on the real moka under the shuttle scheduler: all interleavings of
//! two readers and one revoker, and random ones of more. They are those at the await points
//! of the store and of the list; what moka and an executor do between two of them runs as one
//! step, and memory is sequentially consistent there. The claims of the [`MemoryStore`] are
//! explored over shuttle's own locks. Real threads race in further tests.

mod builder;
mod engine;
mod judge;
mod list;
mod memory;
mod mirror;
mod shared;
mod stats;
mod sync;

pub use self::{
    builder::RevocationListBuilder,
    list::RevocationList,
    memory::MemoryStore,
    stats::{ListStats, MirrorState},
};
