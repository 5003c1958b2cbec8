//! Tests the layers in every position that tower allows, and in each order that the README allows.

use std::convert::Infallible;

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::MapRequestLayer};
use tower_http::{compression::CompressionLayer, cors::CorsLayer};
use tower_revoke::{
    Authenticated, Monitor, OriginalAuthorization, Outbound, OutboundAuthorizationLayer,
    OutboundBody, PreserveAuthorizationLayer, Reason, RejectAmbiguousLayer, Rejection,
    RequireBearerLayer, RequireClaimsLayer, RevokeAfterResponseLayer, UseLimitLayer,
    core::BoxError,
};
use tower_revoke_tests::{Server, World};

type Call = Request<Empty<Bytes>>;

fn call(path: &str, token: Option<&str>) -> Call {
    let mut request = Request::get(path);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    request.body(Empty::new()).expect("a request")
}

/// Returns the status after reading the body to its end.
async fn status<S, ReqBody, ResBody>(service: S, request: Request<ReqBody>) -> u16
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    S::Error: Into<BoxError>,
    ResBody: http_body::Body,
    ResBody::Error: Into<BoxError>,
{
    let response = service.oneshot(request).await.map_err(Into::into);
    let (head, body) = response.expect("an answer").into_parts();
    let whole = body.collect().await.map_err(Into::into);
    whole.map(drop).expect("a whole body");
    head.status.as_u16()
}

/// Returns the whole body.
async fn read<S, B>(service: S, token: &str) -> Bytes
where
    S: Service<Call, Response = Response<B>, Error = Infallible>,
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let Ok(answer) = service.oneshot(call("/", Some(token))).await;
    let body = answer.into_body().collect().await.map_err(Into::into);
    body.expect("a whole body").to_bytes()
}

async fn hello<B>(_: Request<B>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(Response::new(Full::from("hello")))
}

fn bearer(world: &World) -> RequireBearerLayer<tower_revoke::JwtVerifier> {
    RequireBearerLayer::new(world.tokens.clone())
}

fn scoped(world: &World, scope: &str) -> String {
    let token = world.issuer.token().audience("api");
    token.scope(scope).sign()
}

#[tokio::test]
async fn in_a_service_builder_with_a_buffer_and_a_limit() {
    let world = World::new();
    let monitor = Monitor::new();
    let stack = ServiceBuilder::new()
        .buffer::<Call>(8)
        .layer(monitor.layer("api"))
        .layer(PreserveAuthorizationLayer::new())
        .layer(bearer(&world))
        .concurrency_limit(1)
        .layer(RequireClaimsLayer::scope("orders"))
        .layer(UseLimitLayer::single())
        .service_fn(hello);
    let (token, other) = (scoped(&world, "orders"), scoped(&world, "invoices"));
    let ask = async |token| status(stack.clone(), call("/", token)).await;
    assert_eq!(ask(None).await, 401);
    assert_eq!(ask(Some(&other)).await, 403);
    assert_eq!(ask(Some(&token)).await, 200);
    assert_eq!(ask(Some(&token)).await, 401);
    let snapshot = monitor.snapshot();
    let counts = &snapshot.services["api"].total;
    assert_eq!((counts.success, counts.rejected), (1, 3));
}

