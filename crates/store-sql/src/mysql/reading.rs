//! Reads: look-ups, the feed, a full load, records. No statement depends on the settings of its
//! session, such as `sql_mode` or the character set of results: texts are read as bytes, and the
//! outermost `LIMIT` overrides `sql_select_limit`.

use tower_revoke_core::{
    KeyDigest, Listed, RecordFilter, RevocationRecord, internal::merge::Lifted,
};

use super::{database::MySql, sql::literal};
use crate::{
    backend::{Digest, Feed, Reader, Revoked, Used, Window},
    batch::Tables,
    columns::{self, Columns},
    error::Failure,
    issued::Hash,
    text::IN_A_LIST,
    value::{secs, written},
};

/// No limit on the rows, also where the session sets `sql_select_limit`.
const ALL: &str = "LIMIT 18446744073709551615";

/// The columns of a record.
const RECORD: &str = "r.digest, r.issued_at_or_before, r.until, r.at, r.spent, \
                      CAST(r.issuer AS BINARY), CAST(r.claim AS BINARY), CAST(r.value AS BINARY), \
                      CAST(r.author AS BINARY), CAST(r.reason AS BINARY)";

impl Reader for MySql {
    async fn look_up(&self, keys: &[KeyDigest]) -> Result<Vec<Option<Listed>>, Failure> {
        let Tables { revoked, uses, .. } = &self.tables;
        let mut rows = Vec::new();
        for some in keys.chunks(IN_A_LIST) {
            let list: Vec<_> = some.iter().map(|key| literal(key.as_bytes())).collect();
            let list = list.join(",");
            let statement = format!(
                "SELECT spent, digest, issued_at_or_before, until FROM {revoked} \
                 FORCE INDEX (PRIMARY) WHERE digest IN ({list}) UNION ALL \
                 SELECT 1, token, NULL, until FROM {uses} FORCE INDEX (PRIMARY) \
                 WHERE token IN ({list}) AND held >= max_uses {ALL}"
            );
            rows.extend(self.rows(&statement).await?);
        }
        columns::answers(keys, &rows)
    }

    async fn feed(&self, after: i64, at_most: usize) -> Result<Feed, Failure> {
        let Tables { store, events, .. } = &self.tables;
        // LEFT JOIN: the state is returned even if there are no events. A row can hold several events
        // under the number of the last, but never more than a page. Numbers have no gaps, so this
        // range includes the next row if there is one.
        let last = after.saturating_add_unsigned(at_most as u64);
        let statement = format!(
            "SELECT s.id, s.seq, s.mark, s.trimmed, s.trimmed_mark, \
             (SELECT seen.mark FROM {events} seen WHERE seen.seq = {after}), \
             e.seq, e.mark, e.what, e.digests, e.issued_at_or_before, e.untils, e.at \
             FROM {store} s LEFT JOIN {events} e ON e.seq > {after} AND e.seq <= {last} \
             ORDER BY e.seq {ALL}"
        );
        columns::feed(&self.rows(&statement).await?)
    }

    async fn revoked(
        &self,
        after: Option<Digest>,
        at_most: usize,
    ) -> Result<Vec<Revoked>, Failure> {
        let statement = format!(
            "SELECT digest, issued_at_or_before, until, at, spent FROM {} {} ORDER BY digest \
             LIMIT {at_most}",
            self.tables.revoked,
            behind("digest", after),
        );
        let rows = self.rows(&statement).await?;
        rows.iter().map(columns::revoked).collect()
    }

    async fn uses(&self, after: Option<Digest>, at_most: usize) -> Result<Vec<Used>, Failure> {
        let statement = format!(
            "SELECT token, until, held >= max_uses FROM {} {} ORDER BY token LIMIT {at_most}",
            self.tables.uses,
            behind("token", after),
        );
        let rows = self.rows(&statement).await?;
        rows.iter().map(columns::used).collect()
    }

