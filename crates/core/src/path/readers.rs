//! How other programs read a path: two that are called, and small models of others after their
//! documentation and source.

use std::borrow::Cow;

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{Request, Uri, uri::PathAndQuery},
    response::Response,
    routing::get,
};
use futures_util::FutureExt;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_decode_str, percent_encode};
use tower::ServiceExt;
use url::Url;

/// The decoded segments of a path, the first of which is empty if the path is absolute; `None` if the
/// program rejects it.
pub(super) type Reading = Option<Vec<Vec<u8>>>;

/// All readers.
pub(super) struct Readers {
    axum: Router,
}

impl Readers {
    pub(super) fn new() -> Self {
        Self {
            axum: axum_router(),
        }
    }

    /// What each program reads, with its name.
    pub(super) fn read(&self, raw: &str) -> [(&'static str, Reading); 9] {
        [
            ("url", url(raw)),
            ("axum", self.axum(raw)),
            ("nginx", nginx(raw).map(|path| segments(&path))),
            ("Tomcat", tomcat(raw)),
            ("nginx, then Tomcat", nginx_then_tomcat(raw)),
            (
                "nginx with $uri, then hyper",
                nginx_with_uri_then_hyper(raw),
            ),
            ("PHP", Some(segments(&path_info(raw)))),
            ("PHP that decodes twice", Some(segments(&twice(raw)))),
            ("IIS", Some(segments(&iis(raw)))),
        ]
    }

    /// Which route axum's router (matchit) takes, and what the handler's `Path` extracts.
    fn axum(&self, raw: &str) -> Reading {
        let target = Uri::from(PathAndQuery::try_from(raw).ok()?);
        let request = Request::get(target).body(Body::empty()).ok()?;
        let answer = self.axum.clone().oneshot(request).now_or_never();
        let Ok(mut answer) = answer.expect("handlers answer at once");
        answer.extensions_mut().remove::<Captured>()?.0
    }
}

/// What stands between the slashes.
pub(super) fn segments(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|byte| *byte == b'/')
        .map(<[u8]>::to_vec)
        .collect()
}

/// The `url` crate (WHATWG URL): what a client asks for that is given this path.
fn url(raw: &str) -> Reading {
    let base = Url::parse("http://host/").expect("a URL");
    let url = base.join(raw).ok()?;
    let segments = url.path().split('/');
    let mut segments: Vec<Vec<u8>> = segments
        .map(|segment| percent_decode_str(segment).collect())
        .collect();
    if url.host_str() != Some("host") {
        segments[0] = b"another host".to_vec();
    }
    Some(segments)
}

#[derive(Clone)]
struct Captured(Reading);

/// The first segment is a route's own name, or captured; up to four more are captured.
fn axum_router() -> Router {
    let mut router = Router::new();
    for first in ["invoices", "{first}"] {
        let mut route = format!("/{first}");
        for more in 0..5 {
            for end in ["", "/"] {
                router = router.route(
                    &format!("{route}{end}"),
                    get(
                        move |Path(captured): Path<Vec<(String, String)>>| async move {
                            let captured =
                                captured.into_iter().map(|(_, value)| value.into_bytes());
                            let mut segments: Vec<Vec<u8>> = captured.collect();
                            match first {
                                "invoices" => segments.insert(0, first.into()),
                                // The name went to another route than its own.
                                _ if segments[0] == b"invoices" => {
                                    segments[0] = b"captured".to_vec()
                                }
                                _ => {}
                            }
                            if end == "/" {
                                segments.push(Vec::new());
                            }
                            segments.insert(0, Vec::new());
                            captured_as(segments)
                        },
                    ),
                );
            }
            route.push_str(&format!("/{{more{more}}}"));
        }
    }
    router.route("/", get(async || captured_as(vec![Vec::new(); 2])))
}

fn captured_as(segments: Vec<Vec<u8>>) -> Response {
    let mut answer = Response::new(Body::empty());
    answer.extensions_mut().insert(Captured(Some(segments)));
    answer
}

/// nginx's `$uri` (`ngx_http_parse_complex_uri`, with `merge_slashes on`): decoded once, then dot
/// segments and empty segments are removed, also those that were encoded.
fn nginx(raw: &str) -> Option<Vec<u8>> {
    let path = raw.split(['?', '#']).next()?;
    let path = strictly_decoded(path.as_bytes()).filter(|path| !path.contains(&0))?;
    normalized(&path)
}

