//! Tests what else the port serves: health and reflection without a token, plain HTTP, and the
//! lines that the program prints.

use std::collections::BTreeSet;

use futures_util::stream;
use http::Method;
use tokio::process::Command;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};
use tonic_service::proto::orders_client::OrdersClient;
use tower_revoke_tests::{Client, Wire, curl::curl};

use crate::kit::{Example, ask, channel, line, with_token};

#[tokio::test]
async fn health_and_reflection_need_no_token() {
    let example = Example::start().await;
    let channel = channel(example.at).await;
    let mut health = HealthClient::new(channel.clone());
    for service in ["", "orders.v1.Orders"] {
        let service = service.to_owned();
        let checked = health.check(HealthCheckRequest { service }).await;
        let status = checked.expect("an answer").into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
    }

    let mut reflection = ServerReflectionClient::new(channel);
    let ask = |request| {
        stream::iter([ServerReflectionRequest {
            host: String::new(),
            message_request: Some(request),
        }])
    };
    let services = ask(MessageRequest::ListServices(String::new()));
    let answers = reflection.server_reflection_info(services).await;
    let answer = answers.expect("a head").into_inner().message().await;
    let Some(MessageResponse::ListServicesResponse(list)) = answer
        .expect("no error")
        .expect("an answer")
        .message_response
    else {
        panic!("another answer");
    };
    let names: BTreeSet<_> = list
        .service
        .into_iter()
        .map(|service| service.name)
        .collect();
    assert!(names.contains("orders.v1.Orders"), "{names:?}");

    let symbol = ask(MessageRequest::FileContainingSymbol(
        "orders.v1.Orders.Quote".to_owned(),
    ));
    let answers = reflection.server_reflection_info(symbol).await;
    let answer = answers.expect("a head").into_inner().message().await;
    let Some(MessageResponse::FileDescriptorResponse(files)) = answer
        .expect("no error")
        .expect("an answer")
        .message_response
    else {
        panic!("another answer");
    };
    assert_eq!(files.file_descriptor_proto.len(), 1);
}

#[tokio::test]
async fn http_and_grpc_share_the_port_and_the_list() {
    let mut example = Example::start().await;
    for wire in Wire::ALL {
        let mut client = Client::connect(example.at, wire).await;
        assert_eq!(ask(&mut client, Method::GET, "/ready", None).await.0, 200);
        assert_eq!(ask(&mut client, Method::GET, "/nothing", None).await.0, 404);
        // A token that gRPC has spent is rejected over HTTP too.
        let token = example.token().await;
        let mut orders = OrdersClient::new(channel(example.at).await);
        let placed = orders.place(with_token(line("tea", 2), Some(&token))).await;
        let order = placed.expect("an order").into_inner();
        assert_eq!(
            (&*order.customer, order.lines, order.cents),
            ("ann", 1, 900)
        );
        let logout = ask(&mut client, Method::POST, "/logout", Some(&token)).await;
        assert_eq!(logout.0, 401);
        // A plain HTTP request to the service is rejected in HTTP form.
        let plain = ask(&mut client, Method::POST, "/orders.v1.Orders/Place", None).await;
        assert_eq!(plain.0, 401);
        assert!(
            plain.1.contains("a bearer token is required"),
            "{}",
            plain.1
        );
    }

    let version = ["--write-out", "%{http_version}", "--output", "/dev/null"];
    let ready = format!("http://{}/ready", example.at);
    for (option, expected) in [("--http1.1", "1.1"), ("--http2-prior-knowledge", "2")] {
        let output = curl(&[&version[..], &[option, "--fail", &ready]].concat()).await;
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
    }
}

#[tokio::test]
async fn grpc_an_unknown_service_is_unimplemented() {
    let mut example = Example::start().await;
    let channel = channel(example.at).await;
    let token = example.token().await;
    for path in ["/orders.v1.Orders/Burn", "/orders.v2.Orders/Place"] {
        let mut client = tonic::client::Grpc::new(channel.clone());
        client.ready().await.expect("a connection");
        let codec = tonic_prost::ProstCodec::<_, tonic_service::proto::Order>::default();
        let path = http::uri::PathAndQuery::from_static(path);
        let request = with_token(line("tea", 1), Some(&token));
        let status = client.unary(request, path, codec).await;
        assert_eq!(status.expect_err("nothing").code(), Code::Unimplemented);
    }
    // A method that doesn't exist costs nothing: the service itself responds, with trailers only.
    let mut orders = OrdersClient::new(channel);
    let placed = orders.place(with_token(line("tea", 1), Some(&token)));
    assert!(placed.await.is_ok());
}

#[tokio::test]
async fn the_printed_lines_work() {
    let mut example = Example::start().await;
    let mut script = String::new();
    // The last printed line is the call after the logout.
    let mut logged_out = false;
    loop {
        let line = example.program.says("").await;
        script.push_str(&line);
        script.push('\n');
        if logged_out && line.starts_with("grpc") {
            break;
        }
        logged_out |= line.contains("/logout");
    }
    let output = Command::new("bash").args(["-c", &script]).output().await;
    let output = output.expect("bash and curl");
    let said = String::from_utf8_lossy(&output.stdout);
    let statuses: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("grpc-status: "))
        .collect();
    assert_eq!(statuses, ["16", "0", "16", "7", "16"], "{said}");
    assert!(said.lines().any(|line| line == "200"), "{said}");
    assert!(said.contains("\"services\""), "{said}");
    assert!(said.contains("logged out"), "{said}");
}