    async fn record(&self, key: &KeyDigest) -> Result<Option<RevocationRecord>, Failure> {
        let statement = format!(
            "SELECT {RECORD} FROM {} r WHERE r.digest = {} {ALL}",
            self.tables.revoked,
            literal(key.as_bytes())
        );
        let rows = self.rows(&statement).await?;
        rows.first().map(columns::record).transpose()
    }

    async fn last_lift(&self, key: &KeyDigest) -> Result<Option<Lifted>, Failure> {
        let statement = format!(
            "SELECT at, until, CAST(author AS BINARY), CAST(reason AS BINARY) FROM {} \
             WHERE digest = {} {ALL}",
            self.tables.lifted,
            literal(key.as_bytes())
        );
        let rows = self.rows(&statement).await?;
        rows.first().map(|row| columns::lifted(row, 0)).transpose()
    }

    async fn records(
        &self,
        filter: &RecordFilter,
        after: Option<Digest>,
        window: usize,
        at_most: usize,
    ) -> Result<Window, Failure> {
        let mut conditions = String::new();
        if let Some(reason) = filter.only_reason() {
            let reason = literal(written(reason).as_bytes());
            // Compared as bytes: as texts, they would be equal if they differ only in trailing
            // spaces.
            conditions += &format!(" AND CAST(r.reason AS BINARY) = {reason}");
        }
        if let Some(earliest) = filter.earliest() {
            conditions += &format!(" AND r.at >= {}", secs(earliest));
        }
        let window = match conditions.is_empty() {
            true => window.min(at_most),
            false => window,
        };
        // LEFT JOIN: a row of the window that doesn't match is returned without its columns, to
        // show how far the window reaches.
        let table = &self.tables.revoked;
        let statement = format!(
            "SELECT {RECORD}, w.digest FROM \
             (SELECT digest FROM {table} {} ORDER BY digest LIMIT {window}) w \
             LEFT JOIN {table} r ON r.digest = w.digest{conditions} ORDER BY w.digest {ALL}",
            behind("digest", after),
        );
        let rows = self.rows(&statement).await?;
        let mut records = Vec::new();
        for row in &rows {
            if records.len() < at_most && row.bytes(0)?.is_some() {
                records.push(columns::record(row)?);
            }
        }
        let last = rows.last().filter(|_| rows.len() == window);
        let more_after = last.map(|row| row.digest(10)).transpose()?;
        Ok(Window {
            records,
            more_after,
        })
    }

    async fn issued(&self, hash: &Hash) -> Result<Option<String>, Failure> {
        let statement = format!(
            "SELECT CAST(body AS BINARY) FROM {} WHERE hash = {} {ALL}",
            self.tables.issued,
            literal(hash)
        );
        let rows = self.rows(&statement).await?;
        rows.first().map(columns::body).transpose()
    }

    async fn issued_of(
        &self,
        holder: &Digest,
        after: Option<Hash>,
        at_most: usize,
    ) -> Result<Vec<String>, Failure> {
        let after = after.map(|after| format!(" AND hash > {}", literal(&after)));
        let after = after.unwrap_or_default();
        // A digest is that of a subject or of a grant, so one of the two finds nothing.
        let [subject, grant] = ["of_subject", "of_grant"].map(|column| {
            let (table, holder) = (&self.tables.issued, literal(holder));
            format!(
                "(SELECT CAST(body AS BINARY) FROM {table} FORCE INDEX ({column}) \
                 WHERE {column} = {holder}{after} ORDER BY hash LIMIT {at_most})"
            )
        });
        let statement = format!("{subject} UNION ALL {grant} {ALL}");
        let rows = self.rows(&statement).await?;
        rows.iter().map(columns::body).collect()
    }

    fn readers(&self) -> u32 {
        self.pool.options().get_max_connections()
    }
}

fn behind(key: &str, after: Option<Digest>) -> String {
    after.map_or_else(String::new, |after| {
        format!("WHERE {key} > {}", literal(&after))
    })
}
