//! Tests the gRPC example over sockets, with a tonic client, Python's `grpcio` and node's
//! `grpc-js`, and on the wire.

mod composition;
mod ends;
mod guarantees;
mod kit;
mod lifetimes;
mod one_port;
mod rejections;
mod stopping;
mod wire;
mod wrong_order;
