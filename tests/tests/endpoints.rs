//! Tests the revocation and introspection endpoints with real clients: openid-client, which
//! form-urlencodes the credentials of `Basic`, and Authlib, which does not.

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tower_revoke::{
    ClientAuthMethod, ClientAuthentication, IntrospectionEndpoint, JwtVerifier, RequireBearerLayer,
    RevocationEndpoint, SecretHash, StaticClients,
};
use tower_revoke_tests::{
    Client, Server, Wire, World, get as request,
    servers::{authlib, openid_client},
};

/// Reads differently with and without form-urlencoding.
const SECRET: &str = "p%41ss+w=rd/of a real client: 100%";

/// Introspects and revokes each token. Prints what the client is told: whether the token is active, then
/// `ok`, or the status and the error of a failed call.
const JAVASCRIPT: &str = r"
import * as oauth from 'openid-client';
import fs from 'node:fs';
const job = JSON.parse(fs.readFileSync(0));
const methods = { basic: oauth.ClientSecretBasic, post: oauth.ClientSecretPost, none: oauth.None };
const answers = [];
for (const { client, method, secret, token } of job.calls) {
  const server = {
    issuer: job.url,
    introspection_endpoint: `${job.url}/introspect`,
    revocation_endpoint: `${job.url}/revoke`,
  };
  const config = new oauth.Configuration(server, client, {}, methods[method](secret));
  oauth.allowInsecureRequests(config);
  const told = async (call) => {
    try {
      return await call();
    } catch (error) {
      return `${error.status} ${error.error ?? error.cause?.[0]?.scheme}`;
    }
  };
  const hint = { token_type_hint: 'refresh_token' };
  answers.push([
    await told(async () => (await oauth.tokenIntrospection(config, token, hint)).active),
    await told(async () => (await oauth.tokenRevocation(config, token, hint)) ?? 'ok'),
  ]);
}
console.log(JSON.stringify(answers));
";

const PYTHON: &str = r"
import json, sys
from authlib.integrations.requests_client import OAuth2Session
job = json.load(sys.stdin)
methods = {'basic': 'client_secret_basic', 'post': 'client_secret_post', 'none': 'none'}
def told(answer):
    if answer.status_code == 200:
        return answer.json()['active'] if answer.content else 'ok'
    if answer.headers.get('www-authenticate', '').startswith('Basic '):
        return f'{answer.status_code} basic'
    return f'{answer.status_code} ' + answer.json()['error']
answers = []
for call in job['calls']:
    method = methods[call['method']]
    session = OAuth2Session(call['client'], call['secret'], token_endpoint_auth_method=method,
        revocation_endpoint_auth_method=method)
    token = { 'token': call['token'], 'token_type_hint': 'access_token' }
    answers.append([
        told(session.introspect_token(job['url'] + '/introspect', **token)),
        told(session.revoke_token(job['url'] + '/revoke', **token)),
    ])
print(json.dumps(answers))
";

fn app(world: &World) -> Router {
    let any_audience = JwtVerifier::issuer(world.issuer.issuer())
        .any_audience()
        .jwks(world.issuer.jwks().to_string())
        .revocations(world.list.clone())
        .build()
        .expect("a verifier");
    let hash = SecretHash::of(SECRET).expect("a hash");
    let clients = StaticClients::new().secret("shop", hash).public("cli");
    let clients = ClientAuthentication::new(clients).methods([
        ClientAuthMethod::SecretBasic,
        ClientAuthMethod::SecretPost,
        ClientAuthMethod::None,
    ]);
    let introspect = IntrospectionEndpoint::new(clients.clone()).verifier(any_audience.clone());
    let revoke = RevocationEndpoint::new(world.list.clone(), clients).verifier(any_audience);
    Router::new()
        .route("/hello", get(async || "hello"))
        .layer(RequireBearerLayer::new(world.tokens.clone()))
        .route_service("/introspect", introspect)
        .route_service("/revoke", revoke)
}

async fn served_to(run: impl AsyncFn(&str, &Value) -> Value, script: &str) {
    let world = World::new();
    let server = Server::start(app(&world)).await;
    let token = |client: &str| {
        let token = world.issuer.token().audience("api");
        token.claim("client_id", client).sign()
    };
    let told = |active: Value, revoked: &str| json!([active, revoked]);
    let rejected = || told("401 basic".into(), "401 basic");
    let of_another = || told(false.into(), "400 invalid_grant");
    let ok = |active: bool| told(active.into(), "ok");
    let unknown = "unknown".to_owned();
    let cases = [
        ("shop", "basic", SECRET, token("shop"), ok(true)),
        ("shop", "post", SECRET, token("shop"), ok(true)),
        ("cli", "none", "", token("cli"), ok(true)),
        ("shop", "basic", SECRET, unknown.clone(), ok(false)),
        ("shop", "basic", "wrong", token("shop"), rejected()),
        ("shop", "post", "wrong", token("shop"), rejected()),
        ("shop", "basic", SECRET, token("bank"), of_another()),
        ("cli", "none", "", token("shop"), of_another()),
    ];
    let calls = cases.iter().map(|(client, method, secret, token, _)| {
        json!({ "client": client, "method": method, "secret": secret, "token": token })
    });
    let url = format!("http://{}", server.addr);
    let job = json!({ "url": url, "calls": calls.collect::<Vec<_>>() });
    let expected: Vec<_> = cases.iter().map(|case| &case.4).collect();
    assert_eq!(run(script, &job).await, json!(expected));

    let mut service = Client::connect(server.addr, Wire::Http1).await;
    let presented = cases.iter().filter(|case| case.3 != unknown);
    for (client, method, secret, token, told) in presented {
        let answer = service.send(request("/hello", token)).await;
        let verdict = answer.expect("an answer").verdict();
        let expected = match told[1] == "ok" {
            true => "401 invalid_token",
            false => "200",
        };
        assert_eq!(verdict, expected, "{client} by {method}: {secret}");
    }
}

#[tokio::test]
async fn openid_client_is_served() {
    served_to(openid_client, JAVASCRIPT).await;
}

#[tokio::test]
async fn authlib_is_served() {
    served_to(authlib, PYTHON).await;
}
