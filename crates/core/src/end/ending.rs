//! Determines from the head of a response where the response ends.

use bytes::Buf;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::{Body, Frame};

/// The properties of a request that determine where its response ends, and whether the client
/// understands a gRPC status. Take them before calling the inner service.
///
/// A request is a gRPC call if it is a `POST` over HTTP/2 or later whose content type is
/// `application/grpc` or `application/grpc+…`. Any client can choose a content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestShape {
    version: Version,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Head,
    Connect,
    Grpc,
    Other,
}

impl RequestShape {
    /// Returns the shape of a request.
    pub fn of<B>(request: &Request<B>) -> Self {
        Self::new(request.method(), request.version(), request.headers())
    }

    /// Returns the shape of a request from its head alone, as in an extractor.
    pub fn of_parts(parts: &Parts) -> Self {
        Self::new(&parts.method, parts.version, &parts.headers)
    }

    fn new(method: &Method, version: Version, headers: &HeaderMap) -> Self {
        let kind = match *method {
            Method::HEAD => Kind::Head,
            Method::CONNECT => Kind::Connect,
            Method::POST if version >= Version::HTTP_2 && has_grpc_type(headers) => Kind::Grpc,
            _ => Kind::Other,
        };
        Self { version, kind }
    }

    /// Returns whether the request is a gRPC call, so that the client understands a gRPC status.
    pub fn is_grpc(self) -> bool {
        self.kind == Kind::Grpc
    }

    /// Returns whether a gRPC service has handled the call: any client can send a gRPC content type,
    /// and only that of the response shows it.
    pub fn is_grpc_response(self, headers: &HeaderMap) -> bool {
        self.is_grpc() && has_grpc_type(headers)
    }

    /// Returns whether the request is a `CONNECT`, which a 2xx upgrades.
    pub fn is_connect(self) -> bool {
        self.kind == Kind::Connect
    }

    /// Returns the shape of the same request over HTTP/1.1, if it came over an older version. The
    /// [`Ending`] of its response is then where a connection is closed that closes its body.
    #[must_use]
    pub fn at_least_http_11(mut self) -> Self {
        self.version = self.version.max(Version::HTTP_11);
        self
    }
}

/// Returns whether the content type is `application/grpc` or `application/grpc+…`. It is not for
/// grpc-web.
fn has_grpc_type(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().split_at_checked(b"application/grpc".len()))
        .is_some_and(|(kind, rest)| {
            kind.eq_ignore_ascii_case(b"application/grpc")
                && matches!(rest.first(), None | Some(b'+' | b';' | b' '))
        })
}

/// Where a response ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With its head, because no body follows, or because the client can't tell whether the body is
    /// complete, as over HTTP/1.0 without a length. A final 1xx ends here too, since servers drop
    /// its body (over HTTP/1, hyper responds with a 500 of its own).
    WithHead,
    /// With the last byte of the promised length, unless the body ends earlier.
    AfterBytes(u64),
    /// With the body's last frame, its trailers, or an error.
    WithBody,
}

impl Ending {
    /// Returns where this response to that request will end.
    ///
    /// The promised length is the smaller of `Content-Length` and an exact
    /// [`size_hint`](Body::size_hint), from which a server derives the header if it is missing.
    pub fn of<B: Body>(request: RequestShape, response: &Response<B>) -> Self {
        let status = response.status();
        let no_body_follows = match request.kind {
            Kind::Head => true,
            Kind::Connect => status.is_success(),
            Kind::Grpc | Kind::Other => false,
        } || status.is_informational()
            || matches!(
                status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
            );
        if no_body_follows || response.body().is_end_stream() {
            return Self::WithHead;
        }
        if request.is_grpc_response(response.headers()) {
            return Self::WithBody;
        }
        // Over HTTP/1, a server also respects the version of the response, which a proxy may have
        // copied from its upstream. Messages of HTTP/2 and later carry no version.
        let version = match request.version < Version::HTTP_2 {
            true => request.version.min(response.version()),
            false => request.version,
        };
        let hinted = response.body().size_hint().exact();
        let promised = match (content_length(response.headers()), hinted) {
            (Some(header), Some(hint)) => Some(header.min(hint)),
            (header, hint) => header.or(hint),
        };
        match promised {
            Some(0) => Self::WithHead,
            Some(length) => Self::AfterBytes(length),
            None if version <= Version::HTTP_10 => Self::WithHead,
            None => Self::WithBody,
        }
    }

    /// Returns whether `next`, which a body has just yielded, is its last item, and subtracts its data
    /// from the promised length. `at_end` is what the body's
    /// [`is_end_stream`](Body::is_end_stream) returns after that item.
    ///
    /// A server sends the promised number of bytes and then stops polling, so the frame that completes
    /// that length is the last one, even if the body would yield more.
    pub fn is_reached<D: Buf, E>(
        &mut self,
        next: &Option<Result<Frame<D>, E>>,
        at_end: bool,
    ) -> bool {
        let Some(Ok(frame)) = next else {
            return true;
        };
        let Some(data) = frame.data_ref() else {
            return true;
        };
        match self {
            Self::AfterBytes(left) => {
                *left = left.saturating_sub(data.remaining() as u64);
                *left == 0 || at_end
            }
            Self::WithBody | Self::WithHead => at_end,
        }
    }
}

