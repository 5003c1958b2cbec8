//! Property: the path that rules read is the path that others read.

use tower_revoke_core::{PathAllowances, PathAmbiguity, internal::decode_unreserved, read_path};
use url::Url;

use crate::percent::decoded;

/// A path that passes means the same to a server that decodes it once, twice or not at all,
/// resolves dots, merges slashes or strips parameters. With an allowance, the result is the path
/// without what is allowed.
pub(crate) fn path(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let raw = format!("/{text}");
    let strict = PathAllowances::default();
    if let Ok(path) = read_path(&raw, strict) {
        assert_eq!(path.as_bytes(), decoded(&raw));
        assert_eq!(path.as_bytes(), decoded(&*path), "decoded twice");
        assert!(!path.contains(|c: char| c.is_ascii_control() || c == '\\' || c == ';'));
        assert_eq!(resolved(&path), path);
        let url = Url::parse(&format!("http://host{raw}")).expect("a URL");
        assert_eq!(decoded(url.path()), path.as_bytes(), "by the URL standard");
        assert_eq!((url.query(), url.fragment()), (None, None));
        assert_eq!(decode_unreserved(&raw), raw);
    }
    if let Ok(path) = read_path(&raw, strict.matrix_parameters()) {
        let names: Vec<&str> = raw
            .split('/')
            .map(|part| part.split(';').next().unwrap_or(""))
            .collect();
        assert_eq!(read_path(&names.join("/"), strict).as_ref(), Ok(&path));
    }
    let normal = decode_unreserved(&raw);
    match read_path(&raw, strict.encoded_unreserved()) {
        Ok(path) => assert_eq!(read_path(&normal, strict), Ok(path)),
        // Decoding may turn an invalid escape into a valid one: `%3%66`.
        Err(PathAmbiguity::InvalidEscape) => {}
        Err(_) => assert!(read_path(&normal, strict).is_err()),
    }
}

/// Merges slashes and resolves `.` and `..`, as nginx and servlet containers do.
fn resolved(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() {
        "/"
    } else {
        ""
    };
    format!("/{}{end}", parts.join("/"))
}
