//! Reads: look-ups, the feed, a full load, records. Each is one statement, and so reads one
//! snapshot at any isolation level that a session of the user's pool may have.

use sqlx::{
    Postgres as Driver, Row,
    postgres::{PgArguments, PgRow},
    query::Query,
};
use tower_revoke_core::{
    KeyDigest, Listed, RecordFilter, RevocationRecord, internal::merge::Lifted,
};

use super::database::Postgres;
use crate::{
    backend::{Digest, Feed, Reader, Revoked, Used, Window},
    columns::{self, Columns},
    error::Failure,
    issued::Hash,
    value::{secs, written},
};

impl Reader for Postgres {
    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, Failure> {
        let digests: Vec<&[u8]> = keys.iter().map(|key| &key.as_bytes()[..]).collect();
        let query = sqlx::query(&self.statements.look_up).bind(digests);
        let rows = self.fresh(query, |row| Ok(row.number(0)? == 2)).await?;
        columns::answers(keys, &rows)
    }

    async fn feed(&self, after: i64, at_most: usize) -> Result<Feed, Failure> {
        let query = sqlx::query(&self.statements.feed).bind(after);
        let is_standby = |row: &PgRow| Ok(row.try_get(13)?);
        let rows = self.fresh(query.bind(limit(at_most)), is_standby).await?;
        columns::feed(&rows)
    }

    async fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> Result<Vec<Revoked>, Failure> {
        let rows = self.page(&self.statements.load_revoked, after, at_most);
        rows.await?.iter().map(columns::revoked).collect()
    }

    async fn uses(&self, after: Option<Digest>, at_most: usize) -> Result<Vec<Used>, Failure> {
        let rows = self.page(&self.statements.load_uses, after, at_most);
        rows.await?.iter().map(columns::used).collect()
    }

    async fn record(&self, key: &KeyDigest) -> Result<Option<RevocationRecord>, Failure> {
        let row = self.row(&self.statements.record, key).await?;
        row.map(|row| columns::record(&row)).transpose()
    }

    async fn last_lift(&self, key: &KeyDigest) -> Result<Option<Lifted>, Failure> {
        let row = self.row(&self.statements.last_lift, key).await?;
        row.map(|row| columns::lifted(&row, 0)).transpose()
    }

    async fn records(
        &self,
        filter: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> Result<Window, Failure> {
        let rows = sqlx::query(&self.statements.records)
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
        let query = sqlx::query(&self.statements.issued).bind(&hash[..]);
        Ok(self.bodies(query).await?.pop())
    }

    async fn issued_of(
        &self,
        holder: &Digest,
        after: Option<Hash>,
        at_most: usize,
    ) -> Result<Vec<String>, Failure> {
        let after = after.as_ref().map_or(&[][..], |after| after);
        let query = sqlx::query(&self.statements.issued_of).bind(&holder[..]);
        self.bodies(query.bind(after).bind(limit(at_most))).await
    }

    fn readers(&self) -> u32 {
        self.pool.options().get_max_connections()
    }
}

impl Postgres {
    /// Returns the rows of a read by which callers judge how fresh their knowledge is. Fails if a
    /// row shows that the server is a standby, which may lag. The connection is then closed, since
    /// another one may lead to the primary.
    async fn fresh(
        &self,
        query: Query<'_, Driver, PgArguments>,
        is_standby: impl Fn(&PgRow) -> Result<bool, Failure>,
    ) -> Result<Vec<PgRow>, Failure> {
        let mut link = self.pool.acquire().await?;
        let rows = query.fetch_all(&mut *link).await?;
        for row in &rows {
            if is_standby(row)? {
                link.close_on_drop();
                return Err(Failure::ReadOnly);
            }
        }
        Ok(rows)
    }

    async fn bodies(&self, query: Query<'_, Driver, PgArguments>) -> Result<Vec<String>, Failure> {
        let rows = self.fresh(query, |row| Ok(row.try_get(1)?)).await?;
        rows.iter().map(columns::body).collect()
    }

    async fn row(&self, statement: &str, key: &KeyDigest) -> Result<Option<PgRow>, Failure> {
        let row = sqlx::query(statement).bind(&key.as_bytes()[..]);
        Ok(row.fetch_optional(&self.pool).await?)
    }

    async fn page(
        &self,
        statement: &str,
        after: Option<Digest>,
        at_most: usize,
    ) -> Result<Vec<PgRow>, Failure> {
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
