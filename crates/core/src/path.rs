//! The decoded path that rules read, if all servers read the same one.

mod ambiguity;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use http::{Method, Request};
use percent_encoding::percent_decode_str;

use self::ambiguity::Classes;
pub use self::ambiguity::{PathAllowances, PathAmbiguity};

/// Returns the path of a request that rules read, as [`read_path`] does.
///
/// The path of `OPTIONS *` is `*`, and that of `CONNECT` (authority form) is empty; both pass. With
/// any other method these are [`PathAmbiguity::NotAbsolute`] (RFC 9112 §3.2).
///
/// # Errors
/// As [`read_path`].
///
/// # Examples
/// ```
/// use http::Request;
/// use tower_revoke_core::{PathAllowances, PathAmbiguity, read_request_path};
///
/// let strict = PathAllowances::default();
/// let request = Request::get("/caf%C3%A9?page=2").body(())?;
/// assert_eq!(read_request_path(&request, strict).unwrap(), "/café");
///
/// let request = Request::get("invoices:80").body(())?;
/// assert_eq!(
///     read_request_path(&request, strict),
///     Err(PathAmbiguity::NotAbsolute),
/// );
/// # Ok::<_, http::Error>(())
/// ```
pub fn read_request_path<B>(
    request: &Request<B>,
    allowed: PathAllowances,
) -> Result<Cow<'_, str>, PathAmbiguity> {
    match (request.method(), request.uri().path()) {
        (&Method::OPTIONS, raw @ "*") | (&Method::CONNECT, raw @ "") => Ok(Cow::Borrowed(raw)),
        (_, raw) => read_path(raw, allowed),
    }
}

/// Returns the path that rules read: decoded, and without matrix parameters.
///
/// `raw` is [`Uri::path`](http::Uri::path). It is scanned once, and a path that holds no escape is
/// returned as it is, without an allocation. For the path of a request there is
/// [`read_request_path`].
///
/// Encoded characters other than those in [`PathAmbiguity`] pass, such as `%20` or `%40`. Rules
/// read them decoded. A rule that *frees* paths must hold for
/// [`read_path_as_written`] too: some routers take `/%40public` for another name than `/@public`.
///
/// # Errors
/// The first reason for which two servers may read the path differently, unless it is allowed.
///
/// # Examples
/// ```
/// use tower_revoke_core::{PathAllowances, PathAmbiguity, read_path};
///
/// let strict = PathAllowances::default();
/// assert_eq!(read_path("/invoices/caf%C3%A9", strict)?, "/invoices/café");
/// assert_eq!(read_path("/.well-known/x", strict)?, "/.well-known/x");
/// assert_eq!(
///     read_path("/%69nvoices/1", strict),
///     Err(PathAmbiguity::EncodedUnreserved),
/// );
/// # Ok::<_, PathAmbiguity>(())
/// ```
pub fn read_path(raw: &str, allowed: PathAllowances) -> Result<Cow<'_, str>, PathAmbiguity> {
    let scan = Scan::of(raw);
    match scan.found.first_besides(allowed.allowed) {
        Some(ambiguity) => Err(ambiguity),
        None => Ok(scan.decode(raw)),
    }
}

/// Returns the path as [`read_path`] does, but with encoded reserved characters (RFC 3986 §2.2) and
/// other ASCII punctuation as they are written; `None` if there are none.
///
/// It is what a router reads that matches its routes before it decodes, such as axum's. `path` must
/// have passed [`read_path`].
///
/// ```
/// use tower_revoke_core::read_path_as_written;
///
/// let path = read_path_as_written("/%40public/caf%C3%A9%2bbar");
/// assert_eq!(path.as_deref(), Some("/%40public/café%2bbar"));
/// assert_eq!(read_path_as_written("/@public/a%20b"), None);
/// ```
pub fn read_path_as_written(raw: &str) -> Option<String> {
    let mut pieces = raw.split('%');
    let mut escaped = String::from(pieces.next()?);
    let mut found = false;
    for piece in pieces {
        let is_kept = hex(piece.as_bytes())
            .is_some_and(|byte| byte.is_ascii_punctuation() && !is_unreserved(byte));
        found |= is_kept;
        // What is escaped twice is decoded to what was written.
        escaped.push_str(if is_kept { "%25" } else { "%" });
        escaped.push_str(piece);
    }
    found.then(|| Scan::of(raw).decode(&escaped).into_owned())
}

/// Decodes the encoded unreserved characters of a path (RFC 3986 §6.2.2.2); everything else stays
/// as it is. A path that [`read_path`] rejects for another reason may still be ambiguous then.
///
/// ```
/// use tower_revoke_core::internal::decode_unreserved;
///
/// assert_eq!(decode_unreserved("/%7Eann/caf%C3%A9"), "/~ann/caf%C3%A9");
/// ```
pub fn decode_unreserved(path: &str) -> Cow<'_, str> {
    if !path.contains('%') {
        return Cow::Borrowed(path);
    }
    let mut pieces = path.split('%');
    let mut decoded = String::from(pieces.next().unwrap_or_default());
    for piece in pieces {
        match hex(piece.as_bytes()) {
            Some(byte) if is_unreserved(byte) => {
                decoded.push(byte.into());
                decoded.push_str(&piece[2..]);
            }
            _ => {
                decoded.push('%');
                decoded.push_str(piece);
            }
        }
    }
    match decoded.len() == path.len() {
        true => Cow::Borrowed(path),
        false => Cow::Owned(decoded),
    }
}

