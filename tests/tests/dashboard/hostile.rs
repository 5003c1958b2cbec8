//! Tests names that strangers have chosen, and many of them.

use tower_revoke::Monitor;

use crate::kit::{Shown, call};

/// What a stranger may have for a subject.
const NAMES: [&str; 7] = [
    "<script>hacked = 1</script>",
    "<img src=/hacked onerror='hacked = 1'>",
    "\"'`quoted`'\" onclick=hacked=1",
    "two\nlines\r\nand\u{0}more\u{1b}[31m",
    "\u{202e}txt.reverof\u{2066}",
    "__proto__",
    "#services=orders&q=&paused=1",
];

/// How the page shows them: what can't be seen, or moves other text, is escaped.
const SHOWN: [&str; 7] = [
    NAMES[0],
    NAMES[1],
    NAMES[2],
    "two\\u{a}lines\\u{d}\\u{a}and\\u{0}more\\u{1b}[31m",
    "\\u{202e}txt.reverof\\u{2066}",
    NAMES[5],
    NAMES[6],
];

#[tokio::test]
async fn hostile_names_are_harmless_text() {
    let monitor = Monitor::new();
    let long = "<b>long</b>".repeat(1_000);
    for (number, name) in NAMES.into_iter().chain([long.as_str()]).enumerate() {
        for _ in number..10 {
            call(&monitor.layer(name), name, "/<b>{id}</b>", 200).await;
        }
    }
    let mut shown = Shown::of(&monitor, "sort=calls").await;
    let services: Vec<_> = SHOWN.into_iter().chain([long.as_str()]).collect();
    shown.names("services", &services).await;
    for (number, name) in SHOWN.into_iter().enumerate() {
        let click = format!("document.querySelectorAll('#services tbody a')[{number}].click()");
        shown.page.eval(&click).await;
        shown.names("clients", &[name]).await;
        shown.names("methods", &["GET /<b>{id}</b>"]).await;
        let title = "document.getElementById('name').textContent";
        assert_eq!(shown.page.eval(title).await, name);
        let state = "[...new URLSearchParams(location.hash.slice(1)).keys()].join()";
        assert_eq!(shown.page.eval(state).await, "sort,services");
        shown
            .page
            .eval("document.getElementById('back').click()")
            .await;
        shown.names("services", &services).await;
    }
    // A client's name is cut, and a long one makes no page wide.
    let click = "[...document.querySelectorAll('#services tbody a')].at(-1).click()";
    shown.page.eval(click).await;
    shown.names("clients", &[&long[..256]]).await;
    let wide = "document.documentElement.scrollWidth > innerWidth";
    assert_eq!(shown.page.eval(wide).await, false);
    let made = "document.querySelectorAll('main script, main img, main b:not(#checks b)').length";
    assert_eq!(shown.page.eval(made).await, 0);
    assert_eq!(shown.page.eval("typeof hacked").await, "undefined");
    assert_eq!(shown.page.eval("typeof {}.name").await, "undefined");
    shown.check_sound().await;

    // In both text formats a name is one label, whatever is in it.
    let plain = Monitor::new();
    for number in 0..NAMES.len() + 1 {
        call(&plain.layer(number.to_string()), "ann", "/", 200).await;
    }
    let lines = |text: String| text.split('\n').count();
    assert_eq!(lines(monitor.prometheus()), lines(plain.prometheus()));
    assert_eq!(lines(monitor.open_metrics()), lines(plain.open_metrics()));
}

#[tokio::test]
async fn ten_thousand_clients_stay_usable() {
    let monitor = Monitor::new();
    let orders = monitor.layer("orders");
    for number in 0..10_000 {
        call(&orders, &format!("client-{number:05}"), "/orders", 200).await;
    }
    for _ in 0..5 {
        call(&orders, "client-07777", "/orders", 500).await;
    }
    let mut shown = Shown::of(&monitor, "services=orders").await;
    let first = "document.querySelector('#clients tbody th')?.textContent === 'client-07777'";
    shown.page.until(first).await;
    let rows = "document.querySelectorAll('#clients tbody tr').length";
    assert_eq!(shown.page.eval(rows).await, 100);
    let elements = "document.querySelectorAll('*').length";
    assert!(shown.page.eval(elements).await.as_u64() < Some(2_000));
    let found = "document.getElementById('found').textContent";
    let text = shown.page.eval(found).await.to_string();
    assert!(text.contains("10,000 clients; the first 100"), "{text}");
    // Neither do they cross the network.
    let bytes = "performance.getEntriesByType('resource').map(it => it.decodedBodySize)";
    let largest = shown.page.eval(&format!("Math.max(...{bytes})")).await;
    assert!(largest.as_u64() < Some(100_000), "{largest}");
    shown.page.click("#q").await;
    shown.page.enter("CLIENT-0123").await;
    let names: Vec<_> = (0..10).map(|digit| format!("client-0123{digit}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    shown.names("clients", &names).await;
    // From the overview a client is found in its services.
    shown
        .page
        .open(&format!("{}#q=client-09999", shown.url))
        .await;
    shown.names("services", &["orders"]).await;
    shown.check_sound().await;
}
