//! Records for operators: revocations with their details, by expiry, and lifts.

use redis::{Cmd, cmd};
use tower_revoke_core::{
    Cursor, KeyDigest, LiftRecord, Listed, RecordFilter, RecordPage, RevocationKey,
    RevocationRecord, StoreError,
};

use crate::{
    client::Request,
    cursor::{IndexPosition, Position},
    error::malformed,
    feed::Row,
    inner::Inner,
    value::bytes,
    wire::{Details, lift, listed},
};

/// Keys in one read while a filter is applied.
const PAGE: usize = 1024;

impl Inner {
    pub(crate) async fn records(
        &self,
        wanted: &RecordFilter,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<RecordPage, StoreError> {
        let tags = self.keys.len();
        let mut position = match after.map(|cursor| Position::decode(cursor, &self.id, tags)) {
            None => IndexPosition::default(),
            Some(Ok(Position::Records(position))) => position,
            Some(_) => return Err(StoreError::ForeignCursor),
        };
        if let Some(key) = wanted.only_key() {
            let found = if after.is_none() {
                self.one(*key).await?
            } else {
                None
            };
            let records = found.filter(|record| wanted.wants(record));
            return Ok(RecordPage {
                records: records.into_iter().collect(),
                next: None,
            });
        }
        let mut records = Vec::new();
        loop {
            // No more than fit, since the page ends at the position after the last one read.
            let room = PAGE.min(at_most - records.len());
            let (rows, end) = self.page(&position, "records", room).await?;
            for row in rows {
                let record = record(&row).ok_or_else(malformed)?;
                records.extend(Some(record).filter(|record| wanted.wants(record)));
            }
            position = match end {
                Some(position) => position,
                None if position.tag + 1 < tags => IndexPosition {
                    tag: position.tag + 1,
                    ..IndexPosition::default()
                },
                None => {
                    return Ok(RecordPage {
                        records,
                        next: None,
                    });
                }
            };
            if records.len() == at_most {
                let next = Some(Position::Records(position).encode(&self.id));
                return Ok(RecordPage { records, next });
            }
        }
    }

    /// Returns the last lift of a key.
    pub(crate) async fn last_lift(
        &self,
        key: &KeyDigest,
    ) -> Result<Option<LiftRecord>, StoreError> {
        let tag = self.tag(key);
        let get = Request::read(hget(&self.keys[tag].lifted, key));
        let value = self.or_error(self.client.ask(tag, &get).await).await?;
        let value = Some(bytes(&value)).filter(|value| !value.is_empty());
        value
            .map(|value| lift(value).ok_or_else(malformed))
            .transpose()
    }

    async fn one(&self, key: KeyDigest) -> Result<Option<RevocationRecord>, StoreError> {
        let tag = self.tag(&key);
        let keys = &self.keys[tag];
        let get = [hget(&keys.listed, &key), hget(&keys.details, &key)];
        let answers = self.or_error(self.client.each(tag, get).await).await?;
        let [value, details] = answers.as_slice() else {
            return Err(malformed());
        };
        if bytes(value).is_empty() {
            return Ok(None);
        }
        let row = Row {
            key,
            value: bytes(value).to_vec(),
            details: bytes(details).to_vec(),
        };
        record(&row).ok_or_else(malformed).map(Some)
    }
}

fn hget(hash: &str, key: &KeyDigest) -> Cmd {
    let mut get = cmd("HGET");
    get.arg(hash).arg(&key.as_bytes()[..]);
    get
}

fn record(row: &Row) -> Option<RevocationRecord> {
    let (listed, at) = listed(&row.value)?;
    let details = Details::decode(&row.details);
    Some(RevocationRecord {
        digest: row.key,
        key: match listed {
            Listed::Rule { .. } => details.rule,
            _ => Some(RevocationKey::Token(row.key.as_token())),
        },
        listed,
        at,
        by: details.by,
        reason: details.reason,
    })
}
