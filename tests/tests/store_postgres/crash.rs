//! Tests a server that is killed and frozen under load.

use tower_revoke_tests::{crash_tests, servers::Postgres};

crash_tests!(Postgres);
