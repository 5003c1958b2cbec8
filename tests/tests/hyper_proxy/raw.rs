//! A client that sends raw bytes and reads responses one by one.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
pub(crate) use tower_revoke_tests::curl::Reply;

/// A client connection.
pub(crate) struct Raw {
    stream: TcpStream,
    unread: Vec<u8>,
}

impl Raw {
    pub(crate) async fn send(at: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        let stream = TcpStream::connect(at).await.expect("a listening proxy");
        let unread = Vec::new();
        let mut raw = Self { stream, unread };
        raw.more(bytes).await;
        raw
    }

    /// Sends more bytes. A proxy that has rejected the request may not read them.
    pub(crate) async fn more(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// Reads the next response, with its body.
    pub(crate) async fn reply(&mut self) -> Reply {
        let (status, head) = self.head().await;
        let lower = head.to_lowercase();
        let field = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name));
        let body = if field("transfer-encoding: ").is_some() {
            self.chunks().await
        } else {
            let length = field("content-length: ").map_or(0, |length| length.parse().expect("one"));
            self.take(length).await
        };
        Reply { status, head, body }
    }

    /// Reads the head of the next response, and its status.
    pub(crate) async fn head(&mut self) -> (u16, String) {
        let head = self.until("\r\n\r\n").await;
        let status = head.split(' ').nth(1).expect("a status");
        (status.parse().expect("a number"), head)
    }

    /// Reads the data of a chunked body, followed by its trailers as lines.
    async fn chunks(&mut self) -> String {
        let mut body = String::new();
        loop {
            let size = self.until("\r\n").await;
            match usize::from_str_radix(size.trim_end(), 16).expect("a size") {
                0 => break,
                size => body += &self.take(size).await,
            }
            assert_eq!(self.take(2).await, "\r\n");
        }
        loop {
            match self.until("\r\n").await.as_str() {
                "\r\n" => return body,
                trailer => body += trailer,
            }
        }
    }

    /// Reads exactly `length` bytes.
    pub(crate) async fn take(&mut self, length: usize) -> String {
        while self.unread.len() < length {
            self.fill("a body").await;
        }
        let bytes: Vec<u8> = self.unread.drain(..length).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    async fn until(&mut self, mark: &str) -> String {
        let mark = mark.as_bytes();
        loop {
            let found = self
                .unread
                .windows(mark.len())
                .position(|part| part == mark);
            if let Some(found) = found {
                return self.take(found + mark.len()).await;
            }
            self.fill("a line").await;
        }
    }

    async fn fill(&mut self, what: &str) {
        let read = self.stream.read_buf(&mut self.unread).await;
        let so_far = String::from_utf8_lossy(&self.unread);
        assert!(matches!(read, Ok(1..)), "{what} was cut off at: {so_far}");
    }

    /// Reads until the proxy closes the connection.
    pub(crate) async fn rest(mut self) -> String {
        // A reset also ends the loop.
        while matches!(self.stream.read_buf(&mut self.unread).await, Ok(1..)) {}
        String::from_utf8_lossy(&self.unread).into_owned()
    }
}
