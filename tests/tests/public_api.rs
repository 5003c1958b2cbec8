//! Checks that the public items of a published crate name only types of the crates listed here, so
//! that any other dependency can be replaced without a breaking change.

#![allow(clippy::unwrap_used, reason = "a test that stops has failed")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// The crates whose types may appear in a public API: the standard library, and crates that an
/// application already has in its own stack. Not listed: crates for signatures, caches and test
/// schedules (jsonwebtoken, aws-lc-rs, moka, quick_cache, shuttle). reqwest is listed for
/// `ReqwestClient`, which users build with their own settings.
const ALLOWED: &[&str] = &[
    "alloc",
    "axum_core",
    "bytes",
    "core",
    "http",
    "http_body",
    "http_body_util",
    "reqwest",
    "serde_core",
    "serde_json",
    "std",
    "tower_http",
    "tower_layer",
    "tower_service",
];

/// Driver types that a store takes from its users: each store is versioned with its driver.
const ALLOWED_IN_STORES: &[(&str, &str)] = &[
    ("tower_revoke_store_cassandra.json", "scylla"),
    ("tower_revoke_store_sql.json", "sqlx_core::pool::Pool"),
    ("tower_revoke_store_sql.json", "sqlx_mysql::MySqlPool"),
    ("tower_revoke_store_sql.json", "sqlx_mysql::database::MySql"),
    ("tower_revoke_store_sql.json", "sqlx_postgres::PgPool"),
    (
        "tower_revoke_store_sql.json",
        "sqlx_postgres::database::Postgres",
    ),
];

/// The test kit may also name the crates that its suites are built on.
const ALLOWED_IN_TESTS: &[&str] = &["tokio", "tower"];

/// Types that macros write into an impl of ours and that nobody can name.
const UNNAMEABLE: &[&str] = &["pin_project_lite::__private::"];

const JSON: &[&str] = &[
    "-Zunstable-options",
    "--output-format=json",
    "--document-hidden-items",
];

#[test]
fn published_crates_name_only_allowed_types() {
    let workspace: Value = serde_json::from_slice(&run(Command::new(env!("CARGO")).args([
        "metadata",
        "--no-deps",
        "--format-version=1",
    ])))
    .unwrap();
    let published: BTreeSet<String> = workspace["packages"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|package| package["publish"].is_null())
        .map(|package| package["name"].as_str().unwrap().replace('-', "_"))
        .collect();
    assert!(published.contains("tower_revoke"), "{published:?}");

    // The same packages and features as in the documentation step, so that nothing is built twice.
    run(Command::new(env!("CARGO"))
        .args(["doc", "--workspace", "--no-deps", "--all-features"])
        .env(
            "RUSTDOC",
            concat!(env!("CARGO_MANIFEST_DIR"), "/rustdoc-json"),
        )
        .env("RUSTDOCFLAGS", JSON.join(" ")));

    let doc = Path::new(workspace["target_directory"].as_str().unwrap()).join("doc");
    let leaks: Vec<String> = published
        .iter()
        .flat_map(|name| leaks(&doc.join(name).with_extension("json"), &published))
        .collect();
    assert!(leaks.is_empty(), "\n{}", leaks.join("\n"));
}

#[test]
fn a_foreign_type_is_found_in_every_position() {
    let public = [
        (
            "returned",
            "pub fn returned() -> Vec<Option<inner::Key>> { Vec::new() }",
        ),
        ("taken", "pub fn taken(_: &dyn Fn(inner::Key)) {}"),
        ("Bound", "pub struct Bound<T: inner::Verify>(T);"),
        ("Clause", "pub trait Clause where Self: inner::Verify {}"),
        ("field", "pub struct Field { pub field: inner::Key }"),
        ("0", "pub enum Variant { InVariant(inner::Key) }"),
        ("Alias", "pub type Alias = inner::Key;"),
        (
            "impl",
            "pub struct Our; impl From<inner::Key> for Our { fn from(_: inner::Key) -> Self { Our } }",
        ),
        ("impl", "pub struct Our; impl inner::Verify for Our {}"),
        ("Out", "pub trait Assoc { type Out: inner::Verify; }"),
        ("Renamed", "pub use inner::Key as Renamed;"),
        ("inner", "pub use inner::*;"),
        ("inner", "pub extern crate inner;"),
        (
            "hidden",
            "#[doc(hidden)] pub fn hidden() -> inner::Key { loop {} }",
        ),
        (
            "deep",
            "mod private { pub fn deep() -> inner::Key { loop {} } } pub use self::private::deep;",
        ),
    ];
    let private = [
        "fn private() -> inner::Key { loop {} }",
        "pub struct Private { key: inner::Key }",
        "pub struct Our; impl Our { pub(crate) fn key(&self) -> inner::Key { loop {} } }",
        "mod unreachable { pub fn key() -> inner::Key { loop {} } }",
        "pub struct Our; struct Their; impl From<inner::Key> for Their { fn from(_: inner::Key) -> Self { Their } }",
        // `inner` has an impl for every type, which this crate didn't write.
        "pub struct Our;",
    ];

    // A module on a line of its own for each case, so that one run of rustdoc covers them all.
    let dir = tempfile::tempdir().unwrap();
    let inner = compile_fixture(dir.path());
    let source = dir.path().join("leaky.rs");
    let codes = public.iter().map(|(_, code)| *code).chain(private);
    let lines: Vec<_> = (1..)
        .zip(codes)
        .map(|(line, code)| format!("pub mod line{line} {{ {code} }}\n"))
        .collect();
    fs::write(&source, lines.concat()).unwrap();
    let found = leaks(&document(&source, &inner), &BTreeSet::new());

    for (line, (at, code)) in (1..).zip(public) {
        let place = format!("leaky.rs:{line}: {at} names");
        assert!(
            found.iter().any(|leak| leak.contains(&place)),
            "{code}\n{found:#?}"
        );
    }
    for leak in &found {
        let at_public = |line| leak.contains(&format!("leaky.rs:{line}: "));
        assert!((1..=public.len()).any(at_public), "{leak}");
    }
}

