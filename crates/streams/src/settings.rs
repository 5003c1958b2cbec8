//! When streams end, shared by the layers and the extractor.

use std::{sync::Arc, time::Duration};

use tower_revoke_core::TokenEnd;

/// An event of `text/event-stream`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventName(String);

impl EventName {
    /// Leaves out line breaks, which would end the name.
    pub(crate) fn new(name: &str) -> Self {
        Self(name.replace(['\r', '\n'], ""))
    }

    pub(crate) fn with_data(&self, data: &str) -> String {
        format!("event: {}\ndata: {data}\n\n", self.0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `None` keeps streams while the status is unknown.
    pub(crate) unknown_timeout: Option<Duration>,
    pub(crate) revocation_grace: Duration,
    pub(crate) expiry_grace: Duration,
    pub(crate) end_event: Option<EventName>,
    pub(crate) before_expiry: Option<(Duration, EventName)>,
    pub(crate) allows_http_10: bool,
}

impl Settings {
    pub(crate) fn grace(&self, end: TokenEnd) -> Duration {
        match end {
            TokenEnd::Revoked => self.revocation_grace,
            TokenEnd::Expired => self.expiry_grace,
            _ => Duration::ZERO,
        }
    }

    pub(crate) fn shared() -> Arc<Self> {
        Arc::new(Self::default())
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            unknown_timeout: Some(Duration::from_secs(60)),
            revocation_grace: Duration::ZERO,
            expiry_grace: Duration::ZERO,
            end_event: None,
            before_expiry: None,
            allows_http_10: false,
        }
    }
}
