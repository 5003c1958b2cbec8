//! RFC 7009: which tokens are revoked, by whom, and the responses.

use std::{num::NonZeroU32, sync::Arc};

use http::{Method, header};
use http_body::Frame;
use tower::ServiceExt;
use tower_revoke_core::{
    BearerToken, BoxFuture, Lift, Reason, RecordFilter, Revocation, RevocationKey, Revocations,
    TokenId, TokenKind, TokenVerifier, Use, UseId, retention::MARGIN,
};
use tower_revoke_endpoints::{ResolveError, ResolvedToken, RevocationEndpoint, TokenResolver};
use tower_revoke_jwt::JwtVerifier;
use tower_revoke_list::{MemoryStore, RevocationList};
use tower_revoke_testing::{RecordedLog, TestIssuer};

use crate::support::{
    BANK, EXP, ISSUER, SHOP, Tokens, any_method, basic, call, endpoint, is_revoked, post,
};

#[tokio::test]
async fn a_client_revokes_its_token() {
    let (endpoint, list) = endpoint(any_method());
    let shop = basic("shop", SHOP);
    let answer = call(&endpoint, post(Some(&shop), "token=shop.1")).await;
    assert_eq!((answer.status.as_u16(), answer.body.is_null()), (200, true));
    assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    assert!(is_revoked(&list, "shop.1").await);
    assert!(!is_revoked(&list, "shop.2").await, "another token");
    let id = TokenId::of_jwt(ISSUER, "shop.1");
    let record = list.inspect(id).await.expect("an answer").record;
    let record = record.expect("a record");
    assert_eq!(record.by, "shop");
    assert_eq!(record.listed.until(), Some(EXP.saturating_add(MARGIN)));
}

/// RFC 7009 §2.2: an invalid token is no error.
#[tokio::test]
async fn rfc7009_2_2_an_invalid_token_is_answered_with_200() {
    let (endpoint, list) = endpoint(any_method());
    let shop = basic("shop", SHOP);
    for form in [
        "token=unknown",
        "token=%20%00",
        "token=shop.1",
        "token=shop.1",
    ] {
        let answer = call(&endpoint, post(Some(&shop), form)).await;
        assert_eq!(answer.status, 200, "{form}");
    }
    assert_eq!(list.count(RecordFilter::all()).await.expect("a count"), 1);
}

/// A token that is revoked by a rule is valid again once the rule is lifted, and one that is spent once
/// its use is returned: 200 says that it never is.
#[tokio::test]
async fn rfc7009_2_2_a_token_that_is_revoked_for_now_is_revoked_for_good() {
    let list = RevocationList::in_memory();
    let id = TestIssuer::new(ISSUER);
    let tokens = JwtVerifier::issuer(ISSUER)
        .any_audience()
        .jwks(id.jwks().to_string())
        .revocations(list.clone())
        .build()
        .expect("a verifier");
    let endpoint = RevocationEndpoint::new(list.clone(), any_method()).verifier(tokens.clone());
    let token = || id.token().subject("ann").claim("client_id", "shop").sign();
    let (ruled, spent) = (token(), token());
    let verified = async |token: &str| {
        let token = BearerToken::new(token).expect("a token");
        tokens.verify(&token).await
    };
    let caller = verified(&spent).await.expect("a valid token");
    let uses: Arc<dyn Revocations> = list.clone().into();
    let id_of_use = UseId::from_bytes([1; 16]);
    let use_ = Use::new(
        caller.token_id(),
        id_of_use,
        NonZeroU32::MIN,
        caller.expires_at(),
    );
    uses.clone().take_use(use_).await.expect("a use");
    let subject = RevocationKey::subject(ISSUER, "ann");
    let rule = Revocation::rule(subject.clone(), EXP).expect("a rule");
    let (shop, bank) = (basic("shop", SHOP), basic("bank", BANK));
    for (token, reason) in [(&spent, Reason::Spent), (&ruled, Reason::Revoked)] {
        if reason == Reason::Revoked {
            list.revoke(rule.clone()).await.expect("a revocation");
        }
        let rejected = verified(token).await.expect_err("a token of no use");
        assert_eq!(rejected.reason(), reason);
        let form = format!("token={token}");
        let rejected = call(&endpoint, post(Some(&bank), &form)).await;
        assert_eq!(rejected.error(), (400, "invalid_grant"));
        assert_eq!(call(&endpoint, post(Some(&shop), &form)).await.status, 200);
    }
    assert!(list.lift(Lift::new(subject)).await.expect("a lift"));
    assert!(uses.return_use(use_).await.expect("a return"));
    for token in [&ruled, &spent] {
        let rejected = verified(token).await.expect_err("a revoked token");
        assert_eq!(rejected.reason(), Reason::Revoked);
    }
    let later = id
        .token()
        .claim("client_id", "shop")
        .claim("nbf", 3_900_000_000_u64);
    let form = format!("token={}", later.sign());
    assert_eq!(call(&endpoint, post(Some(&shop), &form)).await.status, 503);
}

