//! A proxy that rewrites requests, so that a good server behaves like a bad one.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// A proxy that replaces words in what clients send, and can withhold their commits. Stopped on
/// drop.
#[derive(Debug)]
pub struct Rewriter {
    addr: SocketAddr,
    withholds: Arc<AtomicBool>,
    withheld: Arc<AtomicUsize>,
    _task: JoinSet<()>,
}

impl Rewriter {
    /// Starts a proxy in front of the server in `url`. Each word is replaced by another of the same
    /// length.
    pub async fn to(url: &str, words: &'static [(&'static str, &'static str)]) -> Self {
        assert!(words.iter().all(|(from, to)| from.len() == to.len()));
        let to = url.split(['@', '/']).nth(3).expect("an address").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("a bound socket");
        let (withholds, withheld) = <(Arc<AtomicBool>, Arc<AtomicUsize>)>::default();
        let (stops, counts) = (withholds.clone(), withheld.clone());
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut both = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&to).await.expect("a running server");
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                both.spawn(async move {
                    let _ = tokio::io::copy(&mut from_server, &mut to_client).await;
                });
                let (stops, counts) = (stops.clone(), counts.clone());
                both.spawn(async move {
                    let mut some = vec![0; 1 << 16];
                    while let Ok(count @ 1..) = from_client.read(&mut some).await {
                        let commits = some[..count].windows(6).any(|word| word == b"COMMIT");
                        if commits && stops.load(Ordering::SeqCst) {
                            counts.fetch_add(1, Ordering::SeqCst);
                            std::future::pending::<()>().await;
                        }
                        for (from, to) in words {
                            replace(&mut some[..count], from.as_bytes(), to.as_bytes());
                        }
                        if to_server.write_all(&some[..count]).await.is_err() {
                            break;
                        }
                    }
                });
            }
        });
        Self {
            addr,
            withholds,
            withheld,
            _task: task,
        }
    }

    /// Sets whether commits are withheld. The connection of one that was withheld stays open and
    /// silent, as that of a stalled node.
    pub fn withhold_commits(&self, withholds: bool) {
        self.withholds.store(withholds, Ordering::SeqCst);
    }

    /// Returns how many commits were withheld.
    pub fn withheld(&self) -> usize {
        self.withheld.load(Ordering::SeqCst)
    }

    /// Returns the URL of a server with the address of this proxy.
    pub fn url(&self, server: &str) -> String {
        let addr = server.split(['@', '/']).nth(3).expect("an address");
        server.replace(addr, &self.addr.to_string())
    }
}

fn replace(text: &mut [u8], from: &[u8], to: &[u8]) {
    let mut place = 0;
    while place + from.len() <= text.len() {
        if text[place..].starts_with(from) {
            text[place..place + from.len()].copy_from_slice(to);
        }
        place += 1;
    }
}
