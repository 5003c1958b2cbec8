//! Tests each class of ambiguity by examples, and all of them against other programs.

use http::Method;
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{PathAmbiguity::*, readers::Readers, *};

fn strict(raw: &str) -> Result<Cow<'_, str>, PathAmbiguity> {
    read_path(raw, PathAllowances::default())
}

#[test]
fn trap_40_unambiguous_paths_pass_decoded() {
    for (raw, decoded) in [
        ("/", "/"),
        ("/invoices/1", "/invoices/1"),
        ("/invoices/", "/invoices/"),
        ("/.well-known/x", "/.well-known/x"),
        ("/.../..a/.b./c..", "/.../..a/.b./c.."),
        ("/a.b~c_d-e=f,g:h@i+j!k", "/a.b~c_d-e=f,g:h@i+j!k"),
        ("/caf%C3%A9%20%2b%40%3a", "/café +@:"),
        ("/café", "/café"),
    ] {
        assert_eq!(strict(raw).as_deref(), Ok(decoded), "{raw}");
    }
}

#[test]
fn trap_40_ambiguous_paths_are_rejected_by_class() {
    for (raw, ambiguity) in [
        ("invoices/1", NotAbsolute),
        ("*/invoices", NotAbsolute),
        ("*", NotAbsolute),
        ("", NotAbsolute),
        ("//invoices", EmptySegment),
        ("/orders//", EmptySegment),
        ("/./invoices", DotSegment),
        ("/orders/..", DotSegment),
        ("/orders/%2e%2E/invoices", DotSegment),
        ("/orders/.%2e/invoices", DotSegment),
        ("/orders/..;x/invoices", DotSegment),
        ("/orders/.;/invoices", DotSegment),
        ("/orders\\..\\invoices", Backslash),
        ("/orders%5Cinvoices", Backslash),
        ("/orders%2finvoices", EncodedSlash),
        ("/%2569nvoices", EncodedPercent),
        ("/invoices%00", Control),
        ("/invoices%0a", Control),
        ("/invoices%1F", Control),
        ("/invoices%7f", Control),
        ("/invoices\u{7f}", Control),
        ("/invo\tices", Control),
        ("/invoices ", Control),
        ("/%u0069nvoices", InvalidEscape),
        ("/invoices%zz", InvalidEscape),
        ("/invoices%2", InvalidEscape),
        ("/invoices%", InvalidEscape),
        ("/%+6nvoices", InvalidEscape),
        ("/%c0%afinvoices", NotUtf8),
        ("/%c0%ae%c0%ae/invoices", NotUtf8),
        ("/%ed%a0%80", NotUtf8),
        ("/%ff", NotUtf8),
        ("/é%a9", NotUtf8),
        ("/invoices?x", QueryOrFragment),
        ("/invoices#x", QueryOrFragment),
        ("/invoices%3fx", EncodedQueryOrFragment),
        ("/invoices%3F", EncodedQueryOrFragment),
        ("/invoices%23x", EncodedQueryOrFragment),
        ("/invoices%3bx=1", EncodedSemicolon),
        ("/invoices%3B", EncodedSemicolon),
        ("/invoices;x=1", MatrixParameters),
        ("/%69nvoices/1", EncodedUnreserved),
        ("/i%6evoices/1", EncodedUnreserved),
        ("/a%2eb", EncodedUnreserved),
        ("/%7Eann", EncodedUnreserved),
    ] {
        assert_eq!(strict(raw), Err(ambiguity), "{raw}");
        assert!(ambiguity.to_string().starts_with("the path "));
    }
    // Of two ambiguities, the first is reported; the scan finds both.
    assert_eq!(strict("/;x/invoices"), Err(EmptySegment));
    assert!(Scan::of("/;x/invoices").found.contains(MatrixParameters));
}

/// RFC 9112 §3.2: only one method each has a target of another form. `GET foo:80` has no path, and
/// a proxy may turn it into `/`.
#[test]
fn trap_40_only_options_and_connect_have_a_target_without_a_path() {
    for (method, target, expected) in [
        (Method::OPTIONS, "*", Ok("*")),
        (Method::CONNECT, "foo:80", Ok("")),
        (Method::GET, "foo:80", Err(NotAbsolute)),
        (Method::OPTIONS, "foo:80", Err(NotAbsolute)),
        (Method::GET, "*", Err(NotAbsolute)),
        (Method::CONNECT, "*", Err(NotAbsolute)),
        (Method::GET, "http://foo", Ok("/")),
        (Method::GET, "http://foo?a", Ok("/")),
        (Method::CONNECT, "http://foo/a", Ok("/a")),
        (Method::GET, "/%61", Err(EncodedUnreserved)),
    ] {
        let request = Request::builder().method(&method).uri(target);
        let request = request.body(()).unwrap();
        let read = read_request_path(&request, PathAllowances::default());
        let expected = expected.map(Cow::Borrowed);
        assert_eq!(read, expected, "{method} {target}");
    }
}

