//! What a user sees of the layers that keep, rename and replace the header.

mod compile_time;
mod inbound;
mod outbound;
mod readiness;
mod sockets;
