//! Reads: look-ups, the feed, a full load, records. Each is one statement, and so reads one
//! snapshot. In WAL mode no read waits for a writer.

use sqlx::{Row, sqlite::SqliteRow};
use tower_revoke_core::{
    KeyDigest, Listed, RecordFilter, RevocationRecord, internal::merge::Lifted,
};

use super::database::Sqlite;
use crate::{
    backend::{Digest, Feed, Reader, Revoked, Used, Window},
    columns,
    error::Failure,
    issued::Hash,
    value::{secs, written},
};

/// The number of keys that one statement looks up. A token rarely has more.
const KEYS: usize = 8;

const LOOK_UP: &str = "\
    SELECT spent, digest, issued_at_or_before, until FROM revoked \
    WHERE digest IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
    UNION ALL SELECT 1, token, NULL, until FROM uses \
    WHERE token IN (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) AND held >= max_uses";

/// The join returns the state even if there are no events. A row can hold several events under the
/// number of the last, but never more than a page. Numbers have no gaps, so this range includes the
/// next row if there is one.
const FEED: &str = "\
    SELECT s.id, s.seq, s.mark, s.trimmed, s.trimmed_mark, \
    (SELECT mark FROM events WHERE seq = ?1), \
    e.seq, e.mark, e.what, e.digests, e.issued_at_or_before, e.untils, e.at \
    FROM store s LEFT JOIN events e ON e.seq > ?1 AND e.seq <= ?1 + ?2 ORDER BY e.seq";

const RECORD: &str = "\
    SELECT digest, issued_at_or_before, until, at, spent, issuer, claim, value, author, reason \
    FROM revoked WHERE digest = ?1";

const LIFTED: &str = "SELECT at, until, author, reason FROM lifted WHERE digest = ?1";

const RECORDS: &str = "\
    WITH seen AS MATERIALIZED \
    (SELECT * FROM revoked WHERE digest > ?1 ORDER BY digest LIMIT ?2) \
    SELECT w.digest, w.issued_at_or_before, w.until, w.at, w.spent, w.issuer, w.claim, w.value, \
    w.author, w.reason, (SELECT count(*) FROM seen), (SELECT max(digest) FROM seen) \
    FROM (SELECT 1) LEFT JOIN \
    (SELECT * FROM seen WHERE (?3 IS NULL OR reason = ?3) AND (?4 IS NULL OR at >= ?4) \
    ORDER BY digest LIMIT ?5) w ON true \
    ORDER BY w.digest";

const REVOKED: &str = "SELECT digest, issued_at_or_before, until, at, spent FROM revoked \
                       WHERE digest > ? ORDER BY digest LIMIT ?";

const USES: &str = "SELECT token, until, held >= max_uses FROM uses \
                    WHERE token > ? ORDER BY token LIMIT ?";

const ISSUED: &str = "SELECT body FROM issued_tokens WHERE hash = ?1";

/// A digest is that of a subject or of a grant, so one of the two finds nothing.
const ISSUED_OF: &str = "\
    SELECT * FROM (SELECT body FROM issued_tokens \
    WHERE of_subject = ?1 AND hash > ?2 ORDER BY hash LIMIT ?3) UNION ALL \
    SELECT * FROM (SELECT body FROM issued_tokens \
    WHERE of_grant = ?1 AND hash > ?2 ORDER BY hash LIMIT ?3)";

impl Reader for Sqlite {
    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, Failure> {
        let mut rows = Vec::new();
        for some in keys.chunks(KEYS) {
            let mut query = sqlx::query(LOOK_UP);
            for key in some {
                query = query.bind(&key.as_bytes()[..]);
            }
            rows.append(&mut query.fetch_all(&self.pool).await?);
        }
        columns::answers(keys, &rows)
    }

    async fn feed(&self, after: i64, at_most: usize) -> Result<Feed, Failure> {
        let query = sqlx::query(FEED).bind(after).bind(limit(at_most));
        columns::feed(&query.fetch_all(&self.pool).await?)
    }

    async fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> Result<Vec<Revoked>, Failure> {
        let rows = self.page(REVOKED, after, at_most).await?;
        rows.iter().map(columns::revoked).collect()
    }

    async fn uses(&self, after: Option<Digest>, at_most: usize) -> Result<Vec<Used>, Failure> {
        let rows = self.page(USES, after, at_most).await?;
        rows.iter().map(columns::used).collect()
    }

    async fn record(&self, key: &KeyDigest) -> Result<Option<RevocationRecord>, Failure> {
        let row = self.row(RECORD, key).await?;
        row.map(|row| columns::record(&row)).transpose()
    }

    async fn last_lift(&self, key: &KeyDigest) -> Result<Option<Lifted>, Failure> {
        let row = self.row(LIFTED, key).await?;
        row.map(|row| columns::lifted(&row, 0)).transpose()
    }

    async fn records(
        &self,
        filter: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> Result<Window, Failure> {
        let rows = sqlx::query(RECORDS)
            .bind(behind(&after))
            .bind(limit(window))
            .bind(filter.only_reason().map(written))
            .bind(filter.earliest().map(secs))
            .bind(limit(at_most))
            .fetch_all(&self.pool)
            .await?;
        columns::window(&rows, limit(window))
    }

    async fn issued(&self, hash: &Hash) -> Result<Option<String>, Failure> {
        let row = sqlx::query(ISSUED).bind(&hash[..]);
        let row = row.fetch_optional(&self.pool).await?;
        row.map(|row| columns::body(&row)).transpose()
    }

    async fn issued_of(
        &self,
        holder: &Digest,
        after: Option<Hash>,
        at_most: usize,
    ) -> Result<Vec<String>, Failure> {
        let after = after.as_ref().map_or(&[][..], |after| after);
        let query = sqlx::query(ISSUED_OF).bind(&holder[..]).bind(after);
        let rows = query.bind(limit(at_most)).fetch_all(&self.pool).await?;
        rows.iter().map(columns::body).collect()
    }

    fn readers(&self) -> u32 {
        self.pool.options().get_max_connections()
    }
}

impl Sqlite {
    pub(super) async fn last_event(&self) -> Result<i64, Failure> {
        let row = sqlx::query("SELECT seq FROM store");
        Ok(row.fetch_one(&self.pool).await?.try_get(0)?)
    }

    async fn row(&self, statement: &str, key: &KeyDigest) -> Result<Option<SqliteRow>, Failure> {
        let row = sqlx::query(statement).bind(&key.as_bytes()[..]);
        Ok(row.fetch_optional(&self.pool).await?)
    }

    async fn page(
        &self,
        statement: &str,
        after: Option<Digest>,
        at_most: usize,
    ) -> Result<Vec<SqliteRow>, Failure> {
        let query = sqlx::query(statement).bind(behind(&after));
        Ok(query.bind(limit(at_most)).fetch_all(&self.pool).await?)
    }
}

/// Returns the digest after which a page begins. The empty one sorts before all others.
fn behind(after: &Option<Digest>) -> &[u8] {
    after.as_ref().map_or(&[], |after| &after[..])
}

fn limit(at_most: usize) -> i64 {
    i64::try_from(at_most).unwrap_or(i64::MAX)
}
