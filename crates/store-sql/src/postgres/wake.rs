//! The task that listens for the writes of all nodes, so that a change is seen before the next
//! poll.

use std::time::Duration;

use sqlx::{
    Row,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::watch;

use super::database::Postgres;

/// The pause before the next attempt to listen.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends the number of the last event whenever it changes. Notifications are lost while the
/// connection is down; callers read the feed from time to time anyway.
pub(super) async fn listen(database: &Postgres, news: &watch::Sender<i64>) {
    loop {
        let _ = hear(database, news).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn hear(database: &Postgres, news: &watch::Sender<i64>) -> Result<(), sqlx::Error> {
    // `PgListener` needs a pool, and holds a connection for good. The user's pool may have none to
    // spare.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(database.request_timeout)
        .connect_lazy_with(database.options());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(&database.channel).await?;
    // Catches up with the writes before LISTEN took effect. The number may be lower than the last
    // one sent, if the server's history went back.
    let row = sqlx::query(&database.statements.last_event);
    let row = row.fetch_one(&mut listener).await?;
    news.send_replace(row.try_get(0)?);
    while let Some(note) = listener.try_recv().await? {
        if let Ok(last) = note.payload().parse() {
            news.send_replace(last);
        }
    }
    Ok(())
}