/// RFC 7009 §2.1: only the client that the token was issued to.
#[tokio::test]
async fn rfc7009_2_1_no_client_revokes_the_token_of_another() {
    let (endpoint, list) = endpoint(any_method());
    for (form, authorization) in [
        ("token=shop.1", Some(basic("bank", BANK))),
        ("token=bank.1", Some(basic("shop", SHOP))),
        ("token=shop.1&client_id=cli", None),
        ("token=.1", Some(basic("shop", SHOP))),
    ] {
        let answer = call(&endpoint, post(authorization.as_deref(), form)).await;
        assert_eq!(answer.error(), (400, "invalid_grant"), "{form}");
    }
    assert_eq!(list.count(RecordFilter::all()).await.expect("a count"), 0);
}

#[tokio::test]
async fn a_revoker_revokes_the_tokens_of_its_issuer_only() {
    let (endpoint, list) = endpoint(any_method());
    let request = || post(Some(&basic("bank", BANK)), "token=shop.1");
    let of_another = endpoint
        .clone()
        .revoker("https://other.example.com", "bank");
    let answer = call(&of_another, request()).await;
    assert_eq!(answer.error(), (400, "invalid_grant"));
    let answer = call(&endpoint.revoker(ISSUER, "bank"), request()).await;
    assert_eq!(answer.status, 200);
    assert!(is_revoked(&list, "shop.1").await);
}

#[tokio::test]
async fn rfc7009_2_1_the_hint_narrows_nothing() {
    let (endpoint, list) = endpoint(any_method());
    let shop = basic("shop", SHOP);
    let hints = ["access_token", "refresh_token", "saml2", ""];
    for (number, hint) in hints.into_iter().enumerate() {
        let form = format!("token=shop.{number}&token_type_hint={hint}");
        assert_eq!(call(&endpoint, post(Some(&shop), &form)).await.status, 200);
        assert!(is_revoked(&list, &format!("shop.{number}")).await, "{hint}");
    }
}

#[tokio::test]
async fn rfc7009_2_1_a_malformed_request_is_rejected() {
    let (endpoint, list) = endpoint(any_method());
    let shop = basic("shop", SHOP);
    for form in [
        "",
        "token=",
        "token",
        "tokens=shop.1",
        "token=shop.1&token=shop.1",
        "token=shop.1&token=shop.2",
    ] {
        let answer = call(&endpoint, post(Some(&shop), form)).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{form}");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
    }
    for media in [
        None,
        Some("application/json"),
        Some("application/x-www-form-urlencoded2"),
    ] {
        let mut request = post(Some(&shop), "token=shop.1");
        request.headers_mut().remove(header::CONTENT_TYPE);
        if let Some(media) = media {
            let media = media.parse().expect("a header value");
            request.headers_mut().insert(header::CONTENT_TYPE, media);
        }
        let answer = call(&endpoint, request).await;
        assert_eq!(answer.error(), (400, "invalid_request"), "{media:?}");
    }
    assert!(!is_revoked(&list, "shop.1").await);
}

