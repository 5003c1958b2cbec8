//! The peers, each configured as its docs advise: they check issuer, audience and expiry, have the
//! keys at hand, and pass the claims to the handler.

use std::{
    future::{Ready, ready},
    sync::Arc,
};

use axum::{Router, body::Body, extract::FromRef, routing::get};
use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use jsonwebtoken::{DecodingKey, Validation, decode};
use serde::Deserialize;
use tower_http::auth::{AsyncAuthorizeRequest, AsyncRequireAuthorizationLayer};
use tower_oauth2_resource_server::{
    server::OAuth2ResourceServer, tenant::TenantConfiguration, validation::ClaimsValidationSpec,
};
use tower_revoke_testing::{TestAlgorithm, TestIssuer};

use crate::{
    router::{boxed, route},
    target::{Serving, Target},
    tokens::{AUDIENCE, ISSUER},
};

type Boxed = Box<dyn Target>;

/// A peer, or the reason why it can't be measured.
pub struct Peer {
    pub name: &'static str,
    pub router: Result<Boxed, &'static str>,
    /// Whether it uses axum 0.7.
    pub is_axum07: bool,
}

pub const NO_SECRETS: &str = "takes no shared secrets";

/// Chooses the backend of jsonwebtoken, which can't choose if several are enabled.
pub fn choose_backends() {
    jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER
        .install_default()
        .expect("none was chosen before");
    jsonwebtoken10::crypto::aws_lc::DEFAULT_PROVIDER
        .install_default()
        .expect("none was chosen before");
}

fn boxed_axum07(router: axum07::Router) -> Boxed {
    let router = router.with_state::<()>(());
    Box::new(Serving::<_, axum07::body::Body>::new(router))
}

pub fn bare_axum07() -> Boxed {
    boxed_axum07(route_axum07())
}

fn route_axum07() -> axum07::Router {
    axum07::Router::new().route("/", axum07::routing::get(async || "ok"))
}

/// Returns all peers.
pub async fn all(issuer: &TestIssuer) -> Vec<Peer> {
    let peer = |name, router| Peer {
        name,
        router,
        is_axum07: false,
    };
    vec![
        peer("tower-http 0.7 + jsonwebtoken 11", Ok(tower_http(issuer))),
        peer("axum-jwt-auth 0.7 (aws-lc-rs)", Ok(axum_jwt_auth(issuer))),
        peer(
            "tower-oauth2-resource-server 0.12",
            tower_oauth2(issuer).await,
        ),
        peer(
            "oauth-resource-server 0.4",
            oauth_resource_server(issuer).await,
        ),
        Peer {
            name: "jwt-authorizer 0.15 (axum 0.7)",
            router: Ok(jwt_authorizer(issuer).await),
            is_axum07: true,
        },
    ]
}

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "they are read by handlers")]
struct Claims {
    sub: String,
    client_id: String,
    jti: String,
    scope: String,
}

/// Makes the key and the validation for a version of jsonwebtoken. The two versions have the same
/// names.
macro_rules! key_and_rules {
    ($jsonwebtoken:ident, $issuer:expr) => {{
        use $jsonwebtoken::{Algorithm, DecodingKey, Validation};
        let pem = || $issuer.public_pem();
        let (key, algorithm) = match $issuer.algorithm() {
            TestAlgorithm::HS256 => {
                let key = DecodingKey::from_secret(&$issuer.secret());
                (key, Algorithm::HS256)
            }
            TestAlgorithm::RS256 => {
                let key = DecodingKey::from_rsa_pem(pem().as_bytes());
                (key.expect("a key"), Algorithm::RS256)
            }
            TestAlgorithm::ES256 => {
                let key = DecodingKey::from_ec_pem(pem().as_bytes());
                (key.expect("a key"), Algorithm::ES256)
            }
            TestAlgorithm::EdDSA => {
                let key = DecodingKey::from_ed_pem(pem().as_bytes());
                (key.expect("a key"), Algorithm::EdDSA)
            }
            other => unreachable!("{} is not measured", other.name()),
        };
        let mut rules = Validation::new(algorithm);
        rules.set_issuer(&[ISSUER]);
        rules.set_audience(&[AUDIENCE]);
        (key, rules)
    }};
}

#[derive(Clone)]
struct Verify(Arc<(DecodingKey, Validation)>);

impl Verify {
    fn claims(&self, request: &Request<Body>) -> Option<Claims> {
        let (key, rules) = &*self.0;
        let value = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        let token = value.strip_prefix("Bearer ")?;
        Some(decode(token, key, rules).ok()?.claims)
    }
}

