//! The settings of a store, and how it is opened.

use std::{collections::HashSet, sync::Arc, sync::Mutex, time::Duration};

use tower_revoke_core::request_timeout;

use crate::{
    address::{Location, Login},
    client::Client,
    connector::Connector,
    error::RedisStoreError,
    inner::Inner,
    queue::UseQueue,
    scripts::Keys,
    servers::{CLUSTER_TAGS, Servers, Topology},
    store::RedisStore,
    watch::Watch,
};

/// Sets up a [`RedisStore`]; made by [`RedisStore::builder`], [`RedisStore::sentinel`] or
/// [`RedisStore::cluster`].
///
/// | setting | default |
/// |---|---|
/// | [`key_prefix`](Self::key_prefix) | `tower-revoke` |
/// | [`database`](Self::database) | that of the URL |
/// | [`credentials`](Self::credentials) | those of the URL |
/// | `tls_roots` (feature `tls`) | the certificates that the machine trusts |
/// | `client_certificate` (feature `tls`) | none |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_capacity`](Self::feed_capacity) | 1,000,000 |
/// | [`feed_retention`](Self::feed_retention) | 10 min |
/// | [`wait_for_replicas`](Self::wait_for_replicas) | no waiting |
/// | [`skip_eviction_check`](Self::skip_eviction_check) | the server is asked |
///
/// # Examples
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
/// use tower_revoke_store_redis::RedisStore;
///
/// let store = RedisStore::builder("rediss://redis.example.com")
///     .credentials("orders", std::env::var("REDIS_PASSWORD")?)
///     .key_prefix("orders")
///     .request_timeout(Duration::from_secs(1))
///     .wait_for_replicas(1, Duration::from_millis(500))
///     .connect()
///     .await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct RedisStoreBuilder {
    topology: Result<Topology, RedisStoreError>,
    key_prefix: String,
    request_timeout: Duration,
    feed_capacity: u64,
    feed_retention: Duration,
    replicas: Option<(u32, Duration)>,
    credentials: Option<Login>,
    database: Option<u32>,
    skip_eviction_check: bool,
    #[cfg(feature = "tls")]
    pem: crate::tls::Pem,
}

impl RedisStore {
    /// Connects to one server with the default settings. `url` is
    /// `redis[s]://[user][:password@]host[:port][/database]`.
    ///
    /// # Errors
    /// See [`RedisStoreError`]. What does not work is reported now, not at the first request.
    pub async fn connect(url: &str) -> Result<Self, RedisStoreError> {
        Self::builder(url).connect().await
    }

    /// Sets up a store on one server. `url` is the same as for [`connect`](Self::connect).
    pub fn builder(url: &str) -> RedisStoreBuilder {
        RedisStoreBuilder::new(Location::server(url).map(Topology::Single))
    }

    /// Sets up a store on the primary that the sentinels know as `name`; they are asked for it at
    /// every new connection. `urls` are those of the sentinels, with port 26379 by default. With
    /// `rediss://` the primary is reached by TLS too. The primary takes the login of the first URL,
    /// unless [`credentials`](RedisStoreBuilder::credentials) sets another.
    pub fn sentinel<'a>(name: &str, urls: impl IntoIterator<Item = &'a str>) -> RedisStoreBuilder {
        let sentinels = urls.into_iter().map(Location::sentinel);
        let sentinels = sentinels.collect::<Result<_, _>>();
        RedisStoreBuilder::new(sentinels.map(|sentinels| Topology::Sentinel {
            name: name.to_owned(),
            sentinels,
        }))
    }

    /// Sets up a store on a cluster, which is found through any of its servers. All servers must
    /// accept the same login.
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> RedisStoreBuilder {
        let seeds = urls.into_iter().map(Location::server);
        RedisStoreBuilder::new(seeds.collect::<Result<_, _>>().map(Topology::Cluster))
    }
}

impl RedisStoreBuilder {
    fn new(topology: Result<Topology, RedisStoreError>) -> Self {
        Self {
            topology,
            key_prefix: "tower-revoke".to_owned(),
            request_timeout: request_timeout::DEFAULT,
            feed_capacity: 1_000_000,
            feed_retention: Duration::from_secs(600),
            replicas: None,
            credentials: None,
            database: None,
            skip_eviction_check: false,
            #[cfg(feature = "tls")]
            pem: crate::tls::Pem::default(),
        }
    }