/// A nested router strips its prefix. The condition inside sees the remaining path, which must be
/// the path that axum routes by.
#[tokio::test]
async fn trap_40_allowances_of_a_guard_hold_below_a_nested_router() {
    let world = World::new();
    let invoices = |call: &tower_revoke::ConditionRequest<'_>| call.path().starts_with("/invoices");
    let api = Router::new()
        .route("/invoices/{id}", get(async || "an invoice"))
        .fallback(async || "anything else")
        .layer(UseLimitLayer::single().when(invoices));
    let router = Router::new().nest("/api", api).layer(bearer(&world));
    let strict = RejectAmbiguousLayer::new();
    let lenient = strict.allow_encoded_unreserved().allow_matrix_parameters();
    for (guard, path, expected) in [
        (Some(lenient), "/api/%69nvoices/1", [200, 401]),
        (Some(lenient), "/%61pi/i%6evoices/1", [200, 401]),
        (Some(lenient), "/api/invoices;x=1/1", [200, 401]),
        (Some(lenient), "/api/;x/invoices/1", [400, 400]),
        (Some(lenient), "/api/invoices%3bx=1", [400, 400]),
        (Some(lenient), "/api/orders/%7Eann;x=1", [200, 200]),
        (Some(strict), "/api/%69nvoices/1", [400, 400]),
        (Some(strict), "/api/invoices;x=1/1", [400, 400]),
        (Some(strict), "/api/.well-known/x", [200, 200]),
        (None, "/api/%69nvoices/1", [400, 400]),
        (None, "/api/i%6evoices/1", [400, 400]),
        (None, "/api/;x/invoices/1", [400, 400]),
        (None, "/api/invoices;x=1", [400, 400]),
        (None, "/api/invoices%3bx=1", [400, 400]),
        (None, "/api/.well-known/x", [200, 200]),
        (None, "/api/invoices/1", [200, 401]),
    ] {
        let token = world.token();
        let ask = async || {
            let mut request = call(path, Some(&token)).map(Body::new);
            let host = header::HeaderValue::from_static("api");
            request.headers_mut().insert(header::HOST, host);
            match guard {
                Some(guard) => status(guard.layer(router.clone()), request).await,
                None => status(router.clone(), request).await,
            }
        };
        assert_eq!([ask().await, ask().await], expected, "{guard:?} {path}");
    }
}

/// `Router::layer` also wraps the 404 fallback, `Router::route_layer` doesn't.
#[tokio::test]
async fn as_layers_of_a_router_of_its_routes_and_of_their_methods() {
    let world = World::new();
    let hello = || get(async |caller: Authenticated| caller.token_id().to_string());
    let spends = UseLimitLayer::single();
    let both = || {
        ServiceBuilder::new()
            .layer(bearer(&world))
            .layer(spends.clone())
    };
    let routers = [
        (
            Router::new()
                .route("/", hello())
                .layer(spends.clone())
                .layer(bearer(&world)),
            401,
        ),
        (
            Router::new()
                .route("/", hello())
                .route_layer(spends.clone())
                .route_layer(bearer(&world)),
            404,
        ),
        (Router::new().route("/", hello().layer(both())), 404),
        (
            Router::new().route(
                "/",
                hello()
                    .route_layer(spends.clone())
                    .route_layer(bearer(&world)),
            ),
            404,
        ),
        (
            Router::new()
                .route("/", hello().layer(spends.clone()))
                .layer(bearer(&world)),
            401,
        ),
        (
            Router::new().route_service(
                "/",
                ServiceBuilder::new()
                    .layer(bearer(&world))
                    .layer(spends.clone())
                    .service(hello().with_state(())),
            ),
            404,
        ),
    ];
    for (number, (router, not_found)) in routers.into_iter().enumerate() {
        let token = world.token();
        let ask =
            async |path, token| status(router.clone(), call(path, token).map(Body::new)).await;
        assert_eq!(ask("/", None).await, 401, "{number}");
        assert_eq!(ask("/nowhere", None).await, not_found, "{number}");
        assert_eq!(ask("/", Some(&token)).await, 200, "{number}");
        assert_eq!(ask("/", Some(&token)).await, 401, "{number}");
    }
}

#[tokio::test]
async fn on_a_nested_router_and_on_a_merged_one() {
    let world = World::new();
    let invoice = get(async || "once").layer(UseLimitLayer::single());
    let api = Router::new().route("/invoice", invoice.clone());
    let merged = Router::new().route("/own", invoice);
    let router: Router = Router::new()
        .route("/", get(async || "public"))
        .nest("/api", api.layer(bearer(&world)))
        .merge(merged.layer(bearer(&world)));
    let ask = async |path, token| status(router.clone(), call(path, token).map(Body::new)).await;
    assert_eq!(ask("/", None).await, 200);
    let token = world.token();
    assert_eq!(ask("/api/invoice", Some(&token)).await, 200);
    assert_eq!(ask("/own", Some(&token)).await, 401);
}

/// A server that echoes the `Authorization` header it received.
async fn upstream() -> Server {
    let says = async |headers: HeaderMap| match headers.get(header::AUTHORIZATION) {
        Some(value) => value.to_str().expect("text").to_owned(),
        None => "none".to_owned(),
    };
    Server::start(Router::new().fallback(says)).await
}

