//! What is sent, and with which credentials and settings.

use super::*;

#[tokio::test]
async fn rfc7662_2_1_the_request_is_a_form_with_the_token() {
    let server = Server::says(active());
    let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let key = SigningKey::from_pem(SigningAlgorithm::ES256, key.as_bytes()).expect("a key");
    let builders = [
        server.builder().client_credentials("my shop", SECRET),
        server
            .builder()
            .client_credentials("my shop", SECRET)
            .credentials_in_form(),
        server
            .builder()
            .private_key_jwt("my shop", key.key_id("k1")),
    ];
    for builder in builders {
        let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
        let tokens = builder
            .any_audience()
            .without_revocations()
            .clock(clock)
            .build();
        let tokens = tokens.expect("a verifier");
        assert_eq!(verdict(&tokens, "a+b/c=").await.as_deref(), Ok("ann"));
        assert_eq!(tokens.issuers(), [ISSUER]);
    }
    let requests = std::mem::take(&mut *server.requests.lock().expect("a lock"));
    let [basic, form, assertion] = &requests[..] else {
        panic!("{requests:?}");
    };
    for request in &requests {
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "https://id.example.com/introspect");
        assert_eq!(request.headers()[header::ACCEPT], "application/json");
        assert_eq!(member(request.body(), "token").as_deref(), Some("a+b/c="));
    }
    // Never two methods (RFC 6749 §2.3).
    let members = |request: &Request<Bytes>| {
        let names = ["client_id", "client_secret", "client_assertion"];
        names.map(|name| member(request.body(), name))
    };
    assert!(
        basic.headers()[header::AUTHORIZATION]
            .to_str()
            .expect("text")
            .starts_with("Basic ")
    );
    assert_eq!(members(basic), [None, None, None]);
    let [id, secret, none] = members(form);
    assert_eq!(
        (id.as_deref(), secret.as_deref(), none),
        (Some("my shop"), Some(SECRET), None)
    );
    let [id, none, jwt] = members(assertion);
    assert_eq!((id.as_deref(), none), (Some("my shop"), None));
    for request in [form, assertion] {
        assert!(!request.headers().contains_key(header::AUTHORIZATION));
    }
    rfc7523_3_the_assertion_names_client_and_issuer(&jwt.expect("an assertion"));
    let kind = member(assertion.body(), "client_assertion_type");
    let expected = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
    assert_eq!(kind.as_deref(), Some(expected));
}

fn rfc7523_3_the_assertion_names_client_and_issuer(jwt: &str) {
    let part = |part: &str| -> Value {
        let json = BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64url");
        serde_json::from_slice(&json).expect("JSON")
    };
    let parts: Vec<&str> = jwt.split('.').collect();
    assert_eq!(
        part(parts[0]),
        json!({ "alg": "ES256", "typ": "JWT", "kid": "k1" })
    );
    let mut claims = part(parts[1]);
    let id = claims["jti"].take();
    assert_eq!(id.as_str().map(str::len), Some(22));
    let expected = json!({
        "iss": "my shop", "sub": "my shop", "aud": ISSUER, "iat": NOW, "exp": NOW + 60, "jti": null,
    });
    assert_eq!(claims, expected);
}

/// Servers remember the `jti` of what they have accepted.
#[tokio::test]
async fn rfc7523_3_no_assertion_is_sent_twice() {
    let server = Server::new(|_| status(503));
    let key = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let key = SigningKey::from_pem(SigningAlgorithm::ES256, key.as_bytes()).expect("a key");
    let (clock, _hand) = Clock::manual(UnixTime::from_secs(NOW));
    let builder = server.builder().private_key_jwt("shop", key).any_audience();
    let tokens = builder.without_revocations().clock(clock).build();
    let tokens = tokens.expect("a verifier");
    for _ in 0..3 {
        assert_eq!(verdict(&tokens, "t").await, Err(Reason::Unavailable));
    }
    let requests = std::mem::take(&mut *server.requests.lock().expect("a lock"));
    let ids = requests.iter().map(|request| {
        let assertion = member(request.body(), "client_assertion").expect("an assertion");
        let claims = assertion.split('.').nth(1).expect("claims");
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).expect("base64url");
        let claims: Value = serde_json::from_slice(&claims).expect("JSON");
        assert!(claims.get("nbf").is_none(), "{claims}");
        claims["jti"].as_str().expect("an id").to_owned()
    });
    let ids: std::collections::BTreeSet<_> = ids.collect();
    assert_eq!((requests.len(), ids.len()), (3, 3));
}

#[test]
fn missing_settings_are_named() {
    let server = Server::says(active());
    let whole = || {
        server
            .builder()
            .client_credentials("shop", SECRET)
            .audience("orders")
    };
    assert!(whole().without_revocations().build().is_ok());
    let error = |builder: IntrospectionVerifierBuilder| builder.build().expect_err("an error");
    assert!(matches!(
        error(whole()),
        IntrospectionVerifierError::MissingRevocations
    ));
    let error = |builder: IntrospectionVerifierBuilder| {
        builder.without_revocations().build().expect_err("an error")
    };
    assert!(matches!(
        error(server.builder().audience("orders")),
        IntrospectionVerifierError::MissingCredentials
    ));
    assert!(matches!(
        error(whole().client_credentials("shop", "")),
        IntrospectionVerifierError::Credentials(CredentialsError::EmptySecret)
    ));
    for builder in [
        server.builder().client_credentials("shop", SECRET),
        whole().audience(""),
        whole().any_audience(),
    ] {
        assert!(matches!(
            error(builder),
            IntrospectionVerifierError::MissingAudience
        ));
    }
    assert!(matches!(
        error(whole().leeway(Duration::from_secs(301))),
        IntrospectionVerifierError::LeewayTooLong { .. }
    ));
    assert!(matches!(
        error(whole().request_timeout(Duration::ZERO)),
        IntrospectionVerifierError::RequestTimeout(_)
    ));
    for (builder, named) in [
        (whole().cache_capacity(0), "cache_capacity is 0"),
        (whole().rejected_capacity(0), "rejected_capacity is 0"),
        (
            whole().unknown_tokens_per_second(0),
            "unknown_tokens_per_second is 0",
        ),
        (whole().max_concurrency(1), "max_concurrency is 1"),
        (
            whole().max_concurrency(usize::MAX),
            "max_concurrency is 18446744073709551615",
        ),
    ] {
        let text = error(builder).to_string();
        assert!(text.starts_with(named), "{text}");
    }
    assert!(matches!(
        error(
            IntrospectionVerifier::discover("http://id.example.com")
                .client_credentials("shop", SECRET)
                .any_audience()
                .http_client(service_fn(move |request| server.clone().serve(request)))
        ),
        IntrospectionVerifierError::Issuer(_)
    ));
}

#[test]
fn a_key_of_another_algorithm_and_debug_output_show_nothing() {
    let pem = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let key = |algorithm| SigningKey::from_pem(algorithm, pem.as_bytes());
    let shown = format!("{:?}", key(SigningAlgorithm::ES256).expect("a key"));
    assert_eq!(shown, "SigningKey { algorithm: ES256, key_id: None, .. }");
    for algorithm in [
        SigningAlgorithm::ES384,
        SigningAlgorithm::RS256,
        SigningAlgorithm::EdDSA,
    ] {
        assert!(key(algorithm).is_err(), "{algorithm:?}");
    }
    assert!(SigningKey::from_pem(SigningAlgorithm::PS256, b"").is_err());
}
