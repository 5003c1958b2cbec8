//! Revocations per second of the revocation endpoint over the embedded store, compared with
//! oidc-provider and Keycloak, which keep them in memory.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use http::{
    Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
};
use http_body_util::Full;
use tower_revoke::RevocationList;
use tower_revoke_store_embedded::EmbeddedStore;
use tower_revoke_testing::{TestAlgorithm, TestIssuer};
use tower_revoke_tests::{
    Answer, Client, Server, Wire, node,
    servers::{ClientId, Issuer, Keycloak, OidcProvider},
};

use crate::rounds::{Outcome, median};

const CONNECTIONS: usize = 32;

/// Revocations in one round; oidc-provider keeps no more than 1,000 tokens.
const REVOCATIONS: usize = 512;

/// Rounds before the first one that counts, for the compilers of Node.js and the JVM.
const WARM_UP: usize = 4;

const TO_REACH: f64 = 3.0;

/// An endpoint with its client.
struct Contender {
    name: &'static str,
    revoke: Uri,
    client: ClientId,
    tokens: Tokens,
}

/// Where the tokens come from, and how it is found out whether they are revoked.
enum Tokens {
    /// Signed here, and presented to a protected route.
    Ours(TestIssuer),
    /// Issued by the server, and introspected by a client.
    Theirs {
        issue: Uri,
        form: &'static str,
        introspect: Uri,
        by: ClientId,
    },
}

pub fn run(is_quick: bool) -> Outcome<()> {
    let rounds = if is_quick { 3 } else { 9 };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(measure(rounds))
}

async fn measure(rounds: usize) -> Outcome<()> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let issuer = TestIssuer::with(node::ISSUER, TestAlgorithm::RS256);
    let keys = folder.path().join("keys.json");
    issuer
        .write_jwks(&keys)
        .map_err(|error| error.to_string())?;
    let store = EmbeddedStore::open(folder.path().join("revocations"));
    let list = RevocationList::new(store.map_err(|error| error.to_string())?);
    list.ready().await.map_err(|error| error.to_string())?;
    let node = node::router(list, &keys).map_err(|error| error.to_string())?;
    let ours = Server::start(node).await;
    let (id, secret) = node::CLIENTS[0];
    let oidc_provider = OidcProvider::start().await;
    let keycloak = Keycloak::start_to_last().await;
    let contenders = [
        Contender {
            name: "ours, embedded store",
            revoke: uri(&format!("http://{}/revoke", ours.addr))?,
            client: ClientId { id, secret },
            tokens: Tokens::Ours(issuer),
        },
        theirs(
            "oidc-provider, in memory",
            &oidc_provider.issuer,
            (OidcProvider::SHOP, OidcProvider::SHOP),
            "grant_type=client_credentials&resource=https://api.example.com/opaque",
        )?,
        theirs(
            "Keycloak, dev-mem",
            &keycloak.rs256,
            (Keycloak::SHOP, Keycloak::API),
            "grant_type=client_credentials",
        )?,
    ];
    let mut rates = vec![Vec::new(); contenders.len()];
    for round in 0..WARM_UP + rounds {
        for (contender, rates) in contenders.iter().zip(&mut rates) {
            let rate = contender.rate().await?;
            if round >= WARM_UP {
                rates.push(rate);
            }
        }
    }
    println!(
        "Revocations a second over {CONNECTIONS} connections, median of {rounds} rounds in which all \
         take turns (in brackets: how often ours; to reach: {TO_REACH:.0})"
    );
    for (contender, own) in contenders.iter().zip(&rates) {
        let ratios: Vec<f64> = rates[0]
            .iter()
            .zip(own)
            .map(|(ours, own)| ours / own)
            .collect();
        let (rate, ratio) = (median(own), median(&ratios));
        let name = contender.name;
        let missed = match name == contenders[0].name || ratio >= TO_REACH {
            true => "",
            false => "   MISSED",
        };
        println!("  {name:<26} {rate:>8.0} ({ratio:.1}){missed}");
    }
    Ok(())
}

fn uri(text: &str) -> Outcome<Uri> {
    text.parse().map_err(|_| format!("{text} is no URL"))
}

