//! Unit tests of the format.

use http::{Request, Version};
use http_body::Body;
use proptest::prelude::*;

use super::*;
use crate::Reason;

fn get() -> RequestShape {
    RequestShape::of(&Request::new(()))
}

fn grpc_call() -> RequestShape {
    let request = Request::post("/").version(Version::HTTP_2);
    let request = request.header(CONTENT_TYPE, "application/grpc");
    RequestShape::of(&request.body(()).unwrap())
}

fn respond_by_default(rejection: Rejection, request: RequestShape) -> Response<Full<Bytes>> {
    respond(&RejectionFormat::default(), rejection, request)
}

fn challenge(rejection: Rejection) -> String {
    let response = respond_by_default(rejection, get());
    response.headers()[WWW_AUTHENTICATE]
        .to_str()
        .unwrap()
        .to_owned()
}

#[test]
fn without_credentials_there_is_no_error_code() {
    assert_eq!(challenge(Reason::NoToken.into()), "Bearer realm=\"api\"");
}

#[test]
fn rfc6750_3_scope_is_named_on_403() {
    assert_eq!(
        challenge(Rejection::insufficient_scope("orders:write")),
        "Bearer realm=\"api\", error=\"insufficient_scope\", \
         error_description=\"the token doesn't grant this\", scope=\"orders:write\""
    );
}

#[test]
fn rfc6750_3_a_challenge_names_all_scopes_at_once() {
    let format = RejectionFormat::default().scopes(["a", "b"]);
    let scopes = |rejection: Rejection| format.scopes_for(&rejection);
    assert_eq!(scopes(Reason::NoToken.into()), "a b");
    assert_eq!(scopes(Reason::Spent.into()), "a b");
    assert_eq!(scopes(Rejection::insufficient_scope("c b")), "a b c");
    // A claim is missing, or the request is malformed: other scopes would not help.
    assert_eq!(scopes(Reason::InsufficientScope.into()), "");
    assert_eq!(scopes(Reason::MalformedRequest.into()), "");
}

#[test]
fn rfc9728_5_1_each_challenge_names_the_metadata() {
    let url = "https://api.example.com/.well-known/oauth-protected-resource";
    let format = RejectionFormat::default().resource_metadata(url);
    for (reason, is_named) in [
        (Reason::NoToken, true),
        (Reason::Revoked, true),
        (Reason::MalformedRequest, true),
        (Reason::InsufficientScope, true),
        (Reason::Unavailable, false),
        (Reason::Misconfigured, false),
    ] {
        let response = respond(&format, reason.into(), get());
        let challenge = response.headers().get(WWW_AUTHENTICATE);
        let named = challenge.map(|value| value.to_str().unwrap().to_owned());
        let expected = format!(", resource_metadata=\"{url}\"");
        let named = named.is_some_and(|named| named.ends_with(&expected));
        assert_eq!(named, is_named, "{reason:?}");
    }
}

#[test]
fn a_503_has_a_retry_after_and_no_challenge() {
    let response = respond_by_default(Reason::Unavailable.into(), get());
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()[RETRY_AFTER], "1");
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
}

#[test]
fn a_failure_after_the_call_has_no_retry_after() {
    let response = respond_by_default(Reason::NotRecorded.into(), get());
    assert_eq!(response.status(), 500);
    assert!(!response.headers().contains_key(RETRY_AFTER));
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
}

#[test]
fn grpc_rejections_are_trailers_only() {
    for (reason, status) in [
        (Reason::NoToken, "16"),
        (Reason::MalformedRequest, "16"),
        (Reason::Spent, "16"),
        (Reason::InsufficientScope, "7"),
        (Reason::Unavailable, "14"),
        (Reason::NotRecorded, "13"),
    ] {
        let response = respond_by_default(reason.into(), grpc_call());
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
        assert_eq!(response.headers()[GRPC_STATUS], status);
        assert!(response.body().is_end_stream());
    }
}

/// TRAPS 39: the program can allow or forbid a rejection in gRPC form, which is a 200.
#[test]
fn trap_39_a_format_rejects_in_grpc_form_always_or_never() {
    for (grpc, of_get, of_grpc_call) in [
        (GrpcRejections::Auto, 401, 200),
        (GrpcRejections::Always, 200, 200),
        (GrpcRejections::Never, 401, 401),
    ] {
        let format = RejectionFormat::default().grpc(grpc);
        let status = |request| respond(&format, Reason::NoToken.into(), request).status();
        assert_eq!(status(get()), of_get, "{grpc:?}");
        assert_eq!(status(grpc_call()), of_grpc_call, "{grpc:?}");
    }
}

#[test]
fn rfc9110_5_6_4_a_quoted_string_escapes_what_it_must() {
    for (text, quoted) in [
        ("api", r#""api""#),
        (r#"a "b" \c"#, r#""a \"b\" \\c""#),
        ("a\r\nb\té\u{7f}", r#""a??b???""#),
    ] {
        assert_eq!(quoted_string(text), quoted);
        let format = RejectionFormat::default().realm(text);
        let challenge = format.challenge(&Reason::NoToken.into());
        assert_eq!(challenge, format!("Bearer realm={quoted}"));
    }
}

#[test]
fn grpc_message_is_percent_encoded() {
    let rejection = Rejection::new(Reason::Revoked).detail("50 % é\n");
    let response = respond_by_default(rejection, grpc_call());
    assert_eq!(response.headers()[GRPC_MESSAGE], "50 %25 %C3%A9%0A");
}

#[test]
fn the_body_can_be_swapped() {
    let format = RejectionFormat::default().body(|rejection| {
        let body = Bytes::from(rejection.reason().label());
        (HeaderValue::from_static("text/plain"), body)
    });
    let response = respond(&format, Reason::Revoked.into(), get());
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain");
    assert_eq!(response.status(), 401);
    assert!(response.headers().contains_key(WWW_AUTHENTICATE));
}

proptest! {
    #[test]
    fn rfc6750_3_any_text_fits_the_challenge(detail: String, realm: String, scope: String, url: String) {
        let mut rejection = Rejection::insufficient_scope(format!("a {scope}"));
        rejection = rejection.detail(detail);
        let format = RejectionFormat::default().realm(realm).resource_metadata(url);
        let challenge = format.challenge(&rejection);
        let challenge = challenge.to_str().unwrap();
        // Only the realm may have escapes (RFC 9110 §5.6.4).
        let challenge = challenge.replace("\\\\", "").replace("\\\"", "");
        prop_assert_eq!(challenge.matches('"').count(), 10);
        prop_assert!(!challenge.contains('\\'));
    }
}
