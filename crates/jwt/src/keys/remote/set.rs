//! What a set does with keys that are fetched: it waits for them, takes them, and drops them.

use std::sync::Arc;

use tokio::sync::watch;
use tower_revoke_core::UnixTime;

use super::{KeyFetchError, KeySetState, KeysUnavailable, Moment};
use crate::{
    KeySetError,
    keys::{Key, KeySet, Source, Sources},
};

impl KeySet {
    /// Waits for the fetch that may bring the key of a token, if there is one to wait for and a
    /// place to wait in.
    ///
    /// # Errors
    /// [`KeysUnavailable`] if the token's key may still be one that is not here.
    pub(in crate::keys) async fn awaited(
        self: &Arc<Self>,
        issued_at: Option<UnixTime>,
    ) -> Result<(), KeysUnavailable> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        let came_at = remote.uptime();
        if remote.covers(came_at, issued_at) {
            return Ok(());
        }
        if let Some(fetch) = remote.ask(self) {
            remote.wait(fetch).await;
        }
        match remote.covers(came_at, issued_at) {
            true => Ok(()),
            false => Err(remote.unavailable()),
        }
    }

    /// Starts to fetch, where there are no trusted keys yet. What to wait for.
    pub(crate) fn start(self: &Arc<Self>) -> Option<watch::Receiver<()>> {
        let remote = self.remote.as_ref()?;
        if remote.is_trusted() {
            return None;
        }
        remote.ask(self)
    }

    /// Whether there are trusted keys, after `fetch` has ended.
    pub(crate) async fn ready(
        &self,
        fetch: Option<watch::Receiver<()>>,
    ) -> Result<(), KeysUnavailable> {
        let Some(remote) = &self.remote else {
            return Ok(());
        };
        if let Some(fetch) = fetch {
            remote.wait(fetch).await;
        }
        if remote.is_trusted() && !self.current().is_empty() {
            Ok(())
        } else {
            Err(remote.unavailable())
        }
    }

    /// How the fetched keys stand; `None` where none are fetched.
    pub(crate) fn standing(&self) -> Option<KeySetState> {
        let remote = self.remote.as_ref()?;
        let state = remote.lock();
        Some(KeySetState {
            age: state
                .fetched
                .map(|at| remote.uptime().saturating_sub(at.uptime)),
            fetches: state.fetches,
            failures: state.failures,
            unusable: state.unusable,
        })
    }

    /// Looks after the task, whose runtime may be gone, and drops keys that are too old.
    pub(in crate::keys) fn look_at_remote(self: &Arc<Self>, sources: &mut Sources) {
        let Some(remote) = &self.remote else { return };
        let has_died = {
            let state = remote.lock();
            state.task.is_some() && !remote.runs(&state, remote.uptime())
        };
        if has_died {
            remote.ask(self);
        }
        if remote.is_trusted() {
            return;
        }
        for source in &mut sources.all {
            if let Source::Fetched(keys) = source
                && !keys.is_empty()
            {
                keys.clear();
                tracing::error!(
                    issuer = %remote.origin.issuer,
                    "the issuer's keys could not be fetched for too long; its tokens are rejected with 503"
                );
            }
        }
    }

    /// A fetch begins. `None`: the set is gone.
    pub(super) fn fetch_begins(&self) -> Option<Moment> {
        let remote = self.remote.as_ref()?;
        let mut state = remote.lock();
        let began = Moment {
            uptime: remote.uptime(),
            wall: remote.origin.clock.now(),
        };
        state.in_flight = Some(began.uptime);
        state.fetches += 1;
        Some(began)
    }

    /// A fetch has brought these keys.
    pub(super) fn fetched(&self, keys: &[Arc<Key>], began: Moment) {
        let Some(remote) = &self.remote else { return };
        // The time is set while no one can look: keys without it would be dropped again, and it
        // without keys would reject a good token.
        let mut sources = self.lock_sources();
        for source in &mut sources.all {
            if let Source::Fetched(known) = source {
                keys.clone_into(known);
            }
        }
        self.take(&sources);
        let mut state = remote.lock();
        state.fetched = Some(began);
        state.emptied_at = None;
        state.error = None;
        if state.complained_at.take().is_some() {
            tracing::info!(issuer = %remote.origin.issuer, "the issuer's keys can be fetched again");
        }
    }

    pub(super) fn fetch_failed(&self, error: KeyFetchError) {
        let Some(remote) = &self.remote else { return };
        let mut state = remote.lock();
        state.failures += 1;
        if matches!(error, KeyFetchError::KeySet(KeySetError::NoUsableKey)) {
            state.unusable += 1;
            if state.emptied_at.is_none() {
                state.emptied_at = Some(remote.uptime());
                // Said at once, whatever failed before.
                state.complained_at = None;
            }
        }
        remote.complain(&mut state, error);
    }

    pub(super) fn fetch_ends(&self) {
        let Some(remote) = &self.remote else { return };
        remote.lock().in_flight = None;
        remote.ended.send_replace(());
    }
}
