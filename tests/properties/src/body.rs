//! Property: no client has a complete response before its end was released.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::{Body, Frame};
use tower_revoke_core::{
    BoxError, BoxFuture,
    end::{BodyEnd, Ending, OnEnd, RequestShape, WatchedBody},
};
use tower_revoke_testing::{Gate, ScriptedBody};

/// For any request, head and script of frames: while the end is held, the client can't take what it
/// has for the complete response. Afterwards it gets exactly the frames of the script, and the end
/// is reported once.
pub(crate) fn body(input: &[u8]) {
    let case = Case::read(input);
    let request = case.request();
    let response = case.response();
    let ending = Ending::of(RequestShape::of(&request), &response);
    let is_over = case.is_over_with_head(&response);
    // If an open stream follows, the head must not wait: the service may need the client's next
    // message to continue.
    assert_eq!(ending == Ending::WithHead, is_over, "{case:?}");
    if is_over {
        // The head waits in this case, so the body reveals nothing.
        return;
    }

    let counts = Arc::new(Counts::default());
    let gate = Gate::closed();
    let watcher = Watcher {
        counts: counts.clone(),
        gate: gate.clone(),
    };
    let body = WatchedBody::new(response.into_body(), ending, watcher);
    let mut body = Some(Box::pin(body));
    let mut twin = pin!(case.body());
    let mut delivered = 0;
    let mut frames = 0;
    // While the gate is closed.
    while let Some(watched) = &mut body {
        if frames == case.dropped_after {
            body = None;
            break;
        }
        assert_eq!(counts.get(), (0, 0), "the end was reported early");
        let Poll::Ready(next) = poll(watched.as_mut()) else {
            break;
        };
        frames += 1;
        let next = shown(next);
        assert_eq!(next, shown_now(twin.as_mut()), "frame {frames}");
        let data = match next {
            Shown::Data(data) => data,
            end => panic!("{case:?}: {end:?} was not held"),
        };
        delivered += data.len() as u64;
        let is_whole = case
            .promised()
            .is_some_and(|promised| delivered >= promised);
        assert!(!is_whole, "{case:?}: the whole announced length was sent");
        assert!(
            !watched.is_end_stream(),
            "{case:?}: the body reports its end"
        );
    }
    let Some(mut body) = body else {
        assert_eq!(counts.get(), (0, 1), "a dropped body was cancelled");
        return;
    };
    assert_eq!(counts.get(), (1, 0));
    // Polling again changes nothing.
    assert!(poll(body.as_mut()).is_pending());
    assert!(!body.is_end_stream());
    if case.dropped_after != usize::MAX {
        drop(body);
        assert_eq!(counts.get(), (1, 0), "an ended body is not cancelled");
        return;
    }

    gate.open();
    loop {
        let next = shown_now(body.as_mut());
        assert_eq!(next, shown_now(twin.as_mut()), "after the end was released");
        if next == Shown::End {
            break;
        }
    }
    drop(body);
    assert_eq!(counts.get(), (1, 0), "the end is reported once");
}

#[derive(Debug)]
struct Case {
    method: Method,
    version: Version,
    answered_version: Version,
    status: StatusCode,
    is_grpc: bool,
    lengths: Vec<u64>,
    hint: Option<u64>,
    says_when_it_ends: bool,
    steps: Vec<Step>,
    /// The number of frames that the client reads before it leaves.
    dropped_after: usize,
}

#[derive(Debug)]
enum Step {
    Data(usize),
    Trailers,
    Fail,
}

impl Case {
    /// Builds a case from any input.
    fn read(input: &[u8]) -> Self {
        let mut bytes = input.iter().copied();
        let mut next = || usize::from(bytes.next().unwrap_or_default());
        let versions = [
            Version::HTTP_10,
            Version::HTTP_11,
            Version::HTTP_2,
            Version::HTTP_3,
        ];
        let (method, flags) = (next(), next());
        let length = |byte: usize| byte as u64 % 24;
        let lengths = match flags % 4 {
            0 | 1 => Vec::new(),
            2 => vec![length(next())],
            _ => vec![length(next()), length(next())],
        };
        Self {
            is_grpc: method % 5 == 4,
            method: match method % 5 {
                0 => Method::HEAD,
                1 => Method::CONNECT,
                2 | 4 => Method::POST,
                _ => Method::GET,
            },
            version: versions[method / 5 % 4],
            answered_version: versions[method / 20 % 4],
            status: match flags / 4 % 8 {
                0 => StatusCode::NO_CONTENT,
                1 => StatusCode::RESET_CONTENT,
                2 => StatusCode::NOT_MODIFIED,
                3 => StatusCode::SWITCHING_PROTOCOLS,
                4 => StatusCode::NOT_FOUND,
                _ => StatusCode::OK,
            },
            lengths,
            says_when_it_ends: flags / 32 % 2 == 1,
            hint: (flags / 64 % 2 == 1).then(|| length(next())),
            dropped_after: match flags / 128 {
                0 => usize::MAX,
                _ => next() % 8,
            },
            steps: std::iter::from_fn(|| bytes.next())
                .take(12)
                .map(|byte| match byte % 16 {
                    14 => Step::Trailers,
                    15 => Step::Fail,
                    _ => Step::Data(usize::from(byte % 16)),
                })
                .collect(),
        }
    }

