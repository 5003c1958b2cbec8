//! The request body, of at most 16 KiB, and the form that it may be.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower_revoke_core::BoxError;

use crate::response::CallError;

/// The longest body.
const LIMIT: usize = 16 * 1024;

/// The parameters of a form (RFC 6749 §3.2): one without a value counts as omitted.
pub(crate) struct Form<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

/// A media type of bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    Form,
    Json,
}

impl Media {
    fn name(self) -> &'static str {
        match self {
            Self::Form => "application/x-www-form-urlencoded",
            Self::Json => "application/json",
        }
    }

    fn missing(self) -> CallError {
        CallError::Request(match self {
            Self::Form => "the body is not application/x-www-form-urlencoded",
            Self::Json => "the body is not application/json",
        })
    }
}

/// Reads a body of a media type.
pub(crate) async fn read_body<B>(
    media: Media,
    headers: &HeaderMap,
    body: B,
) -> Result<Bytes, CallError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    if !is_of(media, headers) {
        return Err(media.missing());
    }
    if body.size_hint().lower() > LIMIT as u64 {
        return Err(CallError::TooLarge);
    }
    match Limited::new(body, LIMIT).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(CallError::TooLarge),
        Err(_) => Err(CallError::Request("the body can't be read")),
    }
}

fn is_of(media: Media, headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    let value = value.and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media.name()))
}

impl<'a> Form<'a> {
    pub(crate) fn parse(body: &'a [u8]) -> Self {
        let fields = form_urlencoded::parse(body);
        Self(fields.filter(|(_, value)| !value.is_empty()).collect())
    }

    /// Returns the value of a parameter.
    pub(crate) fn get(&self, name: &str) -> Result<Option<&str>, CallError> {
        let mut values = self.0.iter().filter(|(field, _)| field == name);
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(CallError::Request("a parameter is repeated")),
            (value, None) => Ok(value.map(|(_, value)| &**value)),
        }
    }
}
