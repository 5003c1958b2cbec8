//! The response of a service that publishes a metadata document.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Map, Value};

/// Returns the response to a request for a metadata document, by the method of the request. The document
/// is the same for everyone and changes with a deployment, so it may be cached for five minutes.
pub fn metadata_response(method: &Method, members: &Map<String, Value>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let mut set = |name, value| {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CACHE_CONTROL, "public, max-age=300");
    match *method {
        Method::GET | Method::HEAD => set(header::CONTENT_TYPE, "application/json"),
        _ => {
            set(header::ALLOW, "GET, HEAD");
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        }
    }
    if method == Method::GET {
        let document = serde_json::to_string(members);
        *response.body_mut() = Full::from(document.expect("a JSON object"));
    }
    response
}
