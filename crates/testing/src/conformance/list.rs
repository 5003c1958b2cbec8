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
            what_was_acknowledged_survives_a_restart,
            revoking_again_changes_nothing,
            a_revocation_is_never_shortened,
            a_rule_is_never_shortened,
            a_batch_is_revoked_whole,
            look_ups_answer_in_the_order_of_the_keys,
            one_of_a_thousand_takers_of_one_use_wins,
            n_of_n_takers_win,
            uses_taken_together_are_kept_apart,
            a_use_asked_for_again_gets_the_same_answer,
            a_use_asked_for_many_times_at_once_is_taken_once,
            a_call_dropped_halfway_can_be_repeated,
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
            a_revocation_after_a_lift_stands,
            the_kind_of_a_revocation_is_kept,
            revoked_takes_precedence_over_spent,
            a_lift_ends_a_spent_revocation_and_no_use,
            what_is_written_back_stands,
            writing_back_never_shortens,
            writing_back_never_revives_what_was_lifted,
            a_lift_written_back_ends_what_was_said_before_it,
            what_is_written_back_may_come_in_any_order,
            what_is_alive_is_kept,
            a_rule_without_an_end_is_kept_for_ever,
            what_has_ended_is_purged,
            a_lift_is_remembered_as_long_as_what_it_lifted,
            a_full_load_tells_all_that_is_alive,
            a_full_load_goes_on_while_others_write,
            a_full_load_ends_with_what_came_meanwhile,
            a_long_stretch_is_followed_page_by_page,
            no_more_means_that_all_acknowledged_is_told,
            no_change_is_lost_while_many_write,
            the_feed_tells_what_was_listed_lifted_spent_and_freed,
            the_feed_tells_spent_revocations_and_used_up_uses_apart,
            a_cursor_outlives_its_handle,
            a_cursor_outlives_a_restart,
            a_foreign_cursor_is_rejected,
            a_cursor_older_than_the_feed_is_told_so,
            what_is_listed_is_read_while_the_feed_is_trimmed,
            a_history_that_went_back_is_noticed,
            a_quiet_store_wakes_nobody,
            a_write_by_another_wakes_who_waits,
            keys_of_any_bytes_are_kept_apart,
            words_of_any_kind_are_kept,
            numbers_at_their_ends_are_kept,
            records_come_once_each_in_pages_of_any_size,
            records_are_those_that_are_wanted,
            records_say_what_was_said,
            records_of_what_was_written_back_have_no_words,
            a_foreign_cursor_of_the_records_is_rejected,
            a_store_that_is_down_says_so_and_recovers,
            a_store_that_is_frozen_says_so_and_recovers,
            any_operations_are_answered_as_a_model_answers_them,
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
