//! How a body of each protocol ends, and where it may end cleanly.

use bytes::{Buf, Bytes};
use http::{
    HeaderMap, HeaderValue, Response,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};
use http_body::Frame;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tower_revoke_core::{
    TokenEnd,
    end::{Ending, RequestShape},
};

use super::{grpc::Messages, sse::Events};
use crate::settings::EventName;

/// What is percent-encoded in `grpc-message`: all but printable ASCII, and `%` itself.
const GRPC_ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

/// The protocol of a body.
#[derive(Debug)]
pub(super) enum Framing {
    /// A cut shows only as an error. So many bytes are still to come, or `u64::MAX` if that is not
    /// known.
    Opaque(u64),
    /// `text/event-stream`, which clients take up again by themselves.
    Events(Events),
    /// Events in a content encoding: they may end, but nothing can be added.
    EncodedEvents,
    /// Length-prefixed messages, and a status in the trailers.
    Grpc(Messages),
}

impl Framing {
    pub(super) fn of<B>(request: RequestShape, response: &Response<B>, ending: Ending) -> Self {
        let headers = response.headers();
        if request.is_grpc_response(headers) {
            return Self::Grpc(Messages::default());
        }
        match ending {
            // A length is a promise that a clean end would break.
            Ending::AfterBytes(left) => return Self::Opaque(left),
            _ if !is_event_stream(headers) => return Self::unknown_length(),
            _ => {}
        }
        match headers.contains_key(CONTENT_ENCODING) {
            true => Self::EncodedEvents,
            false => Self::Events(Events::default()),
        }
    }

    pub(super) fn unknown_length() -> Self {
        Self::Opaque(u64::MAX)
    }

    /// Counts data, and returns whether it was the last.
    pub(super) fn is_all(&mut self, data: usize) -> bool {
        match self {
            Self::Opaque(u64::MAX) => false,
            Self::Opaque(left) => {
                *left = left.saturating_sub(data as u64);
                *left == 0
            }
            _ => false,
        }
    }

    /// Returns whether so much data is the last.
    pub(super) fn would_be_all(&self, data: usize) -> bool {
        matches!(self, Self::Opaque(left) if *left <= data as u64)
    }

    /// Records data that is passed on.
    pub(super) fn passed(&mut self, data: &[u8]) {
        match self {
            Self::Opaque(_) | Self::EncodedEvents => {}
            Self::Events(events) => events.passed(data),
            Self::Grpc(messages) => messages.passed(data),
        }
    }

    /// Returns whether it matters what the data is.
    pub(super) fn reads_data(&self) -> bool {
        matches!(self, Self::Events(_) | Self::Grpc(_))
    }

    /// Returns whether an event or a message has begun and not ended.
    pub(super) fn is_midway(&self) -> bool {
        match self {
            Self::Opaque(_) | Self::EncodedEvents => false,
            Self::Events(events) => events.is_midway(),
            Self::Grpc(messages) => messages.is_midway(),
        }
    }

    /// Notes data up to the end of the event or message that has begun. Returns the length of that
    /// part.
    pub(super) fn finish(&mut self, data: &[u8]) -> usize {
        match self {
            Self::Opaque(_) | Self::EncodedEvents => data.len(),
            Self::Events(events) => events.finish(data),
            Self::Grpc(messages) => messages.finish(data),
        }
    }

    /// Returns the last frame of a body that ends cleanly. `None` if it needs none.
    pub(super) fn last_frame<D: Buf + From<Bytes>>(
        &self,
        end: TokenEnd,
        event: Option<&EventName>,
    ) -> Option<Frame<D>> {
        match self {
            Self::Opaque(_) | Self::EncodedEvents => None,
            Self::Events(_) => {
                let event = event?.with_data(end.reason().label());
                Some(Frame::data(D::from(Bytes::from(event))))
            }
            Self::Grpc(_) => Some(Frame::trailers(status(end))),
        }
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let essence = value.and_then(|value| value.split(|byte| *byte == b';').next());
    essence.is_some_and(|essence| {
        let essence = essence.trim_ascii();
        essence.eq_ignore_ascii_case(b"text/event-stream")
    })
}

fn status(end: TokenEnd) -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(2);
    let code = u16::from(end.reason().grpc_status());
    trailers.insert("grpc-status", HeaderValue::from(code));
    let message = utf8_percent_encode(end.reason().description(), GRPC_ESCAPED).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        trailers.insert("grpc-message", message);
    }
    trailers
}
