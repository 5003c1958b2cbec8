//! Issued tokens: a row under the hash of each token, and sorted sets of hashes by holder.

use futures_util::future::try_join_all;
use redis::{Cmd, cmd};
use tower_revoke_core::{Cursor, IssuedToken, IssuedTokenPage, KeyDigest, StoreError, TokenHash};

use crate::{
    client::Request,
    cursor::Position,
    error::{Failure, malformed},
    inner::Inner,
    scripts::{SCRIPTS, tag_of},
    value::{bytes, list, number},
    wire::score,
};

/// Rows in one read.
const PAGE: usize = 1_024;

impl Inner {
    /// Stores a token, and then lists it: only what is acknowledged must be listed.
    pub(crate) async fn issue(&self, token: &IssuedToken) -> Result<(), StoreError> {
        let row = serde_json::to_vec(token).map_err(|_| malformed())?;
        let tag = self.tag_of_hash(&token.hash);
        let of = &self.keys[tag];
        let mut call = SCRIPTS.issue.on(&[&of.issued, &of.issued_index]);
        call.arg(score(token.retained_until()))
            .arg(&token.hash.as_bytes()[..])
            .arg(row);
        // Repeated, it would find its own row.
        let request = Request::write(call).once();
        let answer = self.client.ask(tag, &request).await;
        match number(&self.or_error(answer).await?) {
            Some(1) => {}
            Some(0) => return Err(StoreError::AlreadyIssued),
            _ => return Err(malformed()),
        }
        let listed = token.holders().map(|holder| async move {
            let tag = self.tag(&holder);
            let of = &self.keys[tag];
            let mut call = SCRIPTS.hold.on(&[&of.holders, &of.holders_index]);
            call.arg(score(token.retained_until()))
                .arg(place(&holder, token.hash.as_bytes()));
            self.client.ask(tag, &Request::write(call)).await
        });
        self.or_error(try_join_all(listed).await).await.map(drop)
    }

    /// Returns the rows under these hashes, in their order.
    pub(crate) async fn issued(
        &self,
        hashes: &[TokenHash],
    ) -> Result<Vec<Option<IssuedToken>>, StoreError> {
        let mut by_tag = vec![Vec::new(); self.keys.len()];
        for (at, hash) in hashes.iter().enumerate() {
            by_tag[self.tag_of_hash(hash)].push((at, hash));
        }
        let asked = by_tag
            .iter()
            .enumerate()
            .filter(|(_, wanted)| !wanted.is_empty());
        let asked = asked.map(|(tag, wanted)| async move {
            let of = &self.keys[tag];
            let mut get = cmd("HMGET");
            get.arg(&of.issued);
            for (_, hash) in wanted {
                get.arg(&hash.as_bytes()[..]);
            }
            let answers = self.client.each(tag, [get, self.guard(tag)]).await?;
            Ok::<_, Failure>((wanted, answers))
        });
        let mut found = vec![None; hashes.len()];
        for (wanted, answers) in self.or_error(try_join_all(asked).await).await? {
            let rows = answers.first().map(list).unwrap_or_default();
            if rows.len() != wanted.len() {
                return Err(malformed());
            }
            for ((at, _), row) in wanted.iter().zip(rows) {
                let row = Some(bytes(row)).filter(|row| !row.is_empty());
                let row = row.map(serde_json::from_slice).transpose();
                found[*at] = row.map_err(|_| malformed())?;
            }
        }
        Ok(found)
    }

    /// Returns a page of a holder's tokens, in the order of their hashes.
    pub(crate) async fn issued_to(
        &self,
        holder: &KeyDigest,
        after: Option<&Cursor>,
        at_most: usize,
    ) -> Result<IssuedTokenPage, StoreError> {
        let tags = self.keys.len();
        let mut last = match after.map(|cursor| Position::decode(cursor, &self.id, tags)) {
            None => None,
            Some(Ok(Position::Issued(last))) => Some(TokenHash::from_bytes(last)),
            Some(_) => return Err(StoreError::ForeignCursor),
        };
        let mut page = IssuedTokenPage::default();
        loop {
            let room = PAGE.min(at_most - page.tokens.len());
            let hashes = self.held_after(holder, last, room).await?;
            // One that is being purged has a place, and no row.
            let rows = self.issued(&hashes).await?;
            page.tokens.extend(rows.into_iter().flatten());
            last = hashes.last().copied().or(last);
            if hashes.len() < room {
                return Ok(page);
            }
            if page.tokens.len() == at_most {
                let last = last.map(|last| Position::Issued(*last.as_bytes()));
                page.next = last.map(|last| last.encode(&self.id));
                return Ok(page);
            }
        }
    }

    async fn held_after(
        &self,
        holder: &KeyDigest,
        last: Option<TokenHash>,
        at_most: usize,
    ) -> Result<Vec<TokenHash>, StoreError> {
        let tag = self.tag(holder);
        let from = match last {
            Some(last) => [b"(", &place(holder, last.as_bytes())[..]].concat(),
            None => [b"[", &holder.as_bytes()[..]].concat(),
        };
        let to = [b"[", &place(holder, &[0xff; 32])[..]].concat();
        let mut read = cmd("ZRANGEBYLEX");
        read.arg(&self.keys[tag].holders).arg(from).arg(to);
        read.arg("LIMIT").arg(0).arg(at_most);
        let answers = self.client.each(tag, [read, self.guard(tag)]).await;
        let answers = self.or_error(answers).await?;
        let places = answers.first().map(list).unwrap_or_default();
        let hashes = places.iter().map(|place| {
            let hash = bytes(place).get(16..).unwrap_or_default().try_into();
            hash.map(TokenHash::from_bytes).map_err(|_| malformed())
        });
        hashes.collect()
    }

    fn tag_of_hash(&self, hash: &TokenHash) -> usize {
        tag_of(hash.as_bytes()[0], self.keys.len())
    }

    /// A command that fails unless the server takes writes.
    fn guard(&self, tag: usize) -> Cmd {
        SCRIPTS.takes_writes.on(&[&self.keys[tag].meta])
    }
}

/// The place of a token among those of its holder.
fn place(holder: &KeyDigest, hash: &[u8; 32]) -> Vec<u8> {
    [&holder.as_bytes()[..], hash].concat()
}
