//! Tests what the page looks like, and that it keeps nobody from using it.

use std::time::Duration;

use tower_revoke::{
    Clock, HealthCheck, HealthSource, HealthStatus, Monitor, MonitorDashboard, RequireBearerLayer,
    UnixTime,
};
use tower_revoke_tests::{Server, World, chromium::Page, servers::axe_core};

use crate::kit::{Shown, call_that};

const NOW: u64 = 1_790_000_000;

/// What the list, the keys and the queue of a node may say.
struct Node;

impl HealthSource for Node {
    fn health(&self) -> Vec<HealthCheck> {
        let (pass, warn) = (HealthStatus::Pass, HealthStatus::Warn);
        let ago = |seconds: u64| Some(UnixTime::from_secs(NOW + 3_600 - seconds));
        vec![
            HealthCheck::new("list", pass, "fresh: answers from memory"),
            HealthCheck::new("store", pass, "reachable").since(ago(93_000)),
            HealthCheck::new("feed", pass, "0.4 s behind, of 5.0 s"),
            HealthCheck::new("keys", warn, "2 keys, 742 s old; fetching fails")
                .of("https://id.example.com")
                .since(ago(442)),
            HealthCheck::new("revocations", pass, "0 queued; no failure")
                .of("https://id.example.com/revoke"),
        ]
    }
}

/// An hour of a busy node.
async fn busy_hour() -> Monitor {
    let (clock, hand) = Clock::manual(UnixTime::from_secs(NOW));
    let monitor = Monitor::builder().clock(clock).build();
    monitor.add_health(Node);
    let services = [
        ("orders", "/orders/{id}", 140),
        ("invoices", "/invoices", 40),
        ("search", "/search", 160),
        ("accounts", "/accounts/{id}", 30),
    ];
    let mut random = fastrand::Rng::with_seed(7);
    for minute in 0..60_u64 {
        for (service, route, rate) in services {
            let layer = monitor.layer(service);
            let wave = 1.0 + 0.4 * (minute as f64 / 9.0 + f64::from(rate)).sin();
            for _ in 0..(f64::from(rate) * wave) as u32 + random.u32(0..3) {
                let client = format!(
                    "{}@example.com",
                    ["ann", "bob", "eve", "mia", "joe"][random.usize(0..5)]
                );
                let status = match (service, minute) {
                    ("invoices", 41..60) if random.u8(0..4) == 0 => 503,
                    _ if random.u8(..) == 0 => 500,
                    _ if random.u8(0..30) == 0 => 404,
                    _ => 200,
                };
                let took = Duration::from_micros(800 + 90_000 / random.u64(1..90));
                call_that(&layer, &client, route, status, || hand.advance(took)).await;
            }
        }
        let charges = || hand.advance(Duration::from_millis(230));
        let provider = monitor.upstream("payment provider");
        call_that(&provider, "", "/charges", 200, charges).await;
        let router = monitor.composite("checkout");
        let status = if minute % 20 == 7 { 502 } else { 200 };
        call_that(&router, "bob@example.com", "/checkout", status, charges).await;
        let next = Duration::from_secs(60 * (minute + 1)) + UNIX_TO_START;
        let now = Duration::from_secs(monitor.usage(&Default::default()).at.as_secs());
        hand.advance(next.saturating_sub(now));
    }
    monitor
}

const UNIX_TO_START: Duration = Duration::from_secs(NOW);

/// Keeps a screenshot in the folder `TOWER_REVOKE_TEST_SCREENSHOTS`, for people who want to look.
async fn keep(page: &mut Page, name: &str) {
    let image = page.screenshot().await;
    if let Some(folder) = std::env::var_os("TOWER_REVOKE_TEST_SCREENSHOTS") {
        let path = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(path, image).expect("the folder");
    }
}

/// Checks that axe-core finds nothing serious.
async fn is_accessible(page: &mut Page, what: &str) {
    page.eval(&format!("{}; 0", axe_core())).await;
    let run = "axe.run({ preload: false }).then(found => found.violations
        .filter(it => ['serious', 'critical'].includes(it.impact))
        .map(it => `${it.id}: ${it.nodes.map(node => node.html + node.failureSummary).join()}`))";
    let found = page.eval(run).await;
    assert_eq!(found, serde_json::json!([]), "{what}");
}

#[tokio::test]
async fn it_fits_each_screen_light_and_dark_and_axe_finds_nothing_serious() {
    let monitor = busy_hour().await;
    let mut shown = Shown::of(&monitor, "").await;
    let url = shown.url.clone();
    let mut colours = Vec::new();
    for (view, fragment, table) in [
        ("overview", "", "services"),
        ("service", "services=invoices&span=3600", "clients"),
    ] {
        for (size, width, height) in [("desktop", 1_280, 860), ("phone", 390, 844)] {
            for (scheme, dark) in [("light", false), ("dark", true)] {
                shown.page.show_as(width, height, dark).await;
                shown.page.open(&format!("{url}#{fragment}")).await;
                shown
                    .page
                    .until(&format!("document.querySelector('#{table} tbody th')"))
                    .await;
                let name = format!("{view}-{size}-{scheme}");
                keep(&mut shown.page, &name).await;
                let wide = "document.documentElement.scrollWidth > innerWidth";
                assert_eq!(shown.page.eval(wide).await, false, "{name}");
                let colour = "getComputedStyle(document.body).backgroundColor";
                colours.push(shown.page.eval(colour).await.to_string());
                is_accessible(&mut shown.page, &name).await;
            }
        }
    }
    assert_ne!(colours[0], colours[1]);
    assert!(colours.chunks(2).all(|pair| pair == &colours[..2]));
    shown.check_sound().await;
}

#[tokio::test]
async fn axe_finds_nothing_serious_before_somebody_has_signed_in() {
    let world = World::new();
    let guard = RequireBearerLayer::new(world.tokens.clone());
    let dashboard = MonitorDashboard::new(Monitor::new(), guard);
    let mut shown = Shown::at(Server::start(dashboard).await, "").await;
    for dark in [false, true] {
        shown.page.show_as(390, 844, dark).await;
        shown
            .page
            .until("!document.getElementById('sign-in').hidden")
            .await;
        keep(&mut shown.page, &format!("sign-in-{dark}")).await;
        is_accessible(&mut shown.page, "sign-in").await;
    }
}
