//! The state that the routes share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tower_revoke::{JwtVerifier, PendingRevocations, RevocationList, Tickets};

use crate::orders::Orders;

/// The state that the routes share. Clones share it too.
#[derive(Clone, Debug)]
pub struct App {
    /// Verifies tokens and checks them against `list`.
    pub tokens: JwtVerifier,
    /// Returns the status of tokens, and takes revocations.
    pub list: RevocationList,
    /// Issues tickets for URLs that can't carry a token.
    pub tickets: Tickets,
    /// Tracks the revocations that wait for the end of a response.
    pub pending: PendingRevocations,
    /// Cancelled to shut the program down.
    pub stopping: CancellationToken,
    pub(crate) orders: Arc<Orders>,
    pub(crate) export: Arc<Path>,
}

impl App {
    /// Creates the state. `tokens` and `tickets` must check against `list`, and `export` is the file
    /// behind the one-time link.
    pub fn new(
        tokens: JwtVerifier,
        list: RevocationList,
        tickets: Tickets,
        export: PathBuf,
    ) -> Self {
        Self {
            tokens,
            list,
            tickets,
            pending: PendingRevocations::default(),
            stopping: CancellationToken::new(),
            orders: Arc::default(),
            export: export.into(),
        }
    }
}

/// The claims that this API reads. Handlers take them as `Authenticated<Customer>`.
#[derive(Debug, Deserialize)]
pub(crate) struct Customer {
    pub(crate) sub: String,
}
