//! Tests tickets as callers and handlers see them, over two nodes.

mod ends;
mod issue;
mod redeem;
mod support;
