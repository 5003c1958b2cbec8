//! Tests that what is owed to the server survives the process, over an embedded store.

use std::{
    net::TcpListener as StdListener,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::poll;
use tokio::{net::TcpListener, runtime::Builder, sync::Semaphore};
use tower_revoke_core::{
    BoxFuture, Endpoint, Outbox, OutboxError, OwedRevocation, StoreError, TokenId,
};
use tower_revoke_http::HttpsClient;
use tower_revoke_oauth::{RevocationClient, RevocationClientBuilder};
use tower_revoke_store_embedded::{EmbeddedOutbox, EmbeddedStore, OutboxKeys};
use tower_revoke_testing::RecordedLog;

use crate::support::{SECRET, Server, copy, member, reserve, scripted, status};

const LONG: Duration = Duration::from_secs(60);

const KEY: [u8; 32] = [1; 32];
const OTHER_KEY: [u8; 32] = [2; 32];

/// Runs `work` as a process does: what it has not kept is gone, and the folder is closed.
fn process<T>(work: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(work)
}

fn outbox(folder: &Path, key: &[u8; 32]) -> EmbeddedOutbox {
    let store = EmbeddedStore::builder(folder.join("outbox")).request_timeout(LONG);
    store.open().unwrap().outbox(OutboxKeys::new(key))
}

/// Sends the revocation of `token`, and waits until it is kept.
async fn keep(client: &RevocationClient, token: &str) {
    reserve(client, token).unwrap().send(copy(token)).await;
}

fn client_of(address: &str, outbox: impl Outbox) -> RevocationClientBuilder {
    RevocationClient::builder(Endpoint::new(&format!("http://{address}/revoke")).unwrap())
        .client_credentials("shop", SECRET)
        .http_client(HttpsClient::new().unwrap())
        .outbox(outbox)
}

/// Returns an address on which nobody listens.
fn nobody() -> String {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn what_is_owed_is_sent_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let address = nobody();
    process(async {
        let client = client_of(&address, outbox(folder.path(), &KEY));
        let client = client.build().unwrap();
        for n in 0..5 {
            keep(&client, &format!("token-{n}")).await;
        }
        // Known already, and so one entry.
        keep(&client, "token-0").await;
        let report = client.shutdown(Duration::from_millis(10)).await;
        assert_eq!((report.delivered, report.queued), (0, 5));
    });
    // Another client id has an outbox of its own.
    process(async {
        let client = client_of(&address, outbox(folder.path(), &KEY));
        let client = client.client_credentials("bank", SECRET).build().unwrap();
        client.ready().await.unwrap();
        assert_eq!((client.stats().recovered, client.stats().queued), (0, 0));
    });
    process(async {
        let listener = TcpListener::bind(&address).await.unwrap();
        let mut server = Server::on(listener, |_, _| status(200));
        let client = client_of(&address, outbox(folder.path(), &KEY));
        let client = client.build().unwrap();
        // Without a call: a client that is built in a runtime starts at once.
        let mut told = Vec::new();
        for _ in 0..5 {
            told.push(member(&server.next().await.1, "token").unwrap());
        }
        told.sort();
        let expected = [0, 1, 2, 3, 4].map(|n| format!("token-{n}"));
        assert_eq!(told, expected);
        assert!(client.shutdown(LONG).await.is_complete());
        assert_eq!(client.stats().recovered, 5);
    });
    process(async {
        let client = client_of(&address, outbox(folder.path(), &KEY));
        let client = client.build().unwrap();
        client.ready().await.unwrap();
        assert_eq!((client.stats().recovered, client.stats().queued), (0, 0));
    });
}

#[test]
fn what_is_no_longer_owed_is_not_sent_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    process(async {
        let (client, _tries) =
            scripted(async |_, token| Ok(status(if token == "good" { 200 } else { 400 })));
        let outbox = outbox(folder.path(), &KEY);
        let client = client.outbox(outbox.clone()).build().unwrap();
        keep(&client, "good").await;
        keep(&client, "unknown").await;
        assert!(client.shutdown(LONG).await.is_complete());
        assert_eq!((client.stats().delivered, client.stats().rejected), (1, 1));
        let (client, _tries) = scripted(async |_, _| Ok(status(500)));
        let client = client.outbox(outbox);
        let client = client.request_timeout(Duration::from_millis(10));
        let client = client.retry_timeout(Duration::from_millis(10));
        let client = client.build().unwrap();
        keep(&client, "stuck").await;
        assert_eq!(client.shutdown(LONG).await.queued, 0);
        assert_eq!(client.stats().abandoned, 1);
    });
    process(async {
        let (client, _tries) = scripted(async |_, _| Ok(status(200)));
        let client = client.outbox(outbox(folder.path(), &KEY)).build().unwrap();
        client.ready().await.unwrap();
        assert_eq!(client.stats().recovered, 0);
    });
}

