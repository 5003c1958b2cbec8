//! The settings of a store, and what must be right before it is one.

use std::{collections::HashSet, sync::Arc, sync::Mutex, time::Duration};

use tower_revoke_core::Clock;

use crate::{
    RedisStore, RedisStoreError,
    address::Login,
    ask::Asker,
    dial::Dial,
    route::{CLUSTER_TAGS, Place, Route},
    scripts::Keys,
    store::Inner,
    uses::UseQueue,
    watch::Watch,
};

/// The longest time that one answer may take.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Sets up a [`RedisStore`].
///
/// | setting | default |
/// |---|---|
/// | [`prefix`](Self::prefix) | `tower-revoke` |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_retention`](Self::feed_retention) | 10 min |
/// | [`wait_for_replicas`](Self::wait_for_replicas) | no waiting |
/// | [`login`](Self::login), [`database`](Self::database) | as in the URL |
/// | [`trust_only`](Self::trust_only) | the machine's trusted certificates |
/// | [`client_certificate`](Self::client_certificate) | none |
/// | [`skip_eviction_check`](Self::skip_eviction_check) | the server is asked |
/// | [`clock`](Self::clock) | the machine's |
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisStoreBuilder {
    place: Result<Place, RedisStoreError>,
    prefix: String,
    request_timeout: Duration,
    keep: Duration,
    replicas: Option<(u32, Duration)>,
    login: Option<Login>,
    database: Option<u32>,
    eviction_was_checked: bool,
    clock: Clock,
    #[cfg(feature = "tls")]
    pem: crate::tls::Pem,
}

impl RedisStoreBuilder {
    pub(crate) fn new(place: Result<Place, RedisStoreError>) -> Self {
        Self {
            place,
            prefix: "tower-revoke".to_owned(),
            request_timeout: Duration::from_secs(2),
            keep: Duration::from_secs(600),
            replicas: None,
            login: None,
            database: None,
            eviction_was_checked: false,
            clock: Clock::system(),
            #[cfg(feature = "tls")]
            pem: crate::tls::Pem::default(),
        }
    }

    /// What the names of all keys begin with, between `{` and a number: several stores can share
    /// a server. Not empty, and without braces.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long one question may take, with a new connection and repetitions, until it is
    /// [`TimedOut`](tower_revoke_core::StoreError::TimedOut). At most a day.
    pub fn request_timeout(mut self, within: Duration) -> Self {
        self.request_timeout = within;
        self
    }

    /// How long changes are kept for [`changes`](tower_revoke_core::Store::changes), by the
    /// server's clock. Whoever was away for longer loads all again.
    pub fn feed_retention(mut self, keep: Duration) -> Self {
        self.keep = keep;
        self
    }

    /// A write is answered only when so many replicas have it, for which they get so long (`WAIT`),
    /// less than [`request_timeout`](Self::request_timeout). Too few: the write was made, and may
    /// still be lost, so the answer is
    /// [`Unavailable`](tower_revoke_core::StoreError::Unavailable) with
    /// [`RedisStoreError::TooFewReplicas`].
    pub fn wait_for_replicas(mut self, replicas: u32, within: Duration) -> Self {
        self.replicas = Some((replicas, within));
        self
    }

    /// The user, if there is one, and the password. Of sentinels only the primary is meant.
    pub fn credentials(mut self, user: Option<&str>, password: impl Into<String>) -> Self {
        self.login = Some(Login {
            user: user.map(str::to_owned),
            password: Some(password.into()),
        });
        self
    }

    /// The number of the database; a cluster has only 0.
    pub fn database(mut self, number: u32) -> Self {
        self.database = Some(number);
        self
    }

