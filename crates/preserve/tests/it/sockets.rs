//! Tests a client, a proxy and its upstreams over sockets.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_revoke_preserve::{
    OriginalAuthorization, Outbound, OutboundAuthorizationLayer, PreserveAuthorizationLayer,
    RejectAmbiguousLayer,
};

use crate::support::{client, serve};

/// An upstream that echoes the credentials it received.
async fn upstream() -> SocketAddr {
    serve(service_fn(async |request: Request<Incoming>| {
        let mut seen: Vec<String> = request
            .headers()
            .iter()
            .filter(|(name, _)| name.as_str().contains("authorization"))
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or("?")))
            .collect();
        seen.sort();
        Ok(Response::new(Full::<Bytes>::from(seen.join("; "))))
    }))
    .await
}

/// A proxy that forwards each request to the address in its path.
async fn proxy(outbound: OutboundAuthorizationLayer) -> SocketAddr {
    let client = outbound.layer(client(false));
    let forward = service_fn(move |request: Request<Incoming>| {
        let client = client.clone();
        async move {
            let uri = format!("http:/{}", request.uri().path());
            let mut onward = Request::new(Full::default());
            *onward.uri_mut() = uri.parse::<Uri>().expect("a URI");
            if let Some(original) = request.extensions().get::<OriginalAuthorization>() {
                onward.extensions_mut().insert(original.clone());
            }
            for (name, value) in request.headers() {
                let is_ours = name != "host" && name != "connection";
                // As a layer of the proxy does after it has verified the token.
                if is_ours && name != "authorization" {
                    onward.headers_mut().append(name, value.clone());
                }
            }
            let answer = client.oneshot(onward).await.expect("the upstream answers");
            let body = answer.into_body().collect().await.expect("a body");
            Ok::<_, Infallible>(Response::new(Full::from(body.to_bytes())))
        }
    });
    let service = ServiceBuilder::new()
        .layer(PreserveAuthorizationLayer::new().for_proxy())
        .service(forward);
    serve(service).await
}

async fn get(uri: String, headers: &[(&str, &str)]) -> (u16, String) {
    let request = headers
        .iter()
        .fold(Request::get(uri), |request, (name, value)| {
            request.header(*name, *value)
        });
    let request = request.body(Full::default()).expect("a request");
    let answer = client(false).request(request).await.expect("an answer");
    let status = answer.status().as_u16();
    let body = answer
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn rfc9700_4_13_each_upstream_gets_its_credentials_and_nothing_forged() {
    let (keep, rename, basic, other) = (
        upstream().await,
        upstream().await,
        upstream().await,
        upstream().await,
    );
    let outbound = OutboundAuthorizationLayer::strip()
        .upstream(&keep.to_string(), Outbound::keep())
        .and_then(|layer| {
            let renamed = Outbound::rename("x-forwarded-authorization")?;
            layer.upstream(&rename.to_string(), renamed)
        })
        .and_then(|layer| {
            layer.upstream(&basic.to_string(), Outbound::client_credentials("id", "pw"))
        })
        .expect("valid");
    let proxy = proxy(outbound).await;
    let headers = [
        ("authorization", "Bearer abc"),
        ("x-forwarded-authorization", "Bearer forged"),
        ("proxy-authorization", "Basic YTpi"),
    ];
    for (upstream, expected) in [
        (keep, "authorization: Bearer abc"),
        (rename, "x-forwarded-authorization: Bearer abc"),
        (basic, "authorization: Basic aWQ6cHc="),
        (other, ""),
    ] {
        let answer = get(format!("http://{proxy}/{upstream}/"), &headers).await;
        assert_eq!(answer, (200, expected.to_owned()));
    }
}

/// TRAPS 19.
#[tokio::test]
async fn trap_19_a_proxy_rejects_the_listing_on_the_wire() {
    let upstream = upstream().await;
    let outbound = OutboundAuthorizationLayer::strip()
        .upstream(&upstream.to_string(), Outbound::keep())
        .expect("valid");
    let proxy = proxy(outbound).await;
    let headers = [
        ("authorization", "Bearer abc"),
        ("connection", "keep-alive, Authorization"),
    ];
    let (status, _) = get(format!("http://{proxy}/{upstream}/"), &headers).await;
    assert_eq!(status, 400);
}

/// TRAPS 19.
#[tokio::test]
async fn trap_19_a_server_keeps_the_header_on_the_wire() {
    let kept = service_fn(async |request: Request<Incoming>| {
        let original = request.extensions().get::<OriginalAuthorization>();
        let value = original.and_then(|original| original.value().to_str().ok());
        let body = value.unwrap_or("nothing").to_owned();
        Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(body)))
    });
    let server = serve(PreserveAuthorizationLayer::new().layer(kept)).await;
    let headers = [
        ("authorization", "Bearer abc"),
        ("connection", "authorization"),
    ];
    let answer = get(format!("http://{server}/"), &headers).await;
    assert_eq!(answer, (200, "Bearer abc".to_owned()));
}

/// RFC 9112 §3.2: hyper passes on a target of any form with any method.
#[tokio::test]
async fn trap_40_a_target_without_a_path_does_not_reach_the_inner_service() {
    let inner = service_fn(async |request: Request<Incoming>| {
        Ok::<_, Infallible>(Response::new(Full::from(request.uri().to_string())))
    });
    let at = serve(RejectAmbiguousLayer::new().layer(inner)).await;
    for (target, host, status) in [
        ("/tickets", "a", "200"),
        ("http://a", "a", "200"),
        ("tickets:80", "tickets:80", "400"),
        ("tickets", "tickets", "400"),
        ("*", "a", "400"),
    ] {
        let mut socket = TcpStream::connect(at).await.unwrap();
        let head = format!("GET {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.unwrap();
        let found = answer.split(' ').nth(1);
        assert_eq!(found, Some(status), "{target}: {answer}");
    }
}
