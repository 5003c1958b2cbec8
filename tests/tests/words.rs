//! Checks that no file uses a term that `tests/words.md` retires.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

/// The searched folders, which exclude builds, tools and lock files.
const FOLDERS: [&str; 6] = [
    "benches/src",
    "crates",
    "examples",
    "fuzz/fuzz_targets",
    "tests",
    ".github",
];
const KINDS: [&str; 6] = ["rs", "md", "toml", "sql", "lua", "sh"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn add_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.expect("an entry").path();
        let kind = path.extension().and_then(|kind| kind.to_str());
        if path.is_dir() && !path.ends_with("target") {
            add_files(&path, files);
        } else if kind.is_some_and(|kind| KINDS.contains(&kind)) {
            files.push(path);
        }
    }
}

/// The retired terms.
#[derive(Debug, PartialEq)]
struct Retired {
    identifiers: HashSet<String>,
    phrases: Vec<String>,
}

impl Retired {
    fn read(list: &str) -> Self {
        let (_, retired) = list
            .split_once("## Retired identifiers")
            .expect("a section");
        let (identifiers, phrases) = retired.split_once("## Retired phrases").expect("a section");
        Self {
            identifiers: identifiers
                .split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect(),
            phrases: phrases
                .lines()
                .filter_map(|line| line.strip_prefix("* "))
                .map(str::to_lowercase)
                .collect(),
        }
    }

    fn found_in<'a>(&'a self, line: &str) -> Option<&'a str> {
        let mut words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let identifier = words.find_map(|word| self.identifiers.get(word));
        let lower = line.to_ascii_lowercase();
        let phrase = || self.phrases.iter().find(|one| lower.contains(*one));
        identifier.or_else(phrase).map(String::as_str)
    }
}

#[test]
fn no_file_uses_a_retired_term() {
    let list = fs::read_to_string(root().join("tests/words.md")).expect("the list");
    let retired = Retired::read(&list);
    assert!(retired.identifiers.len() > 20 && retired.phrases.len() > 4);
    let mut files: Vec<_> = [
        "ARCHITECTURE",
        "CHANGELOG",
        "CONTRIBUTING",
        "README",
        "SECURITY",
    ]
    .map(|name| root().join(name).with_extension("md"))
    .into();
    for folder in FOLDERS {
        add_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 300, "only {} files", files.len());
    let mut found = Vec::new();
    for file in files {
        if file.ends_with("tests/words.md") || file.ends_with("tests/words.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a text file");
        for (number, line) in text.lines().enumerate() {
            if let Some(term) = retired.found_in(line) {
                found.push(format!("{}:{}: {term}", file.display(), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "retired terms:\n{}", found.join("\n"));
}

#[test]
fn the_search_finds_whole_words_and_phrases() {
    let retired = Retired::read(
        "## Retired identifiers\n`Mood` `of_old`\n## Retired phrases\n\n* Give back\n* odd",
    );
    for (line, found) in [
        ("let mood = Mood::Works;", Some("Mood")),
        ("self.of_old()", Some("of_old")),
        ("// Give Back what was taken", Some("give back")),
        ("Moody, of_older, given backwards", None),
    ] {
        assert_eq!(retired.found_in(line), found, "{line}");
    }
}
