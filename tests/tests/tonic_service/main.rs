//! The gRPC example as its callers see it: over sockets, by a tonic client, by Python's `grpcio`
//! and node's `grpc-js`, and on the wire.

mod composition;
mod ends;
mod guarantees;
mod kit;
mod one_port;
mod rejections;
mod stopping;
mod wire;
mod wrong_order;
