//! Starts a test authorization server and the MCP server, and prints how to ask for a token.

#![expect(clippy::print_stdout, reason = "it tells how to call it")]

use example_issuer::Issuer;
use tokio::net::TcpListener;
use tower_revoke::{RevocationList, core::BoxError};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let issuer = Issuer::start().await?;
    let socket = TcpListener::bind("127.0.0.1:3000").await?;
    let resource = format!("http://{}/mcp", socket.local_addr()?);
    let app = mcp_server::app(issuer.url(), &resource, RevocationList::in_memory())?;
    let token = format!("{}/token?audience={resource}&scope=forecast", issuer.url());
    println!("{resource}, with a token of: curl -X POST '{token}'");
    Ok(axum::serve(socket, app).await?)
}