/// Compiles a crate `inner` from a file of its own; returns its metadata.
fn compile_fixture(dir: &Path) -> PathBuf {
    let source = dir.join("inner.rs");
    fs::write(
        &source,
        "pub struct Key; pub trait Verify {} pub trait Every {} impl<T> Every for T {}",
    )
    .unwrap();
    let metadata = dir.join("libinner.rmeta");
    run(Command::new("rustc")
        .args([
            "--crate-type=lib",
            "--edition=2024",
            "--emit=metadata",
            "-o",
        ])
        .args([&metadata, &source]));
    metadata
}

/// Returns the rustdoc JSON of a file that may use the crate `inner`.
fn document(source: &Path, inner: &Path) -> PathBuf {
    run(
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/rustdoc-json"))
            .args(JSON)
            .args(["--edition=2024", "--cap-lints=allow", "--extern"])
            .arg(format!("inner={}", inner.display()))
            .arg("-o")
            .args([source.parent().unwrap(), source]),
    );
    source.with_extension("json")
}

/// Lists the forbidden types that the crate names, one line for each place.
fn leaks(json: &Path, ours: &BTreeSet<String>) -> Vec<String> {
    let json_text = fs::read(json).unwrap_or_else(|error| panic!("{}: {error}", json.display()));
    let doc: Value = serde_json::from_slice(&json_text).unwrap();
    let crates = doc["external_crates"].as_object().unwrap();
    let paths = doc["paths"].as_object().unwrap();
    let test_kit = json.ends_with("tower_revoke_testing.json");

    let allowed = |path: &str| {
        let root = path.split("::").next().unwrap_or(path);
        ALLOWED.contains(&root)
            || test_kit && ALLOWED_IN_TESTS.contains(&root)
            || (ALLOWED_IN_STORES.iter())
                .any(|(store, driver)| json.ends_with(store) && [root, path].contains(driver))
            || ours.contains(root)
            || UNNAMEABLE.iter().any(|prefix| path.starts_with(prefix))
    };
    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for item in doc["index"].as_object().unwrap().values() {
        let (kind, definition) = item["inner"].as_object().unwrap().iter().next().unwrap();
        // An item of another crate, or its impl for every type, is not ours.
        if item["crate_id"] != 0 || !definition["blanket_impl"].is_null() {
            continue;
        }
        let mut named = BTreeSet::new();
        if kind == "extern_crate" {
            named.insert(definition["name"].as_str().unwrap().to_owned());
        }
        references(definition, &mut |id| {
            // An item without a path is private to the crate.
            if let Some(path) = paths.get(&id.to_string())
                && path["crate_id"] != 0
            {
                let root = &crates[&path["crate_id"].to_string()]["name"];
                let inside = path["path"].as_array().unwrap().iter().skip(1);
                let parts: Vec<_> = [root].into_iter().chain(inside).map(text).collect();
                named.insert(parts.join("::"));
            }
        });
        named.retain(|path| !allowed(path));
        if !named.is_empty() {
            let name = item["name"].as_str().or(definition["name"].as_str());
            let file = &item["span"]["filename"];
            let line = &item["span"]["begin"][0];
            let place = format!("{}:{line}: {}", text(file), name.unwrap_or(kind));
            found.entry(place).or_default().append(&mut named);
        }
    }
    found
        .into_iter()
        .map(|(place, named)| format!("{place} names {named:?}"))
        .collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Calls `found` with the id of everything that a definition names by a path.
fn references(value: &Value, found: &mut impl FnMut(&Value)) {
    match value {
        Value::Object(fields) => {
            if let Some(id) = fields.get("id")
                && (fields.contains_key("path") || fields.contains_key("source"))
            {
                found(id);
            }
            fields.values().for_each(|field| references(field, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}
