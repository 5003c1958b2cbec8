//! Checks that every test named in `standards.md` and `traps.md` exists.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all functions in the Rust files under `folder`.
fn functions(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            functions(&path, names);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            let text = fs::read_to_string(&path).expect("a file");
            for rest in text.split("fn ").skip(1) {
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
                names.extend(end.map(|end| rest[..end].to_owned()));
            }
        }
    }
}

/// The test names in the last column of each table row.
fn named(map: &str) -> Vec<String> {
    map.lines()
        .filter(|line| line.starts_with('|'))
        .filter_map(|line| line.trim_end_matches('|').rsplit('|').next())
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_test_that_the_maps_name_exists() {
    let mut names = BTreeSet::new();
    for folder in ["crates", "tests"] {
        functions(&root().join(folder), &mut names);
    }
    for map in ["tests/standards.md", "tests/traps.md"] {
        let text = fs::read_to_string(root().join(map)).expect("a map");
        let named = named(&text);
        assert!(named.len() > 20, "{map} names only {}", named.len());
        let missing: Vec<_> = named.iter().filter(|name| !names.contains(*name)).collect();
        assert!(
            missing.is_empty(),
            "{map} names tests that don't exist: {missing:#?}"
        );
    }
}

#[test]
fn the_check_finds_a_missing_test() {
    assert_eq!(named("| a | `b`, `c` |\n| d | `e` |"), ["b", "c", "e"]);
    let mut names = BTreeSet::new();
    functions(&root().join("tests/tests"), &mut names);
    assert!(names.contains("every_test_that_the_maps_name_exists"));
    assert!(!names.contains("no_such_test_anywhere"));
}
