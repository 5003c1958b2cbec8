//! Tests the example `axum-router` with curl over HTTP/1.1 and HTTP/2: as the program that a user
//! starts and, where the store must fail, as the same routes inside the test.

mod download;
mod events;
mod kit;
mod lines;
mod races;
mod rejections;
mod shutdown;
mod store_down;
