//! Runs the properties on generated inputs, and on the seeds of the fuzz targets.

use std::{fs, path::Path};

use base64::{Engine, prelude::BASE64_STANDARD};
use proptest::{prelude::*, sample::select};
use tower_revoke_properties::{ALL, check};

/// Seeds are inputs that once found a bug, or that lead a fuzzer past the first checks.
#[test]
fn every_seed_passes() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/seeds");
    for (name, property) in ALL {
        let folder = seeds.join(name);
        let mut count = 0;
        for seed in fs::read_dir(&folder).expect("a folder of seeds") {
            let input = fs::read(seed.expect("a seed").path()).expect("a file");
            property(&input);
            count += 1;
        }
        assert!(count > 0, "{} is empty", folder.display());
    }
}

/// Joins pieces that the parser knows, so that most inputs get past its first check.
fn of_pieces(pieces: &'static [&'static str], at_most: usize) -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        8 => select(pieces).prop_map(|piece| piece.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..at_most).prop_map(|pieces| pieces.concat())
}

/// Replaces a part of a seed.
fn mutated(name: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(name);
    let mut paths: Vec<_> = fs::read_dir(folder)
        .expect("a folder of seeds")
        .map(|seed| seed.expect("a seed").path())
        .collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths
        .iter()
        .map(|path| fs::read(path).expect("a file"))
        .collect();
    let change = (any::<prop::sample::Index>(), 0..6_usize, "[ -~]{0,4}");
    (select(seeds), prop::collection::vec(change, 0..3)).prop_map(|(mut seed, changes)| {
        for (at, length, with) in changes {
            let at = at.index(seed.len() + 1);
            let end = (at + length).min(seed.len());
            seed.splice(at..end, with.into_bytes());
        }
        seed
    })
}

/// `Basic` credentials with pairs that read differently once they are decoded.
fn credentials() -> impl Strategy<Value = Vec<u8>> {
    let pairs = of_pieces(
        &[
            "shop", ":", "%", "%3A", "%41", "%ff", "+", "&", "=", "é", " ",
        ],
        8,
    );
    pairs.prop_map(|pair| format!("Basic {}", BASE64_STANDARD.encode(pair)).into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn assertion(input in of_pieces(
        &["shop", ":", "%", "+", "&", "=", "\"", "\\", "\n", "\u{0}", "é", "\u{2028}", "{", "."],
        8,
    )) {
        check("assertion", &input);
    }

    #[test]
    fn authorization(input in of_pieces(
        &["Bearer", "bearer", "BEARER", " ", "  ", "a.b", "abc", "=", "==", "-", "/", ",", "\t", "\n", "Basic YTpi", "\"", ";"],
        6,
    )) {
        check("authorization", &input);
    }

    #[test]
    fn basic(input in prop_oneof![mutated("basic"), credentials()]) {
        check("basic", &input);
    }

    #[test]
    fn form(input in of_pieces(
        &["token", "client_id", "client_secret", "t%6Fken", "client%5Fid", "=", "=a.b", "=shop", "&", "&&", "%", "%2", "%41", "%ff", "%26", "+", "é"],
        14,
    )) {
        check("form", &input);
    }

    #[test]
    fn cookie(input in of_pieces(
        &["token", "token=", "Token=", "token2=", "x=1", "=", ";", "; ", " ", "\"", "a.b", "abc", "\n", "\t"],
        10,
    )) {
        check("cookie", &input);
    }

    #[test]
    fn query(input in of_pieces(
        &["access_token", "access_token=", "%61ccess_token=", "access%5Ftoken=", "Access_Token=", "&", "=", "a.b", "%", "%2", "%41", "%ff", "+", "?", "x=1", "#"],
        10,
    )) {
        check("query", &input);
    }

    #[test]
    fn path(input in of_pieces(
        &["invoices", "/", "//", ".", "..", ";", "x=1", "%2e", "%2F", "%5c", "\\", "%69", "%7E", "%25", "%20", "%c3%a9", "%ff", "%00", "%zz", "%", "?", "#", "*", "é", " "],
        10,
    )) {
        check("path", &input);
    }

    #[test]
    fn subprotocol(input in of_pieces(
        &["bearer.", "bearer.a", "Bearer.", "chat", ",", ", ", " ", "\t", "\n", "a.b", "=", "v2"],
        10,
    )) {
        check("subprotocol", &input);
    }

    #[test]
    fn jwt_header(input in mutated("jwt_header")) {
        check("jwt_header", &input);
    }

    #[test]
    fn jwt_split(input in mutated("jwt_split")) {
        check("jwt_split", &input);
    }

    #[test]
    fn claims(input in mutated("claims")) {
        check("claims", &input);
    }

    #[test]
    fn jwks(input in mutated("jwks")) {
        check("jwks", &input);
    }

    #[test]
    fn discovery(input in mutated("discovery")) {
        check("discovery", &input);
    }

    #[test]
    fn introspection(input in mutated("introspection")) {
        check("introspection", &input);
    }

    #[test]
    fn opaque(input in mutated("opaque")) {
        check("opaque", &input);
    }

    #[test]
    fn body(input in prop::collection::vec(any::<u8>(), 0..20)) {
        check("body", &input);
    }
}
