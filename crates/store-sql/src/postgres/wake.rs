//! The task that listens for the writes of all nodes, so that nobody has to poll for them.

use std::time::Duration;

use sqlx::{
    Row,
    postgres::{PgListener, PgPoolOptions},
};
use tokio::sync::watch;

use super::database::Postgres;

/// How long it waits before it tries to listen again.
const PAUSE: Duration = Duration::from_millis(500);

/// Sends the number of the last event whenever it changes. What is missed while the connection is
/// down is up to the caller, who asks from time to time.
pub(super) async fn listen(database: &Postgres, news: &watch::Sender<i64>) {
    loop {
        let _ = hear(database, news).await;
        tokio::time::sleep(PAUSE).await;
    }
}

async fn hear(database: &Postgres, news: &watch::Sender<i64>) -> Result<(), sqlx::Error> {
    // The driver's listener wants a pool. One of the user's may have no connection to spare.
    let pool = PgPoolOptions::new()
        .max_connections(1)
        .idle_timeout(None)
        .max_lifetime(None)
        .acquire_timeout(database.request_timeout)
        .connect_lazy_with(database.options());
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(&database.channel).await?;
    // What was written before it listened. The number may also be lower than the last one sent: by a
    // server whose history went back.
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
