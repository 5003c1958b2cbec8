//! The page: three files that name nothing and that everyone may read.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;

use super::reports::{refusal, response, without_body};

/// Only what is served beside it may run, style it, or be asked. Strings can't become markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// Returns the file of this path, if it is one of the page's.
pub(super) fn find(method: &Method, path: &str) -> Option<Response<Full<Bytes>>> {
    let (media, text) = match path {
        "/" => ("text/html; charset=utf-8", include_str!("page/index.html")),
        "/dashboard.css" => (
            "text/css; charset=utf-8",
            include_str!("page/dashboard.css"),
        ),
        "/dashboard.js" => (
            "text/javascript; charset=utf-8",
            include_str!("page/dashboard.js"),
        ),
        _ => return None,
    };
    let mut response = match *method {
        Method::GET => response(StatusCode::OK, media, text),
        Method::HEAD => without_body(response(StatusCode::OK, media, text)),
        _ => refusal(StatusCode::METHOD_NOT_ALLOWED, ""),
    };
    for (name, value) in HEADERS {
        let value = HeaderValue::from_static(value);
        response.headers_mut().insert(name, value);
    }
    Some(response)
}
