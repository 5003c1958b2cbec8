//! HTTP/2 frames written by hand, to send what no client library would.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;

/// The connection preface.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The default maximum size of a frame.
const MOST: usize = 16_384;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A response with this status.
    Answer(u16),
    /// The stream was reset, or the connection was closed.
    Reset,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    let mut frame = length.to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// HPACK (RFC 7541): each field as a literal with a literal name, neither indexed nor compressed.
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    fn text(block: &mut Vec<u8>, text: &str) {
        let length = text.len();
        if length < 127 {
            block.push(u8::try_from(length).expect("a byte"));
        } else {
            block.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                block.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                rest /= 128;
            }
            block.push(u8::try_from(rest).expect("a byte"));
        }
        block.extend(text.as_bytes());
    }
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

/// A received frame.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// Reads the next frame; `None` once the connection has ended.
pub(crate) async fn next(stream: &mut TcpStream) -> Option<Frame> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = header;
    let length = u32::from_be_bytes([0, a, b, c]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes(id),
        payload,
    })
}

/// Sends one request, with an optional body and optional trailers, and waits for its fate.
pub(crate) async fn send(
    at: SocketAddr,
    head: &[(&str, &str)],
    body: Option<&str>,
    trailers: Option<&[(&str, &str)]>,
) -> Fate {
    let mut stream = TcpStream::connect(at).await.expect("a listening proxy");
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[]));
    let is_last = body.is_none() && trailers.is_none();
    let block = fields(head);
    let parts = block.chunks(MOST).collect::<Vec<_>>();
    for (at, part) in parts.iter().enumerate() {
        let kind = if at == 0 { HEADERS } else { CONTINUATION };
        let mut flags = if at + 1 == parts.len() {
            END_HEADERS
        } else {
            0
        };
        if at == 0 && is_last {
            flags |= END_STREAM;
        }
        bytes.extend(frame(kind, flags, 1, part));
    }
    if let Some(body) = body {
        let flags = if trailers.is_none() { END_STREAM } else { 0 };
        bytes.extend(frame(DATA, flags, 1, body.as_bytes()));
    }
    if let Some(trailers) = trailers {
        bytes.extend(frame(
            HEADERS,
            END_HEADERS | END_STREAM,
            1,
            &fields(trailers),
        ));
    }
    // A proxy that rejects early need not read the rest.
    let _ = stream.write_all(&bytes).await;
    while let Some(frame) = next(&mut stream).await {
        match frame.kind {
            HEADERS => return Fate::Answer(status(&frame.payload)),
            RST_STREAM | GOAWAY => return Fate::Reset,
            SETTINGS | WINDOW_UPDATE | PING => {}
            other => panic!("a frame of kind {other}"),
        }
    }
    Fate::Reset
}

/// Decodes the first field of a response: an index into the static table, or a literal named
/// `:status`.
fn status(block: &[u8]) -> u16 {
    match block {
        [indexed @ 0x88..=0x8e, ..] => {
            [200, 204, 206, 304, 400, 404, 500][usize::from(indexed - 0x88)]
        }
        // Huffman code: 5 bits for 0, 1 and 2, 6 bits for the other digits.
        [0x48 | 0x08, length @ (0x82 | 0x83), code @ ..] => {
            let bytes = code[..usize::from(length - 0x80)].iter();
            let mut bits = bytes.fold(0, |bits, byte| (bits << 8) | u32::from(*byte));
            bits <<= 32 - 8 * u32::from(length - 0x80);
            let mut digit = || {
                let (value, length) = match bits >> 27 {
                    short @ 0..=2 => (short, 5),
                    _ => ((bits >> 26) - 0x19 + 3, 6),
                };
                bits <<= length;
                u16::try_from(value).expect("a digit")
            };
            digit() * 100 + digit() * 10 + digit()
        }
        [0x48 | 0x08, 3, digits @ ..] => std::str::from_utf8(&digits[..3])
            .expect("digits")
            .parse()
            .expect("a status"),
        other => panic!("no status: {other:?}"),
    }
}
