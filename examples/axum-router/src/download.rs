//! A download link that works once.

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

/// Accepts the token in the query too, and requires the scope `download`.
///
/// URLs leak: into logs, histories and chats. A token in a link therefore has a scope of its own,
/// which opens nothing else; the API requires the scope `api`.
pub(crate) fn route(app: &App, bearer: RequireBearerLayer<JwtVerifier>) -> MethodRouter<App> {
    let once = UseLimitLayer::single()
        // Chat programs fetch a preview of a link before anyone clicks it.
        .except_methods([Method::HEAD])
        // Returns the use if the file can't be opened, which is a 500.
        .return_on(Outcome::Exception)
        .pending_revocations(&app.pending);
    get(file).layer(
        ServiceBuilder::new()
            .layer(bearer.query().scope("download"))
            .layer(once),
    )
}

/// Sends the whole file and ignores `Range`: the request for the next part would find the token
/// spent.
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

/// Writes an export of 50 MB: a million bytes of each number from 0 to 49.
///
/// # Errors
/// If the file can't be written.
pub fn write_export(path: &Path) -> io::Result<()> {
    let mut file = std::fs::File::create(path)?;
    for number in 0..50 {
        file.write_all(&[number; 1_000_000])?;
    }
    Ok(())
}
