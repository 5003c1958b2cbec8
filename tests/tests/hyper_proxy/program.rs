//! Tests what curl gets from the program on HTTP/1.1 and HTTP/2, and what its upstreams receive.

use crate::kit::{DEMO, Example, WIRES, told};

#[tokio::test]
async fn each_rejection_follows_the_standards() {
    let demo = Example::start(DEMO).await;
    for wire in WIRES {
        let none = demo.call("/orders/1", &[wire]).await;
        assert_eq!(none.verdict(), "401");
        assert_eq!(
            none.header("www-authenticate"),
            Some("Bearer realm=\"api\", scope=\"proxy\"")
        );
        assert_eq!(
            none.header("content-type"),
            Some("application/problem+json")
        );

        let good = demo.token("scope=proxy").await;
        for _ in 0..2 {
            assert_eq!(demo.show(wire, "/orders/1", &good).await.verdict(), "200");
        }

        let (bytes, end) = good.split_at(good.len() - 8);
        let bad = format!(
            "{bytes}{}",
            if end == "AAAAAAAA" {
                "BBBBBBBB"
            } else {
                "AAAAAAAA"
            }
        );
        for bad in [bad.as_str(), "no.such.token"] {
            let bad = demo.show(wire, "/orders/1", bad).await;
            assert_eq!(bad.verdict(), "401 invalid_token");
        }

        let expired = demo.token("scope=proxy&expired").await;
        let expired = demo.show(wire, "/orders/1", &expired).await;
        assert_eq!(expired.verdict(), "401 invalid_token");

        let elsewhere = demo.token("scope=proxy&audience=others").await;
        let elsewhere = demo.show(wire, "/orders/1", &elsewhere).await;
        assert_eq!(elsewhere.verdict(), "401 invalid_token");

        let narrow = demo.token("scope=other").await;
        let narrow = demo.show(wire, "/orders/1", &narrow).await;
        assert_eq!(narrow.verdict(), "403 insufficient_scope");
        let challenge = narrow.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("scope=\"proxy\""), "{challenge}");

        let nowhere = demo.show(wire, "/nowhere/1", &good).await;
        assert_eq!(nowhere.verdict(), "404");
    }
}

/// WSO2's two policies: revocation by route, and by scope.
#[tokio::test]
async fn a_revoked_token_is_rejected_on_every_route_and_at_the_authorization_server() {
    let demo = Example::start(DEMO).await;
    for wire in WIRES {
        let revoked = demo.token("scope=proxy").await;
        assert_eq!(
            demo.show(wire, "/tickets/1", &revoked).await.verdict(),
            "200"
        );
        let spent = demo.token("scope=proxy+OTT").await;
        assert_eq!(demo.show(wire, "/maps/1", &spent).await.verdict(), "200");
        for token in [revoked, spent] {
            for path in ["/tickets/1", "/orders/1", "/stock/1", "/maps/1"] {
                let again = demo.show(wire, path, &token).await;
                assert_eq!(again.verdict(), "401 invalid_token", "{wire} {path}");
            }
            told(&demo.issuer, &token).await;
        }
    }
}

#[tokio::test]
async fn one_upstream_gets_the_token_one_the_proxys_credentials_and_one_nothing() {
    let demo = Example::start(DEMO).await;
    for wire in WIRES {
        for (path, expected) in [
            ("/orders/1?a=b", Some("Bearer TOKEN")),
            ("/tickets", Some("Bearer TOKEN")),
            ("/stock/1", Some("Basic cHJveHk6cHJveHktc2VjcmV0")),
            ("/maps/1", None),
        ] {
            let token = demo.token("scope=proxy").await;
            let expected = expected.map(|credentials| {
                format!("authorization: {}\n", credentials.replace("TOKEN", &token))
            });
            let reply = demo.show(wire, path, &token).await;
            assert_eq!(reply.verdict(), "200");
            assert!(
                reply.body.starts_with(&format!("GET {path}\n")),
                "{}",
                reply.body
            );
            assert_eq!(
                reply.body.matches("authorization").count(),
                usize::from(expected.is_some())
            );
            assert!(
                reply.body.contains(&expected.unwrap_or_default()),
                "{}",
                reply.body
            );
            assert_eq!(reply.header("via"), Some("1.1 hyper-proxy"));
        }
    }
}

/// RFC 9113 §8.2.3, with a client that sends each cookie on its own line over HTTP/2.
#[tokio::test]
async fn cookies_of_http_2_arrive_in_one_line() {
    let demo = Example::start(DEMO).await;
    let token = format!("Authorization: Bearer {}", demo.token("scope=proxy").await);
    let lines = ["-H", &token, "-H", "Cookie: a=1", "-H", "Cookie: b=2"];
    let http2 = [&["--http2-prior-knowledge"], &lines[..]].concat();
    let reply = demo.call("/maps/1", &http2).await;
    assert!(
        reply.body.contains("\ncookie: a=1; b=2\n"),
        "{}",
        reply.body
    );
}

#[tokio::test]
async fn an_unknown_argument_is_an_error_that_names_it() {
    let mut program = tower_revoke_tests::program::Program::start("hyper-proxy", |command| {
        command.arg("serve");
    });
    let says = program.says("unknown argument ").await;
    assert!(says.starts_with("`serve`"), "{says}");
    assert_eq!(program.ended().await.code(), Some(2));
}
