//! Servers that speak the protocol of a database and are known not to be fit for the store.

use std::fmt;

use crate::error::SqlStoreError;

/// A kind of server that speaks the protocol of PostgreSQL or MySQL, but lacks something that the
/// store relies on. Opening a store on it fails with [`SqlStoreError::Unfit`], unless the builder's
/// `allow_server` names it.
///
/// It is recognized by what it says of itself, so a proxy may hide it. Whatever the name, the store
/// lets two connections contend for one use when it is opened, and fails if both win.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnfitServer {
    /// TiDB. A transaction reads the snapshot from its start, also after it has waited for a lock,
    /// so a use can have two winners.
    TiDb,
    /// Vitess. The tables may be spread over several primaries, and a transaction over several of
    /// them is not atomic.
    Vitess,
    /// A Galera cluster of more than one member. All of them accept writes, and reads of one may
    /// lag behind the writes of another. The builder's `single_writer` allows it too.
    Galera,
    /// CockroachDB. It accepts advisory locks, and does not take them.
    CockroachDb,
    /// YugabyteDB. It has advisory locks and READ COMMITTED only in newer releases and if they are
    /// configured.
    YugabyteDb,
    /// A pooler such as PgBouncer with `pool_mode = transaction`, which gives a session to several
    /// clients in turn. Settings and prepared statements of a session are lost.
    TransactionPooler,
}

impl UnfitServer {
    fn lacks(self) -> &'static str {
        match self {
            Self::TiDb => "reads that see what was committed while they waited for a lock",
            Self::Vitess => "transactions over all tables on one primary",
            Self::Galera => "a single writer",
            Self::CockroachDb => "advisory locks",
            Self::YugabyteDb => "advisory locks and READ COMMITTED in every configuration",
            Self::TransactionPooler => "a session of its own for each connection",
        }
    }

    /// Recognizes a server by its `version()`; in MySQL with `@@version_comment` after it.
    pub(crate) fn named(version: &str) -> Option<Self> {
        let version = version.to_ascii_lowercase();
        let names = [
            ("tidb", Self::TiDb),
            ("vitess", Self::Vitess),
            ("cockroachdb", Self::CockroachDb),
            ("-yb-", Self::YugabyteDb),
            ("yugabyte", Self::YugabyteDb),
        ];
        let mut names = names.into_iter();
        names.find_map(|(name, server)| version.contains(name).then_some(server))
    }

    /// Recognizes a Galera cluster by its `wsrep_cluster_size`, which others don't have.
    #[cfg(any(test, feature = "mysql"))]
    pub(crate) fn of_cluster(size: Option<&str>) -> Option<Self> {
        let size: u32 = size?.parse().ok()?;
        (size > 1).then_some(Self::Galera)
    }

    /// Rejects it unless it was allowed.
    pub(crate) fn check(found: Option<Self>, allowed: &[Self]) -> Result<(), SqlStoreError> {
        match found {
            Some(server) if !allowed.contains(&server) => Err(SqlStoreError::Unfit {
                server,
                lacks: server.lacks(),
            }),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for UnfitServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TiDb => "TiDB",
            Self::Vitess => "Vitess",
            Self::Galera => "a Galera cluster",
            Self::CockroachDb => "CockroachDB",
            Self::YugabyteDb => "YugabyteDB",
            Self::TransactionPooler => "behind a pooler of transactions",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trap_57_unfit_servers_are_known_by_what_they_say_and_unknown_forks_are_not() {
        for (version, expected) in [
            (
                "8.0.11-TiDB-v7.5.1 TiDB Server (Apache License 2.0) Community Edition",
                UnfitServer::TiDb,
            ),
            (
                "5.7.25-TiDB-v4.0.0-beta.2 MySQL Community Server (Apache License 2.0)",
                UnfitServer::TiDb,
            ),
            (
                "8.0.30-Vitess Version: 19.0.4 (Git revision …)",
                UnfitServer::Vitess,
            ),
            (
                "CockroachDB CCL v23.2.4 (x86_64-pc-linux-gnu, built 2024/04/08, go1.21.8 X:nocoverageredesign)",
                UnfitServer::CockroachDb,
            ),
            (
                "PostgreSQL 11.2-YB-2.21.0.0-b0 on x86_64-pc-linux-gnu, compiled by clang version 17.0.6",
                UnfitServer::YugabyteDb,
            ),
        ] {
            assert_eq!(UnfitServer::named(version), Some(expected), "{version}");
            let rejected = UnfitServer::check(Some(expected), &[]).expect_err(version);
            assert!(
                rejected.to_string().contains(expected.lacks()),
                "{rejected}"
            );
            assert!(UnfitServer::check(Some(expected), &[expected]).is_ok());
        }
        for version in [
            "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc",
            "PostgreSQL 16.4 on aarch64-unknown-linux-gnu, compiled by aarch64-unknown-linux-gnu-gcc",
            "PostgreSQL 17.2 on x86_64-pc-linux-gnu, compiled by gcc (neon)",
            "10.11.19-MariaDB-0+deb12u1 Debian 12",
            "8.0.39 Source distribution",
            "8.0.36-28 Percona Server (GPL), Release 28, Revision 47601f19",
            "8.0.28 MySQL Community Server - GPL",
        ] {
            assert_eq!(UnfitServer::named(version), None, "{version}");
        }
    }

    #[test]
    fn a_galera_cluster_is_one_with_more_than_one_member() {
        for size in [None, Some("0"), Some("1"), Some("")] {
            assert_eq!(UnfitServer::of_cluster(size), None, "{size:?}");
        }
        assert_eq!(
            UnfitServer::of_cluster(Some("3")),
            Some(UnfitServer::Galera)
        );
    }
}