/// Returns the smallest `Content-Length`, in case a handler has set several headers or a list in
/// one (RFC 9110 §8.6).
fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get_all(header::CONTENT_LENGTH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|length| length.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};

    use super::*;
    use crate::BoxError;

    type TestBody = UnsyncBoxBody<Bytes, BoxError>;

    fn full(text: &'static str) -> TestBody {
        Full::from(text)
            .map_err(|never| match never {})
            .boxed_unsync()
    }

    fn stream() -> TestBody {
        StreamBody::new(futures_util::stream::empty()).boxed_unsync()
    }

    fn request(method: Method, version: Version) -> RequestShape {
        RequestShape::of(
            &Request::builder()
                .method(method)
                .version(version)
                .body(())
                .unwrap(),
        )
    }

    fn ending(request: RequestShape, status: u16, length: Option<&str>, body: TestBody) -> Ending {
        let mut response = Response::builder().status(status);
        if let Some(length) = length {
            response = response.header("content-length", length);
        }
        Ending::of(request, &response.body(body).unwrap())
    }

    /// TRAPS 10, 24, 25 and 53: the truth table of body ends.
    #[test]
    fn trap_10_24_25_53_truth_table() {
        let get = request(Method::GET, Version::HTTP_11);
        let old = request(Method::GET, Version::HTTP_10);
        let head = request(Method::HEAD, Version::HTTP_11);
        let connect = request(Method::CONNECT, Version::HTTP_2);
        for (request, status, length, body, expected) in [
            (get, 200, None, full("hello"), Ending::AfterBytes(5)),
            (get, 200, Some("3"), full("hello"), Ending::AfterBytes(3)),
            (get, 200, Some("9"), full("hello"), Ending::AfterBytes(5)),
            (get, 200, Some("9"), stream(), Ending::AfterBytes(9)),
            (get, 200, Some("0"), stream(), Ending::WithHead),
            (get, 200, Some("x"), stream(), Ending::WithBody),
            (get, 200, None, full(""), Ending::WithHead),
            (get, 200, None, stream(), Ending::WithBody),
            (get, 101, None, stream(), Ending::WithHead),
            (get, 100, None, stream(), Ending::WithHead),
            (get, 103, Some("9"), full("hello"), Ending::WithHead),
            (get, 199, None, full("hello"), Ending::WithHead),
            (get, 204, None, stream(), Ending::WithHead),
            (get, 205, None, stream(), Ending::WithHead),
            (get, 304, Some("9"), full("hello"), Ending::WithHead),
            (head, 200, Some("9"), full("hello"), Ending::WithHead),
            (connect, 200, None, stream(), Ending::WithHead),
            (connect, 400, None, full("no"), Ending::AfterBytes(2)),
            (old, 200, None, stream(), Ending::WithHead),
            (old, 200, Some("9"), stream(), Ending::AfterBytes(9)),
        ] {
            let actual = ending(request, status, length, body);
            assert_eq!(actual, expected, "{request:?} {status} {length:?}");
        }
    }

    #[test]
    fn grpc_ends_with_its_trailers_whatever_the_length() {
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc+proto")
            .body(())
            .unwrap();
        let shape = RequestShape::of(&request);
        let answer = |body| {
            let mut response = Response::new(body);
            let headers = response.headers_mut();
            headers.insert(header::CONTENT_TYPE, "application/grpc".parse().unwrap());
            headers.insert(header::CONTENT_LENGTH, 5.into());
            Ending::of(shape, &response)
        };
        assert_eq!(answer(full("hello")), Ending::WithBody);
        assert_eq!(answer(full("")), Ending::WithHead);
    }

    #[test]
    fn grpc_web_is_not_grpc() {
        for (content_type, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/GRPC", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, content_type.parse().unwrap());
            assert_eq!(has_grpc_type(&headers), expected, "{content_type}");
        }
    }

    /// TRAPS 39: a content type alone doesn't make a gRPC call.
    #[test]
    fn trap_39_only_a_post_over_http_2_is_a_grpc_call() {
        for (method, version, expected) in [
            (Method::POST, Version::HTTP_2, true),
            (Method::POST, Version::HTTP_3, true),
            (Method::POST, Version::HTTP_11, false),
            (Method::POST, Version::HTTP_10, false),
            (Method::GET, Version::HTTP_2, false),
            (Method::GET, Version::HTTP_11, false),
            (Method::HEAD, Version::HTTP_2, false),
            (Method::PUT, Version::HTTP_2, false),
            (Method::CONNECT, Version::HTTP_2, false),
        ] {
            let request = Request::builder()
                .method(method)
                .version(version)
                .header("content-type", "application/grpc");
            let request = request.body(()).unwrap();
            assert_eq!(
                RequestShape::of(&request).is_grpc(),
                expected,
                "{request:?}"
            );
            let (parts, ()) = request.into_parts();
            assert_eq!(RequestShape::of_parts(&parts).is_grpc(), expected);
        }
    }
}
