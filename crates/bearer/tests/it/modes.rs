//! Tests the modes: require, optional, observe.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use http::Request;
use tower::{Layer, ServiceExt};
use tower_revoke_core::{
    BearerContext, Claims, IdentitySlot, Reason, RejectionFormat, TokenEnd, TokenId, VerifiedToken,
    internal::{ObservedStream, StreamObserver, observe_streams, stream_observer},
};
use tower_revoke_testing::Gate;

use super::support::*;

fn malformed() -> [Request<()>; 3] {
    let twice = get("/").header("authorization", "Bearer ann");
    [
        with("authorization", "Bearer"),
        build(twice.header("authorization", "Bearer ann")),
        build(get("/?access_token=ann&access_token=ann")),
    ]
}

#[tokio::test]
async fn optional_passes_a_request_without_a_token() {
    let answer = call(&layer().optional(), build(get("/"))).await;
    assert_eq!(answer.status(), 200);
    assert!(caller(&answer).is_none());
    let answer = call(&layer().optional(), bearer("ann")).await;
    assert!(caller(&answer).is_some());
}

#[tokio::test]
async fn optional_rejects_a_bad_token() {
    let layer = layer().optional().query().scope("orders:write");
    for (token, status) in [("bad", 401), ("unavailable", 503), ("ann", 403)] {
        assert_eq!(call(&layer, bearer(token)).await.status(), status);
    }
    for request in malformed() {
        assert_eq!(call(&layer, request).await.status(), 400);
    }
}

#[tokio::test]
async fn observe_rejects_nothing_and_identifies_only_valid_callers() {
    let gate = Gate::closed();
    gate.open();
    let later = tower_revoke_bearer::RequireBearerLayer::new(Tokens::later(&gate));
    for layer in [layer(), later] {
        let layer = layer.observe().query();
        assert!(caller(&call(&layer, bearer("ann")).await).is_some());
        let bad = [bearer("bad"), bearer("unavailable"), build(get("/"))];
        for request in bad.into_iter().chain(malformed()) {
            let answer = call(&layer, request).await;
            assert_eq!(answer.status(), 200);
            assert!(caller(&answer).is_none());
        }
    }
}

#[tokio::test]
async fn observe_passes_no_caller_that_fails_the_requirements() {
    for layer in [
        layer().scope("orders:write"),
        layer().claim("tenant", "other"),
    ] {
        let slot = IdentitySlot::default();
        let mut request = bearer("ann");
        request.extensions_mut().insert(slot.clone());
        let answer = call(&layer.observe(), request).await;
        assert_eq!(answer.status(), 200);
        assert!(caller(&answer).is_none());
        assert!(slot.get().is_some(), "the caller is still identified");
    }
}

#[tokio::test]
async fn the_last_mode_set_wins() {
    let answer = call(&layer().observe().optional(), bearer("bad")).await;
    assert_eq!(answer.status(), 401);
    let answer = call(&layer().optional().observe(), bearer("bad")).await;
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn inner_layers_learn_that_a_bearer_layer_ran_and_what_it_was_given() {
    for (layer, request, token) in [
        (layer(), bearer("ann"), Some("ann")),
        (layer().optional(), build(get("/")), None),
        (layer().observe(), bearer("bad"), Some("bad")),
        (layer().observe(), with("authorization", "Bearer"), None),
        (
            layer().query(),
            build(get("/?access_token=ann")),
            Some("ann"),
        ),
    ] {
        let answer = call(&layer.realm("orders"), request).await;
        let extensions = &seen(&answer).unwrap().extensions;
        let checked = BearerContext::of(extensions).unwrap();
        assert_eq!(checked.token().map(|token| token.as_str()), token);
        let format = RejectionFormat::of(extensions);
        let (get, ()) = Request::new(()).into_parts();
        let rejection = format.respond_to(Reason::NoToken.into(), &get);
        assert_eq!(
            rejection.headers()["www-authenticate"],
            "Bearer realm=\"orders\""
        );
    }
}

/// TRAPS 15: only verified identities may become metric labels.
#[tokio::test]
async fn trap_15_the_identity_slot_is_filled_by_verified_tokens_only() {
    let all = [
        bearer("ann"),
        bearer("bad"),
        bearer("unavailable"),
        build(get("/")),
        with("authorization", "Bearer"),
        with("authorization", "Basic YW5uOmFubg=="),
    ];
    for layer in [layer(), layer().optional(), layer().observe()] {
        for request in &all {
            let slot = IdentitySlot::default();
            let mut request = request.clone();
            request.extensions_mut().insert(slot.clone());
            let good = request
                .headers()
                .get("authorization")
                .is_some_and(|value| value == "Bearer ann");
            call(&layer, request).await;
            assert_eq!(slot.get().is_some(), good);
        }
    }
}

#[tokio::test]
async fn the_inner_of_two_bearer_layers_wins() {
    let strict = layer().scope("orders:write").observe();
    let service = layer().layer(strict.layer(inner()));
    let answer = service.oneshot(bearer("ann")).await.unwrap();
    let seen = answer.extensions().get::<Seen>().unwrap();
    assert!(
        seen.0
            .extensions
            .get::<tower_revoke_core::Authenticated>()
            .is_none()
    );
}

/// How many streams have begun.
#[derive(Clone, Default)]
struct Begun(Arc<AtomicUsize>);

impl StreamObserver for Begun {
    fn begin(&self, _: &Arc<VerifiedToken>) -> Box<dyn ObservedStream> {
        self.0.fetch_add(1, Relaxed);
        Box::new(self.clone())
    }
}

impl ObservedStream for Begun {
    fn cut(&self, _: TokenEnd, _: Duration) {}
}

#[tokio::test]
async fn the_observers_of_streams_are_handed_on_through_bearer_layers() {
    let strict = || layer().scope("orders:write").observe();
    let claims = Claims::from_value(serde_json::json!({})).unwrap();
    let token = VerifiedToken::new(TokenId::of_jwt("issuer", "1"), claims, Duration::ZERO);
    let token = Arc::new(token);
    for (first, second) in [
        (layer(), layer()),
        (layer(), strict()),
        (strict(), layer()),
        (strict(), strict()),
    ] {
        for has_outer in [true, false] {
            for has_inner in [true, false] {
                let [outer, inmost] = [Begun::default(), Begun::default()];
                let observer = inmost.clone();
                let service = second.clone().layer(inner());
                let service = service.map_request(move |mut request: Request<()>| {
                    if has_inner {
                        observe_streams(request.extensions_mut(), Arc::new(observer.clone()));
                    }
                    request
                });
                let mut request = bearer("ann");
                if has_outer {
                    observe_streams(request.extensions_mut(), Arc::new(outer.clone()));
                }
                let answer = first.clone().layer(service).oneshot(request);
                let answer = answer.await.unwrap();
                let seen = answer.extensions().get::<Seen>().unwrap();
                let observer = stream_observer(&seen.0.extensions);
                drop(observer.map(|observer| observer.begin(&token)));
                let begun = [outer, inmost].map(|observer| observer.0.load(Relaxed));
                assert_eq!(begun, [has_outer, has_inner].map(usize::from));
            }
        }
    }
}