#[tokio::test]
async fn around_a_client_of_hyper_util() {
    let world = World::new();
    let upstream = upstream().await;
    let client: Client<_, OutboundBody<_>> = Client::builder(TokioExecutor::new()).build_http();
    let host = upstream.addr.to_string();
    let keep = OutboundAuthorizationLayer::strip().upstream(&host, Outbound::keep());
    let outbounds = [
        (OutboundAuthorizationLayer::strip(), false),
        (keep.expect("a host"), true),
    ];
    for (outbound, kept) in outbounds {
        let proxy = ServiceBuilder::new()
            .layer(bearer(&world))
            .layer(RevokeAfterResponseLayer::new())
            .layer(outbound)
            .service(client.clone());
        let token = world.token();
        let request = || call(&format!("http://{host}/"), Some(&token));
        let answer = proxy.clone().oneshot(request()).await.expect("an answer");
        let body = answer.into_body().collect().await.expect("a whole body");
        let expected = match kept {
            true => format!("Bearer {token}"),
            false => "none".to_owned(),
        };
        assert_eq!(body.to_bytes(), expected);
        assert_eq!(status(proxy, request()).await, 401);
    }
}

/// A server that echoes the credentials it received.
async fn confidant() -> Server {
    let says = async |uri: Uri, headers: HeaderMap| {
        let all = |name| {
            let values = headers.get_all(name).iter();
            let values: Vec<_> = values.map(|value| value.to_str().expect("text")).collect();
            values.join(" + ")
        };
        let (authorization, cookie) = (all("authorization"), all("cookie"));
        let protocol = all("sec-websocket-protocol");
        format!("{uri} [{authorization}] [{cookie}] [{protocol}]")
    };
    Server::start(Router::new().fallback(says)).await
}

/// TRAPS 46: a token from any source is forwarded as `Authorization`, or not at all.
#[tokio::test]
async fn trap_46_a_token_from_any_source_is_forwarded_as_authorization_or_not_at_all() {
    let world = World::new();
    let upstream = confidant().await;
    let host = upstream.addr.to_string();
    let token = &*world.token();
    let other = &*world.token();
    let in_cookie = &*format!("a=1; session={token}; b=2");
    let ours = &*format!("Bearer {token}");
    let in_query = &*format!("/?a=1&access_token={token}");
    let in_protocol = &*format!("chat, bearer.{token}");
    let websocket = ("upgrade", "websocket");
    let basic = ("authorization", "Basic YTpi");
    for (path, headers, path_left, kept, cookies, protocols) in [
        ("/", vec![("cookie", in_cookie)], "/", ours, "a=1; b=2", ""),
        (
            "/",
            vec![
                ("cookie", "a=1"),
                ("cookie", &in_cookie[5..]),
                ("cookie", "c=3"),
            ],
            "/",
            ours,
            "a=1 + b=2 + c=3",
            "",
        ),
        // A token in the header wins over one elsewhere.
        (
            "/",
            vec![
                ("authorization", ours),
                ("cookie", &format!("session={other}")),
            ],
            "/",
            ours,
            "",
            "",
        ),
        // Only the token that was verified is forwarded.
        (
            "/",
            vec![basic, ("cookie", in_cookie)],
            "/",
            ours,
            "a=1; b=2",
            "",
        ),
        (
            in_query,
            vec![("cookie", "session=old; a=1")],
            "/?a=1",
            ours,
            "a=1",
            "",
        ),
        (
            "/",
            vec![websocket, ("sec-websocket-protocol", in_protocol)],
            "/",
            ours,
            "",
            "chat",
        ),
        // Without a token, the other headers stay.
        (
            "/",
            vec![basic, ("cookie", "session=; a=1")],
            "/",
            basic.1,
            "a=1",
            "",
        ),
    ] {
        for (outbound, kept) in [
            (Outbound::keep(), kept),
            (Outbound::strip(), ""),
            (Outbound::client_credentials("id", "pw"), "Basic aWQ6cHc="),
        ] {
            let outbound = OutboundAuthorizationLayer::strip().upstream(&host, outbound);
            let bearer = bearer(&world).cookie("session").query();
            let proxy = ServiceBuilder::new()
                .layer(PreserveAuthorizationLayer::new())
                .layer(bearer.websocket_protocol("bearer.").optional())
                .layer(outbound.expect("a host"))
                .service(Client::builder(TokioExecutor::new()).build_http());
            let mut request = call(&format!("http://{host}{path}"), None);
            for (name, value) in &headers {
                let value = value.parse().expect("a value");
                request.headers_mut().append(*name, value);
            }
            let answer = proxy.oneshot(request).await.expect("an answer");
            let body = answer.into_body().collect().await.expect("a whole body");
            let expected = format!("{path_left} [{kept}] [{cookies}] [{protocols}]");
            assert_eq!(body.to_bytes(), expected, "{path} {headers:?}");
        }
    }
}

