//! Tests the quickstart: its scenario runs to the end, and its curl lines work as printed.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

/// The binary that `--workspace` builds beside this test.
fn quickstart() -> Command {
    let me = std::env::current_exe().expect("a path");
    let folder = me.ancestors().nth(2).expect("the target folder");
    let program: PathBuf = folder.join("quickstart");
    assert!(
        program.exists(),
        "build the whole workspace: {program:?} is missing"
    );
    Command::new(program)
}

/// Kills the process on drop, so that it never outlives the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_scenario_succeeds() {
    let output = quickstart().output().expect("it starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1 got 200, 49 got 401"), "{told}");
    assert!(!told.contains("BROKEN"), "{told}");
}

#[test]
fn an_unknown_argument_is_an_error_that_names_it() {
    let output = quickstart().arg("sevre").output().expect("it starts");
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stdout).contains("`sevre`"));
}

#[test]
fn the_printed_curl_lines_work() {
    let mut serving = quickstart();
    let serving = serving.arg("serve").stdout(Stdio::piped()).spawn();
    let mut serving = Running(serving.expect("it starts"));
    let mut lines = BufReader::new(serving.0.stdout.take().expect("a pipe")).lines();
    let mut script = String::new();
    // The last printed line is the one after the logout.
    let mut logged_out = false;
    loop {
        let line = lines.next().expect("more lines").expect("text");
        if line.starts_with("curl") || line.starts_with("TOKEN=") || line.starts_with("for ") {
            script.push_str(&line);
            script.push('\n');
        }
        if logged_out && line.starts_with("curl") {
            break;
        }
        logged_out |= line.contains("/logout");
    }
    let output = Command::new("bash")
        .args(["-c", &script])
        .stderr(Stdio::null())
        .output()
        .expect("bash and curl");
    let printed = String::from_utf8_lossy(&output.stdout);
    let statuses: Vec<_> = printed
        .lines()
        .filter_map(|line| line.strip_prefix("HTTP/1.1 "))
        .map(|status| &status[..3])
        .collect();
    assert_eq!(
        statuses,
        ["401", "200", "200", "401", "401", "200", "401"],
        "{printed}"
    );
    assert!(printed.contains("      1 200\n     49 401"), "{printed}");
    let upstreams: Vec<_> = printed
        .lines()
        .filter(|line| line.contains("Bearer eyJ"))
        .collect();
    assert_eq!(upstreams.len(), 1, "{printed}");
    assert!(printed.lines().any(|line| line == "none"), "{printed}");
}
