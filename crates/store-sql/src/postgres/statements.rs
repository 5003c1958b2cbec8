//! The statements on a schema.

use super::migrate::{hex, quoted};
use crate::{backend::Digest, batch::Tables, text::Dialect};

/// `E` makes a backslash an escape whatever `standard_conforming_strings` is.
const DIALECT: Dialect = Dialect {
    bytes: ["E'\\\\x", "'"],
    text: ["convert_from(E'\\\\x", "','UTF8')"],
    untils: ["'{", "}'"],
    now: "DEFAULT",
    by_key: "",
    pairs: "(token,use_id) IN (",
    has_replace: false,
};

/// Returns the tables of a schema, for a store with an id.
pub(super) fn tables(schema: &str, id: &Digest) -> Tables {
    let named = |name| format!("{}.{name}", quoted(schema));
    Tables {
        dialect: &DIALECT,
        prefix: schema.to_owned(),
        #[cfg(feature = "mysql")]
        store: named("store"),
        revoked: named("revoked"),
        lifted: named("lifted"),
        uses: named("uses"),
        held: named("held"),
        issued: named("issued_tokens"),
        events: named("events"),
        take_new: format!("SELECT {}($1, $2, $3, $4)", named("take_new")),
        begin: vec![
            "START TRANSACTION".to_owned(),
            format!("SELECT -1, {}()", named("take_turn")),
            format!(
                "SELECT 0, seq, purged_before, trimmed, 0 FROM {}",
                named("state")
            ),
        ],
        patience: Some("SET LOCAL idle_in_transaction_session_timeout='{secs}s'"),
        commit: "COMMIT",
        rollback: "ROLLBACK",
        // Named by the id of the store: the name of a channel may have 63 bytes, as many as the
        // name of the schema, so a prefix might not fit.
        last_event: format!("SELECT pg_notify('tower-revoke-{}', '{{seq}}')", hex(id)),
        // A transaction becomes visible only once its log is flushed.
        flush: None,
    }
}

/// The columns of a record.
const RECORD: &str = "digest, issued_at_or_before, until, at, spent::int::bigint AS spent, issuer, \
                      claim, value, author, reason";

/// The statements, with the name of the schema filled in.
#[derive(Debug)]
pub(crate) struct Statements {
    pub(crate) purge: String,
    pub(crate) trim: String,
    pub(crate) look_up: String,
    pub(crate) last_event: String,
    pub(crate) feed: String,
    pub(crate) load_revoked: String,
    pub(crate) load_uses: String,
    pub(crate) record: String,
    pub(crate) last_lift: String,
    pub(crate) records: String,
    pub(crate) issued: String,
    pub(crate) issued_of: String,
}

impl Statements {
    /// Fills in the name of a schema, which must be quoted.
    pub(crate) fn new(schema: &str) -> Self {
        let named = |text: &str| text.replace("{schema}", schema).replace("{record}", RECORD);
        Self {
            purge: named("SELECT dropped, more FROM {schema}.purge($1, $2)"),
            trim: named("SELECT {schema}.trim_feed($1, $2, $3)"),
            look_up: named(
                "SELECT spent::int::bigint, digest, issued_at_or_before, until FROM {schema}.revoked \
                 WHERE digest = ANY($1) UNION ALL \
                 SELECT 1, token, NULL, until FROM {schema}.uses \
                 WHERE token = ANY($1) AND held >= max_uses UNION ALL \
                 SELECT 2, NULL, NULL, NULL WHERE pg_is_in_recovery()",
            ),
            last_event: named("SELECT seq FROM {schema}.state"),
            // LEFT JOIN: the state is returned even if there are no events. A row can hold several
            // events under the number of the last, but never more than a page. Numbers have no
            // gaps, so this range includes the next row if there is one.
            feed: named(
                "SELECT s.id, s.seq, s.mark, s.trimmed, s.trimmed_mark, \
                 (SELECT mark FROM {schema}.events WHERE seq = $1), \
                 e.seq, e.mark, e.what, e.digests, e.issued_at_or_before, \
                 e.untils::text, e.at, pg_is_in_recovery() \
                 FROM {schema}.state s LEFT JOIN LATERAL \
                 (SELECT * FROM {schema}.events WHERE seq > $1 AND seq <= $1 + $2) e ON true \
                 ORDER BY e.seq",
            ),
            load_revoked: named(
                "SELECT digest, issued_at_or_before, until, at, spent::int::bigint \
                 FROM {schema}.revoked WHERE digest > $1 ORDER BY digest LIMIT $2",
            ),
            load_uses: named(
                "SELECT token, until, (held >= max_uses)::int::bigint FROM {schema}.uses \
                 WHERE token > $1 ORDER BY token LIMIT $2",
            ),
            record: named("SELECT {record} FROM {schema}.revoked WHERE digest = $1"),
            last_lift: named(
                "SELECT at, until, author, reason FROM {schema}.lifted WHERE digest = $1",
            ),
            issued: named(
                "SELECT body, false FROM {schema}.issued_tokens WHERE hash = $1 UNION ALL \
                 SELECT NULL, true WHERE pg_is_in_recovery()",
            ),
            // A digest is that of a subject or of a grant, so one of the two finds nothing.
            issued_of: named(
                "(SELECT body, false FROM {schema}.issued_tokens \
                 WHERE of_subject = $1 AND hash > $2 ORDER BY hash LIMIT $3) UNION ALL \
                 (SELECT body, false FROM {schema}.issued_tokens \
                 WHERE of_grant = $1 AND hash > $2 ORDER BY hash LIMIT $3) UNION ALL \
                 SELECT NULL, true WHERE pg_is_in_recovery()",
            ),
            records: named(
                "WITH seen AS MATERIALIZED (SELECT {record} FROM {schema}.revoked WHERE digest > $1 \
                 ORDER BY digest LIMIT $2) \
                 SELECT found.*, (SELECT count(*) FROM seen), \
                 (SELECT digest FROM seen ORDER BY digest DESC LIMIT 1) \
                 FROM (SELECT 1) AS always LEFT JOIN LATERAL \
                 (SELECT * FROM seen WHERE ($3::text IS NULL OR reason = $3) \
                 AND ($4::bigint IS NULL OR at >= $4) ORDER BY digest LIMIT $5) found ON true \
                 ORDER BY found.digest",
            ),
        }
    }
}
