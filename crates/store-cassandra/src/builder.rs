//! The settings of a store, and how it is opened.

use std::{fmt, sync::Arc, time::Duration};

use scylla::{
    client::{
        execution_profile::{ExecutionProfile, ExecutionProfileHandle},
        session::Session,
        session_builder::SessionBuilder,
    },
    policies::{load_balancing::DefaultPolicy, retry::FallthroughRetryPolicy},
    statement::{Consistency, SerialConsistency},
};
use tower_revoke_core::request_timeout;

use crate::{
    buckets::Kept,
    client::{Client, Deadline},
    error::CassandraStoreError,
    inner::Inner,
    log::Writer,
    queue::{SharedRead, TokenQueues},
    schema,
    statements::Statements,
    store::CassandraStore,
};

/// How many times the request timeout opening may take, and creating the tables.
const REQUESTS_TO_OPEN: u32 = 5;
const REQUESTS_TO_MIGRATE: u32 = 30;

/// How the cluster is reached.
#[derive(Clone)]
enum Source {
    Nodes(Vec<String>),
    Session(Arc<Session>),
}

/// Sets up a [`CassandraStore`]; made by [`CassandraStore::builder`] or
/// [`CassandraStore::builder_from_session`].
///
/// | setting | default |
/// |---|---|
/// | [`keyspace`](Self::keyspace) | `tower_revoke` |
/// | [`consistency`](Self::consistency) | `QUORUM`, and `SERIAL` for conditional writes |
/// | [`datacenter`](Self::datacenter) | any |
/// | [`credentials`](Self::credentials) | none |
/// | `tls` (feature `tls`) | no TLS |
/// | `tls_roots` (feature `tls`) | the certificates that the machine trusts |
/// | `client_certificate` (feature `tls`) | none |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_capacity`](Self::feed_capacity) | 100,000 |
/// | [`feed_retention`](Self::feed_retention) | 10 min |
///
/// # Examples
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use tower_revoke_store_cassandra::CassandraStore;
///
/// let builder = CassandraStore::builder(["cassandra-1.example.com", "cassandra-2.example.com"])
///     .credentials("orders", std::env::var("CASSANDRA_PASSWORD")?)
///     .datacenter("eu-west")
///     .keyspace("revocations");
/// // Once, from one place.
/// builder.migrate("{'class': 'NetworkTopologyStrategy', 'eu-west': 3}").await?;
/// let store = builder.connect().await?;
/// # let _ = store;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[must_use]
pub struct CassandraStoreBuilder {
    source: Source,
    keyspace: String,
    consistency: String,
    datacenter: Option<String>,
    credentials: Option<(String, String)>,
    request_timeout: Duration,
    kept: Kept,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::Pem>,
}

impl CassandraStore {
    /// Connects to a cluster with the default settings, in whose keyspace
    /// [`migrate`](CassandraStoreBuilder::migrate) has created the tables. The cluster is found
    /// through any of the `nodes`, each as `host:port`, or `host` for port 9042.
    ///
    /// # Errors
    /// See [`CassandraStoreError`].
    pub async fn connect<S: Into<String>>(
        nodes: impl IntoIterator<Item = S>,
    ) -> Result<Self, CassandraStoreError> {
        Self::builder(nodes).connect().await
    }

    /// Sets up a store on a cluster. `nodes` are the same as for [`connect`](Self::connect).
    pub fn builder<S: Into<String>>(nodes: impl IntoIterator<Item = S>) -> CassandraStoreBuilder {
        let nodes = nodes.into_iter().map(Into::into);
        CassandraStoreBuilder::new(Source::Nodes(nodes.collect()))
    }

    /// Opens the store over a session of yours with the default settings; see
    /// [`builder_from_session`](Self::builder_from_session).
    ///
    /// # Errors
    /// See [`CassandraStoreError`].
    pub async fn from_session(
        session: impl Into<Arc<Session>>,
    ) -> Result<Self, CassandraStoreError> {
        Self::builder_from_session(session).connect().await
    }

    /// Sets up a store over a session of yours.
    ///
    /// What a request relies on (consistency, timeout, retries, load balancing, the keyspace) is
    /// set on each statement, whatever the session's own execution profile is. `credentials` and
    /// TLS are the session's: setting them here is an error. The session should fetch the metadata
    /// of the keyspace, or requests take a detour over nodes that are no replicas.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use scylla::client::session_builder::SessionBuilder;
    /// use tower_revoke_store_cassandra::CassandraStore;
    ///
    /// let session = SessionBuilder::new().known_node("cassandra-1.example.com").build().await?;
    /// let store = CassandraStore::builder_from_session(session).connect().await?;
    /// # let _ = store;
    /// # Ok(()) }
    /// ```
    pub fn builder_from_session(session: impl Into<Arc<Session>>) -> CassandraStoreBuilder {
        CassandraStoreBuilder::new(Source::Session(session.into()))
    }
}

