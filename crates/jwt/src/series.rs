//! The statistics of fetched keys and of resolved issuers, through the `metrics` facade.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

use crate::{IssuerStats, KeyStats};

impl KeyStats {
    /// Reports these statistics to the program's recorder. Call it before each scrape, or every
    /// second or so: nothing else does.
    ///
    /// Nothing is reported of [`resolved`](Self::resolved) issuers: over time they can be any number,
    /// and each would be a label. [`IssuerStats::report`] counts them.
    ///
    /// Each series has the label `issuer`:
    ///
    /// | name | kind | value |
    /// |---|---|---|
    /// | `tower_revoke_jwt_keys` | gauge | [`keys`](Self::keys) |
    /// | `tower_revoke_jwt_keys_age_seconds` | gauge | [`age`](Self::age); NaN if none have been fetched yet |
    /// | `tower_revoke_jwt_key_fetches_total` | counter | [`fetches`](Self::fetches) |
    /// | `tower_revoke_jwt_key_fetch_failures_total` | counter | [`failures`](Self::failures) |
    /// | `tower_revoke_jwt_unusable_key_sets_total` | counter | [`unusable`](Self::unusable) |
    ///
    /// # Examples
    /// ```
    /// use tower_revoke_jwt::JwtVerifier;
    ///
    /// fn before_a_scrape(tokens: &JwtVerifier) {
    ///     for stats in tokens.key_stats() {
    ///         stats.report();
    ///     }
    /// }
    /// ```
    pub fn report(&self) {
        if self.resolved {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        let keys = self.keys as f64;
        let age = self.age.map_or(f64::NAN, |age| age.as_secs_f64());
        for (name, unit, value, what) in [
            (
                "tower_revoke_jwt_keys",
                Unit::Count,
                keys,
                "Keys of the issuer",
            ),
            (
                "tower_revoke_jwt_keys_age_seconds",
                Unit::Seconds,
                age,
                "Time since the current keys were requested; NaN if none have been fetched yet",
            ),
        ] {
            describe_gauge!(name, unit, what);
            gauge!(name, "issuer" => self.issuer.clone()).set(value);
        }
        for (name, value, what) in [
            (
                "tower_revoke_jwt_key_fetches_total",
                self.fetches,
                "Fetches of the issuer's keys",
            ),
            (
                "tower_revoke_jwt_key_fetch_failures_total",
                self.failures,
                "Failed fetches of the issuer's keys",
            ),
            (
                "tower_revoke_jwt_unusable_key_sets_total",
                self.unusable,
                "Fetches whose key set had no usable key",
            ),
        ] {
            describe_counter!(name, Unit::Count, what);
            counter!(name, "issuer" => self.issuer.clone()).absolute(value);
        }
    }
}

impl IssuerStats {
    /// Reports these statistics to the program's recorder, see [`KeyStats::report`].
    ///
    /// | name | kind | value |
    /// |---|---|---|
    /// | `tower_revoke_jwt_issuers` | gauge | [`trusted`](Self::trusted) |
    /// | `tower_revoke_jwt_issuer_lookups_total` | counter | [`lookups`](Self::lookups) |
    /// | `tower_revoke_jwt_issuer_lookup_failures_total` | counter | [`failures`](Self::failures) |
    /// | `tower_revoke_jwt_issuers_untrusted_total` | counter | [`untrusted`](Self::untrusted) |
    /// | `tower_revoke_jwt_issuer_lookups_limited_total` | counter | [`limited`](Self::limited) |
    /// | `tower_revoke_jwt_issuers_evicted_total` | counter | [`evicted`](Self::evicted) |
    pub fn report(&self) {
        const TRUSTED: &str = "tower_revoke_jwt_issuers";
        describe_gauge!(TRUSTED, Unit::Count, "Issuers that the resolver trusts");
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float")]
        gauge!(TRUSTED).set(self.trusted as f64);
        for (name, value, what) in [
            (
                "tower_revoke_jwt_issuer_lookups_total",
                self.lookups,
                "Questions to the resolver of issuers",
            ),
            (
                "tower_revoke_jwt_issuer_lookup_failures_total",
                self.failures,
                "Questions to the resolver of issuers without an answer",
            ),
            (
                "tower_revoke_jwt_issuers_untrusted_total",
                self.untrusted,
                "Answers of the resolver that an issuer is not trusted",
            ),
            (
                "tower_revoke_jwt_issuer_lookups_limited_total",
                self.limited,
                "Tokens rejected because the resolver was asked too often",
            ),
            (
                "tower_revoke_jwt_issuers_evicted_total",
                self.evicted,
                "Issuers forgotten because there were too many",
            ),
        ] {
            describe_counter!(name, Unit::Count, what);
            counter!(name).absolute(value);
        }
    }
}
