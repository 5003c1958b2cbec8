//! Requests that a test sends to an authorization server itself, without the library under test.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use form_urlencoded::{Serializer, byte_serialize};
use http::{
    HeaderMap, HeaderName, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::Value;
use tower_revoke::core::HttpClient;
use tower_revoke_http::HttpsClient;
use tower_revoke_testing::TestIssuer;

/// Longer than any response of a working server takes.
const ANSWERS_WITHIN: Duration = Duration::from_secs(60);

const MAX_ANSWER_BYTES: usize = 1 << 20;

/// The credentials of a client of the authorization server.
#[derive(Clone, Copy, Debug)]
pub struct ClientId {
    /// `client_id`.
    pub id: &'static str,
    /// `client_secret`.
    pub secret: &'static str,
}

impl ClientId {
    /// Returns the `Authorization` value. RFC 6749 §2.3.1: each part is form-urlencoded first.
    pub fn basic(self) -> String {
        let part = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", part(self.id), part(self.secret));
        format!("Basic {}", BASE64_STANDARD.encode(pair))
    }
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body if it is JSON, otherwise null.
    pub json: Value,
}

/// An issuer of a server, with its metadata.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its name, as in `iss`.
    pub name: String,
    metadata: Value,
}

impl Issuer {
    /// Reads `/.well-known/openid-configuration`.
    pub async fn discover(name: &str) -> Self {
        let url = format!("{name}/.well-known/openid-configuration");
        let metadata = get(&url).await.json;
        assert_eq!(metadata["issuer"], name, "{metadata}");
        Self {
            name: name.to_owned(),
            metadata,
        }
    }

    /// Returns the URL of an endpoint, by its name in the metadata.
    pub fn endpoint(&self, name: &str) -> &str {
        self.metadata[name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name} in {}", self.metadata))
    }

    /// Fetches a token with the client_credentials grant and these additional parameters.
    pub async fn token(&self, client: ClientId, parameters: &[(&str, &str)]) -> String {
        let form = [&[CLIENT_CREDENTIALS], parameters].concat();
        let basic = [(AUTHORIZATION, client.basic())];
        access_token(&self.grant(&basic, &form).await)
    }

    /// Fetches a token for a client that sends its secret in the form.
    pub async fn form_token(&self, client: ClientId, parameters: &[(&str, &str)]) -> String {
        let by = [
            CLIENT_CREDENTIALS,
            ("client_id", client.id),
            ("client_secret", client.secret),
        ];
        access_token(&self.grant(&[], &[&by, parameters].concat()).await)
    }

    /// Fetches a token for a client that authenticates by an assertion (RFC 7523 §2.2).
    pub async fn signed_token(&self, client: &TestIssuer, parameters: &[(&str, &str)]) -> String {
        let assertion = client.token().subject(client.issuer());
        let assertion = assertion
            .audience(&self.name)
            .expires_in(Duration::from_secs(60));
        let assertion = assertion.sign();
        let by = [
            CLIENT_CREDENTIALS,
            ("client_id", client.issuer()),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", &assertion),
        ];
        access_token(&self.grant(&[], &[&by, parameters].concat()).await)
    }

    /// Fetches a token that is bound to a key (RFC 9449 §5).
    pub async fn bound_token(
        &self,
        client: ClientId,
        key: &TestIssuer,
        parameters: &[(&str, &str)],
    ) -> String {
        let proof = key.token().header("typ", "dpop+jwt").without_header("kid");
        let proof = proof
            .header("jwk", key.jwks()["keys"][0].clone())
            .claim("htm", "POST")
            .claim("htu", self.endpoint("token_endpoint"));
        let headers = [
            (AUTHORIZATION, client.basic()),
            (HeaderName::from_static("dpop"), proof.sign()),
        ];
        let form = [&[CLIENT_CREDENTIALS], parameters].concat();
        let reply = self.grant(&headers, &form).await;
        assert_eq!(reply.json["token_type"], "DPoP", "{reply:?}");
        access_token(&reply)
    }

