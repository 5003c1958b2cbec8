//! Tests a layer that is missing or in the wrong order: the first call is rejected, the log names
//! the missing layer, and the service is not called. One test in its own process, because it reads
//! the log.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, middleware::from_extractor, routing::get};
use http::{Method, Request, Response, Version};
use http_body_util::BodyExt;
use tower::{
    Layer, ServiceExt, service_fn,
    util::{BoxCloneSyncService, Either},
};
use tower_revoke::{
    Authenticated, Condition, RequireBearerLayer, RequireClaimsLayer, RevokeAfterResponseLayer,
    UseLimitLayer,
};
use tower_revoke_tests::World;
use tracing::Level;

type Stack = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The log lines since the last read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn read(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic before"));
        String::from_utf8(bytes).expect("text")
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic before").extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A service that counts its calls.
fn service(reached: &Arc<AtomicUsize>) -> Stack {
    let reached = reached.clone();
    Stack::new(service_fn(move |_: Request<Body>| {
        reached.fetch_add(1, Ordering::SeqCst);
        async { Ok(Response::new(Body::from("reached"))) }
    }))
}

/// The same service as axum handlers with an extractor.
fn handlers(reached: &Arc<AtomicUsize>) -> [Router; 2] {
    let (first, second) = (reached.clone(), reached.clone());
    [
        Router::new().fallback(async move |_: Authenticated| {
            first.fetch_add(1, Ordering::SeqCst);
        }),
        Router::new().fallback(async move |_: Option<Authenticated>| {
            second.fetch_add(1, Ordering::SeqCst);
        }),
    ]
}

fn costs() -> [Either<UseLimitLayer, RevokeAfterResponseLayer>; 6] {
    let excepted = [Method::GET, Method::POST];
    [
        Either::Left(UseLimitLayer::single()),
        Either::Left(UseLimitLayer::uses::<3>()),
        Either::Right(RevokeAfterResponseLayer::new()),
        Either::Left(UseLimitLayer::single().when(Condition::scope("OTT"))),
        Either::Left(UseLimitLayer::single().except_methods(excepted.clone())),
        Either::Right(RevokeAfterResponseLayer::new().except_methods(excepted)),
    ]
}

/// Every way to put a layer where no bearer layer is outside of it.
fn misplaced(world: &World, reached: &Arc<AtomicUsize>) -> Vec<(String, Stack)> {
    let bearer = RequireBearerLayer::new(world.tokens.clone());
    let claims = RequireClaimsLayer::scope("orders");
    let mut stacks = Vec::new();
    let mut add = |name: String, stack: Stack| stacks.push((name, stack));
    for revoke in costs() {
        let name = format!("{revoke:?}");
        let inner = service(reached);
        let alone = revoke.layer(inner.clone()).map_response(boxed);
        add(format!("alone: {name}"), Stack::new(alone));
        let outside = revoke.layer(bearer.layer(inner)).map_response(boxed);
        add(format!("outside: {name}"), Stack::new(outside));

        let route = get(async || "never").layer(revoke.clone());
        let on_route = Router::new().route("/", route).into_service();
        add(format!("on a route: {name}"), Stack::new(on_route));
        let route = get(async || "never").layer(bearer.clone());
        let router = Router::new().route("/", route).layer(revoke.clone());
        add(
            format!("around a router: {name}"),
            Stack::new(router.into_service()),
        );
    }
    let inner = service(reached);
    let alone = claims.layer(inner.clone()).map_response(boxed);
    add("claims alone".to_owned(), Stack::new(alone));
    let outside = claims.layer(bearer.layer(inner)).map_response(boxed);
    add("claims outside".to_owned(), Stack::new(outside));
    for handler in handlers(reached) {
        add(
            "an extractor".to_owned(),
            Stack::new(handler.into_service()),
        );
    }
    let outside = Router::new()
        .route("/", get(async || "never"))
        .layer(bearer)
        .layer(from_extractor::<Authenticated>());
    add(
        "an extractor outside".to_owned(),
        Stack::new(outside.into_service()),
    );
    stacks
}

fn boxed<B>(response: Response<B>) -> Response<Body>
where
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<tower_revoke::core::BoxError>,
{
    response.map(Body::new)
}

#[tokio::test]
async fn a_missing_outer_layer_rejects_the_call_and_the_log_names_it() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(Level::DEBUG)
        .with_writer(move || writer.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).expect("the only subscriber");
    let world = World::new();
    let reached = Arc::default();
    let mut is_first = true;
    for (name, stack) in misplaced(&world, &reached) {
        for content_type in [
            None,
            Some("application/grpc"),
            Some("application/grpc+proto"),
        ] {
            log.read();
            let token = format!("Bearer {}", world.token());
            let request = match content_type {
                None => Request::get("/"),
                Some(content_type) => Request::post("/")
                    .version(Version::HTTP_2)
                    .header("content-type", content_type),
            };
            let request = request.header("authorization", &token);
            let request = request.body(Body::empty()).expect("a request");
            let Ok(answer) = stack.clone().oneshot(request).await;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.expect("a whole body").to_bytes();
            match content_type {
                None => {
                    assert_eq!(head.status, 500, "{name}");
                    assert!(!head.headers.contains_key("retry-after"), "{name}");
                    assert!(!head.headers.contains_key("www-authenticate"), "{name}");
                    let body = String::from_utf8_lossy(&body);
                    assert!(!body.contains("Layer"), "only the log names layers: {body}");
                }
                Some(_) => {
                    assert_eq!(head.status, 200, "{name}");
                    assert_eq!(head.headers["grpc-status"], "13", "{name}");
                    assert!(body.is_empty(), "{name}");
                }
            }
            let logged = log.read();
            let named = "the request came through no RequireBearerLayer";
            // At most once a minute; the others are logged at DEBUG.
            let level = if is_first { "ERROR" } else { "DEBUG" };
            is_first = false;
            assert!(logged.contains(level), "{name}: {logged}");
            assert!(logged.contains(named), "{name}: {logged}");
            assert!(!logged.contains(&token[7..]), "{name}: {logged}");
        }
    }
    assert_eq!(reached.load(Ordering::SeqCst), 0, "the service was called");

    // In the right order, the same service is called and nothing is logged.
    let bearer = RequireBearerLayer::new(world.tokens.clone());
    let right = bearer.layer(UseLimitLayer::single().layer(service(&reached)));
    let token = format!("Bearer {}", world.token());
    let request = Request::get("/").header("authorization", token);
    let request = request.body(Body::empty()).expect("a request");
    assert_eq!(
        right.oneshot(request).await.expect("an answer").status(),
        200
    );
    assert_eq!(reached.load(Ordering::SeqCst), 1);
    assert_eq!(log.read(), "");
}
