//! Reports the counters of a list to the `metrics` facade.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::{ListStats, MirrorState};

impl ListStats {
    /// Reports these numbers to the program's recorder, under the names of
    /// [the table](crate#metrics).
    ///
    /// Nothing is reported automatically: call it before each scrape, or about every second.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tower_revoke_list::RevocationList;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let list = RevocationList::in_memory();
    /// let told = list.clone();
    /// tokio::spawn(async move {
    ///     let mut every = tokio::time::interval(Duration::from_secs(1));
    ///     loop {
    ///         every.tick().await;
    ///         told.stats().report();
    ///     }
    /// });
    /// # }
    /// ```
    pub fn report(&self) {
        let is_live = self.mirror == MirrorState::Live;
        for (name, unit, value, what) in [
            (
                "tower_revoke_list_max_staleness_seconds",
                Unit::Seconds,
                self.max_staleness.as_secs_f64(),
                "Within this time a revocation on one node is obeyed by every other",
            ),
            (
                "tower_revoke_list_max_answer_age_seconds",
                Unit::Seconds,
                self.oldest_served.as_secs_f64(),
                "The age of the oldest answer ever served, counted from before the store was asked",
            ),
            (
                "tower_revoke_list_last_answer_timestamp_seconds",
                Unit::Seconds,
                self.last_answer.map_or(f64::NAN, |at| count(at.as_secs())),
                "When the store last answered, in Unix time; NaN if it never has",
            ),
            (
                "tower_revoke_list_mirror_live",
                Unit::Count,
                f64::from(u8::from(is_live)),
                "1 while the mirror answers every question, 0 while the store is asked about each token",
            ),
            (
                "tower_revoke_list_mirror_full",
                Unit::Count,
                f64::from(u8::from(self.mirror == MirrorState::Full)),
                "1 while more is listed than mirror_capacity, so that there is no mirror",
            ),
            (
                "tower_revoke_list_mirror_age_seconds",
                Unit::Seconds,
                seconds(self.mirror_lag),
                "Age of the mirror: the time since the last call of the feed began that told everything; NaN if there was none",
            ),
            (
                "tower_revoke_list_mirror_entries",
                Unit::Count,
                count(self.mirrored),
                "Listed keys, lifts and own uses that the mirror holds",
            ),
            (
                "tower_revoke_list_cached_answers",
                Unit::Count,
                count(self.kept),
                "Cached answers, approximately",
            ),
        ] {
            describe_gauge!(name, unit, what);
            gauge!(name).set(value);
        }
        for (name, value, what) in [
            (
                "tower_revoke_list_local_answers_total",
                self.served,
                "Answers that were given without asking the store",
            ),
            (
                "tower_revoke_list_store_lookups_total",
                self.asked,
                "Look-ups of a token in the store",
            ),
            (
                "tower_revoke_list_store_failures_total",
                self.failures,
                "Calls of any kind that the store did not answer, or not in time",
            ),
            (
                "tower_revoke_list_mirror_reloads_total",
                self.mirror_reloads,
                "How often the mirror was loaded again",
            ),
            (
                "tower_revoke_list_restored_entries_total",
                self.written_back,
                "Entries that were written back to a store that had forgotten them",
            ),
            (
                "tower_revoke_list_snapshots_written_total",
                self.snapshots_written,
                "Snapshots of the mirror that were written",
            ),
            (
                "tower_revoke_list_snapshot_failures_total",
                self.snapshot_failures,
                "Snapshots that could not be written",
            ),
            (
                "tower_revoke_list_snapshots_rejected_total",
                self.snapshots_rejected,
                "Snapshots that were ignored: damaged, forged, too old, or of another store",
            ),
        ] {
            describe_counter!(name, Unit::Count, what);
            counter!(name).absolute(value);
        }
    }
}

/// `None` is exported as NaN, so that no alert on a bound takes it for a small value.
fn seconds(time: Option<Duration>) -> f64 {
    time.map_or(f64::NAN, |time| time.as_secs_f64())
}

#[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
fn count(entries: u64) -> f64 {
    entries as f64
}