#[tokio::test]
async fn the_media_type_may_have_parameters() {
    let (endpoint, _) = endpoint(any_method());
    let mut request = post(Some(&basic("shop", SHOP)), "token=shop.1");
    let media = "Application/X-WWW-Form-URLEncoded ; charset=UTF-8".parse();
    let media = media.expect("a header value");
    request.headers_mut().insert(header::CONTENT_TYPE, media);
    assert_eq!(call(&endpoint, request).await.status, 200);
}

#[tokio::test]
async fn rfc7009_2_1_only_post_is_allowed() {
    let (endpoint, list) = endpoint(any_method());
    for method in [Method::GET, Method::PUT, Method::OPTIONS, Method::DELETE] {
        let mut request = post(Some(&basic("shop", SHOP)), "token=shop.1");
        *request.method_mut() = method.clone();
        let answer = call(&endpoint, request).await;
        assert_eq!(answer.status, 405, "{method}");
        assert_eq!(answer.headers[header::ALLOW], "POST");
        let cors = "access-control-allow-origin";
        assert!(!answer.headers.contains_key(cors));
    }
    assert!(!is_revoked(&list, "shop.1").await);
}

#[tokio::test]
async fn a_body_over_16_kib_is_not_read() {
    let (endpoint, _) = endpoint(any_method());
    let shop = basic("shop", SHOP);
    let start = "token=shop.1&a=";
    let filled = |len: usize| format!("{start}{}", "b".repeat(len - start.len()));
    for (len, status) in [(16 * 1024, 200), (16 * 1024 + 1, 413)] {
        let answer = call(&endpoint, post(Some(&shop), &filled(len))).await;
        assert_eq!(answer.status, status, "{len}");
    }
    // A body without a length is cut off while it is read.
    let frame = || Ok::<_, std::io::Error>(Frame::data(bytes::Bytes::from_static(b"aaaa")));
    let frames = tokio_stream::iter(std::iter::repeat_with(frame));
    let body = http_body_util::StreamBody::new(frames);
    let request = post(Some(&shop), "").map(|_| body);
    let Ok(response) = endpoint.oneshot(request).await;
    assert_eq!(response.status(), 413);
}

/// RFC 7009 §2.2.1: the client must assume that the token still exists.
#[tokio::test]
async fn rfc7009_2_2_1_a_revocation_that_is_not_stored_is_answered_with_503() {
    let list = RevocationList::new(MemoryStore::new().capacity(0));
    let endpoint = RevocationEndpoint::new(list.clone(), any_method()).verifier(Tokens::of(&list));
    let answer = call(&endpoint, post(Some(&basic("shop", SHOP)), "token=shop.1")).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    assert_eq!(answer.headers[header::RETRY_AFTER], "1");
    assert!(!is_revoked(&list, "shop.1").await);
}

#[tokio::test]
async fn without_keys_the_answer_is_503_unless_another_resolver_knows_the_token() {
    let list = RevocationList::in_memory();
    let down = Tokens {
        list: list.clone(),
        is_down: true,
    };
    let shop = basic("shop", SHOP);
    let endpoint = RevocationEndpoint::new(list.clone(), any_method()).verifier(down);
    let answer = call(&endpoint, post(Some(&shop), "token=shop.1")).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
    let endpoint = endpoint.verifier(Tokens::of(&list));
    let answer = call(&endpoint, post(Some(&shop), "token=shop.1")).await;
    assert_eq!(answer.status, 200);
    let answer = call(&endpoint, post(Some(&shop), "token=unknown")).await;
    assert_eq!(answer.error(), (503, "temporarily_unavailable"));
}

/// Resolves `refresh-CLIENT` as the refresh token of a client, and `CLIENT.NUMBER` as an access token
/// with its grant.
struct WithGrants;