/// TRAPS 46: whichever layer reads the cookie, and whatever it does with it.
#[tokio::test]
async fn trap_46_every_cookie_that_a_bearer_layer_reads_is_stripped() {
    let world = World::new();
    let upstream = confidant().await;
    let uri = format!("http://{}/", upstream.addr);
    let plain = || bearer(&world);
    let reads = |name| bearer(&world).cookie(name);
    let (inner, outer) = (
        format!("inner={}", world.token()),
        format!("outer={}", world.token()),
    );
    for (outer_layer, inner_layer) in [
        (reads("outer").optional(), reads("inner").optional()),
        (reads("outer").observe(), reads("inner").optional()),
        (reads("outer").optional(), reads("inner").observe()),
        (reads("outer"), reads("inner")),
    ] {
        for cookies in [
            format!("{outer}; a=1; {inner}"),
            format!("{inner}; {outer}; a=1"),
        ] {
            let proxy = ServiceBuilder::new()
                .layer(outer_layer.clone())
                .layer(inner_layer.clone())
                .layer(plain().optional())
                .layer(OutboundAuthorizationLayer::strip())
                .service(Client::builder(TokioExecutor::new()).build_http());
            let mut request = call(&uri, None);
            let cookies = cookies.parse().expect("a value");
            request.headers_mut().insert(header::COOKIE, cookies);
            let answer = proxy.oneshot(request).await.expect("an answer");
            let body = answer.into_body().collect().await.expect("a whole body");
            assert_eq!(body.to_bytes(), "/ [] [a=1] []");
        }
    }
}

/// The outbound layer on the server's side: it strips the token before the bearer layer reads it.
#[tokio::test]
async fn the_outbound_layer_outside_of_the_bearer_layer_rejects_everything() {
    let world = World::new();
    let stack = ServiceBuilder::new()
        .layer(OutboundAuthorizationLayer::strip())
        .layer(bearer(&world))
        .service_fn(hello);
    let request = call("http://api.example.com/", Some(&world.token()));
    assert_eq!(status(stack, request).await, 401);
}

#[tokio::test]
async fn claims_outside_of_revoke_cost_nothing_and_inside_of_it_a_use() {
    let world = World::new();
    let (claims, revoke) = (
        RequireClaimsLayer::scope("invoices"),
        UseLimitLayer::single(),
    );
    for (outside, left) in [(true, 200), (false, 401)] {
        let token = world.token();
        let inner = service_fn(hello);
        let rejected = call("/", Some(&token));
        let answer = match outside {
            true => {
                let stack = bearer(&world).layer(claims.layer(revoke.layer(inner)));
                status(stack, rejected).await
            }
            false => {
                let stack = bearer(&world).layer(revoke.layer(claims.layer(inner)));
                status(stack, rejected).await
            }
        };
        assert_eq!(answer, 403);
        let plain = bearer(&world).layer(inner);
        assert_eq!(status(plain, call("/", Some(&token))).await, left);
    }
}

#[tokio::test]
async fn a_monitor_counts_rejections_outside_of_the_bearer_layer_and_names_clients_on_both_sides() {
    let world = World::new();
    let (outside, inside) = (Monitor::new(), Monitor::new());
    let stack = ServiceBuilder::new()
        .layer(outside.layer("api"))
        .layer(bearer(&world))
        .layer(inside.layer("api"))
        .service_fn(hello);
    let ask = async |token| status(stack.clone(), call("/", token)).await;
    let token = world.token();
    assert_eq!(ask(Some(&token)).await, 200);
    assert_eq!(ask(None).await, 401);
    for (monitor, rejected) in [(outside, 1), (inside, 0)] {
        let snapshot = monitor.snapshot();
        let service = &snapshot.services["api"];
        let total = &service.total;
        assert_eq!((total.success, total.rejected), (1, rejected));
        assert_eq!(service.clients.len(), 1, "the subject of the token");
    }
}