    /// Sets what the names of all keys start with, as `{prefix:number}`, so that several stores can
    /// share a server. Not empty, and without braces. Defaults to `tower-revoke`.
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = prefix.into();
        self
    }

    /// Sets how long one request may take, including a new connection and retries; longer ones fail
    /// with [`TimedOut`](tower_revoke_core::StoreError::TimedOut). At most a day. Defaults to 2 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets about how many changes the feed keeps, which Redis holds in memory: a use that was taken
    /// together with others takes about 20 bytes, any other change up to 100. The oldest are removed
    /// in the course of writes, so there may be some thousands more. A node that falls further behind
    /// loads everything again. Defaults to 1,000,000.
    pub fn feed_capacity(mut self, changes: u64) -> Self {
        self.feed_capacity = changes;
        self
    }

    /// Sets how long the feed keeps changes, within its capacity and by the server's clock. Defaults
    /// to 10 minutes.
    pub fn feed_retention(mut self, retention: Duration) -> Self {
        self.feed_retention = retention;
        self
    }

    /// Acknowledges a write only after `replicas` replicas have it, and waits for them for up to
    /// `timeout` (`WAIT`), which must be shorter than [`request_timeout`](Self::request_timeout).
    ///
    /// If too few acknowledge in time, the write was made but may still be lost, and the call fails
    /// with [`Unavailable`](tower_revoke_core::StoreError::Unavailable), whose source is
    /// [`RedisStoreError::TooFewReplicas`].
    pub fn wait_for_replicas(mut self, replicas: u32, timeout: Duration) -> Self {
        self.replicas = Some((replicas, timeout));
        self
    }

    /// Sets the user and the password. `default` is the user of a server that only has a password
    /// (`requirepass`). With Sentinel they are those of the primary; the sentinels' own are in
    /// their URLs. Defaults to those of the (first) URL.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some(Login {
            user: Some(user.into()),
            password: Some(password.into()),
        });
        self
    }

    /// Sets the number of the database; a cluster only has 0. Defaults to that of the URL.
    pub fn database(mut self, number: u32) -> Self {
        self.database = Some(number);
        self
    }

    /// Sets the root certificates, in PEM, that a `rediss://` server's certificate must lead to.
    /// Defaults to those that the machine trusts.
    #[cfg(feature = "tls")]
    pub fn tls_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.pem.roots = Some(pem.into());
        self
    }

    /// Sets the certificate, with its intermediates, and the key that identify us to a `rediss://`
    /// server, in PEM. Defaults to none.
    #[cfg(feature = "tls")]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.pem.client = Some((chain.into(), key.into()));
        self
    }

    /// Opens the store also if a server does not tell its `maxmemory-policy` because `CONFIG GET` is
    /// forbidden. It must be `noeviction` on every server, or revocations may be lost. A server
    /// that tells another policy is still rejected.
    pub fn skip_eviction_check(mut self) -> Self {
        self.skip_eviction_check = true;
        self
    }

    /// Connects to every server, and checks that it keeps what it is told and has a layout that
    /// this release knows.
    ///
    /// # Errors
    /// See [`RedisStoreError`].
    pub async fn connect(self) -> Result<RedisStore, RedisStoreError> {
        let topology = self.topology?;
        let wrong = |what| Err(RedisStoreError::Setting(what));
        if self.key_prefix.is_empty() || self.key_prefix.contains(['{', '}']) {
            return wrong("key_prefix must not be empty and must not contain braces");
        }
        request_timeout::check(self.request_timeout)?;
        if (self.replicas).is_some_and(|(_, timeout)| timeout >= self.request_timeout) {
            return wrong("the timeout of wait_for_replicas must be shorter than request_timeout");
        }
        let locations = match &topology {
            Topology::Single(location) => std::slice::from_ref(location),
            Topology::Sentinel { sentinels, .. } => sentinels,
            Topology::Cluster(seeds) => seeds,
        };
        let Some(first) = locations.first().cloned() else {
            return wrong("at least one address is needed");
        };
        if locations.iter().any(|location| location.tls != first.tls) {
            return wrong("the addresses must all be redis:// or all be rediss://");
        }
        let database = self.database.unwrap_or(first.database);
        let is_cluster = matches!(topology, Topology::Cluster(_));
        if is_cluster && database != 0 {
            return wrong("the database of a cluster must be 0");
        }
        let tags = if is_cluster { CLUSTER_TAGS } else { 1 };
        let capacity = self.feed_capacity.div_ceil(tags as u64);
        let keep = format!("{} {capacity}", self.feed_retention.as_millis());
        let connector = Connector {
            #[cfg(feature = "tls")]
            tls: tls(&first, &self.pem)?,
            login: self.credentials.unwrap_or_else(|| first.login.clone()),
            database,
            is_cluster,
            within: self.request_timeout,
            skip_eviction_check: self.skip_eviction_check,
            warned: Mutex::new(HashSet::new()),
        };
        #[cfg(not(feature = "tls"))]
        if first.tls {
            return wrong("rediss:// needs the feature `tls`");
        }
        let keys: Vec<_> = (0..tags)
            .map(|tag| Keys::new(&self.key_prefix, tag))
            .collect();
        let feeds: Vec<_> = keys.iter().map(|keys| keys.feed.clone()).collect();
        let metas = keys.iter().map(|keys| keys.meta.clone()).collect();
        let servers = Servers::new(connector, topology, metas);
        let client = Client {
            servers,
            within: self.request_timeout,
            replicas: self.replicas,
        };
        // Every server is checked now, not at the first request that it receives.
        let reached = (0..tags).map(|tag| client.reach(tag));
        futures_util::future::try_join_all(reached).await?;
        let layout = format!("1, {tags} tags");
        let id = Inner::open(&client, &keys[0], &layout).await?;
        Ok(RedisStore(Arc::new(Inner {
            client: Arc::new(client),
            uses: keys.iter().map(|_| UseQueue::default()).collect(),
            keys,
            id,
            watch: Watch::new(tags),
            feeds,
            keep,
        })))
    }
}

#[cfg(feature = "tls")]
fn tls(
    location: &Location,
    pem: &crate::tls::Pem,
) -> Result<Option<crate::tls::Tls>, RedisStoreError> {
    location.tls.then(|| crate::tls::Tls::new(pem)).transpose()
}
