//! The verifier under `RequireBearerLayer`.

use std::convert::Infallible;

use crate::support::{World, of_ann};
use http::{Request, Response, header};
use tower::{Layer, ServiceExt, service_fn};
use tower_revoke_bearer::RequireBearerLayer;
use tower_revoke_core::Authenticated;
use tower_revoke_testing::{Behavior, StoreOp};

async fn call(world: &World, token: &str) -> (u16, Option<String>) {
    let inner = service_fn(async |request: Request<String>| {
        let caller = Authenticated::of(request.extensions()).unwrap();
        assert_eq!(caller.subject(), Some("ann"));
        Ok::<_, Infallible>(Response::new(String::new()))
    });
    let service = RequireBearerLayer::new(world.verifier()).layer(inner);
    let request = Request::get("/orders").header(header::AUTHORIZATION, format!("Bearer {token}"));
    let response = service.oneshot(request.body(String::new()).unwrap()).await;
    let response = response.unwrap();
    let challenge = response.headers().get(header::WWW_AUTHENTICATE);
    let challenge = challenge.map(|value| value.to_str().unwrap().to_owned());
    (response.status().as_u16(), challenge)
}

#[tokio::test]
async fn a_call_passes_with_its_token_and_others_are_challenged() {
    let world = World::new();
    let token = world.issue(of_ann()).await;
    assert_eq!(call(&world, token.as_str()).await, (200, None));
    let unknown = format!("acme_{}", "a".repeat(43));
    for token in [&unknown[..], "acme_", "eyJ.e30.x"] {
        let (status, challenge) = call(&world, token).await;
        assert_eq!(status, 401);
        assert!(challenge.unwrap().contains("error=\"invalid_token\""));
    }
    world.script.set(StoreOp::FindIssuedToken, Behavior::Fails);
    assert_eq!(call(&world, token.as_str()).await, (503, None));
}
