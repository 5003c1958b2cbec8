//! Tests the revocation endpoint with real clients: openid-client, which form-urlencodes the
//! credentials of `Basic`, and Authlib, which does not.

use axum::{Router, routing::get};
use serde_json::{Value, json};
use tower_revoke::{
    ClientAuthMethod, ClientAuthentication, JwtVerifier, RequireBearerLayer, RevocationEndpoint,
    SecretHash, StaticClients,
};
use tower_revoke_tests::{
    Client, Server, Wire, World, get as request,
    servers::{authlib, openid_client},
};

/// Reads differently with and without form-urlencoding.
const SECRET: &str = "p%41ss+w=rd/of a real client: 100%";

/// Prints `ok`, or the status and the error, for each call.
const JAVASCRIPT: &str = r"
import * as oauth from 'openid-client';
import fs from 'node:fs';
const job = JSON.parse(fs.readFileSync(0));
const methods = { basic: oauth.ClientSecretBasic, post: oauth.ClientSecretPost, none: oauth.None };
const answers = [];
for (const { client, method, secret, token } of job.calls) {
  const server = { issuer: job.url, revocation_endpoint: `${job.url}/revoke` };
  const config = new oauth.Configuration(server, client, {}, methods[method](secret));
  oauth.allowInsecureRequests(config);
  try {
    await oauth.tokenRevocation(config, token, { token_type_hint: 'refresh_token' });
    answers.push('ok');
  } catch (error) {
    answers.push(`${error.status} ${error.error ?? error.cause?.[0]?.scheme}`);
  }
}
console.log(JSON.stringify(answers));
";

const PYTHON: &str = r"
import json, sys
from authlib.integrations.requests_client import OAuth2Session
job = json.load(sys.stdin)
methods = {'basic': 'client_secret_basic', 'post': 'client_secret_post', 'none': 'none'}
answers = []
for call in job['calls']:
    session = OAuth2Session(call['client'], call['secret'],
        revocation_endpoint_auth_method=methods[call['method']])
    answer = session.revoke_token(job['url'] + '/revoke', token=call['token'],
        token_type_hint='access_token')
    if answer.status_code == 200:
        answers.append('ok')
    elif answer.headers.get('www-authenticate', '').startswith('Basic '):
        answers.append(f'{answer.status_code} basic')
    else:
        answers.append(f'{answer.status_code} ' + answer.json()['error'])
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
    let revoke = RevocationEndpoint::new(world.list.clone(), clients).verifier(any_audience);
    Router::new()
        .route("/hello", get(async || "hello"))
        .layer(RequireBearerLayer::new(world.tokens.clone()))
        .route_service("/revoke", revoke)
}

async fn revoked_by(run: impl AsyncFn(&str, &Value) -> Value, script: &str) {
    let world = World::new();
    let server = Server::start(app(&world)).await;
    let token = |client: &str| {
        let token = world.issuer.token().audience("api");
        token.claim("client_id", client).sign()
    };
    let cases = [
        ("shop", "basic", SECRET, token("shop"), "ok", true),
        ("shop", "post", SECRET, token("shop"), "ok", true),
        ("cli", "none", "", token("cli"), "ok", true),
        ("shop", "basic", SECRET, "unknown".to_owned(), "ok", false),
        ("shop", "basic", "wrong", token("shop"), "401 basic", false),
        ("shop", "post", "wrong", token("shop"), "401 basic", false),
        (
            "shop",
            "basic",
            SECRET,
            token("bank"),
            "400 invalid_grant",
            false,
        ),
        ("cli", "none", "", token("shop"), "400 invalid_grant", false),
    ];
    let calls = cases.iter().map(|(client, method, secret, token, ..)| {
        json!({ "client": client, "method": method, "secret": secret, "token": token })
    });
    let url = format!("http://{}", server.addr);
    let job = json!({ "url": url, "calls": calls.collect::<Vec<_>>() });
    let expected: Vec<_> = cases.iter().map(|case| case.4).collect();
    assert_eq!(run(script, &job).await, json!(expected));

    let mut service = Client::connect(server.addr, Wire::Http1).await;
    for (client, method, _, token, _, is_revoked) in cases.iter().filter(|case| case.3 != "unknown")
    {
        let answer = service.send(request("/hello", token)).await;
        let verdict = answer.expect("an answer").verdict();
        let expected = if *is_revoked {
            "401 invalid_token"
        } else {
            "200"
        };
        assert_eq!(verdict, expected, "{client} by {method}");
    }
}

#[tokio::test]
async fn openid_client_revokes_tokens() {
    revoked_by(openid_client, JAVASCRIPT).await;
}

#[tokio::test]
async fn authlib_revokes_tokens() {
    revoked_by(authlib, PYTHON).await;
}
