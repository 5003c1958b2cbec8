//! Acts on the end of a response before the client can see it.
//!
//! For the client, a response ends with the last promised byte, the terminator or the trailers.
//! Servers stop polling a body as soon as they have that part. [`Ending::of`] determines from the
//! head where a response ends. [`WatchedBody`] calls an [`OnEnd`] once, and holds the last frame
//! until the future that it returns has completed.
//!
//! ```
//! use http_body_util::{BodyExt, Full};
//! use tower_revoke_core::{BoxError, end::{BodyEnd, Ending, OnEnd, RequestShape, WatchedBody}};
//!
//! struct Log;
//!
//! impl OnEnd for Log {
//!     type Hold = std::future::Ready<Result<(), BoxError>>;
//!
//!     fn on_end(self, end: BodyEnd<'_>) -> Self::Hold {
//!         println!("{end:?}");
//!         std::future::ready(Ok(()))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), BoxError> {
//! let request = RequestShape::of(&http::Request::new(()));
//! let response = http::Response::new(Full::<bytes::Bytes>::from("hello"));
//! let ending = Ending::of(request, &response);
//! assert_eq!(ending, Ending::AfterBytes(5));
//! let body = WatchedBody::new(response.into_body(), ending, Log);
//! assert_eq!(body.collect().await?.to_bytes(), "hello");
//! # Ok(()) }
//! ```

mod body;
mod ending;

pub use self::{
    body::{BodyEnd, OnEnd, WatchedBody},
    ending::{Ending, RequestShape},
};
