//! What a monitor counts of live streams.

use std::time::Duration;

use tower_revoke::{Counts, Revocation, TokenId, TokenLifetimeLayer};

use crate::{
    kit::{App, ISSUER},
    websocket::{closes, open},
};

impl App {
    /// Waits until the monitor counts so many live streams of a client. Returns its counts.
    async fn counts_of(&self, client: &str, live: u64) -> Counts {
        loop {
            let app = self.monitor.snapshot().services.remove("app");
            let counts = app.and_then(|mut app| app.clients.remove(client));
            if let Some(counts) = counts.filter(|counts| counts.live_streams == live) {
                return counts;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn a_monitor_counts_streams_and_websockets_and_why_they_were_ended() {
    let app = App::start(TokenLifetimeLayer::new()).await;
    let events = app.listen("/events", &app.token("1", "ann"), &[]).await;
    let socket = open(&app, &app.token("1", "ann")).await;
    let short = app.claims("2", "ann").expires_in(Duration::from_secs(3));
    let short = app.listen("/chunks", &short.sign(), &[]).await;
    let bobs = app.listen("/events", &app.token("3", "bob"), &[]).await;
    let anns = app.counts_of("ann", 3).await;
    assert!(anns.ended_streams.is_empty());
    app.counts_of("bob", 1).await;
    assert_eq!(short.ended().await.0, Some(18));

    let revocation = Revocation::of_token(TokenId::of_jwt(ISSUER, "1"), None);
    app.list.revoke(revocation).await.expect("revoked");
    assert_eq!(events.ended().await.0, Some(0));
    closes(socket).await;
    let anns = app.counts_of("ann", 0).await;
    assert_eq!(anns.ended_streams["revoked"], 2);
    assert_eq!(anns.ended_streams["expired"], 1);
    let app_counts = &app.monitor.snapshot().services["app"];
    assert_eq!(app_counts.cut_delay.count(), 2);
    println!("cut off after {:?} on average", app_counts.cut_delay.avg());

    // A client that leaves has no live stream, and none was ended.
    drop(bobs);
    assert!(app.counts_of("bob", 0).await.ended_streams.is_empty());
}