#[test]
fn a_missing_key_fails_ready_and_keeps_the_others_going() {
    let folder = tempfile::tempdir().unwrap();
    let stuck = || scripted(async |_, _| Ok(status(500))).0;
    process(async {
        let client = stuck().outbox(outbox(folder.path(), &KEY)).build().unwrap();
        keep(&client, "first").await;
    });
    let log = RecordedLog::start();
    process(async {
        let outbox = outbox(folder.path(), &OTHER_KEY);
        let client = stuck().outbox(outbox).build().unwrap();
        let error = client.ready().await.unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        let source = source.downcast_ref::<OutboxError>().unwrap();
        assert!(matches!(source, OutboxError::UnknownKey { .. }));
        assert_eq!(
            (client.stats().unreadable, client.stats().recovered),
            (1, 0)
        );
        keep(&client, "second").await;
    });
    assert_eq!(log.lines_with("can't be read, and are not sent"), 1);
    assert!(!log.text().contains("first"), "{}", log.text());
    // With both keys nothing is lost.
    process(async {
        let store = EmbeddedStore::open(folder.path().join("outbox")).unwrap();
        let keys = OutboxKeys::new(&OTHER_KEY).and_former(&KEY);
        let (client, mut tries) = scripted(async |_, _| Ok(status(200)));
        let client = client.outbox(store.outbox(keys)).build().unwrap();
        client.ready().await.unwrap();
        assert!(client.shutdown(LONG).await.is_complete());
        let mut told = [(); 2].map(|()| tries.try_recv().unwrap().token);
        told.sort();
        assert_eq!(told, ["first", "second"]);
    });
}

/// An outbox that fails while it is told so, and keeps something for each permit.
#[derive(Clone, Debug)]
struct Failing {
    outbox: EmbeddedOutbox,
    fails: Arc<AtomicBool>,
    gate: Arc<Semaphore>,
}

impl Failing {
    fn new(outbox: EmbeddedOutbox) -> Self {
        Self {
            outbox,
            fails: Arc::new(AtomicBool::new(true)),
            gate: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        match self.fails.load(Ordering::SeqCst) {
            true => Err(StoreError::Full(0)),
            false => Ok(()),
        }
    }
}

impl Outbox for Failing {
    fn put<'a>(
        &'a self,
        server: &'a str,
        owed: &'a OwedRevocation,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.gate.acquire().await.unwrap().forget();
            self.check()?;
            self.outbox.put(server, owed).await
        })
    }

    fn remove<'a>(
        &'a self,
        server: &'a str,
        token: TokenId,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.outbox.remove(server, token).await
        })
    }

    fn owed<'a>(
        &'a self,
        server: &'a str,
    ) -> BoxFuture<'a, Result<Vec<Result<OwedRevocation, OutboxError>>, StoreError>> {
        Box::pin(async move {
            self.check()?;
            self.outbox.owed(server).await
        })
    }
}

