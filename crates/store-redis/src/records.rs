//! What operators ask: revocations with all that was said about them, by their ends.

use tower_revoke_core::{
    Cursor, KeyDigest, Listed, Record, RecordFilter, RecordPage, RevocationKey, StoreError,
};

use crate::{
    cursor::{Mark, Place},
    error::garbled,
    feed::Row,
    inner::Inner,
    scripts::tag_of,
    value::bytes,
    wire::{Said, listed},
};

/// Keys that are read at once while somebody looks for a few that are wanted.
const PAGE: usize = 1024;

impl Inner {
    pub(crate) async fn records(
        &self,
        wanted: &RecordFilter,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<RecordPage, StoreError> {
        let tags = self.keys.len();
        let mut place = match after.map(|cursor| Mark::decode(cursor, &self.id, tags)) {
            None => Place::default(),
            Some(Ok(Mark::Records(place))) => place,
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
            let keys = &self.keys[place.tag];
            // No more than fit: the place after the last is the place of the page.
            let room = PAGE.min(at_most - records.len());
            let of = [keys.listed_index.as_str(), &keys.listed, &keys.details];
            let page = self.page(&place, &of, room).await;
            let (rows, end) = self.or_error(page).await?;
            for row in rows {
                let record = record(&row).ok_or_else(garbled)?;
                records.extend(Some(record).filter(|record| wanted.wants(record)));
            }
            place = match end {
                Some(place) => place,
                None if place.tag + 1 < tags => Place {
                    tag: place.tag + 1,
                    ..Place::default()
                },
                None => {
                    return Ok(RecordPage {
                        records,
                        next: None,
                    });
                }
            };
            if records.len() == at_most {
                let next = Some(Mark::Records(place).encode(&self.id));
                return Ok(RecordPage { records, next });
            }
        }
    }

    async fn one(&self, key: KeyDigest) -> Result<Option<Record>, StoreError> {
        let tag = tag_of(&key, self.keys.len());
        let keys = &self.keys[tag];
        let get = |hash: &str| {
            let mut get = redis::cmd("HGET");
            get.arg(hash).arg(&key.as_bytes()[..]);
            get
        };
        let asked = self
            .asker
            .each(tag, [get(&keys.listed), get(&keys.details)]);
        let answers = self.or_error(asked.await).await?;
        let [value, said] = answers.as_slice() else {
            return Err(garbled());
        };
        if bytes(value).is_empty() {
            return Ok(None);
        }
        let row = Row {
            key,
            value: bytes(value).to_vec(),
            said: bytes(said).to_vec(),
        };
        record(&row).ok_or_else(garbled).map(Some)
    }
}

fn record(row: &Row) -> Option<Record> {
    let (listed, at) = listed(&row.value)?;
    let said = Said::decode(&row.said);
    Some(Record {
        digest: row.key,
        key: match listed {
            Listed::Rule { .. } => said.rule,
            _ => Some(RevocationKey::Token(row.key.as_token())),
        },
        listed,
        at,
        by: said.by,
        reason: said.reason,
    })
}
