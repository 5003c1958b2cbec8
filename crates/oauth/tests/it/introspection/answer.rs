//! What an answer means for the token.

use super::*;

#[tokio::test]
async fn rfc7662_2_2_an_answer_is_about_our_issuer_our_audience_and_now() {
    for (said, expected) in [
        (active(), Ok("ann")),
        (with("iss", ISSUER), Ok("ann")),
        (with("aud", json!(["payments", "orders"])), Ok("ann")),
        (with("token_type", "bearer"), Ok("ann")),
        (without("token_type"), Ok("ann")),
        (with("exp", NOW - 29), Ok("ann")),
        (json!({ "active": false }), Err(Reason::Inactive)),
        (with("active", false), Err(Reason::Inactive)),
        (
            with("iss", "https://evil.example"),
            Err(Reason::WrongIssuer),
        ),
        (with("aud", "payments"), Err(Reason::WrongAudience)),
        (without("aud"), Err(Reason::MissingClaim)),
        (with("exp", NOW - 30), Err(Reason::Expired)),
        (without("exp"), Err(Reason::Expired)),
        (with("nbf", NOW + 31), Err(Reason::NotYetValid)),
        (with("iat", NOW + 31), Err(Reason::NotYetValid)),
        // RFC 9449 §7.2, RFC 8705 §3.
        (with("cnf", json!({ "jkt": "x" })), Err(Reason::Bound)),
        (with("token_type", "DPoP"), Err(Reason::Bound)),
        (with("token_type", "refresh_token"), Err(Reason::WrongType)),
        (with("token_use", "refresh_token"), Err(Reason::WrongType)),
        (with("typ", "Refresh"), Err(Reason::WrongType)),
    ] {
        let (tokens, _hand) = Server::says(said.clone()).verifier();
        let found = verdict(&tokens, "t").await;
        assert_eq!(
            found.as_deref(),
            expected.as_ref().map(|name| *name),
            "{said}"
        );
    }
}

