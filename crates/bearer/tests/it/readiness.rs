//! TRAPS 9: the readiness suite, for every path of a request.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower_revoke_bearer::{RequireBearerLayer, RequireClaimsLayer};
use tower_revoke_core::{Authenticated, BearerToken, Rejection, TokenVerifier};
use tower_revoke_testing::readiness_conformance;

use super::support::Tokens;

fn request(token: &str) -> Request<Full<Bytes>> {
    let request = Request::get("/").header("authorization", format!("Bearer {token}"));
    request.body(Full::default()).expect("a request")
}

/// Verifies in a separate task, so that the answer needs several polls.
#[derive(Default)]
struct Elsewhere(std::sync::Arc<Tokens>);

impl TokenVerifier for Elsewhere {
    async fn verify(&self, token: &BearerToken) -> Result<Authenticated, Rejection> {
        let (tokens, token) = (self.0.clone(), token.clone());
        let task = tokio::spawn(async move {
            tokio::task::yield_now().await;
            tokens.verify(&token).await
        });
        task.await.expect("no panic")
    }
}

#[tokio::test]
async fn trap_09_readiness_is_kept_when_the_token_is_known() {
    for token in ["ann", "bad", ""] {
        let layer = RequireBearerLayer::new(Tokens::default());
        readiness_conformance(layer, || request(token)).await;
    }
}

#[tokio::test]
async fn trap_09_readiness_is_kept_when_the_token_is_verified_later() {
    for token in ["ann", "bad", "unavailable"] {
        let layer = RequireBearerLayer::new(Elsewhere::default());
        readiness_conformance(layer, || request(token)).await;
    }
}

#[tokio::test]
async fn trap_09_readiness_is_kept_when_one_of_several_cookies_is_chosen() {
    for cookies in ["token=bad; token=ann", "token=bad; token=worse"] {
        let layer = RequireBearerLayer::new(Elsewhere::default()).cookie("token");
        readiness_conformance(layer, || {
            let request = Request::get("/").header("cookie", cookies);
            request.body(Full::<Bytes>::default()).expect("a request")
        })
        .await;
    }
}

#[tokio::test]
async fn trap_09_readiness_is_kept_on_a_route() {
    for caller in [Some(super::support::ann()), None] {
        for scope in ["orders:read", "orders:write"] {
            readiness_conformance(RequireClaimsLayer::scope(scope), || {
                let mut request = request("ann");
                if let Some(caller) = &caller {
                    request.extensions_mut().insert(caller.clone());
                }
                request
            })
            .await;
        }
    }
}
