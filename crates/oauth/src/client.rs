//! The client as the application and the layers see it.

use std::{fmt, sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};
use tower_revoke_core::{
    BoxFuture, KeyDigest, OwedRevocation, QueueFull, ReadyError, RemoteRevocation, RemoteSlot,
    TokenCopy, TokenId, UnixTime, VerifiedToken,
};

use crate::{
    RevocationClientStats, ShutdownReport, SigningKey,
    credentials::{Credentials, CredentialsError},
    outbox::Owing,
    worker::Shared,
};

/// A client of the revocation endpoint of an authorization server (RFC 7009), with a queue.
///
/// Clones share the queue. The [crate's docs](crate) say what is guaranteed.
///
/// # Examples
/// ```
/// use std::time::Duration;
///
/// use tower_revoke_core::Endpoint;
/// use tower_revoke_oauth::RevocationClient;
/// use tower_revoke_spend::UseLimitLayer;
///
/// # async fn run(secret: String) -> Result<(), Box<dyn std::error::Error>> {
/// let client = RevocationClient::builder(Endpoint::new("https://id.example.com/revoke")?)
///     .client_credentials("orders", secret)
///     .build()?;
/// let layer = UseLimitLayer::single().also_at(client.clone());
///
/// // After the last request:
/// let report = client.shutdown(Duration::from_secs(10)).await;
/// assert!(report.is_complete(), "{report:?}");
/// # Ok(())
/// # }
/// ```
#[doc(alias = "rfc7009")]
#[derive(Clone)]
pub struct RevocationClient {
    shared: Arc<Shared>,
}

impl RevocationClient {
    pub(crate) fn new(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        shared.wake(None);
        Self { shared }
    }

    /// Replaces the client credentials. The tokens that wait for good ones are sent at once.
    ///
    /// # Errors
    /// [`CredentialsError`]; the former credentials stay in use.
    pub fn set_client_credentials(
        &self,
        id: impl Into<String>,
        secret: impl Into<String>,
    ) -> Result<(), CredentialsError> {
        self.set_credentials(Credentials::secret(id.into(), secret.into())?);
        Ok(())
    }

    /// Replaces the client credentials by a key, as
    /// [`set_client_credentials`](Self::set_client_credentials) does by a secret.
    ///
    /// # Errors
    /// [`CredentialsError`]; the former credentials stay in use.
    pub fn set_private_key_jwt(
        &self,
        id: impl Into<String>,
        key: SigningKey,
    ) -> Result<(), CredentialsError> {
        self.set_credentials(Credentials::key(id.into(), key)?);
        Ok(())
    }

    fn set_credentials(&self, credentials: Credentials) {
        let mut state = self.shared.lock();
        state.credentials = Arc::new(credentials);
        state.queue.credentials_changed(Instant::now());
        drop(state);
        self.shared.wake(None);
    }

    /// Returns the server that is told, for operators.
    pub(crate) fn server(&self) -> String {
        let endpoint = &self.shared.endpoint;
        endpoint
            .issuer()
            .map_or_else(|| endpoint.host(), str::to_owned)
    }

    /// Returns the state of the queue, and the counts since the client was built.
    pub fn stats(&self) -> RevocationClientStats {
        self.shared.lock().queue.stats()
    }

    /// Waits until the endpoint is known, and what an earlier process owed to it is queued: fetches the
    /// issuer's metadata and reads the outbox, where that was not done yet. A client that was built with
    /// an endpoint and without an outbox is ready at once.
    ///
    /// A service can start without it, as tokens stay queued until the endpoint is found. It must be
    /// called in a tokio runtime with its timer enabled.
    ///
    /// # Errors
    /// The metadata can't be fetched, or names no revocation endpoint. The outbox doesn't answer, or has
    /// an entry that can't be read ([`OutboxError`](tower_revoke_core::OutboxError)): the others are sent
    /// all the same.
    pub async fn ready(&self) -> Result<(), ReadyError> {
        self.shared.wake(None);
        let recovered = self.shared.recovered().await;
        let ready = recovered.and(self.shared.endpoint().await.map(drop));
        ready.map_err(|error| ReadyError::new("the revocation client", error))
    }

    /// Sends every queued token once more, and waits until none is left and no call holds a slot,
    /// or until `limit` has passed. Stop serving first, or calls go on reserving slots. What is left
    /// is lost with the process, unless an outbox keeps it; the client can be shut down again.
    ///
    /// It must be called in a tokio runtime with its timer enabled.
    pub async fn shutdown(&self, limit: Duration) -> ShutdownReport {
        let before = {
            let mut state = self.shared.lock();
            state.queue.hurry_all(Instant::now());
            state.queue.stats()
        };
        // Past the limit, what is left is counted below.
        let _ = timeout(limit, self.shared.idle()).await;
        let after = self.stats();
        ShutdownReport {
            delivered: after.delivered - before.delivered,
            rejected: after.rejected - before.rejected,
            abandoned: after.abandoned - before.abandoned,
            queued: after.queued,
            reserved: after.reserved,
        }
    }
}

impl RemoteRevocation for Shared {
    fn reserve(self: Arc<Self>, token: &VerifiedToken) -> Result<RemoteSlot, QueueFull> {
        let (id, holder) = (token.id(), token.holder());
        if !self.lock().queue.reserve(id, holder) {
            return Err(QueueFull);
        }
        let reservation = Reservation {
            shared: Some(self),
            token: id,
        };
        let runtime = Handle::try_current().ok();
        let retained = token.retained_until();
        Ok(RemoteSlot::new(move |token| {
            reservation.send(token, holder, retained, runtime)
        }))
    }
}

/// All clones of a client become the same `Arc`.
impl From<RevocationClient> for Arc<dyn RemoteRevocation> {
    fn from(client: RevocationClient) -> Self {
        client.shared
    }
}

impl fmt::Debug for RevocationClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

/// A reserved slot, which is freed when this is dropped unused.
struct Reservation {
    shared: Option<Arc<Shared>>,
    token: TokenId,
}

impl Reservation {
    fn send(
        mut self,
        token: TokenCopy,
        holder: KeyDigest,
        retained: Option<UnixTime>,
        runtime: Option<Handle>,
    ) -> BoxFuture<'static, ()> {
        let Some(shared) = self.shared.take() else {
            return Box::pin(std::future::ready(()));
        };
        let now = shared.now();
        let mut left = shared.lock().queue.settings().retry_timeout;
        if let Some(retained) = retained {
            let life = retained.as_secs().saturating_sub(now.as_secs());
            left = left.min(Duration::from_secs(life));
        }
        let owed = OwedRevocation {
            id: self.token,
            holder,
            token,
            // Rounded up to a second.
            until: now.saturating_add(left + Duration::from_millis(999)),
        };
        let owing = Owing {
            shared,
            owed: Some(owed),
            deadline: Instant::now() + left,
            runtime,
        };
        owing.keep()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.lock().queue.unreserve(self.token);
            shared.changed.notify_waiters();
        }
    }
}
