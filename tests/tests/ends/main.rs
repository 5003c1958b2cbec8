//! G1 over real sockets: once a client has a whole response, its token is spent, on HTTP/1.0,
//! HTTP/1.1 and HTTP/2, however the response ends. Also covers a store that fails.

mod kit;
mod leaving;
mod protocols;
mod store;
mod whole;