/// As oidc-provider answers about a refresh token.
#[tokio::test]
async fn a_token_of_which_neither_type_nor_audience_is_said_is_no_access_token() {
    let without = |names: &[&str]| {
        let mut claims = active();
        let members = claims.as_object_mut().expect("an object");
        members.retain(|name, _| !names.contains(&&**name));
        claims
    };
    for (said, expected) in [
        (without(&["token_type", "aud"]), Err(Reason::WrongType)),
        (without(&["token_type"]), Ok("ann")),
        (without(&["aud"]), Ok("ann")),
    ] {
        let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
        let builder = Server::says(said.clone()).builder();
        let builder = builder.client_credentials("shop", SECRET).any_audience();
        let tokens = builder.without_revocations().clock(clock).build();
        let found = verdict(&tokens.expect("a verifier"), "t").await;
        let expected = expected.as_ref().map(|name| *name);
        assert_eq!(found.as_deref(), expected, "{said}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_one_of_the_rfc_is_a_503() {
    for said in [
        with("active", "true"),
        with("active", 1),
        with("active", Value::Null),
        without("active"),
        json!({}),
        json!([true]),
        with("aud", 7),
        with("exp", "soon"),
        with("nbf", -1),
        with("sub", 7),
        with("iss", Value::Null),
        with("scope", json!(["a", 1])),
        with("azp", "another client"),
        json!({ "active": false, "exp": "soon" }),
    ] {
        let server = Server::says(said.clone());
        let (tokens, _hand) = server.verifier();
        for _ in 0..2 {
            let found = verdict(&tokens, "t").await;
            assert_eq!(found, Err(Reason::Unavailable), "{said}");
        }
        // Nor is it kept.
        assert_eq!(server.asked(), 2, "{said}");
    }
    let twice = r#"{"active":false,"active":true}"#;
    for body in ["", "<html>", "true", twice, "\u{feff}{}"] {
        let server = Server::new(move |_| answer(200, &[], body));
        let (tokens, _hand) = server.verifier();
        assert_eq!(
            verdict(&tokens, "t").await,
            Err(Reason::Unavailable),
            "{body}"
        );
    }
    let server = Server::new(|_| answer(201, &[], active().to_string()));
    assert_eq!(
        verdict(&server.verifier().0, "t").await,
        Err(Reason::Unavailable)
    );
}

/// With the names of the server's members, rules and scopes are read from these.
#[tokio::test]
async fn the_client_and_the_scopes_are_read_from_the_members_that_are_named() {
    let mut said = active();
    said["client_id"] = json!("the number of a customer");
    said["app"] = json!("shop");
    said["permissions"] = json!(["orders:read"]);
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
    let list = RevocationList::builder(MemoryStore::new()).clock(clock.clone());
    let list = list.build().expect("a list");
    let names = ClaimNames::default().client("app").scopes("permissions");
    let server = Server::says(said.clone());
    let tokens = server.builder().client_credentials("shop", SECRET);
    let tokens = tokens.audience("orders").claim_names(names);
    let tokens = tokens.revocations(list.clone()).clock(clock).build();
    let tokens = tokens.expect("a verifier");
    let token = BearerToken::new("t").expect("a token");
    let caller = tokens.verify(&token).await.expect("a caller");
    let claims = caller.token().claims();
    assert_eq!(claims.client(), Some("shop"));
    assert_eq!(claims.scopes().collect::<Vec<_>>(), ["orders:read"]);
    let rule = Revocation::all_of(RevocationKey::client(ISSUER, "shop")).expect("a rule");
    list.revoke(rule).await.expect("a revocation");
    assert_eq!(verdict(&tokens, "t").await, Err(Reason::Revoked));
    // Of the wrong type, it is no answer, which is not kept.
    said["app"] = json!(7);
    server.now_responds(move |_| answer(200, &[], said.to_string()));
    for _ in 0..2 {
        assert_eq!(verdict(&tokens, "u").await, Err(Reason::Unavailable));
    }
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn each_server_and_client_has_its_own_answers() {
    let server = Server::says(active());
    let other = Server::says(json!({ "active": false }));
    let payments = server.builder().client_credentials("pay", SECRET);
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
    let payments = payments
        .audience("payments")
        .without_revocations()
        .clock(clock);
    let payments = payments.build().expect("a verifier");
    for _ in 0..2 {
        assert!(verdict(&server.verifier().0, "t").await.is_ok());
        assert_eq!(verdict(&payments, "t").await, Err(Reason::WrongAudience));
        assert_eq!(
            verdict(&other.verifier().0, "t").await,
            Err(Reason::Inactive)
        );
    }
}

#[tokio::test]
async fn the_list_is_asked_on_every_request() {
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
    let list = RevocationList::builder(MemoryStore::new()).clock(clock.clone());
    let list = list.build().expect("a list");
    let server = Server::new(|_| answer(200, &[], with("jti", "7").to_string()));
    let builder = server.builder().client_credentials("shop", SECRET);
    let tokens = builder
        .audience("orders")
        .revocations(list.clone())
        .clock(clock)
        .build();
    let tokens = tokens.expect("a verifier");
    let id = async |text: &str| tokens.verify(&token(text)).await.expect("valid").token_id();
    let opaque = TokenId::of_opaque(ISSUER, &TokenHash::of(b"opaque"));
    assert_eq!(id("opaque").await, opaque);
    // As the services that verify it themselves know it.
    assert_eq!(id("a.b.c").await, TokenId::of_jwt(ISSUER, "7"));
    let ann = RevocationKey::subject(ISSUER, "ann");
    list.revoke(Revocation::all_of(ann).expect("a rule"))
        .await
        .expect("revoked");
    for text in ["opaque", "a.b.c"] {
        assert_eq!(verdict(&tokens, text).await, Err(Reason::Revoked));
    }
    assert_eq!(server.asked(), 2);
}

/// TRAPS 5: the signature of a JWT can be written in another way without the key.
#[tokio::test]
async fn trap_05_a_jwt_whose_answer_has_no_jti_stays_revoked_however_its_signature_is_written() {
    let (tokens, _hand) = Server::says(active()).verifier();
    let id = async |text: &str| tokens.verify(&token(text)).await.expect("valid").token_id();
    let signed = TokenId::of_signing_input("eyJhIjoxfQ.e30");
    for text in ["eyJhIjoxfQ.e30.AA", "eyJhIjoxfQ.e30.AB"] {
        assert_eq!(id(text).await, signed);
    }
    // Opaque tokens with dots, of which only the last part differs, remain apart.
    assert_ne!(id("v1.ann.AA").await, id("v1.ann.AB").await);
}
