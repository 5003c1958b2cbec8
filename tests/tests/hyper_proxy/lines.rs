//! Tests that the shell lines that the program prints work as printed.

use tokio::process::Command;

use crate::kit::{DEMO, Example};

#[tokio::test]
async fn the_printed_lines_work() {
    let mut demo = Example::start(DEMO).await;
    let mut script = String::new();
    // The last line is a loop.
    while !script.contains("\nfor ") {
        let line = demo.program.says("").await;
        script = format!("{script}{line}\n");
    }
    let output = Command::new("bash").args(["-c", &script]).output();
    let output = output.await.expect("bash");
    let printed = String::from_utf8(output.stdout).expect("text");
    let credentials: Vec<_> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("authorization: "))
        .map(|value| value.split(' ').next())
        .collect();
    assert_eq!(credentials, [Some("Bearer"), Some("Basic")], "{printed}");
    assert_eq!(printed.matches("via: ").count(), 3, "{printed}");
    let (_, rest) = printed
        .rsplit_once("hyper-proxy\n")
        .expect("a last backend");
    let rest: Vec<_> = rest.lines().filter(|line| !line.contains(": ")).collect();
    assert_eq!(
        rest,
        [
            "200",
            "401",
            "{\"active\":false}",
            "      1 200",
            "     49 401"
        ],
        "{printed}"
    );
}
