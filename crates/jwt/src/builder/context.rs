//! What issuers are built with, whenever that is.

use tower_revoke_core::Clock;

#[cfg(feature = "remote")]
use super::fetch_config::FetchConfig;

/// The settings for all issuers that the keys and rules of one depend on.
pub(crate) struct BuildContext {
    pub(super) clock: Clock,
    /// Whether the list has a `max_token_life`.
    pub(super) bounds_lives: bool,
    #[cfg(feature = "remote")]
    pub(super) fetch: FetchConfig,
}