    fn request(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = self.method.clone();
        *request.version_mut() = self.version;
        if self.is_grpc {
            request.headers_mut().insert(header::CONTENT_TYPE, GRPC);
        }
        request
    }

    fn response(&self) -> Response<ScriptedBody> {
        let mut response = Response::new(self.body());
        *response.status_mut() = self.status;
        *response.version_mut() = self.answered_version;
        let headers = response.headers_mut();
        if self.is_grpc {
            headers.insert(header::CONTENT_TYPE, GRPC);
        }
        for length in &self.lengths {
            headers.append(header::CONTENT_LENGTH, (*length).into());
        }
        response
    }

    fn body(&self) -> ScriptedBody {
        let mut body = ScriptedBody::new();
        for step in &self.steps {
            body = match step {
                Step::Data(length) => body.data(Bytes::from(vec![b'x'; *length])),
                Step::Trailers => {
                    let mut trailers = HeaderMap::new();
                    trailers.insert("grpc-status", HeaderValue::from_static("0"));
                    body.trailers(trailers)
                }
                Step::Fail => body.fail(),
            };
        }
        if let Some(hint) = self.hint {
            body = body.hint(hint);
        }
        if self.says_when_it_ends {
            body = body.says_when_it_ends();
        }
        body
    }

    fn is_grpc_stream(&self) -> bool {
        self.is_grpc && self.version >= Version::HTTP_2
    }

    /// The length after which a client stops reading (RFC 9110 §8.6). Without the header, hyper
    /// derives it from an exact size hint.
    fn promised(&self) -> Option<u64> {
        match self.is_grpc_stream() {
            true => None,
            false => self.lengths.iter().copied().chain(self.hint).min(),
        }
    }

    /// RFC 9112 §6.3 and RFC 9110 §15: whether the response is complete with its head.
    fn is_over_with_head(&self, response: &Response<ScriptedBody>) -> bool {
        let has_no_body = self.method == Method::HEAD
            || (self.method == Method::CONNECT && self.status.is_success())
            || [101, 204, 205, 304].contains(&self.status.as_u16());
        // A body that ends with the connection looks complete wherever it is cut off. HTTP/2 has
        // frames to end it, whatever the version of an upstream's response.
        let is_until_close = self.version < Version::HTTP_2
            && self.version.min(self.answered_version) == Version::HTTP_10
            && self.promised().is_none();
        let is_empty = self.promised() == Some(0) || response.body().is_end_stream();
        has_no_body || is_until_close || is_empty
    }
}

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

#[derive(Default)]
struct Counts {
    ended: AtomicUsize,
    cancelled: AtomicUsize,
}

impl Counts {
    fn get(&self) -> (usize, usize) {
        let Self { ended, cancelled } = self;
        (
            ended.load(Ordering::Relaxed),
            cancelled.load(Ordering::Relaxed),
        )
    }
}

struct Watcher {
    counts: Arc<Counts>,
    gate: Gate,
}

impl OnEnd for Watcher {
    type Hold = BoxFuture<'static, Result<(), BoxError>>;

    fn on_end(self, end: BodyEnd<'_>) -> Self::Hold {
        let count = match end {
            BodyEnd::Cancelled => &self.counts.cancelled,
            _ => &self.counts.ended,
        };
        count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            self.gate.passed().await;
            Ok(())
        })
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Data(Bytes),
    Trailers(HeaderMap),
    Error(String),
    End,
}

type Next = Option<Result<Frame<Bytes>, BoxError>>;

fn poll(body: Pin<&mut impl Body<Data = Bytes, Error = BoxError>>) -> Poll<Next> {
    body.poll_frame(&mut Context::from_waker(Waker::noop()))
}

fn shown(next: Next) -> Shown {
    match next {
        None => Shown::End,
        Some(Err(error)) => Shown::Error(error.to_string()),
        Some(Ok(frame)) => match frame.into_data() {
            Ok(data) => Shown::Data(data),
            Err(frame) => Shown::Trailers(frame.into_trailers().unwrap_or_default()),
        },
    }
}

fn shown_now(body: Pin<&mut impl Body<Data = Bytes, Error = BoxError>>) -> Shown {
    match poll(body) {
        Poll::Ready(next) => shown(next),
        Poll::Pending => panic!("the body is not held"),
    }
}
