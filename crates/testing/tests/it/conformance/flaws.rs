//! The flaws, each with the clauses that catch it.

catches! {
    // Revocations.
    CachesUnlistedKeys:
        a_revocation_is_seen_by_every_handle
        a_token_is_spent_when_its_last_use_is_taken
        restoring_never_revives_a_lifted_revocation
        the_feed_reports_revocations_lifts_and_uses
        a_cursor_older_than_the_feed_is_rejected
        lost_history_is_detected,
    ForgetsOneOnRestart: acknowledged_writes_survive_a_restart,
    TogglesARevocation: revoking_again_changes_nothing,
    ShortensTokens:
        a_revocation_is_never_shortened
        revoked_takes_precedence_over_spent,
    ShortensRules:
        a_rule_is_never_shortened
        restored_revocations_have_records_without_details,
    TruncatesBatches: a_batch_is_revoked_completely,
    AnswersAKeyOnce: look_ups_answer_in_the_order_of_the_keys,
    // Uses.
    ChecksThenTakes:
        one_of_a_thousand_concurrent_calls_takes_a_single_use
        n_of_n_concurrent_calls_take_a_use
        concurrent_uses_of_several_tokens_are_independent,
    LosesTheLastOfMany: n_of_n_concurrent_calls_take_a_use,
    SwapsConcurrentOutcomes: concurrent_uses_of_several_tokens_are_independent,
    RejectsRepeatedUses:
        a_repeated_use_gets_the_same_outcome
        concurrent_uses_of_several_tokens_are_independent
        a_use_requested_concurrently_is_taken_once
        a_dropped_call_can_be_repeated
        acknowledged_writes_survive_a_restart
        lost_history_is_detected
        keys_of_any_bytes_are_distinct,
    CountsConcurrentRetries:
        a_use_requested_concurrently_is_taken_once
        concurrent_uses_of_several_tokens_are_independent
        a_dropped_call_can_be_repeated,
    TakesASecondUseOnDrop: a_dropped_call_can_be_repeated,
    IgnoresAnotherLimit:
        another_limit_is_rejected_and_both_are_named
        a_returned_use_can_be_taken_again,
    TakesExpiredUses: no_use_of_an_expired_token_is_taken,
    TakesPurgedUses: purged_uses_are_not_taken_again,
    ForgetsAfterADay:
        a_use_without_an_expiry_is_kept
        purging_keeps_unexpired_entries,
    ReturnsUsesOfOthers: only_its_own_id_returns_a_use,
    ReturnsTwice: only_its_own_id_returns_a_use,
    IgnoresReturns:
        a_returned_use_can_be_taken_again
        a_token_is_spent_when_its_last_use_is_taken
        only_its_own_id_returns_a_use
        acknowledged_writes_survive_a_restart
        the_feed_reports_revocations_lifts_and_uses
        the_feed_distinguishes_spent_revocations_from_used_up_tokens,
    SpendsOnlySingleUses: a_token_is_spent_when_its_last_use_is_taken,
    // Lifts.
    ForgetsTheAuthorOfLifts: the_last_lift_is_recorded,
    ForgetsRestoredLiftsEarly:
        a_restored_lift_is_remembered_as_long_as_the_revocation_that_it_ended,
    LiftsUsesToo:
        a_lift_returns_no_use
        a_revocation_hides_the_uses_until_it_is_lifted
        keys_of_any_bytes_are_distinct
        a_lift_ends_a_spent_revocation_and_no_use
        the_feed_distinguishes_spent_revocations_from_used_up_tokens,
    PrefersUsesToRevocations:
        a_revocation_hides_the_uses_until_it_is_lifted
        a_full_load_returns_all_current_entries
        keys_of_any_bytes_are_distinct,
    ReportsLiftsOfNothing:
        a_revocation_is_lifted_once
        a_lift_returns_no_use
        a_restored_lift_ends_earlier_revocations
        a_lift_ends_a_spent_revocation_and_no_use
        the_last_lift_is_recorded,
    LiftsWinTies:
        a_revocation_after_a_lift_takes_effect
        a_lift_is_remembered_as_long_as_its_revocation
        the_feed_reports_revocations_lifts_and_uses,
    // Kinds.
    KeepsNoKind:
        the_kind_of_a_revocation_is_kept
        revoked_takes_precedence_over_spent
        the_feed_distinguishes_spent_revocations_from_used_up_tokens
        records_return_revocations_unchanged,
    KeepsTheLastKind: revoked_takes_precedence_over_spent,
    LiftsNoSpentRevocation:
        a_lift_ends_a_spent_revocation_and_no_use
        the_feed_distinguishes_spent_revocations_from_used_up_tokens
        a_restored_revocation_takes_effect,
    // Write-backs.
    RestoresNoUses: a_restored_revocation_takes_effect,
    OverwritesOnRestore:
        restoring_never_shortens
        changes_can_be_restored_in_any_order,
    RestoresLiftedRevocations:
        restoring_never_revives_a_lifted_revocation
        a_restored_lift_ends_earlier_revocations
        changes_can_be_restored_in_any_order
        a_lift_is_remembered_as_long_as_its_revocation
        a_restored_lift_is_remembered_as_long_as_the_revocation_that_it_ended,
    RestoresLiftsWithoutTheirTime:
        a_restored_lift_ends_earlier_revocations
        changes_can_be_restored_in_any_order
        a_lift_is_remembered_as_long_as_its_revocation
        the_last_lift_is_recorded,
    RestoresNoLiftsOfUnlistedKeys:
        changes_can_be_restored_in_any_order
        a_restored_lift_ends_earlier_revocations
        a_lift_is_remembered_as_long_as_its_revocation
        the_last_lift_is_recorded,
    // Purges.
    PurgesASecondEarly:
        purging_keeps_unexpired_entries
        purging_deletes_expired_entries
        a_lift_is_remembered_as_long_as_its_revocation
        purging_keeps_unexpired_issued_tokens
        purging_deletes_expired_issued_tokens,
    PurgesNothing:
        purging_deletes_expired_entries
        purging_deletes_expired_issued_tokens
        records_return_revocations_unchanged,
    PurgesUnboundedRules: purging_keeps_rules_that_never_expire,
    PurgesLifts:
        a_lift_is_remembered_as_long_as_its_revocation
        a_restored_lift_is_remembered_as_long_as_the_revocation_that_it_ended,
    // The feed.
    SkipsOneBetweenPagesOfALoad:
        a_full_load_returns_all_current_entries
        a_full_load_completes_while_others_write
        a_full_load_includes_changes_made_meanwhile
        no_change_is_lost_under_concurrent_writes,
    TakesTheCursorAfterTheLoad:
        a_full_load_completes_while_others_write
        a_full_load_includes_changes_made_meanwhile,
    EndsALoadWithItsLastPage: a_full_load_includes_changes_made_meanwhile,
    SkipsOneBetweenPages: many_changes_are_followed_in_pages,
    AlwaysReportsMore:
        many_changes_are_followed_in_pages
        a_full_load_returns_all_current_entries
        a_full_load_completes_while_others_write
        a_full_load_includes_changes_made_meanwhile
        listed_entries_can_be_read_while_the_feed_is_trimmed,
    LagsByOneCall:
        the_last_page_includes_all_acknowledged_writes
        listed_entries_can_be_read_while_the_feed_is_trimmed,
    NumbersBeforeItCommits:
        no_change_is_lost_under_concurrent_writes
        the_last_page_includes_all_acknowledged_writes,
    OmitsReturnedUses:
        the_feed_reports_revocations_lifts_and_uses
        the_feed_distinguishes_spent_revocations_from_used_up_tokens,
    TellsUsesAsARevocation:
        the_feed_distinguishes_spent_revocations_from_used_up_tokens
        the_feed_reports_revocations_lifts_and_uses
        a_full_load_returns_all_current_entries,
    ChangesTheTimeOfLifts:
        the_feed_reports_revocations_lifts_and_uses
        no_change_is_lost_under_concurrent_writes
        the_feed_distinguishes_spent_revocations_from_used_up_tokens,
    TiesACursorToItsHandle:
        a_cursor_outlives_its_handle
        a_full_load_completes_while_others_write
        a_cursor_outlives_a_restart
        lost_history_is_detected,
    ForgetsItsFeedOnRestart: a_cursor_outlives_a_restart,
    PanicsOnAForeignCursor: a_foreign_cursor_is_rejected,
    RestartsOnAForeignCursor: a_foreign_cursor_is_rejected,
    ChecksTheFeedDuringALoad: listed_entries_can_be_read_while_the_feed_is_trimmed,
    EndsWhatIsListedAfterATrim: listed_entries_can_be_read_while_the_feed_is_trimmed,
    ContinuesAfterATrim: a_cursor_older_than_the_feed_is_rejected,
    ContinuesAfterASetBack: lost_history_is_detected,
    MissesARegrownHistory: lost_history_is_detected,
    WakesWithoutAChange: changed_waits_while_nothing_changes,
    NeverWakes:
        changed_resolves_after_a_write_by_another_handle
        changed_hands_over_what_follows,
    SkipsAChangeThatItHandsOver: changed_hands_over_what_follows,
    HandsOverAnotherHistory: lost_history_is_detected,
    // Unusual values.
    FoldsCase: keys_of_any_bytes_are_distinct,
    CutsTextsAtNul: texts_of_any_kind_are_stored,
    RejectsLongTexts: texts_of_any_kind_are_stored,
    CountsTimeInSignedNumbers: extreme_numbers_are_stored,
    // Records.
    SkipsARecordBetweenPages:
        each_record_is_returned_once_with_any_page_size
        records_match_the_filter
        records_return_revocations_unchanged,
    MatchesReasonsInAnyCase: records_match_the_filter,
    ForgetsTheAuthor:
        records_return_revocations_unchanged
        texts_of_any_kind_are_stored
        restored_revocations_have_records_without_details
        revoked_takes_precedence_over_spent,
    AddsDetailsToRestoredChanges: restored_revocations_have_records_without_details,
    AcceptsAForeignCursorOfRecords: records_reject_a_foreign_cursor,
    // Issued tokens.
    CachesUnknownTokens: an_issued_token_is_found_by_every_handle,
    ForgetsATokenOnRestart: issued_tokens_survive_a_restart,
    OverwritesIssuedTokens:
        a_token_is_issued_once
        one_of_many_concurrent_inserts_succeeds
        purging_deletes_expired_issued_tokens,
    InsertsEqualTokensAgain: a_token_is_issued_once,
    ChecksThenInserts: one_of_many_concurrent_inserts_succeeds,
    ForgetsFurtherKeys: issued_tokens_are_returned_unchanged,
    ListsTokensOfSessions: issued_tokens_are_listed_by_subject_and_grant,
    SkipsATokenBetweenPages: each_issued_token_is_listed_once_with_any_page_size,
    AcceptsAForeignCursorOfTokens: lists_of_issued_tokens_reject_a_foreign_cursor,
    DeletesRevokedTokens: revocations_leave_issued_tokens_alone,
    PurgesTokensAtTheirExpiry:
        purging_keeps_unexpired_issued_tokens
        purging_deletes_expired_issued_tokens,
    FindsPurgedTokens: purging_deletes_expired_issued_tokens,
    FindsNoTokenWhileDown:
        an_unavailable_store_returns_errors_and_recovers
        an_unresponsive_store_returns_errors_and_recovers,
    // Outages and restarts.
    AnswersWhileDown:
        an_unavailable_store_returns_errors_and_recovers
        an_unresponsive_store_returns_errors_and_recovers,
    NeverRecovers: an_unavailable_store_returns_errors_and_recovers,
    HangsWhileFrozen: an_unresponsive_store_returns_errors_and_recovers,
    TakesLateUnderAnotherId: an_unresponsive_store_returns_errors_and_recovers,
}
