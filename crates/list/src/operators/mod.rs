//! Queries, export and import of revocations, for operators.

mod import;
mod line;

use std::{fmt, sync::Arc};

use tower_revoke_core::{
    Cursor, LiftRecord, Listed, RecordFilter, RevocationKey, RevocationRecord, StoreError,
};

pub use self::import::ImportError;
pub(crate) use self::import::import;
use crate::engine::AnyEngine;

/// The number of records of one page.
const PAGE: usize = 1_000;

/// The entries under one key. Returned by
/// [`RevocationList::inspect`](crate::RevocationList::inspect).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// How the key is listed. `None` if it is not.
    pub listed: Option<Listed>,
    /// The revocation, with its author and reason. `None` if the key is not revoked (it may be
    /// spent), or if the store keeps no records.
    pub record: Option<RevocationRecord>,
    /// The last lift of the key that the store remembers, with its author and reason. `None` if there
    /// is none, or if the store keeps no records.
    pub last_lift: Option<LiftRecord>,
}

pub(crate) async fn inspect(
    engine: &dyn AnyEngine,
    key: RevocationKey,
) -> Result<Inspection, StoreError> {
    let digest = key.digest();
    let listed = engine.look_up(digest).await?;
    let filter = RecordFilter::all().key(key);
    let page = supported(engine.page(&filter, None, 1).await)?.unwrap_or_default();
    Ok(Inspection {
        listed,
        record: page.records.into_iter().next(),
        last_lift: supported(engine.last_lift(&digest).await)?.flatten(),
    })
}

/// Returns `None` if the store keeps no records.
fn supported<T>(result: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(StoreError::Unsupported(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The revocations that a filter selects, page by page. Returned by
/// [`RevocationList::records`](crate::RevocationList::records).
///
/// A revocation that is made or lifted while the pages are read may or may not be returned. Every
/// other one is returned exactly once.
#[must_use = "it asks nothing until a page is asked for"]
pub struct Pages {
    engine: Arc<dyn AnyEngine>,
    filter: RecordFilter,
    next: Next,
}

enum Next {
    First,
    After(Cursor),
    Nothing,
}

impl Pages {
    pub(crate) fn new(engine: Arc<dyn AnyEngine>, filter: RecordFilter) -> Self {
        Self {
            engine,
            filter,
            next: Next::First,
        }
    }

    /// Returns the next revocations, at least one and at most 1,000. `None` after the last.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] if the store keeps no records. After any other error, the next
    /// call reads the same page again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<RevocationRecord>>, StoreError> {
        loop {
            let after = match &self.next {
                Next::First => None,
                Next::After(cursor) => Some(cursor),
                Next::Nothing => return Ok(None),
            };
            let page = self.engine.page(&self.filter, after, PAGE).await?;
            self.next = page.next.map_or(Next::Nothing, Next::After);
            if !page.records.is_empty() {
                return Ok(Some(page.records));
            }
        }
    }
}

impl fmt::Debug for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pages")
            .field("filter", &self.filter)
            .finish_non_exhaustive()
    }
}

/// The revocations that a filter selects, as lines of JSON. Returned by
/// [`RevocationList::export`](crate::RevocationList::export), which describes the format.
#[must_use = "it asks nothing until lines are asked for"]
#[derive(Debug)]
pub struct Export(Pages);

impl Export {
    pub(crate) fn new(pages: Pages) -> Self {
        Self(pages)
    }

    /// Returns the next lines, at most 1,000, each terminated by `\n`. `None` after the last.
    ///
    /// # Errors
    /// As for [`Pages::next_page`].
    pub async fn next_lines(&mut self) -> Result<Option<String>, StoreError> {
        let Some(records) = self.0.next_page().await? else {
            return Ok(None);
        };
        let lines = records.iter().map(line::write);
        let lines: Result<String, _> = lines.collect();
        // Strings and numbers always serialize, so this error is not expected.
        lines
            .map(Some)
            .map_err(|error| StoreError::Unavailable(error.into()))
    }
}
