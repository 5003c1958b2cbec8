//! The requests to the introspection endpoint.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use tokio::{sync::Semaphore, time::timeout};
use tower_revoke_core::{BoxError, Clock, Endpoint, HttpClient, TokenCopy};

use super::{answer::IntrospectionError, rate::Rate};
use crate::{
    DeliveryFailure,
    credentials::Credentials,
    endpoint::EndpointSource,
    request::{self, Authentication},
    response::Delivery,
};

/// The longest response that is read.
const MAX_RESPONSE: usize = 64 * 1024;

pub(super) struct Server {
    pub(super) endpoint: EndpointSource,
    pub(super) issuer: String,
    pub(super) client: Arc<dyn HttpClient>,
    pub(super) credentials: Credentials,
    pub(super) credentials_in_form: bool,
    pub(super) request_timeout: Duration,
    pub(super) clock: Clock,
    pub(super) slots: Arc<Semaphore>,
    /// Half of the slots, so that a flood of unknown tokens leaves some to known ones.
    pub(super) slots_for_unknown: Arc<Semaphore>,
    pub(super) unknown: Rate,
    /// The uptime until which the server wants no requests.
    pub(super) paused_until: Mutex<Duration>,
}

impl Server {
    /// Admits a request, and returns what is to be dropped at its end.
    pub(super) fn admit(&self, is_known: bool) -> Result<impl Send + use<>, IntrospectionError> {
        let uptime = self.clock.uptime();
        if uptime < *self.paused_until() {
            return Err(IntrospectionError::Paused);
        }
        let take = |slots: &Arc<Semaphore>| {
            let slot = slots.clone().try_acquire_owned();
            slot.map_err(|_| IntrospectionError::Busy)
        };
        let slot_for_unknown = match is_known {
            true => None,
            false => Some(take(&self.slots_for_unknown)?),
        };
        let slot = take(&self.slots)?;
        match is_known || self.unknown.admits(uptime) {
            true => Ok((slot, slot_for_unknown)),
            false => Err(IntrospectionError::TooManyUnknown),
        }
    }

    /// Returns the body of an answer about a token.
    pub(super) async fn ask(&self, token: &TokenCopy) -> Result<Bytes, IntrospectionError> {
        match timeout(self.request_timeout, self.exchange(token)).await {
            Ok(answer) => answer,
            Err(_) => Err(IntrospectionError::Failed(DeliveryFailure::TimedOut)),
        }
    }

    async fn exchange(&self, token: &TokenCopy) -> Result<Bytes, IntrospectionError> {
        let failed = IntrospectionError::Failed;
        let endpoint = self.endpoint().await;
        let endpoint = endpoint.map_err(|_| failed(DeliveryFailure::Discovery))?;
        let client = Authentication {
            credentials: &self.credentials,
            secret_in_form: self.credentials_in_form,
            issuer: Some(&self.issuer),
            now: self.clock.now(),
        };
        let request = request::about_token(&endpoint, token.as_str(), "access_token", &client);
        let request = request.map_err(|_| failed(DeliveryFailure::Aborted))?;
        let response = self.client.send(request, MAX_RESPONSE).await;
        let delivery = match &response {
            Ok(response) => Delivery::of(response, self.clock.now()),
            Err(error) => Delivery::of_error(error),
        };
        match (delivery, response) {
            (Delivery::Delivered, Ok(response)) if response.status() == StatusCode::OK => {
                Ok(response.into_body())
            }
            (Delivery::Failed(failure, pause), _) => {
                if failure.may_have_moved() {
                    self.endpoint.forget().await;
                }
                if let Some(pause) = pause {
                    *self.paused_until() = self.clock.uptime() + pause;
                }
                Err(failed(failure))
            }
            (Delivery::Delivered | Delivery::Abandoned, _) => Err(IntrospectionError::Unreadable),
            (Delivery::Rejected(_), _) => {
                Err(IntrospectionError::Rejected(StatusCode::BAD_REQUEST))
            }
        }
    }

    pub(super) async fn endpoint(&self) -> Result<Endpoint, BoxError> {
        self.endpoint
            .endpoint(&self.client, self.request_timeout)
            .await
    }

    fn paused_until(&self) -> MutexGuard<'_, Duration> {
        let lock = self.paused_until.lock();
        lock.unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
