//! The implementation of core's traits by the public type of each store.

/// Implements [`Store`](tower_revoke_core::Store) and [`ChangeFeed`](tower_revoke_core::ChangeFeed)
/// for a newtype of [`SqlStore`](crate::store::SqlStore).
macro_rules! is_a_store {
    ($store:ident) => {
        const _: () = {
            use tower_revoke_core::{
                BoxFuture, Change, ChangeFeed, Changes, Cursor, IssuedTokenStore, KeyDigest, Lift,
                Listed, Records, Revocation, Store, StoreError, UnixTime, Use, UseOutcome,
            };

            impl Store for $store {
                async fn revoke(&self, revocations: &[Revocation]) -> Result<(), StoreError> {
                    self.0.revoke(revocations).await
                }

                async fn lift(&self, lift: &Lift) -> Result<bool, StoreError> {
                    self.0.lift(lift).await
                }

                async fn look_up(
                    &self,
                    keys: &[KeyDigest],
                ) -> Result<Vec<Option<Listed>>, StoreError> {
                    self.0.look_up(keys).await
                }

                async fn take_use(
                    &self,
                    use_: &Use,
                    now: UnixTime,
                ) -> Result<UseOutcome, StoreError> {
                    self.0.take_use(use_, now).await
                }

                async fn return_use(&self, use_: &Use) -> Result<bool, StoreError> {
                    self.0.return_use(use_).await
                }

                async fn purge(&self, before: UnixTime) -> Result<u64, StoreError> {
                    self.0.purge(before).await
                }

                fn feed(&self) -> Option<&dyn ChangeFeed> {
                    self.0.feed()
                }

                fn records(&self) -> Option<&dyn Records> {
                    self.0.records()
                }

                fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore> {
                    self.0.issued_tokens()
                }
            }

            impl ChangeFeed for $store {
                fn changes<'a>(
                    &'a self,
                    since: Option<&'a Cursor>,
                ) -> BoxFuture<'a, Result<Changes, StoreError>> {
                    self.0.changes(since)
                }

                fn end(&self) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
                    self.0.end()
                }

                fn listed<'a>(
                    &'a self,
                    after: Option<&'a Cursor>,
                ) -> BoxFuture<'a, Result<Changes, StoreError>> {
                    self.0.listed(after)
                }

                fn changed<'a>(&'a self, since: &'a Cursor) -> BoxFuture<'a, Option<Changes>> {
                    self.0.changed(since)
                }

                fn restore<'a>(
                    &'a self,
                    known: &'a [Change],
                ) -> BoxFuture<'a, Result<(), StoreError>> {
                    self.0.restore(known)
                }
            }
        };
    };
}

pub(crate) use is_a_store;
