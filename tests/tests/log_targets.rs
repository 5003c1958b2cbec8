//! Checks that each event has the target of its crate, by which logs are filtered, and that STABILITY.md
//! lists it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// What clients and operators do is logged by all crates under one target.
const AUDIT: &str = "tower_revoke::audit";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn add_sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            add_sources(&path, files);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            files.push(path);
        }
    }
}

/// The targets of the events in a source file; `None` for an event without one.
fn targets(source: &str) -> Vec<Option<&str>> {
    let is_code = |line: &str| !line.trim_start().starts_with("//");
    let is_event = |macro_name: &str| {
        ["trace", "debug", "info", "warn", "error", "event"].contains(&macro_name)
            || macro_name.ends_with("span")
    };
    let mut targets = Vec::new();
    let mut rest = source;
    while let Some((before, after)) = rest.split_once("tracing::") {
        let line = before.rsplit('\n').next().unwrap_or(before);
        let call = after.split_once("!(");
        if let Some((_, arguments)) = call.filter(|(name, _)| is_event(name) && is_code(line)) {
            let target = arguments.trim_start().strip_prefix("target: \"");
            targets.push(
                target
                    .and_then(|it| it.split_once('"'))
                    .map(|(target, _)| target),
            );
        }
        rest = after;
    }
    targets
}

#[test]
fn each_event_has_the_target_of_its_crate() {
    let stability = fs::read_to_string(root().join("STABILITY.md")).expect("a text file");
    let mut events = 0;
    for entry in fs::read_dir(root().join("crates")).expect("a folder") {
        let folder = entry.expect("an entry").path();
        let name = folder
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        // It reads logs, and writes none.
        if name == "testing" {
            continue;
        }
        let own = format!("tower_revoke::{}", name.replace('-', "_"));
        let mut files = Vec::new();
        add_sources(&folder.join("src"), &mut files);
        for file in files {
            let source = fs::read_to_string(&file).expect("a text file");
            for target in targets(&source) {
                let place = file.display();
                let target = target.unwrap_or_else(|| panic!("{place}: an event has no target"));
                assert!(target == own || target == AUDIT, "{place}: {target}");
                assert!(
                    stability.contains(&format!("`{target}`")),
                    "STABILITY.md lacks {target}"
                );
                events += 1;
            }
        }
    }
    assert!(events > 60, "only {events}");
}

#[test]
fn the_search_finds_events_without_a_target() {
    let source = "
        /// tracing::info!(\"in the docs\")
        tracing::info!(\"none\");
        tracing::warn!(
            target: \"a::b\",
            error,
        );
        tracing::info_span!(target: \"c\", \"span\");
        tracing::field::display(1);
    ";
    assert_eq!(targets(source), [None, Some("a::b"), Some("c")]);
}