    /// The certificates, in PEM, of those who may vouch for the servers; nobody else may then.
    #[cfg(feature = "tls")]
    pub fn tls_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.pem.roots = Some(pem.into());
        self
    }

    /// Our certificate with those between it and a root, and its key, in PEM.
    #[cfg(feature = "tls")]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.pem.client = Some((chain.into(), key.into()));
        self
    }

    /// Somebody has made sure that `maxmemory-policy` is `noeviction` on every server, since
    /// `CONFIG GET` is forbidden there. A server that does tell is still believed.
    pub fn skip_eviction_check(mut self) -> Self {
        self.eviction_was_checked = true;
        self
    }

    /// By which clock a token's life is past.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the store: connects, and checks the servers and what they keep.
    ///
    /// # Errors
    /// Any [`RedisStoreError`].
    pub async fn connect(self) -> Result<RedisStore, RedisStoreError> {
        let place = self.place?;
        let wrong = |what| Err(RedisStoreError::Setting(what));
        if self.prefix.is_empty() || self.prefix.contains(['{', '}']) {
            return wrong("the prefix is empty or has braces");
        }
        // A longer one might not fit into a point in time.
        if self.request_timeout.is_zero() || self.request_timeout > LONGEST {
            return wrong("request_timeout must be longer than zero and at most a day");
        }
        if (self.replicas).is_some_and(|(_, within)| within >= self.request_timeout) {
            return wrong("wait_for_replicas is not shorter than request_timeout");
        }
        let locations = match &place {
            Place::Single(location) => std::slice::from_ref(location),
            Place::Sentinel { sentinels, .. } => sentinels,
            Place::Cluster(seeds) => seeds,
        };
        let Some(first) = locations.first().cloned() else {
            return wrong("no address is given");
        };
        if locations.iter().any(|location| location.tls != first.tls) {
            return wrong("some addresses have TLS and some have not");
        }
        let database = self.database.unwrap_or(first.database);
        let is_cluster = matches!(place, Place::Cluster(_));
        if is_cluster && database != 0 {
            return wrong("a cluster has no database but 0");
        }
        let tags = if is_cluster { CLUSTER_TAGS } else { 1 };
        let dial = Dial {
            #[cfg(feature = "tls")]
            tls: tls(&first, &self.pem)?,
            login: self.login.unwrap_or_else(|| first.login.clone()),
            database,
            is_cluster,
            within: self.request_timeout,
            eviction_was_checked: self.eviction_was_checked,
            warned: Mutex::new(HashSet::new()),
        };
        #[cfg(not(feature = "tls"))]
        if first.tls {
            return wrong("TLS needs the feature `tls`");
        }
        let keys: Vec<_> = (0..tags).map(|tag| Keys::new(&self.prefix, tag)).collect();
        let feeds: Vec<_> = keys.iter().map(|keys| keys.feed.clone()).collect();
        let route = Route::new(dial, place, feeds.clone());
        let asker = Asker {
            route,
            within: self.request_timeout,
            replicas: self.replicas,
        };
        // Every server is looked at now, not at the first token that it has.
        let reached = (0..tags).map(|tag| asker.reach(tag));
        futures_util::future::try_join_all(reached).await?;
        let layout = format!("1, {tags} tags");
        let id = Inner::open(&asker, &keys[0], &layout).await?;
        Ok(RedisStore(Arc::new(Inner {
            asker: Arc::new(asker),
            uses: keys.iter().map(|_| UseQueue::default()).collect(),
            keys,
            id,
            watch: Watch::new(tags),
            feeds,
            clock: self.clock,
            keep: self.keep,
        })))
    }
}

#[cfg(feature = "tls")]
fn tls(
    location: &crate::address::Location,
    pem: &crate::tls::Pem,
) -> Result<Option<crate::tls::Tls>, RedisStoreError> {
    location.tls.then(|| crate::tls::Tls::new(pem)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_time_that_does_not_fit_is_rejected_before_anybody_is_asked() {
        for time in [
            Duration::ZERO,
            LONGEST + Duration::from_nanos(1),
            Duration::MAX,
        ] {
            let error = RedisStore::single("redis://127.0.0.1:1")
                .request_timeout(time)
                .connect()
                .await
                .unwrap_err();
            assert!(
                matches!(error, RedisStoreError::Setting(_)),
                "{time:?}: {error}"
            );
        }
    }
}
