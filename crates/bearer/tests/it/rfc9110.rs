//! Tests by clause of RFC 9110: schemes and challenges.

use super::support::*;

#[tokio::test]
async fn rfc9110_11_1_the_scheme_is_case_insensitive() {
    for scheme in ["Bearer", "bearer", "BEARER", "bEARER"] {
        let answer = call(&layer(), with("authorization", &format!("{scheme} ann"))).await;
        assert_eq!(answer.status(), 200, "{scheme}");
    }
}

#[tokio::test]
async fn rfc9110_11_6_1_every_401_carries_a_challenge() {
    for request in [
        build(get("/")),
        bearer("expired"),
        with("authorization", "Basic YTpi"),
    ] {
        let answer = call(&layer(), request).await;
        assert_eq!(answer.status(), 401);
        assert!(challenge(&answer).starts_with("Bearer "));
    }
}

#[tokio::test]
async fn rfc9110_11_6_2_the_header_is_passed_on_unchanged_and_sensitive() {
    let answer = call(&layer(), with("authorization", "bEARER  ann")).await;
    let value = &seen(&answer).unwrap().headers["authorization"];
    assert_eq!(value, "bEARER  ann");
    assert!(value.is_sensitive());
}