#[test]
fn trap_40_an_allowance_allows_its_class_and_no_other() {
    let encoded = PathAllowances::default().encoded_unreserved();
    let matrix = PathAllowances::default().matrix_parameters();
    for (raw, allowed, expected) in [
        ("/%7Eann/a%2eb", encoded, Ok("/~ann/a.b")),
        ("/%2e%2e/a", encoded, Err(DotSegment)),
        ("/a%2fb", encoded, Err(EncodedSlash)),
        ("/a%252e", encoded, Err(EncodedPercent)),
        ("/a;x", encoded, Err(MatrixParameters)),
        ("/a;x=1/b;y/", matrix, Ok("/a/b/")),
        ("/a;x=1;/%20b;y", matrix, Ok("/a/ b")),
        ("/a/;x", matrix, Ok("/a/")),
        ("/;x/a", matrix, Err(EmptySegment)),
        ("/a/..;x/b", matrix, Err(DotSegment)),
        ("/a/.;/b", matrix, Err(DotSegment)),
        ("/a;x=%2f", matrix, Err(EncodedSlash)),
        ("/a;x=%ff", matrix, Err(NotUtf8)),
        ("/a%3bx", matrix, Err(EncodedSemicolon)),
        ("/a;x=%69", matrix, Err(EncodedUnreserved)),
        ("/a;x=%69", matrix.encoded_unreserved(), Ok("/a")),
    ] {
        let read = read_path(raw, allowed);
        assert_eq!(read.as_deref(), expected.as_ref().copied(), "{raw}");
    }
}

#[test]
fn encoded_unreserved_characters_are_decoded_and_no_others() {
    for (raw, decoded) in [
        ("/", "/"),
        ("/%7Eann/%c3%A9%2E", "/~ann/%c3%A9."),
        ("/%2f%25%3b%00", "/%2f%25%3b%00"),
        ("/%%37%zz%4", "/%7%zz%4"),
    ] {
        assert_eq!(decode_unreserved(raw), decoded);
    }
}

#[test]
fn a_path_without_escapes_is_not_copied() {
    for raw in ["/", "/invoices/1", "/.well-known/x", "/café"] {
        assert!(matches!(strict(raw), Ok(Cow::Borrowed(_))), "{raw}");
        assert!(matches!(decode_unreserved(raw), Cow::Borrowed(_)), "{raw}");
    }
}

/// The parts of generated paths: plain names, and everything that servers interpret differently.
const PLAIN: [&str; 12] = [
    "/invoices",
    "/invoices",
    "/i",
    "/1",
    "/.well-known",
    "/...",
    "/a.b",
    "/~",
    "/%20",
    "/%c3%a9",
    "/é",
    "/%40:@+",
];
const NASTY: [&str; 51] = [
    "/",
    "//",
    "/.",
    "/..",
    "/%2e",
    "/.%2E",
    "/%2e%2e",
    "\\",
    "%5c",
    "%2f",
    "%2F",
    "%25",
    "%2569",
    "%252f",
    "%%36%39",
    "%69",
    "/%69nvoices",
    "/i%6evoices",
    "%7E",
    "%30",
    "%00",
    "%0a",
    "%0d",
    "%01",
    "%1f",
    "%7f",
    "\u{7f}",
    "\t",
    "\n",
    " ",
    ";",
    ";x=1",
    "/;x",
    "/..;",
    "%3b",
    "%3B",
    "%c0%af",
    "%c0%ae",
    "%ff",
    "é%a9",
    "%zz",
    "%2",
    "%",
    "%u0069",
    "/%u0069nvoices",
    "?",
    "#",
    "%3f",
    "%3F",
    "%23",
    "invoices",
];

fn paths() -> impl Strategy<Value = String> {
    let piece = prop_oneof![2 => select(&PLAIN[..]), 1 => select(&NASTY[..])];
    prop::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat())
}

