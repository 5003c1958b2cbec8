//! Records for operators: revocations with their details, in the order of the partitioner.

use tower_revoke_core::{Cursor, KeyDigest, LiftRecord, RecordFilter, RecordPage, StoreError};

use crate::{
    cursor::{Position, ScanPosition},
    inner::Inner,
    scan::ALL,
};

impl Inner {
    pub(crate) async fn last_lift(
        &self,
        key: &KeyDigest,
    ) -> Result<Option<LiftRecord>, StoreError> {
        let found = self.revoked(self.client.deadline(), &[*key]).await?;
        Ok(found.into_iter().find_map(|(_, state)| state.last_lift()))
    }

    pub(crate) async fn records(
        &self,
        wanted: &RecordFilter,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<RecordPage, StoreError> {
        let start = match after {
            Some(after) => ScanPosition::read(after, &self.id)?,
            None => ScanPosition::default(),
        };
        let mut page = RecordPage::default();
        if let Some(key) = wanted.only_key() {
            let found = self.revoked(self.client.deadline(), &[*key]).await?;
            let records = found.iter().filter_map(|(key, state)| state.record(*key));
            if after.is_none() {
                page.records
                    .extend(records.filter(|record| wanted.wants(record)));
            }
            return Ok(page);
        }
        let mut position = Some(start);
        while let Some(mut from) = position {
            let (keys, next) = self
                .scan_revoked(self.client.deadline(), &ALL, &from)
                .await?;
            for (key, state) in keys {
                let record = state.record(key).filter(|record| wanted.wants(record));
                if record.is_some() && page.records.len() == at_most {
                    // There is one more: the next page begins in the middle of this one.
                    page.next = Some(from.write(&self.id));
                    return Ok(page);
                }
                page.records.extend(record);
                from.last = Some(*key.as_bytes());
            }
            position = next;
        }
        Ok(page)
    }
}
