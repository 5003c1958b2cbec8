//! Tenants of one issuer, over sockets.

use std::sync::{Arc, Mutex};

use axum::{Router, extract::State, http::Uri, response::IntoResponse};
use serde_json::json;
use tokio::net::TcpListener;
use tower_revoke_core::Reason;
use tower_revoke_http::HttpsClient;
use tower_revoke_jwt::{IssuerTemplate, JwtVerifier};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::support::{rejection, verify};

#[derive(Clone)]
struct Site {
    origin: String,
    keys: String,
    asked: Arc<Mutex<Vec<String>>>,
}

/// Serves the metadata and the keys of all tenants.
async fn respond(State(site): State<Site>, uri: Uri) -> impl IntoResponse {
    let path = uri.path();
    site.asked.lock().unwrap().push(path.to_owned());
    let well_known = "/.well-known/openid-configuration";
    match path.strip_suffix(well_known) {
        Some(tenant) => json!({
            "issuer": format!("{}{tenant}", site.origin),
            "jwks_uri": format!("{}/keys", site.origin),
        })
        .to_string(),
        None => site.keys,
    }
}

#[tokio::test]
async fn only_the_tenants_of_customers_are_trusted() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let keys = TestIssuer::with(&*origin, TestAlgorithm::EdDSA);
    let site = Site {
        origin: origin.clone(),
        keys: keys.jwks().to_string(),
        asked: Arc::default(),
    };
    let asked = site.asked.clone();
    let router = Router::new().fallback(respond).with_state(site);
    let server = tokio::spawn(async move { axum::serve(listener, router).await });

    let tenants = IssuerTemplate::new(&format!("{origin}/{{tenant}}/v2.0")).unwrap();
    let tenants = tenants.resolver(|tenant, issuer| {
        ["acme", "bolt"]
            .contains(&tenant)
            .then(|| issuer.audience("orders").claim("tid", tenant))
    });
    let tokens = JwtVerifier::issuer_resolver(tenants)
        .http_client(HttpsClient::new().unwrap())
        .without_revocations()
        .build()
        .unwrap();
    let token = |issuer: &str, tenant: &str| {
        let payload =
            json!({"iss": issuer, "aud": "orders", "exp": 9_900_000_000_u64, "tid": tenant});
        let header = json!({"alg": "EdDSA", "kid": keys.key_id()});
        keys.sign_raw(header.to_string(), payload.to_string())
    };
    // Each of them is signed with a key that is good for the customers.
    for path in [
        "/evil/v2.0",
        "/acme/v2.0/",
        "/Acme/v2.0",
        "/acme/V2.0",
        "/%61cme/v2.0",
        "/acme/../bolt/v2.0",
        "/acme%2f..%2fbolt/v2.0",
        "/acme/v2.0?x",
        "/acme/v2.0#x",
        "//acme/v2.0",
        "@evil.example/acme/v2.0",
        ".evil.example/acme/v2.0",
    ] {
        let look_alike = token(&format!("{origin}{path}"), "acme");
        assert_eq!(
            rejection(&tokens, &look_alike).await,
            Reason::WrongIssuer,
            "{path}"
        );
    }
    assert_eq!(
        *asked.lock().unwrap(),
        [""; 0],
        "no look-alike was fetched from"
    );

    for tenant in ["acme", "bolt"] {
        let issuer = format!("{origin}/{tenant}/v2.0");
        let caller = verify(&tokens, &token(&issuer, tenant)).await.unwrap();
        assert_eq!(caller.issuer(), Some(&*issuer));
    }
    let of_another = token(&format!("{origin}/acme/v2.0"), "bolt");
    assert_eq!(rejection(&tokens, &of_another).await, Reason::WrongClaim);
    let fetched = asked.lock().unwrap().clone();
    assert_eq!(
        fetched,
        [
            "/acme/v2.0/.well-known/openid-configuration",
            "/keys",
            "/bolt/v2.0/.well-known/openid-configuration",
            "/keys"
        ]
    );
    server.abort();
}
