//! Tokens of workloads: Kubernetes service accounts and GitHub Actions.

use std::{fs, net::SocketAddr, path::Path};

use axum::{
    Router,
    http::{HeaderMap, StatusCode},
    routing::get,
    serve::Listener,
};
use http::{HeaderValue, Request, header::AUTHORIZATION};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{ServerConfig, crypto::aws_lc_rs, pki_types::PrivateKeyDer},
    server::TlsStream,
};
use tower::ServiceBuilder;
use tower_revoke_core::{Endpoint, HttpClient, Reason};
use tower_revoke_http::HttpsClient;
use tower_revoke_jwt::{JwtVerifier, KeyFetchError};
use tower_revoke_testing::TestIssuer;

use super::{Provider, accepted, jwt, rejected, with};
use crate::support::{keys_unavailable, verify};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";

/// Connections by TLS.
struct Tls {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (connection, peer) = self.tcp.accept().await.unwrap();
            if let Ok(connection) = self.acceptor.accept(connection).await {
                return (connection, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// An API server with a certificate of its cluster's own authority, which gives its keys to the
/// service account of this token only. Returns the URL of the keys, and the authority in PEM.
async fn api_server(keys: &TestIssuer, token: &'static str) -> (Endpoint, String) {
    let key = KeyPair::generate().unwrap();
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&key).unwrap().pem();
    let ca = Issuer::new(ca, key);
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = server.signed_by(&key, &ca).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], private)
        .unwrap();
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = tcp.local_addr().unwrap().port();
    let listener = Tls {
        tcp,
        acceptor: TlsAcceptor::from(std::sync::Arc::new(config)),
    };
    let jwks = keys.jwks().to_string();
    let answer = async move |headers: HeaderMap| match headers.get(AUTHORIZATION) {
        Some(given) if given == token => Ok(([("content-type", "application/jwk-set+json")], jwks)),
        _ => Err(StatusCode::UNAUTHORIZED),
    };
    let router = Router::new().route("/openid/v1/jwks", get(answer));
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    let url = format!("https://localhost:{port}/openid/v1/jwks");
    (Endpoint::new(&url).unwrap(), ca_pem)
}

/// The client for the API server, from what is mounted into a pod.
fn in_cluster(account: &Path) -> impl HttpClient + Clone {
    let token = account.join("token");
    let ca = fs::read(account.join("ca.crt")).unwrap();
    ServiceBuilder::new()
        .map_request(move |mut request: Request<_>| {
            // Read each time: it is replaced every hour.
            let token = fs::read_to_string(&token).unwrap_or_default();
            if let Ok(value) = HeaderValue::try_from(format!("Bearer {}", token.trim())) {
                request.headers_mut().insert(AUTHORIZATION, value);
            }
            request
        })
        .service(HttpsClient::trusting_only(&ca).unwrap())
}