/// Returns the program that reads another path than our rules, if `read_path` accepts the path.
fn reads_otherwise(
    readers: &Readers,
    raw: &str,
    allowed: PathAllowances,
) -> Option<(&'static str, String)> {
    let ours = read_path(raw, allowed).ok()?;
    let ours = readers::segments(ours.as_bytes());
    let (program, theirs) = readers
        .read(raw)
        .into_iter()
        .find(|(_, theirs)| theirs.as_ref().is_some_and(|theirs| *theirs != ours))?;
    let lossy = |segments: &[Vec<u8>]| -> Vec<String> {
        let text = segments
            .iter()
            .map(|segment| String::from_utf8_lossy(segment));
        text.map(Cow::into_owned).collect()
    };
    let theirs = theirs.as_deref().map(lossy);
    Some((
        program,
        format!("{raw:?}: {theirs:?}, not {:?}", lossy(&ours)),
    ))
}

/// Generates the same paths in every run.
fn seeded() -> TestRunner {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[40; 32]);
    TestRunner::new_with_rng(Config::default(), rng)
}

proptest! {
    #![proptest_config(Config::with_cases(4_000))]

    #[test]
    fn trap_40_what_passes_is_unambiguous(raw in paths()) {
        thread_local!(static READERS: Readers = Readers::new());
        let allowed = PathAllowances::default();
        let differs = READERS.with(|readers| reads_otherwise(readers, &raw, allowed));
        prop_assert_eq!(differs, None);
    }

    #[test]
    fn trap_40_what_the_guard_decodes_is_unambiguous(raw in paths()) {
        thread_local!(static READERS: Readers = Readers::new());
        let allowed = PathAllowances::default().encoded_unreserved();
        if let Ok(ours) = read_path(&raw, allowed) {
            let rewritten = decode_unreserved(&raw);
            prop_assert_eq!(strict(&rewritten), Ok(ours));
            let differs = READERS.with(|readers| {
                reads_otherwise(readers, &rewritten, PathAllowances::default())
            });
            prop_assert_eq!(differs, None);
        }
    }

    #[test]
    fn no_path_panics(raw: String) {
        let _ = strict(&raw);
        let _ = decode_unreserved(&raw);
    }
}

#[test]
fn enough_paths_pass_and_most_programs_accept_them() {
    let (readers, mut runner) = (Readers::new(), seeded());
    let mut accepted = [0; 9];
    for _ in 0..2_000 {
        let raw = paths().new_tree(&mut runner).expect("a path").current();
        if strict(&raw).is_ok() {
            for (count, (_, reading)) in accepted.iter_mut().zip(readers.read(&raw)) {
                *count += usize::from(reading.is_some());
            }
        }
    }
    assert!(accepted.iter().all(|count| *count > 200), "{accepted:?}");
}

/// If any one class is allowed, some program reads another path than the rules.
#[test]
fn trap_40_each_class_left_out_is_caught() {
    let readers = Readers::new();
    for class in PathAmbiguity::ALL {
        let left_out = PathAllowances::default().with(class);
        let mut runner = seeded();
        let caught = (0..20_000).find_map(|_| {
            let raw = paths().new_tree(&mut runner).expect("a path").current();
            reads_otherwise(&readers, &raw, left_out)
        });
        assert!(caught.is_some(), "no program differs for {class:?}");
    }
}

/// With matrix parameters allowed, rules read the path as Tomcat does; the other programs also see
/// the parameters.
#[test]
fn trap_40_matrix_parameters_are_stripped_as_tomcat_strips_them() {
    let (readers, mut runner) = (Readers::new(), seeded());
    let allowed = PathAllowances::default().matrix_parameters();
    let mut with_parameters = 0;
    for _ in 0..20_000 {
        let raw = paths().new_tree(&mut runner).expect("a path").current();
        let Ok(ours) = read_path(&raw, allowed) else {
            continue;
        };
        with_parameters += usize::from(raw.contains(';'));
        let ours = readers::segments(ours.as_bytes());
        for (program, theirs) in readers.read(&raw) {
            let Some(mut theirs) = theirs else { continue };
            if program != "Tomcat" {
                for segment in &mut theirs {
                    let end = segment.iter().position(|byte| *byte == b';');
                    segment.truncate(end.unwrap_or(segment.len()));
                }
            }
            assert_eq!(theirs, ours, "{program} {raw}");
        }
    }
    assert!(with_parameters > 200, "{with_parameters}");
}
