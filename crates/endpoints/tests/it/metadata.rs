//! RFC 8414: the metadata of the endpoints.

use http::{Method, header};
use serde_json::json;
use tower_revoke_endpoints::{AuthorizationServerMetadata, IntrospectionEndpoint, MetadataError};

use crate::support::{any_method, call, clients, endpoint, post};

#[tokio::test]
async fn rfc8414_2_the_document_names_the_endpoints_and_their_methods() {
    let (revoke, _) = endpoint(any_method());
    let introspect = IntrospectionEndpoint::new(clients());
    let metadata = AuthorizationServerMetadata::new("https://id.example.com")
        .and_then(|all| all.revocation_endpoint("https://id.example.com/revoke", &revoke))
        .and_then(|all| all.introspection_endpoint("https://id.example.com/ask", &introspect))
        .expect("metadata")
        .member("response_types_supported", json!(["code"]));
    let mut request = post(None, "");
    *request.method_mut() = Method::GET;
    let answer = call(&metadata, request).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers[header::CONTENT_TYPE], "application/json");
    let expected = json!({
        "issuer": "https://id.example.com",
        "introspection_endpoint": "https://id.example.com/ask",
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic"],
        "response_types_supported": ["code"],
        "revocation_endpoint": "https://id.example.com/revoke",
        "revocation_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "none"],
    });
    assert_eq!(answer.body, expected);
    let answer = call(&metadata, post(None, "")).await;
    assert_eq!((answer.status.as_u16(), answer.body.is_null()), (405, true));
}

#[test]
fn rfc8414_3_1_the_path_of_the_issuer_follows_the_well_known_one() {
    for (issuer, expected) in [
        ("https://id.example.com", ""),
        ("https://id.example.com/", ""),
        ("https://id.example.com/a/b", "/a/b"),
    ] {
        let metadata = AuthorizationServerMetadata::new(issuer).expect("metadata");
        let expected = format!("/.well-known/oauth-authorization-server{expected}");
        assert_eq!(metadata.path(), expected);
    }
}

#[test]
fn rfc8414_2_an_issuer_is_an_https_url_without_a_query() {
    let error = |issuer| AuthorizationServerMetadata::new(issuer).err();
    let query = "https://id.example.com/?a";
    assert_eq!(error(query), Some(MetadataError::Query(query.to_owned())));
    for issuer in ["http://id.example.com", "id.example.com", ""] {
        assert!(matches!(error(issuer), Some(MetadataError::Url(_))));
    }
}
