//! Guarantees G1 and G2: one winner among a thousand calls, and a token that is rejected after the
//! last byte of its response, a thousand times.

use std::{fmt::Write, io::Write as _};

use futures_util::future::join_all;
use tempfile::NamedTempFile;
use tower_revoke_tests::curl::curl;

use crate::kit::{Example, SHOP, WIRES};

/// A separate connection for each name: curl resolves the names to the loopback address itself, and
/// curl 7.88 can't reuse an HTTP/2 connection that was opened without TLS.
fn host(shop: &Example, wire: &str, name: &str) -> String {
    match wire {
        "--http1.1" => shop.at.to_string(),
        _ => format!("{name}.localhost:{}", shop.at.port()),
    }
}

const CURLS: usize = 4;
const CALLS_EACH: usize = 250;

/// Sends a thousand concurrent calls with one token; returns how many got 200 and how many got 401.
async fn race(shop: &Example, wire: &str, path: &str, token: &str) -> (usize, usize) {
    let numbers = format!("[1-{CALLS_EACH}]");
    let url = match wire {
        "--http1.1" => format!("http://{}{path}?{numbers}", shop.at),
        _ => format!("http://{}{path}", host(shop, wire, &numbers)),
    };
    let header = format!("Authorization: Bearer {token}");
    let parallel = ["--parallel", "--parallel-immediate", "--parallel-max"];
    let told = [
        wire,
        "250",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}\\n",
        "-H",
    ];
    let arguments = [&told[..1], &parallel, &told[1..], &[&header, &url]].concat();
    let outputs = join_all((0..CURLS).map(|_| curl(&arguments))).await;
    let printed = outputs
        .into_iter()
        .map(|output| String::from_utf8(output.stdout).expect("text"));
    let printed: String = printed.collect();
    let statuses: Vec<_> = printed.lines().collect();
    assert_eq!(statuses.len(), CURLS * CALLS_EACH, "{wire}");
    let of = |status: &str| statuses.iter().filter(|given| **given == status).count();
    (of("200"), of("401"))
}

/// TRAPS 1: check, then consume.
#[tokio::test]
async fn trap_01_g2_a_thousand_calls_through_axum_have_as_many_winners_as_uses() {
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let token = shop.token("scope=api+invoices").await;
        let counts = race(&shop, wire, "/api/invoice", &token).await;
        assert_eq!(counts, (1, 999), "{wire}");
        let token = shop.token("scope=api").await;
        let counts = race(&shop, wire, "/api/quote/tea", &token).await;
        assert_eq!(counts, (3, 997), "{wire}");
    }
}

#[tokio::test]
async fn g1_a_token_is_rejected_after_the_last_byte_a_thousand_times() {
    const TIMES: usize = 1_000;
    let shop = Example::start(SHOP).await;
    for wire in WIRES {
        let url = format!("{}/token?scope=api&[1-{TIMES}]", shop.issuer);
        let output = curl(&["-X", "POST", "-w", "\\n", &url]).await;
        let tokens = String::from_utf8(output.stdout).expect("text");
        assert_eq!(tokens.lines().count(), TIMES);

        // One curl process that makes the calls one after the other.
        let mut calls = String::new();
        for (number, token) in tokens.lines().enumerate() {
            for (again, end) in [("first", " "), ("again", "\\n")] {
                writeln!(
                    calls,
                    "{}\nurl = \"http://{}/api/report?rows=3\"\nheader = \"Authorization: Bearer {token}\"\n\
                     output = \"/dev/null\"\nwrite-out = \"%{{http_code}} %{{size_download}}{end}\"\nnext",
                    &wire[2..],
                    host(&shop, wire, &format!("{again}-{number}")),
                )
                .expect("a string");
            }
        }
        let calls = calls.trim_end_matches("next\n");
        let mut file = NamedTempFile::new().expect("a temp file");
        file.write_all(calls.as_bytes()).expect("a temp file");
        let path = file.path().to_str().expect("a path in UTF-8");
        let output = curl(&["-K", path]).await;
        assert!(output.status.success(), "{:?}", output.status);
        let printed = String::from_utf8(output.stdout).expect("text");
        assert_eq!(printed.lines().count(), TIMES);
        for line in printed.lines() {
            assert!(line.starts_with("200 18 401 "), "{wire} {line}");
        }
    }
}
