//! The settings of a store, and how it is opened.

use std::{fmt, sync::Arc, time::Duration};

use scylla::{
    client::{
        execution_profile::ExecutionProfile, session::Session, session_builder::SessionBuilder,
    },
    policies::{load_balancing::DefaultPolicy, retry::FallthroughRetryPolicy},
    statement::{Consistency, SerialConsistency},
};
use tower_revoke_core::Clock;

use crate::{
    CassandraStore, CassandraStoreError,
    link::{Deadline, Link},
    log::Writer,
    schema,
    statements::Statements,
    store::Inner,
    turns::{Shared, Turns},
};

/// How many times longer than one answer opening may take, and creating the tables.
const ANSWERS_TO_OPEN: u32 = 5;
const ANSWERS_TO_MIGRATE: u32 = 30;

/// The longest time that one answer may take.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Sets up a [`CassandraStore`]; made by [`CassandraStore::builder`].
///
/// | setting | default |
/// |---|---|
/// | [`keyspace`](Self::keyspace) | `tower_revoke` |
/// | [`consistency`](Self::consistency) | `QUORUM`, and `SERIAL` for conditions |
/// | [`datacenter`](Self::datacenter) | any |
/// | [`request_timeout`](Self::request_timeout) | 2 s |
/// | [`feed_retention`](Self::feed_retention) | 1 day |
/// | [`login`](Self::login) | none |
/// | [`tls`](Self::tls) | none |
/// | [`clock`](Self::clock) | the machine's |
#[derive(Clone)]
#[must_use]
pub struct CassandraStoreBuilder {
    nodes: Vec<String>,
    keyspace: String,
    consistency: String,
    datacenter: Option<String>,
    login: Option<(String, String)>,
    request_timeout: Duration,
    feed_retention: Duration,
    clock: Clock,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::Trust>,
}

impl CassandraStoreBuilder {
    pub(crate) fn new(nodes: Vec<String>) -> Self {
        Self {
            nodes,
            keyspace: "tower_revoke".to_owned(),
            consistency: "QUORUM".to_owned(),
            datacenter: None,
            login: None,
            request_timeout: Duration::from_secs(2),
            feed_retention: Duration::from_secs(86_400),
            clock: Clock::system(),
            #[cfg(feature = "tls")]
            tls: None,
        }
    }

    /// The keyspace in which the tables stand: several stores can share a cluster. One to 48 ASCII
    /// letters, digits and `_`.
    pub fn keyspace(mut self, name: impl Into<String>) -> Self {
        self.keyspace = name.into();
        self
    }

    /// By its name in Cassandra: `QUORUM`, or `LOCAL_QUORUM` for one winner, and one list, **for
    /// each data centre**: the same use can then be taken once in every one of them, a revocation
    /// is obeyed elsewhere when it was replicated, and there is no feed. Nothing weaker is taken,
    /// since it would not read what was written.
    pub fn consistency(mut self, name: impl Into<String>) -> Self {
        self.consistency = name.into();
        self
    }

    /// The data centre whose nodes are asked. With `LOCAL_QUORUM` it must be said, and no other is
    /// ever asked.
    pub fn datacenter(mut self, name: impl Into<String>) -> Self {
        self.datacenter = Some(name.into());
        self
    }

    /// The user and the password.
    pub fn credentials(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some((user.into(), password.into()));
        self
    }