impl CassandraStoreBuilder {
    fn new(source: Source) -> Self {
        Self {
            source,
            keyspace: "tower_revoke".to_owned(),
            consistency: "QUORUM".to_owned(),
            datacenter: None,
            credentials: None,
            request_timeout: request_timeout::DEFAULT,
            kept: Kept {
                capacity: 100_000,
                retention: Duration::from_secs(600),
            },
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// Sets the keyspace that holds the tables, so that several stores can share a cluster: 1 to 48
    /// ASCII letters, digits and `_`. Defaults to `tower_revoke`.
    pub fn keyspace(mut self, name: impl Into<String>) -> Self {
        self.keyspace = name.into();
        self
    }

    /// Sets the consistency by its name in Cassandra: `QUORUM`, or `LOCAL_QUORUM`, with which **each
    /// data centre** has a winner and a list of its own: a use can be taken once in each of them, a
    /// revocation is obeyed in the others once it was replicated, and there is no feed. Weaker ones
    /// are rejected, since they would not read what was written. Defaults to `QUORUM`.
    pub fn consistency(mut self, name: impl Into<String>) -> Self {
        self.consistency = name.into();
        self
    }

    /// Sets the data centre whose nodes are preferred. Required with `LOCAL_QUORUM`, which then
    /// sends no request to any other. Defaults to any.
    pub fn datacenter(mut self, name: impl Into<String>) -> Self {
        self.datacenter = Some(name.into());
        self
    }

    /// Sets the user and the password. Defaults to none.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.credentials = Some((user.into(), password.into()));
        self
    }

    /// Connects by TLS to nodes whose certificates the machine trusts. Defaults to no TLS.
    #[cfg(feature = "tls")]
    pub fn tls(mut self) -> Self {
        self.tls.get_or_insert_default();
        self
    }

    /// Connects by TLS, and sets the root certificates, in PEM, that the nodes' certificates must
    /// lead to. Defaults to those that the machine trusts.
    #[cfg(feature = "tls")]
    pub fn tls_roots(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.tls.get_or_insert_default().roots = Some(pem.into());
        self
    }

    /// Connects by TLS, and sets the certificate, with its intermediates, and the key that identify
    /// us to the nodes, in PEM. Defaults to none.
    #[cfg(feature = "tls")]
    pub fn client_certificate(
        mut self,
        chain: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        self.tls.get_or_insert_default().client = Some((chain.into(), key.into()));
        self
    }

    /// Sets how long one call may take, including retries; longer ones fail with
    /// [`TimedOut`](tower_revoke_core::StoreError::TimedOut). A purge may take as long for each of
    /// its steps, a long list of revocations for each 128, opening the store five times as long, and
    /// creating the tables thirty times. At most a day. Defaults to 2 s.
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Sets about how many changes that are made through this store the feed keeps. They are removed
    /// some hundreds at a time, so there may be more. A node that falls further behind loads
    /// everything again. Defaults to 100,000.
    pub fn feed_capacity(mut self, changes: u64) -> Self {
        self.kept.capacity = changes;
        self
    }

    /// Sets how long the feed keeps changes, within its capacity. Defaults to 10 minutes.
    pub fn feed_retention(mut self, retention: Duration) -> Self {
        self.kept.retention = retention;
        self
    }

    /// Creates the keyspace and its tables; does nothing if they are current. `replication` follows
    /// `WITH replication =` in CQL, and has no effect on a keyspace that exists. The login needs
    /// `CREATE`. Call it from one place only: nodes that create the same table at the same time can
    /// leave Cassandra with two versions of it.
    ///
    /// # Errors
    /// See [`CassandraStoreError`].
    pub async fn migrate(&self, replication: &str) -> Result<(), CassandraStoreError> {
        let (client, deadline) = self.client(REQUESTS_TO_MIGRATE).await?;
        schema::run(&client, &self.keyspace, replication, deadline).await
    }

    /// Opens the store: connects, and checks the tables that [`migrate`](Self::migrate) has created.
    /// Must be called in a tokio runtime that outlives the store, whose log-writing task it runs.
    ///
    /// # Errors
    /// See [`CassandraStoreError`].
    pub async fn connect(self) -> Result<CassandraStore, CassandraStoreError> {
        let (client, deadline) = self.client(REQUESTS_TO_OPEN).await?;
        let id = schema::id_of(&client, &self.keyspace, deadline).await?;
        let statements = Statements::prepare(&client, &self.keyspace, deadline).await?;
        let (client, statements) = (Arc::new(client), Arc::new(statements));
        let log = Writer::start(Arc::clone(&client), Arc::clone(&statements), self.kept);
        Ok(CassandraStore(Arc::new(Inner {
            client,
            statements,
            log,
            id,
            keyspace: self.keyspace,
            feed_retention: self.kept.retention,
            queues: TokenQueues::default(),
            purged: SharedRead::default(),
        })))
    }

    /// Connects, and sets the deadline for so many requests.
    async fn client(&self, requests: u32) -> Result<(Client, Deadline), CassandraStoreError> {
        let (consistency, serial) = self.checked()?;
        let deadline = Deadline::after(self.request_timeout.saturating_mul(requests));
        let mut balancing = DefaultPolicy::builder();
        if let Some(datacenter) = &self.datacenter {
            balancing = balancing
                .prefer_datacenter(datacenter.clone())
                .permit_dc_failover(serial == SerialConsistency::Serial);
        }
        let profile = ExecutionProfile::builder()
            .consistency(consistency)
            .serial_consistency(Some(serial))
            .request_timeout(Some(self.request_timeout))
            // Retries are our own: only of what may be with_retries, until the deadline.
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .load_balancing_policy(balancing.build())
            .build()
            .into_handle();
        let client = Client {
            session: match &self.source {
                Source::Session(session) => Arc::clone(session),
                Source::Nodes(nodes) => self.session(nodes, profile.clone(), deadline).await?,
            },
            profile,
            serial,
            request_timeout: self.request_timeout,
        };
        Ok((client, deadline))
    }

    async fn session(
        &self,
        nodes: &[String],
        profile: ExecutionProfileHandle,
        deadline: Deadline,
    ) -> Result<Arc<Session>, CassandraStoreError> {
        let mut builder = SessionBuilder::new()
            .known_nodes(nodes)
            .connection_timeout(self.request_timeout)
            // Tells which nodes are the replicas of a key.
            .keyspaces_to_fetch([&self.keyspace])
            .fetch_full_schema_metadata(false)
            .default_execution_profile_handle(profile);
        if let Some((user, password)) = &self.credentials {
            builder = builder.user(user, password);
        }
        #[cfg(feature = "tls")]
        if let Some(pem) = &self.tls {
            builder = builder.tls_context(Some(pem.config()?));
        }
        let session = deadline.bound(builder.build()).await?;
        Ok(Arc::new(session.map_err(CassandraStoreError::unreachable)?))
    }

    fn checked(&self) -> Result<(Consistency, SerialConsistency), CassandraStoreError> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        let wrong = |what| Err(CassandraStoreError::Setting(what));
        if !(1..=48).contains(&self.keyspace.len()) || !self.keyspace.bytes().all(is_plain) {
            return wrong("the name of the keyspace must be 1 to 48 ASCII letters, digits and _");
        }
        #[cfg(feature = "tls")]
        let has_tls = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let has_tls = false;
        match &self.source {
            Source::Nodes(nodes) if nodes.is_empty() => {
                return wrong("at least one node is needed");
            }
            Source::Session(_) if has_tls || self.credentials.is_some() => {
                return wrong("credentials and TLS are settings of the session");
            }
            _ => {}
        }
        request_timeout::check(self.request_timeout)?;
        match self.consistency.as_str() {
            "QUORUM" => Ok((Consistency::Quorum, SerialConsistency::Serial)),
            "LOCAL_QUORUM" if self.datacenter.is_none() => wrong("LOCAL_QUORUM needs a datacenter"),
            "LOCAL_QUORUM" => Ok((Consistency::LocalQuorum, SerialConsistency::LocalSerial)),
            other => Err(CassandraStoreError::Consistency(other.to_owned())),
        }
    }
}

/// Without the credentials.
impl fmt::Debug for CassandraStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("CassandraStoreBuilder");
        if let Source::Nodes(nodes) = &self.source {
            shown.field("nodes", nodes);
        }
        shown
            .field("keyspace", &self.keyspace)
            .field("consistency", &self.consistency)
            .field("request_timeout", &self.request_timeout)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_out_of_bounds_is_rejected_before_connecting() {
        let builder = CassandraStore::builder(["127.0.0.1:1"]).request_timeout(Duration::ZERO);
        let error = builder.checked().unwrap_err();
        assert!(matches!(error, CassandraStoreError::RequestTimeout(_)));
    }
}