fn account_claims() -> serde_json::Value {
    json!({
        "aud": ["orders"],
        "exp": 0, "iat": 0, "nbf": 0,
        "iss": CLUSTER,
        "jti": "aed34954-b33a-4142-b1ec-389d6bbb4936",
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
            "pod": {"name": "checkout-7d9c", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
            "serviceaccount": {"name": "checkout", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
        },
        "sub": "system:serviceaccount:shop:checkout",
    })
}

/// <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery>,
/// <https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/>
#[tokio::test]
async fn kubernetes() {
    let keys = TestIssuer::new(CLUSTER);
    let (url, ca) = api_server(&keys, "Bearer of-this-pod").await;
    let account = tempfile::tempdir().unwrap();
    fs::write(account.path().join("ca.crt"), ca).unwrap();
    fs::write(account.path().join("token"), "of-another-cluster\n").unwrap();
    let client = in_cluster(account.path());
    let build = |client| {
        JwtVerifier::issuer(CLUSTER)
            .audience("orders")
            .jwks_url(url.clone())
            .http_client(client)
            .without_revocations()
            .build()
            .unwrap()
    };

    let error = build(client.clone()).ready().await.unwrap_err();
    let error = keys_unavailable(&error).error().unwrap();
    assert!(
        matches!(error, KeyFetchError::Status(status) if *status == 401),
        "{error}"
    );
    fs::write(account.path().join("token"), "of-this-pod\n").unwrap();
    let tokens = build(client);
    tokens.ready().await.unwrap();

    let sign = |claims: &serde_json::Value| {
        let mut token = keys.token().without("client_id").without_header("typ");
        for (name, value) in claims.as_object().unwrap() {
            if !matches!(&**name, "exp" | "iat" | "nbf") {
                token = token.claim(name, value.clone());
            }
        }
        token
    };
    let claims = account_claims();
    let caller = verify(&tokens, &sign(&claims).sign()).await.unwrap();
    assert_eq!(
        caller.subject(),
        Some("system:serviceaccount:shop:checkout")
    );
    // The token that is mounted into every pod, for the API server.
    let for_api_server = sign(&with(
        &claims,
        json!({"aud": ["https://kubernetes.default.svc"]}),
    ));
    rejected(&tokens, &for_api_server.sign(), Reason::WrongAudience).await;
    // One from a Secret: it never expires, and has no audience.
    let legacy = sign(&with(&claims, json!({"iss": "kubernetes/serviceaccount"})));
    let legacy = legacy.without("aud").without("exp");
    rejected(&tokens, &legacy.sign(), Reason::WrongIssuer).await;

    // Without the authority of the cluster there is no connection.
    let tokens = build_with_machine_roots(&url);
    let error = tokens.ready().await.unwrap_err();
    let error = keys_unavailable(&error).error().unwrap();
    assert!(matches!(error, KeyFetchError::Http(_)), "{error}");
}

fn build_with_machine_roots(url: &Endpoint) -> JwtVerifier {
    JwtVerifier::issuer(CLUSTER)
        .audience("orders")
        .jwks_url(url.clone())
        .http_client(HttpsClient::new().unwrap())
        .without_revocations()
        .build()
        .unwrap()
}

/// As [`kubernetes`]: the metadata of most clusters names the API server by its address.
#[tokio::test]
async fn kubernetes_metadata_names_a_private_address() {
    let provider = Provider::new(json!({
        "issuer": CLUSTER,
        "jwks_uri": "https://172.18.0.5:6443/openid/v1/jwks",
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
    .await;
    let tokens = provider.build(JwtVerifier::issuer(CLUSTER).audience("orders").discover());
    let error = tokens.ready().await.unwrap_err();
    let error = keys_unavailable(&error).error().unwrap();
    assert!(matches!(error, KeyFetchError::Discovery(_)), "{error}");
}

/// The clusters of a cloud publish their keys: here those of EKS, whose issuer is public.
/// <https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html>
#[tokio::test]
async fn kubernetes_with_a_public_issuer() {
    let issuer = "https://oidc.eks.eu-west-1.amazonaws.com/id/EXAMPLED539D4633E53DE1B71EXAMPLE";
    let provider = Provider::new(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/keys"),
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
    .await;
    let tokens = provider.build(JwtVerifier::issuer(issuer).audience("orders").discover());
    let claims = with(&account_claims(), json!({"iss": issuer}));
    accepted(&tokens, &provider.sign(json!({}), &claims)).await;
    rejected(
        &tokens,
        &provider.sign(json!({}), &account_claims()),
        Reason::WrongIssuer,
    )
    .await;
}

/// <https://docs.github.com/en/actions/reference/security/oidc>
#[tokio::test]
async fn github_actions() {
    let issuer = "https://token.actions.githubusercontent.com";
    let provider = Provider::new(json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/.well-known/jwks"),
        "subject_types_supported": ["public", "pairwise"],
        "response_types_supported": ["id_token"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid"],
    }))
    .await;
    let tokens = provider.build(
        JwtVerifier::issuer(issuer)
            .audience("https://deploy.example.com")
            .claim("repository_id", "74")
            .claim("ref", "refs/heads/main")
            .discover(),
    );
    let job = json!({
        "jti": "example-id",
        "sub": "repo:octo-org/octo-repo:environment:prod",
        "environment": "prod",
        "aud": "https://deploy.example.com",
        "ref": "refs/heads/main",
        "sha": "example-sha",
        "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org",
        "actor_id": "12",
        "repository_visibility": "private",
        "repository_id": "74",
        "repository_owner_id": "65",
        "run_id": "example-run-id", "run_number": "10", "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor": "octocat",
        "workflow": "example-workflow",
        "head_ref": "", "base_ref": "",
        "event_name": "workflow_dispatch",
        "ref_type": "branch",
        "job_workflow_ref": "octo-org/octo-automation/.github/workflows/oidc.yml@refs/heads/main",
        "iss": issuer,
        "nbf": 0, "exp": 0, "iat": 0,
    });
    let caller = accepted(&tokens, &provider.sign(jwt(), &job)).await;
    assert_eq!(
        caller.subject(),
        Some("repo:octo-org/octo-repo:environment:prod")
    );
    // Any workflow of GitHub can ask for this audience.
    let stranger =
        json!({"sub": "repo:mallory/octo-repo:ref:refs/heads/main", "repository_id": "666"});
    let stranger = with(&job, stranger);
    rejected(
        &tokens,
        &provider.sign(jwt(), &stranger),
        Reason::WrongClaim,
    )
    .await;
    let branch = with(&job, json!({"ref": "refs/heads/experiment"}));
    rejected(&tokens, &provider.sign(jwt(), &branch), Reason::WrongClaim).await;
    let default_audience = with(&job, json!({"aud": "https://github.com/octo-org"}));
    rejected(
        &tokens,
        &provider.sign(jwt(), &default_audience),
        Reason::WrongAudience,
    )
    .await;
}
