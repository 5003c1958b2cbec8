//! Tests of the layers that preserve, rename and replace the header, and of the one that removes
//! connection-specific headers.

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
