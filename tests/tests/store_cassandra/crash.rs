//! A server that is killed and frozen while it is asked.

use tower_revoke_tests::{crash_tests, servers::Cassandra};

crash_tests!(Cassandra);
