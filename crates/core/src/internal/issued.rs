//! The issued tokens of a store, apart from the store's type.

use std::sync::Arc;

use crate::{
    BoxFuture, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore, KeyDigest, Store,
    StoreError, TokenHash,
};

/// Returns the issued tokens of a store. `None` if it keeps none.
pub fn issued_tokens_of(store: impl Store) -> Option<Arc<dyn IssuedTokenStore>> {
    store.issued_tokens()?;
    Some(Arc::new(OfStore(store)))
}

struct OfStore<S>(S);

impl<S: Store> OfStore<S> {
    fn port(&self) -> Result<&dyn IssuedTokenStore, StoreError> {
        let port = self.0.issued_tokens();
        port.ok_or(StoreError::Unsupported("issued tokens"))
    }
}

impl<S: Store> IssuedTokenStore for OfStore<S> {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        match self.port() {
            Ok(port) => port.insert(token),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        match self.port() {
            Ok(port) => port.find(hash),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        match self.port() {
            Ok(port) => port.page_of(holder, after, at_most),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }
}
