//! Properties of opaque tokens: of the verifier, and of the rows that it reads.

use std::sync::OnceLock;

use futures_util::FutureExt;
use tower_revoke_core::{
    BearerToken, IssuedToken, IssuedTokenStore, TokenHash, TokenKind, TokenVerifier, UnixTime,
    VerifiedToken,
};
use tower_revoke_issued::{IssuedTokens, OpaqueTokenVerifier};
use tower_revoke_list::MemoryStore;

const ISSUER: &str = "https://id.example.com";
const ISSUED: &str = "acme_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

/// The first line is a token as it was presented, of which only the issued one is accepted. The rest
/// is a row.
pub(crate) fn opaque(input: &[u8]) {
    let line = input.iter().position(|byte| *byte == b'\n');
    let (token, row) = input.split_at(line.unwrap_or(input.len()));
    presented(token);
    if let Ok(row) = serde_json::from_slice::<IssuedToken>(row) {
        read(&row);
    }
}

fn presented(token: &[u8]) {
    static VERIFIER: OnceLock<OpaqueTokenVerifier> = OnceLock::new();
    let Some(token) = std::str::from_utf8(token).ok().map(BearerToken::new) else {
        return;
    };
    let Ok(token) = token else { return };
    let verifier = VERIFIER.get_or_init(verifier);
    let is_issued = token.as_str() == ISSUED;
    for _ in 0..2 {
        let verified = verifier.verify(&token).now_or_never();
        let verified = verified.expect("a store in memory answers at once");
        assert_eq!(verified.is_ok(), is_issued, "{}", token.as_str());
        let cached = verifier.verify_cached(&token);
        assert_eq!(cached.is_some_and(|cached| cached.is_ok()), is_issued);
    }
}

fn verifier() -> OpaqueTokenVerifier {
    let store = MemoryStore::new();
    let hash = TokenHash::of(ISSUED.as_bytes());
    let mut row = IssuedToken::new(hash, TokenKind::ACCESS, ISSUER, "shop", UnixTime::EPOCH);
    row.expires_at = Some(UnixTime::from_secs(u64::MAX));
    let inserted = store.insert(&row).now_or_never();
    inserted.expect("at once").expect("room for one token");
    let tokens = IssuedTokens::builder(ISSUER, store).prefix("acme_").build();
    let tokens = tokens.expect("an issuer and a prefix");
    let verifier = OpaqueTokenVerifier::builder(tokens).any_audience();
    verifier
        .without_revocations()
        .build()
        .expect("all settings")
}

/// Whatever further claims a row has, the claims are those of its fields, and all its keys end it.
fn read(row: &IssuedToken) {
    let Ok(claims) = row.to_claims() else { return };
    assert_eq!(claims.issuer(), Some(&*row.issuer));
    assert_eq!(claims.client(), Some(&*row.client));
    assert_eq!(claims.subject(), row.subject.as_deref());
    assert_eq!(claims.session(), row.session.as_deref());
    assert_eq!(claims.grant(), row.grant.as_deref());
    assert_eq!(claims.issued_at(), Some(row.issued_at));
    assert_eq!(claims.expires_at(), row.expires_at);
    assert_eq!(claims.not_before(), None);
    let mut audience = row.audience.iter();
    assert!(audience.all(|audience| claims.has_audience(audience)));
    let scopes = row.scopes.iter().flat_map(|scope| scope.split(' '));
    assert!(claims.scopes().eq(scopes.filter(|scope| !scope.is_empty())));
    let token = VerifiedToken::of_issued(row, std::time::Duration::ZERO);
    let token = token.expect("its claims were read before");
    let own = [row.subject_key(), row.grant_key()];
    let own = own.into_iter().flatten().map(|key| key.digest());
    for key in own.chain(row.keys.iter().copied()) {
        assert!(token.keys().contains(&key), "{key:?}");
    }
}
