//! What operators ask of a list: who is revoked, by whom and why; and all of it on paper.

mod import;
mod line;

use std::{fmt, sync::Arc};

use tower_revoke_core::{Cursor, Listed, RecordFilter, RevocationRecord, StoreError};

pub use self::import::ImportError;
pub(crate) use self::import::import;
use crate::shared::List;

/// How many records are asked for at once.
const PAGE: usize = 1_000;

/// What is known under one key; made by [`RevocationList::inspect`](crate::RevocationList::inspect).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Inspection {
    /// How the key is listed: what rejects the token, or the tokens that a rule concerns. `None`:
    /// it is not.
    pub listed: Option<Listed>,
    /// The revocation with all that was said about it. `None` if there is none (a token whose uses
    /// are gone was not revoked), or if the store keeps no records.
    pub record: Option<RevocationRecord>,
}

/// The revocations that are wanted, page by page; made by
/// [`RevocationList::records`](crate::RevocationList::records).
///
/// What is revoked or lifted while the pages are turned may be in them or not; everything else is
/// in them once.
#[must_use = "it asks nothing until a page is asked for"]
pub struct Pages {
    list: Arc<dyn List>,
    wanted: RecordFilter,
    next: Next,
}

enum Next {
    First,
    After(Cursor),
    Nothing,
}

impl Pages {
    pub(crate) fn new(list: Arc<dyn List>, wanted: RecordFilter) -> Self {
        Self {
            list,
            wanted,
            next: Next::First,
        }
    }

    /// The next revocations, at most 1,000 and at least one; `None` after the last.
    ///
    /// # Errors
    /// [`StoreError::Unsupported`] if the store keeps no records. After any other error the same
    /// page may be asked for again.
    pub async fn next_page(&mut self) -> Result<Option<Vec<RevocationRecord>>, StoreError> {
        loop {
            let after = match &self.next {
                Next::First => None,
                Next::After(cursor) => Some(cursor),
                Next::Nothing => return Ok(None),
            };
            let page = self.list.page(&self.wanted, after, PAGE).await?;
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
            .field("wanted", &self.wanted)
            .finish_non_exhaustive()
    }
}

/// The revocations that are wanted, as lines of JSON; made by
/// [`RevocationList::export`](crate::RevocationList::export), where the format is described.
#[must_use = "it asks nothing until lines are asked for"]
#[derive(Debug)]
pub struct Export(Pages);

impl Export {
    pub(crate) fn new(pages: Pages) -> Self {
        Self(pages)
    }

    /// The next lines, at most 1,000, each with its end (`\n`): ready to be written to a file.
    /// `None` after the last.
    ///
    /// # Errors
    /// As of [`Pages::next_page`].
    pub async fn next_lines(&mut self) -> Result<Option<String>, StoreError> {
        let Some(records) = self.0.next_page().await? else {
            return Ok(None);
        };
        let lines = records.iter().map(line::write);
        let lines: Result<String, _> = lines.collect();
        // Strings and numbers: nothing that JSON can't hold.
        lines
            .map(Some)
            .map_err(|error| StoreError::Unavailable(error.into()))
    }
}