#[tokio::test]
async fn a_token_that_can_t_be_kept_is_sent_from_memory() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Failing::new(outbox(folder.path(), &KEY));
    let gate = Arc::new(Semaphore::new(0));
    let open = gate.clone();
    let (client, mut tries) = scripted(move |_, _| {
        let open = open.clone();
        async move {
            open.acquire().await.unwrap().forget();
            Ok(status(200))
        }
    });
    let client = client.outbox(outbox).build().unwrap();
    let mut kept = reserve(&client, "abc").unwrap().send(copy("abc"));
    while tries.try_recv().is_err() {
        assert!(poll!(&mut kept).is_pending());
        tokio::task::yield_now().await;
    }
    // Neither is it kept, nor was the server told.
    assert!(poll!(&mut kept).is_pending());
    gate.add_permits(1);
    kept.await;
    assert_eq!(client.stats().delivered, 1);
}

#[tokio::test]
async fn a_token_is_kept_once_the_outbox_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let log = RecordedLog::start();
    let outbox = Failing::new(outbox(folder.path(), &KEY));
    let earlier = owed_by_an_earlier_process(&outbox.outbox).await;
    let (client, mut tries) = scripted(async |_, _| Ok(status(500)));
    let client = client.outbox(outbox.clone()).build().unwrap();
    assert!(client.ready().await.is_err());
    let mut kept = reserve(&client, "abc").unwrap().send(copy("abc"));
    while tries.try_recv().is_err() {
        assert!(poll!(&mut kept).is_pending());
        tokio::task::yield_now().await;
    }
    outbox.fails.store(false, Ordering::SeqCst);
    kept.await;
    // What was owed before is queued now, too.
    client.ready().await.unwrap();
    assert_eq!((client.stats().recovered, client.stats().queued), (1, 2));
    while tries.recv().await.unwrap().token != earlier {}
    assert_eq!(log.lines_with("the outbox fails"), 1, "{}", log.text());
    assert_eq!(log.lines_with("the outbox works again"), 1);
}

/// Otherwise its entry could be removed before it is written, and would be left for ever.
#[tokio::test]
async fn a_token_is_not_sent_before_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Failing::new(outbox(folder.path(), &KEY));
    outbox.fails.store(false, Ordering::SeqCst);
    outbox.gate.forget_permits(Semaphore::MAX_PERMITS);
    let (client, mut tries) = scripted(async |_, _| Ok(status(200)));
    let client = client.outbox(outbox.clone()).build().unwrap();
    client.ready().await.unwrap();
    let mut kept = reserve(&client, "abc").unwrap().send(copy("abc"));
    for _ in 0..100 {
        assert!(poll!(&mut kept).is_pending());
        tokio::task::yield_now().await;
    }
    assert!(tries.try_recv().is_err());
    outbox.gate.add_permits(1);
    kept.await;
    assert_eq!(tries.recv().await.unwrap().token, "abc");
    assert!(client.shutdown(LONG).await.is_complete());
    let (client, _tries) = scripted(async |_, _| Ok(status(200)));
    let client = client.outbox(outbox.outbox).build().unwrap();
    client.ready().await.unwrap();
    assert_eq!(client.stats().recovered, 0);
}

/// Dropped before it is kept, a token is queued in memory.
#[tokio::test]
async fn a_token_whose_caller_left_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let (client, mut tries) = scripted(async |_, _| Ok(status(200)));
    let client = client.outbox(outbox(folder.path(), &KEY)).build().unwrap();
    drop(reserve(&client, "abc").unwrap().send(copy("abc")));
    assert_eq!(tries.recv().await.unwrap().token, "abc");
    assert!(client.shutdown(LONG).await.is_complete());
}

/// Keeps a token under the name of the scripted server, and returns it.
async fn owed_by_an_earlier_process(outbox: &EmbeddedOutbox) -> &'static str {
    let (client, _tries) = scripted(async |_, _| Ok(status(500)));
    let client = client.outbox(outbox.clone()).build().unwrap();
    keep(&client, "earlier").await;
    "earlier"
}
