//! RFC 7515 and 7797: the format of a token.

use serde_json::json;
use tower_revoke_core::Reason;

use super::claims;
use crate::support::*;

#[tokio::test]
async fn rfc7515_7_1_a_token_has_three_parts() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let token = issuer.token().sign();
    let parts: Vec<_> = token.split('.').collect();
    for malformed in [
        "a".to_owned(),
        parts[..2].join("."),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{}", parts[2]),
        format!("{}..{}", parts[0], parts[2]),
        format!(".{}.{}", parts[1], parts[2]),
        // Five parts are an encrypted token (RFC 7516).
        [parts[0], "", parts[1], parts[1], parts[2]].join("."),
    ] {
        assert_eq!(
            rejection(&tokens, &malformed).await,
            Reason::MalformedToken,
            "{malformed}"
        );
    }
    assert!(verify(&tokens, &token).await.is_ok());
}

#[tokio::test]
async fn rfc7515_2_parts_are_base64url_without_padding() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    let token = issuer.token().sign();
    let (input, signature) = token.rsplit_once('.').unwrap();
    for signature in [
        format!("{signature}="),
        format!("{signature}=="),
        format!("+{}", &signature[1..]),
        format!("/{}", &signature[1..]),
        format!("~{}", &signature[1..]),
    ] {
        let token = format!("{input}.{signature}");
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7515_5_2_a_header_is_utf8() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for header in [
        &b"{\"alg\":\"ES256\",\"x\":\"\xff\"}"[..],
        b"{\"alg\":\"ES256\",\"x\":[\"\xc3\"]}",
        b"{\"alg\":\"ES256\",\"kid\":\"\xff\"}",
    ] {
        let token = issuer.sign_raw(header, claims(|_| {}));
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7515_4_header_names_are_unique() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for header in [
        r#"{"alg":"ES256","alg":"ES256"}"#,
        r#"{"alg":"ES256","x":1,"x":1}"#,
        r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","\u0061lg":"ES256"}"#,
    ] {
        let token = issuer.sign_raw(header, claims(|_| {}));
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
    let members: String = (0..32).map(|at| format!(r#","{at}":1"#)).collect();
    let token = issuer.sign_raw(format!(r#"{{"alg":"ES256"{members}}}"#), claims(|_| {}));
    assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    let token = issuer.sign_raw(r#"{"alg":"ES256","x":1}"#, claims(|_| {}));
    assert!(
        verify(&tokens, &token).await.is_ok(),
        "unknown parameters are ignored"
    );
}

#[tokio::test]
async fn rfc7515_4_1_1_alg_is_a_required_string() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for header in [
        "{}",
        r#"{"alg":null}"#,
        r#"{"alg":["ES256"]}"#,
        "[]",
        "1",
        "",
    ] {
        let token = issuer.sign_raw(header, claims(|_| {}));
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7515_4_1_4_a_kid_is_a_string() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for kid in [json!(7), json!(null), json!(["a"])] {
        let token = issuer.token().header("kid", kid).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7515_4_1_11_critical_headers_are_rejected() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for crit in [json!(["exp"]), json!([]), json!(["b64"]), json!(null)] {
        let token = issuer.token().header("crit", crit).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}

#[tokio::test]
async fn rfc7797_3_an_unencoded_payload_is_rejected() {
    let (issuer, clock, _hand) = issuer();
    let tokens = verifier(&issuer, &clock);
    for b64 in [false, true] {
        let token = issuer.token().header("b64", b64).sign();
        assert_eq!(rejection(&tokens, &token).await, Reason::MalformedToken);
    }
}
