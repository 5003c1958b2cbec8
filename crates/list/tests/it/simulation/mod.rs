//! Simulates five nodes and one store with delays, lost connections, restarts and clock steps, in
//! thousands of seeded histories. In each, the staleness bound holds and every use has one winner.

mod history;
mod wire;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use self::history::{History, Plan, Told};

const MAX_STALENESS: Duration = Duration::from_secs(1);

/// Runs histories; the panic of one that violates a guarantee contains its seed.
fn explore(plan: &Plan, seeds: std::ops::Range<u64>) -> Told {
    let mut told = Told::default();
    for seed in seeds {
        told += History::new(seed, plan.clone()).run();
    }
    told
}

/// Whether some history detects a plan that violates a guarantee.
fn is_found_out(plan: &Plan, seeds: std::ops::Range<u64>) -> bool {
    let explored = catch_unwind(AssertUnwindSafe(|| explore(plan, seeds)));
    let Err(panic) = explored else { return false };
    let words = panic.downcast_ref::<String>().unwrap();
    assert!(words.contains("seed"), "{words}");
    true
}

#[test]
fn trap_01_the_bound_and_one_winner_hold_with_a_mirror() {
    let told = explore(&Plan::default(), 0..800);
    told.is_worth_something();
    assert!(told.from_a_mirror > 10_000, "{told:?}");
}

#[test]
fn trap_01_the_bound_and_one_winner_hold_with_pushes() {
    let plan = Plan {
        pushes: true,
        ..Plan::default()
    };
    explore(&plan, 1_000..1_500).is_worth_something();
}

#[test]
fn trap_01_the_bound_and_one_winner_hold_without_a_mirror() {
    let plan = Plan {
        mirror_capacity: 0,
        ..Plan::default()
    };
    let told = explore(&plan, 2_000..2_800);
    told.is_worth_something();
    assert_eq!(told.from_a_mirror, 0, "{told:?}");
}

/// Known bad: lists that may be staler than the bound that is checked.
#[test]
fn a_list_that_is_too_stale_is_caught() {
    for mirror_capacity in [0, 1_000] {
        let plan = Plan {
            max_staleness: 3 * MAX_STALENESS,
            mirror_capacity,
            ..Plan::default()
        };
        assert!(
            is_found_out(&plan, 0..200),
            "mirror_capacity {mirror_capacity}"
        );
    }
}

/// Known bad: each node counts the uses in its own store.
#[test]
fn trap_01_nodes_that_count_locally_are_caught() {
    let plan = Plan {
        counts_alone: true,
        ..Plan::default()
    };
    assert!(is_found_out(&plan, 0..200));
}