    /// TLS, with nodes whose certificates the machine trusts, or only those that are vouched for by
    /// one of `roots`, in PEM.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, roots: Option<Vec<u8>>) -> Self {
        self.tls = Some(crate::tls::Trust(roots));
        self
    }

    /// How long one call may take, with what is asked again, until it is
    /// [`TimedOut`](tower_revoke_core::StoreError::TimedOut); of many revocations each 128, of a
    /// purge each step. Opening may take five times as long, and creating the tables thirty times.
    /// At most a day.
    pub fn request_timeout(mut self, time: Duration) -> Self {
        self.request_timeout = time;
        self
    }

    /// For how long changes are kept for [`changes`](tower_revoke_core::Store::changes). Whoever was
    /// away for longer loads all again.
    pub fn feed_retention(mut self, time: Duration) -> Self {
        self.feed_retention = time;
        self
    }

    /// By which clock a token's life is past, and a writer has gone.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Creates the keyspace and its tables; does nothing where they are. `replication` is what CQL
    /// has after `WITH replication =`, and only used where the keyspace is not there yet. By a login
    /// that may; from one place, since nodes of a cluster that create the same table at the same
    /// time can make two of it.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use tower_revoke_store_cassandra::CassandraStore;
    ///
    /// CassandraStore::builder(["cassandra-1.example.com"])
    ///     .migrate("{'class': 'NetworkTopologyStrategy', 'eu-west': 3}")
    ///     .await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Any [`CassandraStoreError`].
    pub async fn migrate(&self, replication: &str) -> Result<(), CassandraStoreError> {
        let deadline = Deadline::after(self.request_timeout.saturating_mul(ANSWERS_TO_MIGRATE));
        let link = self.link(deadline).await?;
        schema::run(&link, &self.keyspace, replication, deadline).await
    }

    /// Opens the store: connects, and checks the tables, which
    /// [`migrate`](Self::migrate) has made. Must be called in a tokio runtime that goes on for as
    /// long as the store is used: the task that keeps its log runs in it.
    ///
    /// # Errors
    /// Any [`CassandraStoreError`].
    pub async fn connect(self) -> Result<CassandraStore, CassandraStoreError> {
        let deadline = Deadline::after(self.request_timeout.saturating_mul(ANSWERS_TO_OPEN));
        let link = self.link(deadline).await?;
        let id = schema::id_of(&link, &self.keyspace, deadline).await?;
        let statements = Statements::prepare(&link, &self.keyspace, deadline).await?;
        let (link, statements) = (Arc::new(link), Arc::new(statements));
        let log = Writer::start(
            Arc::clone(&link),
            Arc::clone(&statements),
            self.clock.clone(),
            self.feed_retention,
        );
        Ok(CassandraStore(Arc::new(Inner {
            link,
            statements,
            log,
            id,
            keyspace: self.keyspace,
            clock: self.clock,
            keep: self.feed_retention,
            turns: Turns::default(),
            purged: Shared::default(),
        })))
    }

    async fn link(&self, deadline: Deadline) -> Result<Link, CassandraStoreError> {
        let (consistency, serial) = self.checked()?;
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
            // What is worth it is asked again here, until its time is up.
            .retry_policy(Arc::new(FallthroughRetryPolicy::new()))
            .load_balancing_policy(balancing.build())
            .build();
        let mut builder = SessionBuilder::new()
            .known_nodes(&self.nodes)
            .connection_timeout(self.request_timeout)
            // Which nodes have which keys, so that they are asked.
            .keyspaces_to_fetch([&self.keyspace])
            .fetch_full_schema_metadata(false)
            .default_execution_profile_handle(profile.into_handle());
        if let Some((user, password)) = &self.login {
            builder = builder.user(user, password);
        }
        #[cfg(feature = "tls")]
        if let Some(trust) = &self.tls {
            builder = builder.tls_context(Some(trust.config()?));
        }
        let session = deadline.bound(builder.build()).await?;
        let session: Session = session.map_err(CassandraStoreError::unreachable)?;
        Ok(Link {
            session,
            consistency,
            serial,
            within: self.request_timeout,
        })
    }

    fn checked(&self) -> Result<(Consistency, SerialConsistency), CassandraStoreError> {
        let is_plain = |letter: u8| letter.is_ascii_alphanumeric() || letter == b'_';
        let wrong = |what| Err(CassandraStoreError::Setting(what));
        if !(1..=48).contains(&self.keyspace.len()) || !self.keyspace.bytes().all(is_plain) {
            return wrong("the keyspace's name is not 1 to 48 ASCII letters, digits and _");
        }
        if self.nodes.is_empty() {
            return wrong("no node is given");
        }
        // A longer one might not fit into a point in time.
        if self.request_timeout.is_zero() || self.request_timeout > LONGEST {
            return wrong("request_timeout must be longer than zero and at most a day");
        }
        match self.consistency.as_str() {
            "QUORUM" => Ok((Consistency::Quorum, SerialConsistency::Serial)),
            "LOCAL_QUORUM" if self.datacenter.is_none() => {
                wrong("LOCAL_QUORUM needs to be told the data centre")
            }
            "LOCAL_QUORUM" => Ok((Consistency::LocalQuorum, SerialConsistency::LocalSerial)),
            other => Err(CassandraStoreError::Consistency(other.to_owned())),
        }
    }
}

/// Without the login.
impl fmt::Debug for CassandraStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassandraStoreBuilder")
            .field("nodes", &self.nodes)
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
    fn a_time_that_does_not_fit_is_rejected_before_anybody_is_asked() {
        for time in [
            Duration::ZERO,
            LONGEST + Duration::from_nanos(1),
            Duration::MAX,
        ] {
            let builder = CassandraStore::builder(["127.0.0.1:1"]).request_timeout(time);
            let error = builder.checked().unwrap_err();
            assert!(
                matches!(error, CassandraStoreError::Setting(_)),
                "{time:?}: {error}"
            );
        }
    }
}