/// What `ngx_escape_uri` escapes in a URI that `proxy_pass` sends on.
const ESCAPED_BY_NGINX: &AsciiSet = &CONTROLS.add(b' ').add(b'#').add(b'%').add(b'?');

/// `proxy_pass http://tomcat/;`: nginx sends on what it has decoded, escaped anew.
fn nginx_then_tomcat(raw: &str) -> Reading {
    let uri = nginx(raw)?;
    tomcat(&percent_encode(&uri, ESCAPED_BY_NGINX).to_string())
}

/// `proxy_pass http://hyper$uri;`: nginx sends on what it has decoded as it is. Rewrites of Apache's
/// httpd before 2.4.60 did the same with `%3f` (CVE-2024-38474).
fn nginx_with_uri_then_hyper(raw: &str) -> Reading {
    let uri = String::from_utf8(nginx(raw)?).ok()?;
    let target = PathAndQuery::try_from(uri).ok()?;
    Some(segments(&path_info(target.path())))
}

/// Tomcat's `CoyoteAdapter`, with `allowBackslash` and `encodedSolidusHandling="decode"`: path
/// parameters are removed, then the rest is decoded, then normalized.
fn tomcat(raw: &str) -> Reading {
    let path = raw.split('?').next()?;
    let mut stripped = Vec::new();
    let mut in_parameters = false;
    for byte in path.bytes() {
        in_parameters = byte != b'/' && (in_parameters || byte == b';');
        if !in_parameters {
            stripped.push(byte);
        }
    }
    let mut path = strictly_decoded(&stripped)?;
    if path.contains(&0) {
        return None;
    }
    for byte in &mut path {
        if *byte == b'\\' {
            *byte = b'/';
        }
    }
    normalized(&path).map(|path| segments(&path))
}

/// CGI's `PATH_INFO`, as PHP has it in `$_SERVER` (RFC 3875 §4.1.5): decoded; a C string.
fn path_info(raw: &str) -> Vec<u8> {
    let path = raw.split(['?', '#']).next().unwrap_or_default();
    let decoded = percent_decode_str(path);
    decoded.take_while(|byte| *byte != 0).collect()
}

/// `rawurldecode($_SERVER['PATH_INFO'])`.
fn twice(raw: &str) -> Vec<u8> {
    percent_decode(&path_info(raw)).collect()
}

/// IIS, which also decodes `%uXXXX`.
fn iis(raw: &str) -> Vec<u8> {
    let mut pieces = raw.split("%u");
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let character = piece.get(..4).and_then(|digits| {
            let code = u32::from_str_radix(digits, 16).ok()?;
            char::from_u32(code)
        });
        match character {
            Some(character) => {
                decoded.push(character);
                decoded.push_str(&piece[4..]);
            }
            None => {
                decoded.push_str("%u");
                decoded.push_str(piece);
            }
        }
    }
    path_info(&decoded)
}

/// `None` if a percent sign isn't followed by two hexadecimal digits.
fn strictly_decoded(raw: &[u8]) -> Option<Vec<u8>> {
    let valid = raw.split(|byte| *byte == b'%').skip(1).all(|piece| {
        let digits = piece.get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    valid.then(|| Cow::from(percent_decode(raw)).into_owned())
}

/// Without empty and dot segments (RFC 3986 §5.2.4); `None` for a path that isn't absolute or leads
/// above the root.
fn normalized(path: &[u8]) -> Option<Vec<u8>> {
    let path = path.strip_prefix(b"/")?;
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut ends_with_slash = false;
    for segment in path.split(|byte| *byte == b'/') {
        ends_with_slash = matches!(segment, b"" | b"." | b"..");
        match segment {
            b"" | b"." => {}
            b".." => {
                kept.pop()?;
            }
            name => kept.push(name),
        }
    }
    let mut normalized = Vec::new();
    for name in kept {
        normalized.push(b'/');
        normalized.extend_from_slice(name);
    }
    if ends_with_slash {
        normalized.push(b'/');
    }
    Some(normalized)
}
