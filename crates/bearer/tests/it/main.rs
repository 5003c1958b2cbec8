//! Tests of the bearer layers through their public API.

mod claims;
mod compile_time;
mod cookies;
mod deferred;
mod grpc;
mod log;
mod metadata;
mod modes;
mod on_list_error;
mod readiness;
mod requirements;
mod rfc6750;
mod rfc9110;
mod single_use;
mod sources;
mod stack;
mod support;
mod uses;
mod waiting;