fn theirs(
    name: &'static str,
    issuer: &Issuer,
    (client, by): (ClientId, ClientId),
    form: &'static str,
) -> Outcome<Contender> {
    Ok(Contender {
        name,
        revoke: uri(issuer.endpoint("revocation_endpoint"))?,
        client,
        tokens: Tokens::Theirs {
            issue: uri(issuer.endpoint("token_endpoint"))?,
            form,
            introspect: uri(issuer.endpoint("introspection_endpoint"))?,
            by,
        },
    })
}

impl Contender {
    /// Revokes some new tokens, and returns how many a second.
    async fn rate(&self) -> Outcome<f64> {
        let tokens = self.new_tokens().await?;
        let mut connection = connect(&self.revoke).await?;
        self.expect(&mut connection, &tokens[0], true).await?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(connect(&self.revoke).await?);
        }
        let tokens = Arc::new(tokens);
        let started = Instant::now();
        let calls = connections
            .into_iter()
            .enumerate()
            .map(|(first, mut connection)| {
                let (tokens, uri, client) = (Arc::clone(&tokens), self.revoke.clone(), self.client);
                tokio::spawn(async move {
                    for token in tokens.iter().skip(first).step_by(CONNECTIONS) {
                        let form = format!("token={token}");
                        let answer = post(&mut connection, &uri, client, form).await?;
                        if answer.status != StatusCode::OK {
                            return Err(format!("a revocation got {answer:?}"));
                        }
                    }
                    Ok(())
                })
            });
        for call in calls.collect::<Vec<_>>() {
            call.await.map_err(|error| error.to_string())??;
        }
        let rate = tokens.len() as f64 / started.elapsed().as_secs_f64();
        for token in [&tokens[0], &tokens[tokens.len() - 1]] {
            self.expect(&mut connection, token, false).await?;
        }
        Ok(rate)
    }

    async fn new_tokens(&self) -> Outcome<Vec<String>> {
        let mut tokens = Vec::new();
        let mut connection = connect(&self.revoke).await?;
        for number in 0..REVOCATIONS {
            tokens.push(match &self.tokens {
                Tokens::Ours(issuer) => {
                    node::access_token(issuer, self.client.id, &number.to_string())
                }
                Tokens::Theirs { issue, form, .. } => {
                    let form = (*form).to_owned();
                    let answer = post(&mut connection, issue, self.client, form).await?;
                    let token = json(&answer)?["access_token"].as_str().map(str::to_owned);
                    token.ok_or_else(|| format!("no token: {answer:?}"))?
                }
            });
        }
        Ok(tokens)
    }

    /// Fails unless the token is in this state.
    async fn expect(&self, connection: &mut Client, token: &str, is_valid: bool) -> Outcome<()> {
        let name = self.name;
        let found = match &self.tokens {
            Tokens::Ours(_) => {
                let answer = connection
                    .send(tower_revoke_tests::get("/orders", token))
                    .await;
                answer.map_err(|error| error.to_string())?.status == StatusCode::OK
            }
            Tokens::Theirs { introspect, by, .. } => {
                let form = format!("token={token}");
                let answer = post(connection, introspect, *by, form).await?;
                json(&answer)?["active"] == true
            }
        };
        match found == is_valid {
            true => Ok(()),
            false => Err(format!("{name}: the token is valid: {found}")),
        }
    }
}

async fn connect(uri: &Uri) -> Outcome<Client> {
    let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
    let addr: SocketAddr = authority
        .parse()
        .map_err(|_| format!("{uri} has no address"))?;
    Ok(Client::connect(addr, Wire::Http1).await)
}

async fn post(
    connection: &mut Client,
    uri: &Uri,
    client: ClientId,
    form: String,
) -> Outcome<Answer> {
    let host = uri.authority().map(ToString::to_string).unwrap_or_default();
    let request = Request::post(uri.path())
        .header(HOST, host)
        .header(AUTHORIZATION, client.basic())
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::from(form))
        .map_err(|error| error.to_string())?;
    connection
        .send(request)
        .await
        .map_err(|error| error.to_string())
}

fn json(answer: &Answer) -> Outcome<serde_json::Value> {
    serde_json::from_slice(&answer.bytes).map_err(|_| format!("no JSON: {answer:?}"))
}