impl AsyncAuthorizeRequest<Body> for Verify {
    type RequestBody = Body;
    type ResponseBody = Body;
    type Future = Ready<Result<Request<Body>, Response<Body>>>;

    fn authorize(&mut self, mut request: Request<Body>) -> Self::Future {
        ready(match self.claims(&request) {
            Some(claims) => {
                request.extensions_mut().insert(claims);
                Ok(request)
            }
            None => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                Err(response)
            }
        })
    }
}

fn tower_http(issuer: &TestIssuer) -> Boxed {
    let verify = Verify(Arc::new(key_and_rules!(jsonwebtoken, issuer)));
    let layer = AsyncRequireAuthorizationLayer::new(verify);
    boxed(route().layer(layer))
}

#[derive(Clone, FromRef)]
struct State {
    decoder: axum_jwt_auth::Decoder<Claims>,
}

fn axum_jwt_auth(issuer: &TestIssuer) -> Boxed {
    async fn answer(_: axum_jwt_auth::Claims<Claims>) -> &'static str {
        "ok"
    }
    let (key, rules) = key_and_rules!(jsonwebtoken10, issuer);
    let decoder = axum_jwt_auth::LocalDecoder::new(vec![key], rules).expect("one key");
    let decoder = Arc::new(decoder);
    let router = Router::new().route("/", get(answer));
    Box::new(Serving::<_, Body>::new(
        router.with_state(State { decoder }),
    ))
}

pub async fn tower_oauth2(issuer: &TestIssuer) -> Result<Boxed, &'static str> {
    if issuer.algorithm().is_symmetric() {
        return Err(NO_SECRETS);
    }
    let claims = ClaimsValidationSpec::recommended(ISSUER, &vec![AUDIENCE.to_owned()]).nbf(false);
    let tenant = TenantConfiguration::static_builder(issuer.jwks().to_string())
        .claims_validation(claims)
        .build()
        .expect("a key set");
    let server = <OAuth2ResourceServer>::builder()
        .add_tenant(tenant)
        .build()
        .await
        .expect("one tenant");
    let router = route().layer(server.into_layer());
    Ok(boxed(router))
}

async fn oauth_resource_server(issuer: &TestIssuer) -> Result<Boxed, &'static str> {
    use oauth_resource_server::{
        KeyNaming, OAuthConfig, OAuthValidator, axum::AuthLayer, testing::spawn_jwks_server,
    };
    if issuer.algorithm().is_symmetric() {
        return Err(NO_SECRETS);
    }
    let keys = spawn_jwks_server("200 OK", issuer.jwks().to_string()).await;
    let config = OAuthConfig {
        enabled: true,
        issuer: ISSUER.to_owned(),
        jwks_uri: Some(keys.url.clone()),
        audience: AUDIENCE.to_owned(),
        resource: "https://orders.example.com".to_owned(),
        allow_unscoped_tokens: true,
        ..OAuthConfig::default()
    };
    let config = config.resolve(KeyNaming::Dotted("oauth"));
    let config = config
        .expect("a valid configuration")
        .expect("it is enabled");
    let validator = Arc::new(OAuthValidator::new(&config).expect("a valid configuration"));
    validator.refresh_now().await.expect("its keys are served");
    let layer = AuthLayer::builder()
        .oauth(validator)
        .build()
        .expect("a validator is there");
    Ok(boxed(route().layer(layer)))
}

pub async fn jwt_authorizer(issuer: &TestIssuer) -> Boxed {
    use jwt_authorizer::{IntoLayer, JwtAuthorizer, Validation};
    let pem = || issuer.public_pem();
    let keys: JwtAuthorizer = match issuer.algorithm() {
        TestAlgorithm::RS256 => JwtAuthorizer::from_rsa_pem_text(&pem()),
        TestAlgorithm::ES256 => JwtAuthorizer::from_ec_pem_text(&pem()),
        TestAlgorithm::EdDSA => JwtAuthorizer::from_ed_pem_text(&pem()),
        _ => JwtAuthorizer::from_jwks_text(&issuer.jwks().to_string()),
    };
    let rules = Validation::new().iss(&[ISSUER]).aud(&[AUDIENCE]);
    let keys = keys.validation(rules).build().await.expect("a key");
    let router = route_axum07().layer(keys.into_layer());
    boxed_axum07(router)
}
