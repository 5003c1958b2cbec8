//! What a user sees of the layers that keep, rename and replace the header, and of the one that
//! ends what belongs to one connection.

mod ambiguous;
mod compile_time;
mod cookies;
mod hop_by_hop;
mod host;
mod inbound;
mod outbound;
mod readiness;
mod sockets;
mod support;
mod twins;
