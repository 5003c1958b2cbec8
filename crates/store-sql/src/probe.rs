//! The probe at the opening of a store: two connections contend for one use, as two nodes do. A
//! server that speaks the protocol but lacks the locks or the isolation is found by what it does.

use std::{pin::pin, time::Duration};

use tokio::time::{Instant, timeout};

use crate::error::SqlStoreError;

/// How long the second connection may wait for the lock before the first one commits, besides two
/// round trips. A server without locks answers in that time.
const CONTENDED: Duration = Duration::from_millis(20);

/// Returns 16 random bytes, as a unique id.
pub(crate) fn random() -> Result<[u8; 16], SqlStoreError> {
    let mut id = [0; 16];
    let unavailable = SqlStoreError::Setting("the system provides no random numbers");
    getrandom::fill(&mut id).map_err(|_| unavailable)?;
    Ok(id)
}

/// Rejects sessions at another isolation level than the needed one.
pub(crate) fn check_isolation(found: String, needed: &'static str) -> Result<(), SqlStoreError> {
    match found == needed {
        true => Ok(()),
        false => Err(SqlStoreError::Isolation { found, needed }),
    }
}

/// A connection that contends.
pub(crate) trait Contender {
    /// Runs statements in one round trip, and returns the number in the first column of the last
    /// row, if any.
    fn run(
        &mut self,
        statements: &str,
    ) -> impl Future<Output = Result<Option<i64>, SqlStoreError>> + Send;
}

/// The use that is contended for. Its row can have no other use, since its token is random, and
/// never counts as spent. If the probe is interrupted, the next purge removes the row.
pub(crate) struct Contest {
    /// The name of the table of uses.
    pub(crate) uses: String,
    /// The token, as a literal.
    pub(crate) token: String,
    /// When the row expires.
    pub(crate) until: i64,
    /// The statement that takes the lock.
    pub(crate) lock: String,
}

impl Contest {
    /// Lets both connections take the use.
    ///
    /// # Errors
    /// [`TwoWinners`](SqlStoreError::TwoWinners) if both get it.
    pub(crate) async fn hold<C: Contender>(
        &self,
        first: &mut C,
        second: &mut C,
    ) -> Result<(), SqlStoreError> {
        let Self {
            uses, token, until, ..
        } = self;
        let insert = format!(
            "INSERT INTO {uses} (token, max_uses, held, until, holder) \
             VALUES ({token}, 2, 0, {until}, NULL)"
        );
        first.run(&insert).await?;
        let winner = self.contend(first, second).await;
        if winner.is_err() {
            first.run("ROLLBACK").await?;
        }
        let remove = format!("ROLLBACK;DELETE FROM {uses} WHERE token={token}");
        second.run(&remove).await?;
        winner
    }

    async fn contend<C: Contender>(
        &self,
        first: &mut C,
        second: &mut C,
    ) -> Result<(), SqlStoreError> {
        let Self {
            uses, token, lock, ..
        } = self;
        let read = format!("{lock};SELECT held FROM {uses} WHERE token={token}");
        let take = format!("UPDATE {uses} SET held = held + 1 WHERE token={token};COMMIT");
        first.run("START TRANSACTION").await?;
        if first.run(&read).await? != Some(0) {
            return Err(SqlStoreError::Probe);
        }
        // A round trip of its own: a snapshot that is taken here is from before the commit.
        let start = Instant::now();
        second.run("START TRANSACTION").await?;
        let wait = CONTENDED + 2 * start.elapsed();
        let mut seen = pin!(second.run(&read));
        let early = timeout(wait, &mut seen).await;
        first.run(&take).await?;
        let seen = match early {
            Ok(seen) => seen?,
            Err(_) => seen.await?,
        };
        match seen {
            Some(1) => Ok(()),
            Some(0) => Err(SqlStoreError::TwoWinners),
            _ => Err(SqlStoreError::Probe),
        }
    }
}
