//! Tests scopes and claims that a layer requires of every token.

use serde_json::json;
use tower_revoke_core::Reason;

use super::support::*;

#[tokio::test]
async fn the_scopes_of_several_calls_are_all_required() {
    let both = layer().scope("orders:read").scope("orders:list");
    assert_eq!(call(&both, bearer("ann")).await.status(), 200);
    let more = both.scope("orders:write");
    let answer = call(&more, bearer("ann")).await;
    assert_eq!(answer.status(), 403);
    let all = "scope=\"orders:read orders:list orders:write\"";
    assert!(challenge(&answer).ends_with(all));
}

#[tokio::test]
async fn one_of_a_choice_is_enough() {
    let layer = layer().any_scope(["admin", "orders:list"]);
    assert_eq!(call(&layer, bearer("ann")).await.status(), 200);
    let layer = layer.any_scope(["root", "owner"]);
    let answer = call(&layer, bearer("ann")).await;
    assert_eq!(answer.status(), 403);
    assert!(challenge(&answer).ends_with("scope=\"admin root\""));
}

#[tokio::test]
async fn an_empty_choice_and_a_scope_with_a_space_are_never_satisfied() {
    for layer in [
        layer().any_scope([""; 0]),
        layer().scope("orders:read orders:list"),
    ] {
        assert_eq!(call(&layer, bearer("ann")).await.status(), 403);
    }
}

#[tokio::test]
async fn a_claim_must_equal_the_required_value() {
    for (name, value, status) in [
        ("tenant", json!("acme"), 200),
        ("tenant", json!("ACME"), 403),
        ("tenant", json!(["acme"]), 403),
        ("level", json!(3), 200),
        ("level", json!("3"), 403),
        ("roles", json!(["clerk"]), 200),
        ("roles", json!("clerk"), 403),
        ("missing", json!(null), 403),
    ] {
        let answer = call(&layer().claim(name, value.clone()), bearer("ann")).await;
        assert_eq!(answer.status(), status, "{name} {value}");
    }
    let both = layer().claim("tenant", "acme").claim("level", 4);
    assert_eq!(call(&both, bearer("ann")).await.status(), 403);
    let answer = call(&layer().claim("tenant", "other"), bearer("ann")).await;
    assert_eq!(reason(&answer), Some(Reason::InsufficientScope));
    assert!(
        !challenge(&answer).contains("scope=\""),
        "no scope would suffice"
    );
}

#[tokio::test]
async fn a_rejected_scope_names_the_token_for_the_log() {
    let answer = call(&layer().scope("orders:write"), bearer("ann")).await;
    let rejection = answer
        .extensions()
        .get::<tower_revoke_core::Rejection>()
        .unwrap();
    assert_eq!(rejection.token_id(), Some(ann().token_id()));
}
