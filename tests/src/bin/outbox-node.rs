//! Runs a node whose layers owe an authorization server each token that they end.
//!
//! `outbox-node FOLDER KEYS SERVER`: the folder of the list and the outbox, the file with the issuer's
//! keys, and the server's revocation endpoint. Prints its address once the list is ready.

#![expect(clippy::print_stdout, reason = "it tells where it listens")]

use std::{env, io, time::Duration};

use axum::{Router, routing::get};
use tower_revoke::{
    Endpoint, HttpsClient, JwtVerifier, RequireBearerLayer, RevocationList,
    RevokeAfterResponseLayer, UseLimitLayer, core::BoxError,
};
use tower_revoke_oauth::RevocationClient;
use tower_revoke_store_embedded::{EmbeddedStore, OutboxKeys};
use tower_revoke_tests::node;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_ansi(false)
        .with_max_level(tracing::Level::WARN)
        .init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [folder, keys, server] = arguments.as_slice() else {
        return Err("outbox-node FOLDER KEYS SERVER".into());
    };
    let (id, secret) = node::CLIENTS[0];
    // A slow disk must not fail the test.
    let patience = Duration::from_secs(60);
    let store = EmbeddedStore::builder(folder).request_timeout(patience);
    let store = store.open()?;
    let client = RevocationClient::builder(Endpoint::new(server)?)
        .client_credentials(id, secret)
        .http_client(HttpsClient::new()?)
        .outbox(store.outbox(OutboxKeys::new(&[7; 32])))
        .build()?;
    let list = RevocationList::new(store);
    let tokens = JwtVerifier::issuer(node::ISSUER)
        .audience("api")
        .jwks_file(keys)
        .revocations(list.clone())
        .build()?;
    let single = UseLimitLayer::single().commit_timeout(patience);
    let revokes = RevokeAfterResponseLayer::new().commit_timeout(patience);
    let app = Router::new()
        .route("/invoice", get(async || "your only look at it"))
        .layer(single.also_at(client.clone()))
        .merge(
            Router::new()
                .route("/report", get(async || "a report"))
                .layer(revokes.also_at(client.clone())),
        )
        .layer(RequireBearerLayer::new(tokens));
    list.ready().await?;
    client.ready().await?;
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on http://{}", socket.local_addr()?);
    axum::serve(socket, app).await?;
    Ok(())
}
