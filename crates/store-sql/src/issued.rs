//! Issued tokens: their rows, and the store of them.

use tower_revoke_core::{
    BoxFuture, Cursor, IssuedToken, IssuedTokenPage, IssuedTokenStore, KeyDigest, RevocationKey,
    StoreError, TokenHash,
};

use crate::{
    backend::{Backend, Digest},
    cursor::IssuedCursor,
    error::Failure,
    op::{Answer, Op},
    store::SqlStore,
    value::end,
};

/// The 32 bytes of the hash of a token.
pub(crate) type Hash = [u8; 32];

/// A row of the table `issued_tokens`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct IssuedRow {
    pub(crate) hash: Hash,
    /// The keys under which it is listed.
    pub(crate) subject: Option<Digest>,
    pub(crate) grant: Option<Digest>,
    pub(crate) until: Option<i64>,
    /// The whole token as JSON, in which NUL is escaped.
    pub(crate) body: String,
}

impl IssuedRow {
    fn new(token: &IssuedToken) -> Result<Self, Failure> {
        let digest = |key: RevocationKey| *key.digest().as_bytes();
        Ok(Self {
            hash: *token.hash.as_bytes(),
            subject: token.subject_key().map(digest),
            grant: token.grant_key().map(digest),
            until: end(token.retained_until()),
            body: serde_json::to_string(token).map_err(|_| Failure::Garbled("an issued token"))?,
        })
    }
}

fn read(body: &str) -> Result<IssuedToken, Failure> {
    serde_json::from_str(body).map_err(|_| Failure::Garbled("an issued token"))
}

/// Pages are ordered by hash.
impl<D: Backend> IssuedTokenStore for SqlStore<D> {
    fn insert<'a>(&'a self, token: &'a IssuedToken) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            let row = Box::new(IssuedRow::new(token)?);
            match self.inner().write(vec![Op::Issue(row)]).await? {
                Answer::Done => Ok(()),
                Answer::AlreadyIssued => Err(StoreError::AlreadyIssued),
                _ => Err(Failure::Garbled("an answer").into()),
            }
        })
    }

    fn find<'a>(
        &'a self,
        hash: &'a TokenHash,
    ) -> BoxFuture<'a, Result<Option<IssuedToken>, StoreError>> {
        Box::pin(async move {
            let inner = self.inner();
            let body = inner.read(|| inner.backend.issued(hash.as_bytes())).await?;
            Ok(body.map(|body| read(&body)).transpose()?)
        })
    }

    fn page_of<'a>(
        &'a self,
        holder: &'a KeyDigest,
        after: Option<&'a Cursor>,
        at_most: usize,
    ) -> BoxFuture<'a, Result<IssuedTokenPage, StoreError>> {
        Box::pin(async move {
            let inner = self.inner();
            let store = inner.id;
            let after = match after.map(IssuedCursor::read).transpose()? {
                Some(cursor) if cursor.store != store => return Err(StoreError::ForeignCursor),
                cursor => cursor.map(|cursor| cursor.last),
            };
            let at_most = at_most.clamp(1, 1_000);
            let bodies = inner
                // One more than the page holds, to know whether another page follows.
                .read(|| {
                    inner
                        .backend
                        .issued_of(holder.as_bytes(), after, at_most + 1)
                })
                .await?;
            let tokens: Result<Vec<_>, Failure> = bodies.iter().map(|body| read(body)).collect();
            let mut tokens = tokens?;
            let has_more = tokens.len() > at_most;
            tokens.truncate(at_most);
            let last = tokens.last().filter(|_| has_more);
            let next = last.map(|last| IssuedCursor {
                store,
                last: *last.hash.as_bytes(),
            });
            Ok(IssuedTokenPage {
                tokens,
                next: next.map(|next| next.write()),
            })
        })
    }
}
