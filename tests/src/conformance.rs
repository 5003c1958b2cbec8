//! Runs the conformance suite on a server that its fixtures share.

use std::sync::atomic::{AtomicU64, Ordering};

use tower_revoke::core::Clock;
use tower_revoke_testing::conformance::{Fixture, clauses};

static NAMES: AtomicU64 = AtomicU64::new(0);

/// Returns a unique name, even on a server that other runs have used before.
pub fn own_name() -> String {
    let now = Clock::system().now();
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    format!("Test_{}_{now}_{number}", std::process::id())
}

/// Checks all clauses, one after the other.
///
/// # Panics
/// If the store violates one.
#[expect(
    clippy::print_stdout,
    reason = "the last line of a failure names its clause"
)]
pub async fn keeps_every_clause<G: Fixture>() {
    for clause in clauses::<G>() {
        println!("{}", clause.name);
        clause.check().await;
    }
}
