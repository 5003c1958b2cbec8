//! Tests the example `hyper-proxy`: as the program that a user starts, called with curl over
//! HTTP/1.1 and HTTP/2, and as the same proxy inside the test, for failing stores and malformed
//! bytes.

mod chunks;
mod frames;
mod heads;
mod http2;
mod kit;
mod lengths;
mod lines;
mod program;
mod races;
mod raw;
mod shutdown;
mod store_down;
mod streams;
mod trailers_only;
mod upgrades;
mod upstream;
mod upstream_fails;
