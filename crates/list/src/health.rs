//! The health of a list, for operators.

use std::time::Duration;

use tower_revoke_core::{HealthCheck, HealthSource, HealthStatus};

use crate::{ListStats, MirrorState, RevocationList};

/// The checks `list` and `store`, and `feed` if the list has a mirror.
impl HealthSource for RevocationList {
    fn health(&self) -> Vec<HealthCheck> {
        let stats = self.stats();
        let mut checks = vec![list(&stats, self.is_ready()), store(&stats)];
        checks.extend(feed(&stats));
        checks
    }
}

fn list(stats: &ListStats, is_ready: bool) -> HealthCheck {
    let (status, output) = match stats.mirror {
        _ if !is_ready => (HealthStatus::Warn, "not ready: the store was not read yet"),
        MirrorState::Live => (HealthStatus::Pass, "fresh: answers from memory"),
        MirrorState::Off => (HealthStatus::Pass, "fresh: answers from its store"),
        MirrorState::Full => (
            HealthStatus::Warn,
            "full: looks each new token up in the store",
        ),
        MirrorState::Lost | MirrorState::Loading => (
            HealthStatus::Warn,
            "stale: looks each new token up in the store",
        ),
    };
    let since = match status {
        HealthStatus::Pass => None,
        _ => stats.failing_since,
    };
    HealthCheck::new("list", status, output).since(since)
}

fn store(stats: &ListStats) -> HealthCheck {
    let failures = match stats.failures {
        0 => String::new(),
        1 => "; 1 failure so far".to_owned(),
        failures => format!("; {failures} failures so far"),
    };
    let (status, output) = match stats.failing_since {
        Some(_) => (HealthStatus::Fail, "does not answer"),
        None => (HealthStatus::Pass, "reachable"),
    };
    let since = stats.failing_since.or(stats.answering_since);
    HealthCheck::new("store", status, format!("{output}{failures}")).since(since)
}

fn feed(stats: &ListStats) -> Option<HealthCheck> {
    if stats.mirror == MirrorState::Off {
        return None;
    }
    let limit = stats.max_staleness;
    let (status, output) = match stats.mirror_lag {
        None => (HealthStatus::Warn, "not read to its end yet".to_owned()),
        Some(lag) => {
            let status = match lag < limit {
                true => HealthStatus::Pass,
                false => HealthStatus::Warn,
            };
            let seconds = |time: Duration| format!("{:.1} s", time.as_secs_f64());
            let behind = format!("{} behind, of {}", seconds(lag), seconds(limit));
            (status, behind)
        }
    };
    let since = match status {
        HealthStatus::Pass => None,
        _ => stats.failing_since,
    };
    Some(HealthCheck::new("feed", status, output).since(since))
}
