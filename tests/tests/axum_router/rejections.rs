//! Tests what a client gets without a token, with a valid one, and with each kind of invalid one.

use crate::kit::{Example, SHOP, WIRES, call};

const READY: &str = "/ready";

#[tokio::test]
async fn public_routes_need_no_token() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        assert_eq!(call(shop.at, READY, &[wire]).await.status, 204);
        let welcome = call(shop.at, "/", &[wire]).await;
        assert_eq!(welcome.status, 200);
        assert!(welcome.body.contains("/catalog"));
    }
}

#[tokio::test]
async fn an_optional_token_may_be_missing_but_not_invalid() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let guest = call(shop.at, "/catalog", &[wire]).await;
        assert_eq!(guest.status, 200);
        assert!(guest.body.starts_with("prices for guest\n"));
        let token = shop.token("subject=ann").await;
        let ann = shop.show(wire, "/catalog", &token).await;
        assert!(ann.body.starts_with("prices for ann\n"), "{ann:?}");
        let bad = shop.show(wire, "/catalog", "no.such.token").await;
        assert_eq!(bad.verdict(), "401 invalid_token");
    }
}

/// Every error case of RFC 6750 §3.1.
#[tokio::test]
async fn rfc6750_3_1_each_rejection_as_curl_sees_it() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let good = shop.token("subject=ann&scope=api").await;
        let forged = format!("{}AAAA", &good[..good.len() - 4]);
        let expired = shop.token("scope=api&expired").await;
        let for_others = shop.token("scope=api&audience=others").await;
        let without_scope = shop.token("subject=ann").await;

        let none = call(shop.at, "/api/orders", &[wire]).await;
        assert_eq!(none.status, 401);
        let challenge = none.header("www-authenticate");
        assert_eq!(challenge, Some("Bearer realm=\"api\", scope=\"api\""));
        let basic = ["-u", "ann:secret", wire];
        assert_eq!(call(shop.at, "/api/orders", &basic).await.verdict(), "401");

        for (token, verdict) in [
            (&good, "200"),
            (&forged, "401 invalid_token"),
            (&expired, "401 invalid_token"),
            (&for_others, "401 invalid_token"),
            (&without_scope, "403 insufficient_scope"),
            // A token that was accepted before.
            (&good, "200"),
            (&forged, "401 invalid_token"),
        ] {
            let reply = shop.show(wire, "/api/orders", token).await;
            assert_eq!(reply.verdict(), verdict, "{wire} {reply:?}");
            if reply.status >= 400 {
                let kind = reply.header("content-type");
                assert_eq!(kind, Some("application/problem+json"));
                assert_eq!(reply.header("cache-control"), Some("no-store"));
                assert!(!reply.body.contains(&token[..20]), "{reply:?}");
            }
        }

        let twice = [wire, "-H", "Authorization: Bearer a.b.c"];
        let twice = [&twice[..], &["-H", "Authorization: Bearer a.b.c"]].concat();
        let reply = call(shop.at, "/api/orders", &twice).await;
        assert_eq!(reply.verdict(), "400 invalid_request");
    }
}

#[tokio::test]
async fn a_scope_is_required_by_method_and_named() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let reader = shop.token("subject=ann&scope=api").await;
        // Without a body: curl 7.88 drops a response that arrives before it has sent the whole
        // body.
        let header = format!("Authorization: Bearer {reader}");
        let post = ["-X", "POST", wire, "-H", &header];
        let rejected = call(shop.at, "/api/orders", &post).await;
        assert_eq!(rejected.verdict(), "403 insufficient_scope");
        let challenge = rejected.header("www-authenticate").expect("a challenge");
        assert!(
            challenge.ends_with("scope=\"api orders:write\""),
            "{challenge}"
        );

        let writer = shop.token("subject=eve&scope=api+orders:write").await;
        let header = format!("Authorization: Bearer {writer}");
        let post = ["--json", r#"{"item":"tea"}"#, wire, "-H", &header];
        let placed = call(shop.at, "/api/orders", &post).await;
        assert_eq!(placed.status, 201);
        let hers = shop.show(wire, "/api/orders", &writer).await;
        assert!(hers.body.contains("tea"), "{hers:?}");
        let anns = shop.show(wire, "/api/orders", &reader).await;
        assert_eq!(anns.body, "[]");
    }
}

#[tokio::test]
async fn a_token_is_good_for_one_invoice_and_a_rejection_costs_nothing() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let short = shop.token("subject=ann&scope=api").await;
        for _ in 0..2 {
            let rejected = shop.show(wire, "/api/invoice", &short).await;
            assert_eq!(rejected.verdict(), "403 insufficient_scope");
        }
        assert_eq!(shop.show(wire, "/api/orders", &short).await.status, 200);

        let token = shop.token("subject=ann&scope=api+invoices").await;
        assert_eq!(shop.show(wire, "/api/invoice", &token).await.status, 200);
        for path in ["/api/invoice", "/api/orders", "/catalog"] {
            let spent = shop.show(wire, path, &token).await;
            assert_eq!(spent.verdict(), "401 invalid_token", "{path}");
            assert!(spent.body.contains("\"reason\":\"spent\""), "{spent:?}");
        }
    }
}

#[tokio::test]
async fn a_token_is_good_for_three_quotes_and_a_404_costs_none() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let token = shop.token("subject=ann&scope=api").await;
        for (item, verdict) in [
            ("rum", "404"),
            ("rum", "404"),
            ("rum", "404"),
            ("tea", "200"),
            ("rum", "404"),
            ("tea", "200"),
            ("coffee", "200"),
            ("tea", "401 invalid_token"),
        ] {
            let path = format!("/api/quote/{item}");
            let reply = shop.show(wire, &path, &token).await;
            assert_eq!(reply.verdict(), verdict, "{item}");
        }
    }
}

#[tokio::test]
async fn a_logout_everywhere_revokes_all_tokens_of_a_customer() {
    let shop = Example::start(SHOP).await;
    for (wire, customer) in WIRES.into_iter().zip(["ann", "bob"]) {
        let phone = shop.token(&format!("subject={customer}&scope=api")).await;
        let laptop = shop.token(&format!("subject={customer}&scope=api")).await;
        let link = shop
            .token(&format!("subject={customer}&scope=download"))
            .await;
        let others = shop.token("subject=eve&scope=api").await;
        for token in [&phone, &laptop, &others] {
            assert_eq!(shop.show(wire, "/api/orders", token).await.status, 200);
        }
        let header = format!("Authorization: Bearer {phone}");
        let path = "/api/log-out-everywhere";
        let out = call(shop.at, path, &[wire, "-X", "POST", "-H", &header]).await;
        assert_eq!(out.status, 204);
        for token in [&phone, &laptop] {
            let revoked = shop.show(wire, "/api/orders", token).await;
            assert_eq!(revoked.verdict(), "401 invalid_token");
            assert!(revoked.body.contains("\"reason\":\"revoked\""));
        }
        let revoked = shop.show(wire, "/download", &link).await;
        assert_eq!(revoked.verdict(), "401 invalid_token");
        assert_eq!(shop.show(wire, "/api/orders", &others).await.status, 200);
    }
}
