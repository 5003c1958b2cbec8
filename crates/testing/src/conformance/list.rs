//! The list of all clauses, and the macros that make tests of it.

/// Generates a `#[test]` for each clause of the store contract, with the name of the clause.
///
/// Takes a type that implements [`Fixture`](crate::conformance::Fixture). Fixtures in one file need
/// a module each, since their tests have the same names.
///
/// # Examples
/// See [`conformance`](crate::conformance).
#[macro_export]
macro_rules! store_conformance {
    ($fixture:ty) => {
        $crate::__store_clauses!(tests $fixture);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __store_clauses {
    ($what:ident $fixture:ty) => {
        $crate::__each_store_clause! { $what $fixture:
            a_revocation_is_seen_by_every_handle,
            acknowledged_writes_survive_a_restart,
            revoking_again_changes_nothing,
            a_revocation_is_never_shortened,
            a_rule_is_never_shortened,
            a_batch_is_revoked_completely,
            look_ups_answer_in_the_order_of_the_keys,
            one_of_a_thousand_concurrent_calls_takes_a_single_use,
            n_of_n_concurrent_calls_take_a_use,
            concurrent_uses_of_several_tokens_are_independent,
            a_repeated_use_gets_the_same_outcome,
            a_use_requested_concurrently_is_taken_once,
            a_dropped_call_can_be_repeated,
            another_limit_is_rejected_and_both_are_named,
            no_use_of_an_expired_token_is_taken,
            purged_uses_are_not_taken_again,
            a_use_without_an_expiry_is_kept,
            only_its_own_id_returns_a_use,
            a_returned_use_can_be_taken_again,
            a_token_is_spent_when_its_last_use_is_taken,
            a_revocation_hides_the_uses_until_it_is_lifted,
            a_revocation_is_lifted_once,
            a_lift_returns_no_use,
            a_revocation_after_a_lift_takes_effect,
            the_last_lift_is_recorded,
            the_kind_of_a_revocation_is_kept,
            revoked_takes_precedence_over_spent,
            a_lift_ends_a_spent_revocation_and_no_use,
            a_restored_revocation_takes_effect,
            restoring_never_shortens,
            restoring_never_revives_a_lifted_revocation,
            a_restored_lift_ends_earlier_revocations,
            changes_can_be_restored_in_any_order,
            purging_keeps_unexpired_entries,
            purging_keeps_rules_that_never_expire,
            purging_deletes_expired_entries,
            a_lift_is_remembered_as_long_as_its_revocation,
            a_restored_lift_is_remembered_as_long_as_the_revocation_that_it_ended,
            a_full_load_returns_all_current_entries,
            a_full_load_completes_while_others_write,
            a_full_load_includes_changes_made_meanwhile,
            many_changes_are_followed_in_pages,
            the_last_page_includes_all_acknowledged_writes,
            no_change_is_lost_under_concurrent_writes,
            the_feed_reports_revocations_lifts_and_uses,
            the_feed_distinguishes_spent_revocations_from_used_up_tokens,
            a_cursor_outlives_its_handle,
            a_cursor_outlives_a_restart,
            a_foreign_cursor_is_rejected,
            a_cursor_older_than_the_feed_is_rejected,
            listed_entries_can_be_read_while_the_feed_is_trimmed,
            lost_history_is_detected,
            changed_waits_while_nothing_changes,
            changed_resolves_after_a_write_by_another_handle,
            changed_hands_over_what_follows,
            keys_of_any_bytes_are_distinct,
            texts_of_any_kind_are_stored,
            extreme_numbers_are_stored,
            each_record_is_returned_once_with_any_page_size,
            records_match_the_filter,
            records_return_revocations_unchanged,
            restored_revocations_have_records_without_details,
            records_reject_a_foreign_cursor,
            an_issued_token_is_found_by_every_handle,
            issued_tokens_survive_a_restart,
            a_token_is_issued_once,
            one_of_many_concurrent_inserts_succeeds,
            issued_tokens_are_returned_unchanged,
            issued_tokens_are_listed_by_subject_and_grant,
            each_issued_token_is_listed_once_with_any_page_size,
            lists_of_issued_tokens_reject_a_foreign_cursor,
            revocations_leave_issued_tokens_alone,
            purging_keeps_unexpired_issued_tokens,
            purging_deletes_expired_issued_tokens,
            an_unavailable_store_returns_errors_and_recovers,
            an_unresponsive_store_returns_errors_and_recovers,
            random_operations_match_the_model,
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __each_store_clause {
    (tests $fixture:ty: $($clause:ident,)*) => {
        $(
            #[test]
            fn $clause() {
                $crate::conformance::run($crate::conformance::$clause::<$fixture>());
            }
        )*
    };
    (list $fixture:ty: $($clause:ident,)*) => {
        vec![$(
            Clause {
                name: stringify!($clause),
                check: || Box::pin($clause::<$fixture>()),
            },
        )*]
    };
}
