//! The flaws, each with the clauses that catch it.

catches! {
    // Revocations.
    CachesUnlistedKeys:
        a_revocation_is_seen_by_every_handle
        a_token_is_spent_when_its_last_use_is_taken
        writing_back_never_revives_what_was_lifted
        the_feed_tells_what_was_listed_lifted_spent_and_freed
        a_cursor_older_than_the_feed_is_told_so
        a_history_that_went_back_is_noticed,
    ForgetsOneOnRestart: what_was_acknowledged_survives_a_restart,
    TogglesARevocation: revoking_again_changes_nothing,
    ShortensTokens:
        a_revocation_is_never_shortened
        revoked_takes_precedence_over_spent,
    ShortensRules:
        a_rule_is_never_shortened
        records_of_what_was_written_back_have_no_words,
    TruncatesBatches: a_batch_is_revoked_whole,
    AnswersAKeyOnce: look_ups_answer_in_the_order_of_the_keys,
    // Uses.
    ChecksThenTakes:
        one_of_a_thousand_takers_of_one_use_wins
        n_of_n_takers_win
        uses_taken_together_are_kept_apart,
    LosesTheLastOfMany: n_of_n_takers_win,
    SwapsConcurrentOutcomes: uses_taken_together_are_kept_apart,
    RejectsRepeatedUses:
        a_use_asked_for_again_gets_the_same_answer
        uses_taken_together_are_kept_apart
        a_use_asked_for_many_times_at_once_is_taken_once
        a_call_dropped_halfway_can_be_repeated
        what_was_acknowledged_survives_a_restart
        a_history_that_went_back_is_noticed
        keys_of_any_bytes_are_kept_apart,
    CountsConcurrentRetries:
        a_use_asked_for_many_times_at_once_is_taken_once
        uses_taken_together_are_kept_apart
        a_call_dropped_halfway_can_be_repeated,
    TakesASecondUseOnDrop: a_call_dropped_halfway_can_be_repeated,
    IgnoresAnotherLimit:
        another_limit_is_rejected_and_both_are_named
        a_returned_use_can_be_taken_again,
    TakesExpiredUses: no_use_of_an_expired_token_is_taken,
    TakesPurgedUses: purged_uses_are_not_taken_again,
    ForgetsAfterADay:
        a_use_without_an_expiry_is_kept
        what_is_alive_is_kept,
    ReturnsUsesOfOthers: only_its_own_id_returns_a_use,
    ReturnsTwice: only_its_own_id_returns_a_use,
    IgnoresReturns:
        a_returned_use_can_be_taken_again
        a_token_is_spent_when_its_last_use_is_taken
        only_its_own_id_returns_a_use
        what_was_acknowledged_survives_a_restart
        the_feed_tells_what_was_listed_lifted_spent_and_freed
        the_feed_tells_spent_revocations_and_used_up_uses_apart,
    SpendsOnlySingleUses: a_token_is_spent_when_its_last_use_is_taken,
    // Lifts.
    LiftsUsesToo:
        a_lift_returns_no_use
        a_revocation_hides_the_uses_until_it_is_lifted
        keys_of_any_bytes_are_kept_apart
        a_lift_ends_a_spent_revocation_and_no_use
        the_feed_tells_spent_revocations_and_used_up_uses_apart,
    PrefersUsesToRevocations:
        a_revocation_hides_the_uses_until_it_is_lifted
        a_full_load_tells_all_that_is_alive
        keys_of_any_bytes_are_kept_apart,
    ReportsLiftsOfNothing:
        a_revocation_is_lifted_once
        a_lift_returns_no_use
        a_lift_written_back_ends_what_was_said_before_it
        a_lift_ends_a_spent_revocation_and_no_use,
    LiftsWinTies:
        a_revocation_after_a_lift_stands
        a_lift_is_remembered_as_long_as_what_it_lifted
        the_feed_tells_what_was_listed_lifted_spent_and_freed,
    // Kinds.
    KeepsNoKind:
        the_kind_of_a_revocation_is_kept
        revoked_takes_precedence_over_spent
        the_feed_tells_spent_revocations_and_used_up_uses_apart
        records_say_what_was_said,
    KeepsTheLastKind: revoked_takes_precedence_over_spent,
    LiftsNoSpentRevocation:
        a_lift_ends_a_spent_revocation_and_no_use
        the_feed_tells_spent_revocations_and_used_up_uses_apart
        what_is_written_back_stands,
    // Write-backs.
    RestoresNoUses: what_is_written_back_stands,
    OverwritesOnRestore:
        writing_back_never_shortens
        what_is_written_back_may_come_in_any_order,
    RestoresLiftedRevocations:
        writing_back_never_revives_what_was_lifted
        a_lift_written_back_ends_what_was_said_before_it
        what_is_written_back_may_come_in_any_order
        a_lift_is_remembered_as_long_as_what_it_lifted,
    RestoresLiftsWithoutTheirTime:
        a_lift_written_back_ends_what_was_said_before_it
        what_is_written_back_may_come_in_any_order
        a_lift_is_remembered_as_long_as_what_it_lifted,
    RestoresNoLiftsOfUnlistedKeys:
        what_is_written_back_may_come_in_any_order
        a_lift_written_back_ends_what_was_said_before_it
        a_lift_is_remembered_as_long_as_what_it_lifted,
    // Purges.
    PurgesASecondEarly:
        what_is_alive_is_kept
        what_has_ended_is_purged
        a_lift_is_remembered_as_long_as_what_it_lifted,
    PurgesNothing:
        what_has_ended_is_purged
        records_say_what_was_said,
    PurgesUnboundedRules: a_rule_without_an_end_is_kept_for_ever,
    PurgesLifts: a_lift_is_remembered_as_long_as_what_it_lifted,
    // The feed.
    SkipsOneBetweenPagesOfALoad:
        a_full_load_tells_all_that_is_alive
        a_full_load_goes_on_while_others_write
        a_full_load_ends_with_what_came_meanwhile
        no_change_is_lost_while_many_write,
    TakesTheCursorAfterTheLoad:
        a_full_load_goes_on_while_others_write
        a_full_load_ends_with_what_came_meanwhile,
    EndsALoadWithItsLastPage: a_full_load_ends_with_what_came_meanwhile,
    SkipsOneBetweenPages: a_long_stretch_is_followed_page_by_page,
    AlwaysReportsMore:
        a_long_stretch_is_followed_page_by_page
        a_full_load_tells_all_that_is_alive
        a_full_load_goes_on_while_others_write
        a_full_load_ends_with_what_came_meanwhile,
    LagsByOneCall:
        no_more_means_that_all_acknowledged_is_told,
    NumbersBeforeItCommits:
        no_change_is_lost_while_many_write
        no_more_means_that_all_acknowledged_is_told,
    OmitsReturnedUses:
        the_feed_tells_what_was_listed_lifted_spent_and_freed
        the_feed_tells_spent_revocations_and_used_up_uses_apart,
    TellsUsesAsARevocation:
        the_feed_tells_spent_revocations_and_used_up_uses_apart
        the_feed_tells_what_was_listed_lifted_spent_and_freed
        a_full_load_tells_all_that_is_alive,
    ChangesTheTimeOfLifts:
        the_feed_tells_what_was_listed_lifted_spent_and_freed
        no_change_is_lost_while_many_write
        the_feed_tells_spent_revocations_and_used_up_uses_apart,
    TiesACursorToItsHandle:
        a_cursor_outlives_its_handle
        a_full_load_goes_on_while_others_write
        a_cursor_outlives_a_restart
        a_history_that_went_back_is_noticed,
    ForgetsItsFeedOnRestart: a_cursor_outlives_a_restart,
    PanicsOnAForeignCursor: a_foreign_cursor_is_rejected,
    RestartsOnAForeignCursor: a_foreign_cursor_is_rejected,
    ChecksTheFeedDuringALoad: what_is_listed_is_read_while_the_feed_is_trimmed,
    EndsWhatIsListedAfterATrim: what_is_listed_is_read_while_the_feed_is_trimmed,
    ContinuesAfterATrim: a_cursor_older_than_the_feed_is_told_so,
    ContinuesAfterASetBack: a_history_that_went_back_is_noticed,
    MissesARegrownHistory: a_history_that_went_back_is_noticed,
    WakesWithoutAChange: a_quiet_store_wakes_nobody,
    NeverWakes: a_write_by_another_wakes_who_waits,
    // Unusual values.
    FoldsCase: keys_of_any_bytes_are_kept_apart,
    CutsTextsAtNul: words_of_any_kind_are_kept,
    RejectsLongTexts: words_of_any_kind_are_kept,
    CountsTimeInSignedNumbers: numbers_at_their_ends_are_kept,
    // Records.
    SkipsARecordBetweenPages:
        records_come_once_each_in_pages_of_any_size
        records_are_those_that_are_wanted
        records_say_what_was_said,
    MatchesReasonsInAnyCase: records_are_those_that_are_wanted,
    ForgetsTheAuthor:
        records_say_what_was_said
        words_of_any_kind_are_kept
        records_of_what_was_written_back_have_no_words
        revoked_takes_precedence_over_spent,
    AddsDetailsToRestoredChanges: records_of_what_was_written_back_have_no_words,
    AcceptsAForeignCursorOfRecords: a_foreign_cursor_of_the_records_is_rejected,
    // Outages and restarts.
    AnswersWhileDown:
        a_store_that_is_down_says_so_and_recovers
        a_store_that_is_frozen_says_so_and_recovers,
    NeverRecovers: a_store_that_is_down_says_so_and_recovers,
    HangsWhileFrozen: a_store_that_is_frozen_says_so_and_recovers,
    TakesLateUnderAnotherId: a_store_that_is_frozen_says_so_and_recovers,
}
