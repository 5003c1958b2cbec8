//! A link that gives out a file once.

use std::{
    io::{self, Write},
    path::Path,
};

use axum::{
    body::Body,
    extract::State,
    http::{
        Method, StatusCode,
        header::{ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use tokio::{fs::File, io::AsyncReadExt};
use tokio_util::io::ReaderStream;
use tower::ServiceBuilder;
use tower_revoke::{JwtVerifier, Outcome, RequireBearerLayer, UseLimitLayer};

use crate::app::App;

/// The token may stand in the query, and must have the scope `download`. A link is seen by many
/// eyes before it is used, so its token opens nothing else: the API asks for the scope `api`.
pub(crate) fn route(app: &App, bearer: RequireBearerLayer<JwtVerifier>) -> MethodRouter<App> {
    let once = UseLimitLayer::single()
        // Chat programs look at a link before anyone can click on it.
        .except_methods([Method::HEAD])
        // A file that can't be opened costs nothing.
        .return_on(Outcome::Exception)
        .pending_revocations(&app.slots);
    get(file).layer(
        ServiceBuilder::new()
            .layer(bearer.query().scope("download"))
            .layer(once),
    )
}

/// The whole file, whatever `Range` asks for: a second part would find the link spent.
async fn file(State(app): State<App>) -> Response {
    match open(&app.export).await {
        Ok((file, length)) => {
            let headers = [
                (CONTENT_TYPE, "application/octet-stream".to_owned()),
                (CONTENT_LENGTH, length.to_string()),
                (
                    CONTENT_DISPOSITION,
                    "attachment; filename=\"export.bin\"".to_owned(),
                ),
                (ACCEPT_RANGES, "none".to_owned()),
            ];
            let pieces = ReaderStream::with_capacity(file.take(length), 64 * 1024);
            (headers, Body::from_stream(pieces)).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "the export can't be opened");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

async fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path).await?;
    let length = file.metadata().await?.len();
    Ok((file, length))
}

/// Writes 50 MB to give out: a million bytes of each number from 0 to 49.
///
/// # Errors
/// The operating system's.
pub fn write_export(path: &Path) -> io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    for number in 0..50 {
        file.write_all(&[number; 1_000_000])?;
    }
    Ok(())
}
