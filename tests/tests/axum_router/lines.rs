//! Tests what the program prints: usage errors, its log, and the shell lines to try.

use std::path::Path;

use tempfile::TempDir;
use tower_revoke_tests::{curl::curl, program::Program};

use crate::kit::{Example, SHOP, WIRES, call};

/// The shell lines of the README, without the two addresses at the top.
fn readme() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/axum-router");
    let text = std::fs::read_to_string(folder.join("README.md")).expect("a README");
    let block = text.split("```sh\n").nth(1).expect("shell lines");
    let block = block.split("```").next().expect("the end of the block");
    let (addresses, lines): (Vec<&str>, _) = block
        .lines()
        .partition(|line| line.starts_with("ISSUER=") || line.starts_with("API="));
    assert_eq!(addresses.len(), 2);
    lines.into_iter().map(str::to_owned).collect()
}

/// The status codes in the comments at the ends of the lines.
fn promised(lines: &[String]) -> Vec<u16> {
    let comments = lines.iter().filter_map(|line| line.rsplit_once("# "));
    comments
        .filter_map(|(_, comment)| comment.parse().ok())
        .collect()
}

#[tokio::test]
async fn the_lines_of_the_readme_match_the_output_and_work() {
    let mut shop = Example::start(SHOP).await;
    let lines = readme();
    let mut script = String::new();
    for variable in ["ISSUER=", "API="] {
        let value = shop.program.says(variable).await;
        script.push_str(&format!("{variable}{value}\n"));
    }
    for line in &lines {
        assert_eq!(shop.program.says(line).await, "", "output after {line}");
    }
    script.push_str(&lines.join("\n"));

    let folder = TempDir::new().expect("a temp dir");
    let output = tokio::process::Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder.path())
        .output()
        .await
        .expect("bash");
    let printed = String::from_utf8_lossy(&output.stdout);
    let statuses: Vec<u16> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .collect();
    let promised = promised(&lines);
    assert!(promised.len() > 20, "{promised:?}");
    assert_eq!(statuses, promised, "{printed}");
    assert!(printed.contains("      1 200\n     99 401"), "{printed}");
    assert!(printed.contains("event: orders\ndata: 0\n"), "{printed}");
    let file = std::fs::read(folder.path().join("export.bin")).expect("a file");
    assert!(crate::download::is_whole(&file));
}

/// TRAPS 17, for the whole program, including a token in the query.
#[tokio::test]
async fn trap_17_neither_the_log_nor_the_output_shows_a_token() {
    let shop = Example::start(SHOP).await;
    let link = shop.token("scope=download").await;
    let token = shop.token("scope=api").await;
    for wire in WIRES {
        for method in ["--head", "--get"] {
            let path = format!("/download?access_token={link}");
            let more = [wire, "-o", "/dev/null", "-D", "-", method];
            curl(&[&more[..], &[&format!("http://{}{path}", shop.at)]].concat()).await;
        }
        shop.show(wire, "/api/report", &token).await;
        let wrong = format!("/elsewhere?access_token={link}");
        assert_eq!(call(shop.at, &wrong, &[wire]).await.status, 404);
    }
    shop.program.terminate();
    let (status, said) = shop.program.last_words().await;
    assert!(status.success());
    let logged = said.iter().filter(|line| line.contains("/download"));
    assert!(logged.count() >= 4, "{said:#?}");
    for secret in [&link, &token] {
        let parts = secret.split('.').skip(1);
        for part in parts.map(|part| &part[..part.len().min(40)]) {
            assert!(!said.iter().any(|line| line.contains(part)), "{said:#?}");
        }
    }
}

#[tokio::test]
async fn an_unknown_argument_is_an_error_that_names_it() {
    for arguments in [&["elsewhere"][..], &["127.0.0.1:0", "elsewhere"]] {
        let program = Program::start("axum-router", |command| {
            command.args(arguments);
        });
        let (status, said) = program.last_words().await;
        assert_eq!(status.code(), Some(2));
        assert!(said[0].contains("`elsewhere`"), "{said:?}");
    }
}