#[tokio::test]
async fn preserve_keeps_the_header_that_reaches_its_position() {
    let world = World::new();
    let kept = async |request: Call| {
        let kept = request.extensions().get::<OriginalAuthorization>();
        let kept = kept.map(|kept| Bytes::copy_from_slice(kept.value().as_bytes()));
        Ok::<_, Infallible>(Response::new(Full::new(kept.unwrap_or_default())))
    };
    let strip = |mut request: Call| {
        request.headers_mut().remove(header::AUTHORIZATION);
        request
    };
    let preserve = PreserveAuthorizationLayer::new();
    let token = world.token();
    let value = format!("Bearer {token}");
    let (bearer, strip) = (bearer(&world), MapRequestLayer::new(strip));
    let inner = service_fn(kept);
    let answers = [
        read(bearer.layer(preserve.layer(inner)), &token).await,
        read(preserve.layer(bearer.layer(inner)), &token).await,
        read(preserve.layer(bearer.layer(strip.layer(inner))), &token).await,
        read(bearer.layer(strip.layer(preserve.layer(inner))), &token).await,
    ];
    assert_eq!(answers, [&value, &value, &value, ""]);
}

#[tokio::test]
async fn with_compression_outside_or_inside_the_end_of_the_response_waits() {
    let world = World::new();
    let long = async |_: Call| {
        let body = Full::<Bytes>::from("long ".repeat(1_000));
        Ok::<_, Infallible>(Response::new(body))
    };
    let zipped = |token: &str| {
        let mut request = call("/", Some(token));
        let gzip = header::HeaderValue::from_static("gzip");
        request.headers_mut().insert(header::ACCEPT_ENCODING, gzip);
        request
    };
    let outside = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .layer(bearer(&world))
        .layer(RevokeAfterResponseLayer::new())
        .service_fn(long);
    let inside = ServiceBuilder::new()
        .layer(bearer(&world))
        .layer(RevokeAfterResponseLayer::new())
        .layer(CompressionLayer::new())
        .service_fn(long);
    let token = world.token();
    assert_eq!(status(outside.clone(), zipped(&token)).await, 200);
    assert_eq!(status(outside, zipped(&token)).await, 401);
    let token = world.token();
    assert_eq!(status(inside.clone(), zipped(&token)).await, 200);
    assert_eq!(status(inside, zipped(&token)).await, 401);
}

/// CORS must answer a preflight request before a token is required.
#[tokio::test]
async fn a_preflight_passes_outside_of_the_bearer_layer_only() {
    let world = World::new();
    let preflight = || {
        Request::options("/")
            .header(header::ORIGIN, "https://app.example.com")
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "GET")
            .body(Empty::<Bytes>::new())
            .expect("a request")
    };
    let cors = CorsLayer::permissive;
    let inner = service_fn(hello);
    let outside = cors().layer(bearer(&world).layer(inner));
    assert_eq!(status(outside, preflight()).await, 200);
    let inside = bearer(&world).layer(cors().layer(inner));
    assert_eq!(status(inside, preflight()).await, 401);
}

/// An outer layer finds the typed reason in the response extensions.
#[tokio::test]
async fn a_layer_outside_sees_the_rejection() {
    let world = World::new();
    let stack = ServiceBuilder::new()
        .layer(bearer(&world))
        .layer(UseLimitLayer::single())
        .service_fn(hello);
    let token = world.token();
    for expected in [None, Some(Reason::Spent)] {
        let answer = stack.clone().oneshot(call("/", Some(&token))).await;
        let answer = answer.expect("an answer");
        let rejection = answer.extensions().get::<Rejection>();
        assert_eq!(rejection.map(Rejection::reason), expected);
        assert_eq!(answer.status() == StatusCode::OK, expected.is_none());
    }
}
