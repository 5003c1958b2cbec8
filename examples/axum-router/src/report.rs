//! A streamed report, which ends only once its token is revoked.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::Query,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use serde::Deserialize;

#[derive(Deserialize)]
pub(crate) struct RecordFilter {
    #[serde(default = "a_hundred")]
    rows: u32,
}

fn a_hundred() -> u32 {
    100
}

/// Streams the rows without a `Content-Length`, so that the end of the stream ends the body.
pub(crate) async fn csv(Query(wanted): Query<RecordFilter>) -> Response {
    let rows = (0..wanted.rows).map(|row| Ok::<_, Infallible>(Bytes::from(format!("{row},tea\n"))));
    let body = Body::from_stream(stream::iter(rows));
    ([(CONTENT_TYPE, "text/csv")], body).into_response()
}
