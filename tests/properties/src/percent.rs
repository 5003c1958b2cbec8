//! Percent-decoding (RFC 3986 §2.1), independent of the crate that the layers use.

/// Decodes once; a `%` without two hex digits stays.
pub(crate) fn decoded(text: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = text.as_ref();
    let digit = |at: usize| {
        let digit = char::from(*bytes.get(at)?).to_digit(16)?;
        u8::try_from(digit).ok()
    };
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let byte = match (bytes[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                at += 2;
                high << 4 | low
            }
            (byte, ..) => byte,
        };
        decoded.push(byte);
        at += 1;
    }
    decoded
}
