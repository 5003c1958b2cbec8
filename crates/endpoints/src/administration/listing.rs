//! What a store says of a subject.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tower_revoke_core::{
    BoxFuture, IssuedToken, IssuedTokenStore, KeyDigest, Listed, RecordFilter, Records,
    RevocationKey, Store, StoreError, UnixTime, retention::has_ended,
};

use super::{Kind, Target};
use crate::issued::{each_token, later};

/// A [`Store`] as a trait object.
pub(super) trait AnyStore: Send + Sync {
    fn records(&self) -> Option<&dyn Records>;

    fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore>;

    fn look_up<'a>(
        &'a self,
        keys: &'a [KeyDigest],
    ) -> BoxFuture<'a, Result<Vec<Option<Listed>>, StoreError>>;
}

impl<S: Store> AnyStore for S {
    fn records(&self) -> Option<&dyn Records> {
        Store::records(self)
    }

    fn issued_tokens(&self) -> Option<&dyn IssuedTokenStore> {
        Store::issued_tokens(self)
    }

    fn look_up<'a>(
        &'a self,
        keys: &'a [KeyDigest],
    ) -> BoxFuture<'a, Result<Vec<Option<Listed>>, StoreError>> {
        Box::pin(Store::look_up(self, keys))
    }
}

/// What the tokens of a grant or session have in common.
#[derive(Default)]
struct Group {
    clients: BTreeSet<String>,
    tokens: usize,
    /// The latest.
    issued_at: Option<UnixTime>,
    /// The latest. `None` until there is a token; `Some(None)` if one never expires.
    expires_at: Option<Option<UnixTime>>,
}

impl Group {
    fn add(&mut self, token: &IssuedToken) {
        self.clients.insert(token.client.clone());
        self.tokens += 1;
        self.issued_at = self.issued_at.max(Some(token.issued_at));
        self.expires_at = Some(later(self.expires_at, token.expires_at));
    }

    /// `listed` is what is listed under the keys that concern all tokens.
    fn describe(&self, kind: Kind, name: &str, mut listed: impl Iterator<Item = Listed>) -> Value {
        let is_revoked = listed.any(|listed| match listed {
            Listed::Rule {
                issued_at_or_before,
                ..
            } => Some(issued_at_or_before) >= self.issued_at,
            _ => false,
        });
        let expires_at = self.expires_at.flatten().map(UnixTime::as_secs);
        let mut group = json!({
            "clients": self.clients, "tokens": self.tokens, "issued_at": self.issued_at.map(UnixTime::as_secs),
            "expires_at": expires_at, "revoked": is_revoked,
        });
        group[kind.name()] = name.into();
        group
    }
}

/// Lists a subject.
pub(super) async fn listing(
    store: Option<&dyn AnyStore>,
    target: &Target,
    now: UnixTime,
) -> Result<Value, StoreError> {
    let Target { issuer, value, .. } = target;
    let subject = RevocationKey::subject(issuer, value);
    let mut answer = json!({ "issuer": issuer, "subject": value, "revoked": null });
    let Some(store) = store else {
        return Ok(answer);
    };
    if let Some(records) = store.records() {
        let filter = RecordFilter::all().key(subject.clone());
        let page = records.page(&filter, None, 1).await?;
        answer["revoked"] = page.records.first().map_or(Value::Null, |record| {
            let time = match record.listed {
                Listed::Rule {
                    issued_at_or_before,
                    ..
                } => Some(issued_at_or_before.as_secs()),
                _ => None,
            };
            json!({
                "at": record.at.as_secs(), "by": record.by, "reason": record.reason,
                "issued_at_or_before": time,
            })
        });
    }
    let Some(issued) = store.issued_tokens() else {
        return Ok(answer);
    };
    let mut groups = BTreeMap::<(Kind, String), Group>::new();
    let is_complete = each_token(issued, &subject.digest(), |token| {
        if has_ended(token.expires_at, now) {
            return;
        }
        for (kind, name) in [(Kind::Grant, &token.grant), (Kind::Session, &token.session)] {
            if let Some(name) = name {
                groups.entry((kind, name.clone())).or_default().add(token);
            }
        }
    })
    .await?;
    answer["is_complete"] = is_complete.into();
    let mut keys = vec![RevocationKey::issuer(issuer).digest(), subject.digest()];
    let of_groups = groups.keys().map(|(kind, name)| kind.key(issuer, name));
    keys.extend(of_groups.map(|key| key.digest()));
    let listed = store.look_up(&keys).await?;
    let (of_all, of_groups) = listed.split_at_checked(2).unwrap_or_default();
    for (kind, member) in [(Kind::Grant, "grants"), (Kind::Session, "sessions")] {
        let groups = groups.iter().zip(of_groups);
        let groups = groups.filter(|(((of, _), _), _)| *of == kind);
        let groups = groups.map(|(((_, name), group), own)| {
            let listed = of_all.iter().chain([own]).copied().flatten();
            group.describe(kind, name, listed)
        });
        answer[member] = groups.collect();
    }
    Ok(answer)
}