impl TokenResolver for WithGrants {
    fn resolve<'a>(
        &'a self,
        token: &'a BearerToken,
    ) -> BoxFuture<'a, Result<Option<ResolvedToken>, ResolveError>> {
        let text = token.as_str();
        let (client, kind) = match (text.strip_prefix("refresh-"), text.split_once('.')) {
            (Some(client), _) => (client, TokenKind::REFRESH),
            (None, Some((client, _))) => (client, TokenKind::ACCESS),
            _ => return Box::pin(std::future::ready(Ok(None))),
        };
        let grant = RevocationKey::grant(ISSUER, client);
        let grant = Revocation::of_grant(grant, Some(EXP)).expect("a rule");
        let resolved = ResolvedToken::new(ISSUER, TokenId::of_jwt(ISSUER, text), Some(EXP))
            .client(client)
            .kind(kind)
            .grant(grant);
        Box::pin(std::future::ready(Ok(Some(resolved))))
    }
}

#[tokio::test]
async fn rfc7009_2_1_a_refresh_token_takes_its_access_tokens_along() {
    let list = RevocationList::in_memory();
    let endpoint = RevocationEndpoint::new(list.clone(), any_method()).resolver(WithGrants);
    let request = post(Some(&basic("shop", SHOP)), "token=refresh-shop");
    assert_eq!(call(&endpoint, request).await.status, 200);
    for (token, expected) in [("shop.1", true), ("shop.2", true), ("bank.1", false)] {
        assert_eq!(is_revoked(&list, token).await, expected, "{token}");
    }
    let id = TokenId::of_jwt(ISSUER, "refresh-shop");
    assert!(list.inspect(id).await.expect("an answer").listed.is_some());
    // The rule ends with the grant, though the list keeps other rules for ever.
    let grant = RevocationKey::grant(ISSUER, "shop");
    let listed = list.inspect(grant).await.expect("an answer").listed;
    let until = listed.expect("a rule").until();
    assert_eq!(until, Some(EXP.saturating_add(MARGIN)));
}

#[tokio::test]
async fn an_access_token_takes_its_grant_along_by_setting() {
    for ends_grants in [false, true] {
        let list = RevocationList::in_memory();
        let endpoint = RevocationEndpoint::new(list.clone(), any_method())
            .resolver(WithGrants)
            .access_tokens_end_grants(ends_grants);
        let request = post(Some(&basic("shop", SHOP)), "token=shop.1");
        assert_eq!(call(&endpoint, request).await.status, 200);
        assert!(is_revoked(&list, "shop.1").await);
        assert_eq!(is_revoked(&list, "shop.2").await, ends_grants);
    }
}

#[tokio::test]
async fn what_is_revoked_and_whose_it_was_not_is_audited_without_the_token() {
    let (endpoint, _) = endpoint(any_method());
    let log = RecordedLog::start();
    let shop = basic("shop", SHOP);
    for token in ["shop.1", "bank.1", "unknown"] {
        call(&endpoint, post(Some(&shop), &format!("token={token}"))).await;
    }
    let action = r#"INFO message=an administrative action via="revocation_endpoint" action="revoke" by="shop""#;
    let [of_shop, of_bank] = ["shop.1", "bank.1"].map(|text| {
        let hash = *TokenId::of_jwt(ISSUER, text).as_bytes();
        format!("\"{:032x}\"", u128::from_be_bytes(hash))
    });
    let why = "reason=\"revoked by its client\"";
    let until = EXP.saturating_add(MARGIN).as_secs();
    let expected = [
        format!(r#"{action} token={of_shop} {why} until={until} outcome="done""#),
        format!(r#"{action} token={of_bank} outcome="rejected" error="invalid_grant""#),
    ];
    assert_eq!(log.of_target("tower_revoke::audit"), expected);
    assert!(!log.text().contains("shop.1") && !log.text().contains("bank.1"));
}
