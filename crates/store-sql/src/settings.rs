//! The settings that all databases have.

use std::time::Duration;

use tower_revoke_core::Clock;

#[cfg(any(feature = "mysql", feature = "postgres"))]
use crate::SqlStoreError;

/// How many times longer than one answer opening may take: it is several, and creates tables.
pub(crate) const ANSWERS_TO_OPEN: u32 = 5;

/// The longest time that one answer may take.
#[cfg(any(feature = "mysql", feature = "postgres"))]
const LONGEST: Duration = Duration::from_secs(86_400);

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    #[cfg(any(feature = "mysql", feature = "postgres"))]
    pub(crate) migrates: bool,
    pub(crate) connections: u32,
    pub(crate) request_timeout: Duration,
    pub(crate) feed_capacity: u64,
    pub(crate) feed_retention: Duration,
    pub(crate) clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            #[cfg(any(feature = "mysql", feature = "postgres"))]
            migrates: true,
            connections: 8,
            request_timeout: Duration::from_secs(2),
            feed_capacity: 100_000,
            feed_retention: Duration::from_secs(86_400),
            clock: Clock::system(),
        }
    }
}

#[cfg(any(feature = "mysql", feature = "postgres"))]
impl Settings {
    pub(crate) fn check(&self) -> Result<(), SqlStoreError> {
        if self.connections == 0 {
            return Err(SqlStoreError::Setting("there are no connections"));
        }
        // A longer one might not fit into a point in time.
        if self.request_timeout.is_zero() || self.request_timeout > LONGEST {
            return Err(SqlStoreError::Setting(
                "request_timeout must be longer than zero and at most a day",
            ));
        }
        Ok(())
    }

    /// Opens in bounded time.
    pub(crate) async fn in_time<T>(
        &self,
        opening: impl Future<Output = Result<T, SqlStoreError>>,
    ) -> Result<T, SqlStoreError> {
        let limit = self.request_timeout.saturating_mul(ANSWERS_TO_OPEN);
        let opened = tokio::time::timeout(limit, opening).await;
        opened.unwrap_or(Err(SqlStoreError::TimedOut(limit)))
    }
}

/// The setters, in the `impl` of a builder with `settings`, of what means the same in all databases.
macro_rules! sets_what_all_have {
    () => {
        /// How many of the last changes are kept for
        /// [`changes`](tower_revoke_core::Store::changes), about: the oldest go from time to time, while
        /// something is written. Who falls behind further loads all again.
        pub fn feed_capacity(mut self, changes: u64) -> Self {
            self.settings.feed_capacity = changes;
            self
        }

        /// For how long changes are kept, if there are not too many.
        pub fn feed_retention(mut self, time: std::time::Duration) -> Self {
            self.settings.feed_retention = time;
            self
        }

        /// By which clock a token's life is past, and changes are old.
        pub fn clock(mut self, clock: tower_revoke_core::Clock) -> Self {
            self.settings.clock = clock;
            self
        }
    };
}

pub(crate) use sets_what_all_have;

#[cfg(all(test, any(feature = "mysql", feature = "postgres")))]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_does_not_fit_is_rejected_before_anybody_is_asked() {
        for time in [
            Duration::ZERO,
            LONGEST + Duration::from_nanos(1),
            Duration::MAX,
        ] {
            let error = Settings {
                request_timeout: time,
                ..Settings::default()
            }
            .check()
            .unwrap_err();
            assert!(
                matches!(error, SqlStoreError::Setting(_)),
                "{time:?}: {error}"
            );
        }
    }
}