/// What one scan of a path found.
#[derive(Default)]
struct Scan {
    found: Classes,
    has_escapes: bool,
}

/// The name of a segment as far as it was scanned: decoded, without matrix parameters.
#[derive(Clone, Copy)]
enum Name {
    Empty,
    Dot,
    DotDot,
    Other,
}

impl Name {
    fn push(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Empty, b'.') => Self::Dot,
            (Self::Dot, b'.') => Self::DotDot,
            _ => Self::Other,
        }
    }
}

impl Scan {
    fn of(raw: &str) -> Self {
        let mut scan = Self::default();
        let bytes = match raw.as_bytes() {
            [b'/', rest @ ..] => rest,
            relative => {
                scan.add(PathAmbiguity::NotAbsolute);
                relative
            }
        };
        let mut high_escapes = false;
        let mut name = Name::Empty;
        let mut in_parameters = false;
        let mut at = 0;
        loop {
            let plain = plain_bytes(&bytes[at..]);
            if plain > 0 && !in_parameters {
                name = Name::Other;
            }
            at += plain;
            let Some(&byte) = bytes.get(at) else {
                break;
            };
            at += 1;
            let mut read = byte;
            match byte {
                b'/' => {
                    scan.end_of(name);
                    if matches!(name, Name::Empty) {
                        scan.add(PathAmbiguity::EmptySegment);
                    }
                    (name, in_parameters) = (Name::Empty, false);
                    continue;
                }
                b';' => {
                    scan.add(PathAmbiguity::MatrixParameters);
                    in_parameters = true;
                }
                b'%' => match hex(&bytes[at..]) {
                    Some(decoded) => {
                        at += 2;
                        read = decoded;
                        scan.has_escapes = true;
                        high_escapes |= !decoded.is_ascii();
                        scan.add_escaped(decoded);
                    }
                    None => scan.add(PathAmbiguity::InvalidEscape),
                },
                b'\\' => scan.add(PathAmbiguity::Backslash),
                b'?' | b'#' => scan.add(PathAmbiguity::QueryOrFragment),
                0..=b' ' | 0x7f => scan.add(PathAmbiguity::Control),
                _ => {}
            }
            if !in_parameters {
                name = name.push(read);
            }
        }
        scan.end_of(name);
        if high_escapes && percent_decode_str(raw).decode_utf8().is_err() {
            scan.add(PathAmbiguity::NotUtf8);
        }
        scan
    }

    fn add(&mut self, ambiguity: PathAmbiguity) {
        self.found = self.found.with(ambiguity);
    }

    fn add_escaped(&mut self, decoded: u8) {
        match decoded {
            b'/' => self.add(PathAmbiguity::EncodedSlash),
            b'\\' => self.add(PathAmbiguity::Backslash),
            b'%' => self.add(PathAmbiguity::EncodedPercent),
            b';' => self.add(PathAmbiguity::EncodedSemicolon),
            b'?' | b'#' => self.add(PathAmbiguity::EncodedQueryOrFragment),
            byte if byte.is_ascii_control() => self.add(PathAmbiguity::Control),
            byte if is_unreserved(byte) => self.add(PathAmbiguity::EncodedUnreserved),
            _ => {}
        }
    }

    fn end_of(&mut self, name: Name) {
        if matches!(name, Name::Dot | Name::DotDot) {
            self.add(PathAmbiguity::DotSegment);
        }
    }

    fn decode<'a>(&self, raw: &'a str) -> Cow<'a, str> {
        let names = match self.found.contains(PathAmbiguity::MatrixParameters) {
            true => Cow::Owned(without_parameters(raw)),
            false => Cow::Borrowed(raw),
        };
        match self.has_escapes {
            true => Cow::Owned(percent_decode_str(&names).decode_utf8_lossy().into_owned()),
            false => names,
        }
    }
}

fn without_parameters(raw: &str) -> String {
    let mut names = String::with_capacity(raw.len());
    for segment in raw.split_inclusive('/') {
        match segment.split_once(';') {
            None => names.push_str(segment),
            Some((name, parameters)) => {
                names.push_str(name);
                names.extend(parameters.ends_with('/').then_some('/'));
            }
        }
    }
    names
}

/// The byte that two hexadecimal digits stand for, at the start of what follows a `%`.
fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? * 16 + digit(1)?).ok()
}

/// How many bytes at the start of a path are nothing but part of a name.
fn plain_bytes(path: &[u8]) -> usize {
    const PLAIN: [bool; 256] = {
        let mut plain = [true; 256];
        let mut byte = 0;
        while byte < 256 {
            plain[byte] = !matches!(
                byte as u8,
                0..=b' ' | 0x7f | b'/' | b'.' | b';' | b'%' | b'\\' | b'?' | b'#'
            );
            byte += 1;
        }
        plain
    };
    let end = path.iter().position(|byte| !PLAIN[usize::from(*byte)]);
    end.unwrap_or(path.len())
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}
