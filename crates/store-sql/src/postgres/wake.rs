//! The task that listens for what others write, so that nobody has to poll for it.

use std::time::Duration;

use sqlx::{PgPool, Row, postgres::PgListener};
use tokio::sync::watch;

/// How long it waits before it tries to listen again.
const PAUSE: Duration = Duration::from_millis(500);

/// Tells the number of the last event; `last` is the statement that asks for it.
pub(super) async fn listen(pool: &PgPool, last: &str, channel: &str, news: &watch::Sender<i64>) {
    loop {
        // Hints may be lost while it is not heard; asking from time to time is the caller's part.
        let _ = hear(pool, last, channel, news).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn hear(
    pool: &PgPool,
    last: &str,
    channel: &str,
    news: &watch::Sender<i64>,
) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(channel).await?;
    // What was written before it listened. The number may also be lower than what was told before:
    // by a server that was set back.
    let row = sqlx::query(last).fetch_one(&mut listener).await?;
    news.send_replace(row.try_get(0)?);
    while let Some(note) = listener.try_recv().await? {
        if let Ok(last) = note.payload().parse() {
            news.send_replace(last);
        }
    }
    Ok(())
}