    /// Fetches an access and a refresh token with the grant that the form names.
    pub async fn token_pair(&self, client: ClientId, form: &[(&str, &str)]) -> (String, String) {
        let reply = self.grant(&[(AUTHORIZATION, client.basic())], form).await;
        let refresh = reply.json["refresh_token"].as_str();
        let refresh = refresh.unwrap_or_else(|| panic!("no refresh token: {reply:?}"));
        (access_token(&reply), refresh.to_owned())
    }

    /// Fetches the ID token of the grant that the form names.
    pub async fn id_token(&self, client: ClientId, form: &[(&str, &str)]) -> String {
        let form = [form, &[("scope", "openid")]].concat();
        let reply = self.grant(&[(AUTHORIZATION, client.basic())], &form).await;
        let id_token = reply.json["id_token"].as_str();
        let id_token = id_token.unwrap_or_else(|| panic!("no ID token: {reply:?}"));
        id_token.to_owned()
    }

    async fn grant(&self, headers: &[(HeaderName, String)], form: &[(&str, &str)]) -> Reply {
        let url = self.endpoint("token_endpoint");
        send(Method::POST, url, headers, Body::Form(form)).await
    }

    /// RFC 7662: introspects the token.
    pub async fn introspect(&self, client: ClientId, token: &str) -> Reply {
        let url = self.endpoint("introspection_endpoint");
        post(url, client, &[("token", token)]).await
    }

    /// RFC 7009: revokes the token.
    pub async fn revoke(&self, client: ClientId, token: &str) -> Reply {
        let url = self.endpoint("revocation_endpoint");
        post(url, client, &[("token", token)]).await
    }
}

const CLIENT_CREDENTIALS: (&str, &str) = ("grant_type", "client_credentials");

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn access_token(reply: &Reply) -> String {
    match reply.json["access_token"].as_str() {
        Some(token) => token.to_owned(),
        None => panic!("no token: {reply:?}"),
    }
}

async fn get(url: &str) -> Reply {
    let reply = send(Method::GET, url, &[], Body::None).await;
    assert_eq!(reply.status, StatusCode::OK, "{url}: {reply:?}");
    reply
}

async fn post(url: &str, client: ClientId, form: &[(&str, &str)]) -> Reply {
    let basic = [(AUTHORIZATION, client.basic())];
    send(Method::POST, url, &basic, Body::Form(form)).await
}

/// The body of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Body<'a> {
    None,
    Form(&'a [(&'a str, &'a str)]),
    Json(&'a Value),
}

/// Sends a request and reads the response, whatever its status.
pub(super) async fn send(
    method: Method,
    url: &str,
    headers: &[(HeaderName, String)],
    body: Body<'_>,
) -> Reply {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let (kind, body) = match body {
        Body::None => (None, String::new()),
        Body::Form(form) => (
            Some("application/x-www-form-urlencoded"),
            Serializer::new(String::new()).extend_pairs(form).finish(),
        ),
        Body::Json(json) => (Some("application/json"), json.to_string()),
    };
    if let Some(kind) = kind {
        request = request.header(CONTENT_TYPE, kind);
    }
    let request = request.body(Bytes::from(body)).expect("a request");
    let client = HttpsClient::new().expect("a client");
    let answer = tokio::time::timeout(ANSWERS_WITHIN, client.send(request, MAX_ANSWER_BYTES))
        .await
        .unwrap_or_else(|_| panic!("no answer from {url} within {ANSWERS_WITHIN:?}"))
        .unwrap_or_else(|error| panic!("no answer from {url}: {error:?}"));
    let (parts, body) = answer.into_parts();
    Reply {
        status: parts.status,
        headers: parts.headers,
        json: serde_json::from_slice(&body).unwrap_or_default(),
    }
}
