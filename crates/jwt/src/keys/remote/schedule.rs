//! When keys are fetched, and how long they are trusted.

use std::time::Duration;

use http::{HeaderMap, header};

/// The settings of the same names, with `key_` in front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) refresh_interval: Duration,
    pub(crate) refetch_interval: Duration,
    pub(crate) fetch_timeout: Duration,
    pub(crate) max_age: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            refresh_interval: Duration::from_secs(5 * 60),
            refetch_interval: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(5),
            max_age: Duration::from_secs(2 * 60 * 60),
        }
    }
}

/// The bounds of the freshness lifetime of a response.
const MIN_FRESHNESS: Duration = Duration::from_secs(60);
const MAX_FRESHNESS: Duration = Duration::from_secs(60 * 60);

const FIRST_RETRY: Duration = Duration::from_secs(1);
const MAX_RETRY: Duration = Duration::from_secs(30);

/// The pauses between fetches, with jitter, so that many nodes don't fetch at the same moment.
pub(super) struct Schedule {
    timing: Timing,
    random: fastrand::Rng,
    failures: u32,
}

impl Schedule {
    pub(super) fn new(timing: Timing, seed: u64) -> Self {
        Self {
            timing,
            random: fastrand::Rng::with_seed(seed),
            failures: 0,
        }
    }

    /// The pause after a successful fetch: the freshness lifetime of the response, less up to a
    /// tenth. It is at most half of `max_age`, so that the other half is left for retries.
    pub(super) fn after_success(&mut self, freshness: Option<Duration>) -> Duration {
        self.failures = 0;
        let freshness = freshness.map(|time| time.clamp(MIN_FRESHNESS, MAX_FRESHNESS));
        let pause = freshness.unwrap_or(self.timing.refresh_interval);
        let pause = pause.min(self.timing.max_age / 2);
        pause.mul_f64(1.0 - 0.1 * self.random.f64())
    }

    /// The pause after a failed fetch: 1 s, doubled with each failure up to 30 s, less up to a half.
    pub(super) fn after_failure(&mut self) -> Duration {
        let doubled = FIRST_RETRY * (1 << self.failures.min(5));
        self.failures = self.failures.saturating_add(1);
        let pause = doubled.min(MAX_RETRY).min(self.timing.max_age / 2);
        pause.mul_f64(1.0 - 0.5 * self.random.f64())
    }
}

/// The freshness lifetime that a response has left (RFC 9111 §4.2): the smallest `max-age`, less its
/// `Age`. `None` if it has no `max-age`.
pub(super) fn freshness(headers: &HeaderMap) -> Option<Duration> {
    let max_age = headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|directive| {
            let (name, value) = directive.split_once('=')?;
            let is_max_age = name.trim().eq_ignore_ascii_case("max-age");
            is_max_age.then(|| seconds(value.trim().trim_matches('"')))?
        })
        .min()?;
    let age = headers.get(header::AGE);
    let age = age.and_then(|age| seconds(age.to_str().ok()?.trim()));
    Some(Duration::from_secs(
        max_age.saturating_sub(age.unwrap_or(0)),
    ))
}

/// `delta-seconds` (RFC 9111 §1.2.2), saturated.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds_of(headers: &[(header::HeaderName, &'static str)]) -> Option<u64> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, header::HeaderValue::from_static(value));
        }
        freshness(&map).map(|time| time.as_secs())
    }

    #[test]
    fn rfc9111_5_2_max_age_is_parsed() {
        for (value, secs) in [
            ("max-age=300", Some(300)),
            ("public, Max-Age=300 , must-revalidate", Some(300)),
            ("max-age=\"300\"", Some(300)),
            ("max-age=300, max-age=60", Some(60)),
            ("max-age=99999999999999999999999", Some(u64::MAX)),
            ("max-age=0", Some(0)),
            ("s-maxage=300", None),
            ("no-cache", None),
            ("no-store, max-age", None),
            ("max-age=-5", None),
            ("max-age=", None),
            ("", None),
        ] {
            assert_eq!(
                seconds_of(&[(header::CACHE_CONTROL, value)]),
                secs,
                "{value}"
            );
        }
        assert_eq!(seconds_of(&[]), None);
        let twice = [
            (header::CACHE_CONTROL, "public"),
            (header::CACHE_CONTROL, "max-age=7"),
        ];
        assert_eq!(seconds_of(&twice), Some(7));
    }

    #[test]
    fn rfc9111_4_2_3_the_age_counts() {
        let max_age = (header::CACHE_CONTROL, "max-age=300");
        for (age, left) in [("100", 200), ("400", 0), ("x", 300)] {
            assert_eq!(
                seconds_of(&[max_age.clone(), (header::AGE, age)]),
                Some(left)
            );
        }
    }

    #[test]
    fn the_pause_is_within_its_bounds() {
        let between = |pause: Duration, least: f64, most: f64| {
            let secs = pause.as_secs_f64();
            assert!((least..=most).contains(&secs), "{secs}");
        };
        for seed in 0..100 {
            let mut schedule = Schedule::new(Timing::default(), seed);
            between(schedule.after_success(None), 270.0, 300.0);
            let secs = Duration::from_secs;
            between(schedule.after_success(Some(secs(0))), 54.0, 60.0);
            between(schedule.after_success(Some(secs(600))), 540.0, 600.0);
            between(
                schedule.after_success(Some(Duration::MAX)),
                3_240.0,
                3_600.0,
            );
            for most in [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0] {
                between(schedule.after_failure(), most / 2.0, most);
            }
            let _ = schedule.after_success(None);
            between(schedule.after_failure(), 0.5, 1.0);
        }
    }

    #[test]
    fn keys_are_refreshed_well_before_they_expire() {
        let timing = Timing {
            max_age: Duration::from_secs(20),
            ..Timing::default()
        };
        let mut schedule = Schedule::new(timing, 7);
        assert!(schedule.after_success(None) <= Duration::from_secs(10));
        assert!(schedule.after_success(Some(Duration::MAX)) <= Duration::from_secs(10));
        for _ in 0..10 {
            assert!(schedule.after_failure() <= Duration::from_secs(10));
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_pauses() {
        let draw = |seed| {
            let mut schedule = Schedule::new(Timing::default(), seed);
            [schedule.after_success(None), schedule.after_failure()]
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
