//! What the routes share.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Deserialize;
use tokio_util::sync::CancellationToken;
use tower_revoke::{JwtVerifier, PendingRevocations, RevocationList};

use crate::orders::Orders;

/// What the routes share; clones are the same.
#[derive(Clone, Debug)]
pub struct App {
    /// Checks tokens, against `list`.
    pub tokens: JwtVerifier,
    /// Who is asked how a token stands, and told that one has ended.
    pub list: RevocationList,
    /// The calls that are owed a revocation.
    pub slots: PendingRevocations,
    /// Cancelled when the program shall stop.
    pub stopping: CancellationToken,
    pub(crate) orders: Arc<Orders>,
    pub(crate) export: Arc<Path>,
}

impl App {
    /// `tokens` were told of `list`; `export` is the file behind the one-time link.
    pub fn new(tokens: JwtVerifier, list: RevocationList, export: PathBuf) -> Self {
        Self {
            tokens,
            list,
            slots: PendingRevocations::default(),
            stopping: CancellationToken::new(),
            orders: Arc::default(),
            export: export.into(),
        }
    }
}

/// What this API reads of a token; handlers take it as `Authenticated<Customer>`.
#[derive(Debug, Deserialize)]
pub(crate) struct Customer {
    pub(crate) sub: String,
}
