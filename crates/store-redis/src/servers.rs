//! Finds the server of a tag: the only one, the primary that the sentinels name, or the owner of the
//! tag's slot in a cluster.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream};
use redis::{aio::MultiplexedConnection, cmd};
use tokio::time::{Instant, timeout};

use crate::{
    address::{Address, Location, Login},
    connection::{Connection, SharedConnection},
    connector::Connector,
    error::RedisStoreError,
    value::{bytes, list, number, only, text},
};

/// The number of tags, and so of slots, over which a cluster spreads the entries.
pub(crate) const CLUSTER_TAGS: usize = 16;

/// How many servers of a cluster are asked for the owners of the slots at once.
const ASKED_AT_ONCE: usize = 3;

/// The shortest time between two requests for the owners of the slots.
const PAUSE: Duration = Duration::from_millis(50);

/// The topology of the servers.
#[derive(Clone, Debug)]
pub(crate) enum Topology {
    Single(Location),
    Sentinel {
        name: String,
        sentinels: Vec<Location>,
    },
    Cluster(Vec<Location>),
}

/// A server with its connections.
#[derive(Debug, Default)]
pub(crate) struct Node {
    /// `None` for the primary that the sentinels name.
    address: Option<Address>,
    requests: SharedConnection,
    /// Separate, because `WAIT` blocks a connection.
    writes: SharedConnection,
}

/// Which connection of a server is meant.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    Requests,
    Writes,
}

impl Node {
    pub(crate) fn shared(&self, purpose: Purpose) -> &SharedConnection {
        match purpose {
            Purpose::Requests => &self.requests,
            Purpose::Writes => &self.writes,
        }
    }

    /// Drops the connections.
    pub(crate) fn forget(&self) {
        self.requests.forget();
        self.writes.forget();
    }
}

#[derive(Debug)]
pub(crate) struct Servers {
    connector: Connector,
    topology: Topology,
    /// One key of each tag.
    keys: Vec<String>,
    slots: OnceLock<Vec<u16>>,
    owners: Mutex<Owners>,
    asking: tokio::sync::Mutex<Option<Instant>>,
    stale: AtomicBool,
}

#[derive(Debug, Default)]
struct Owners {
    nodes: HashMap<Address, Arc<Node>>,
    /// The owner of each tag.
    of: Vec<Option<Arc<Node>>>,
}

impl Servers {
    pub(crate) fn new(connector: Connector, topology: Topology, keys: Vec<String>) -> Self {
        let node = match &topology {
            Topology::Single(location) => Some(Some(location.address.clone())),
            Topology::Sentinel { .. } => Some(None),
            Topology::Cluster(_) => None,
        };
        let node = node.map(|address| {
            Arc::new(Node {
                address,
                ..Node::default()
            })
        });
        let owners = Owners {
            nodes: HashMap::new(),
            of: vec![node; keys.len()],
        };
        Self {
            stale: AtomicBool::new(matches!(topology, Topology::Cluster(_))),
            connector,
            topology,
            keys,
            slots: OnceLock::new(),
            owners: Mutex::new(owners),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Returns the key by which the server of a tag is found.
    pub(crate) fn key(&self, tag: usize) -> &str {
        &self.keys[tag]
    }

    pub(crate) fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Whether another server may take over when one fails.
    pub(crate) fn moves(&self) -> bool {
        !matches!(self.topology, Topology::Single(_))
    }

    /// Returns the server of a tag, as far as is known.
    pub(crate) async fn node(&self, tag: usize) -> Result<Arc<Node>, RedisStoreError> {
        if self.stale.load(Ordering::Acquire) {
            // Boxed: it is rare, and larger than the rest of a request.
            Box::pin(self.ask_for_owners()).await?;
        }
        let node = self.owners().of[tag].clone();
        node.ok_or_else(|| RedisStoreError::NoOwner {
            slot: self.slots.get().map_or(0, |slots| slots[tag]),
        })
    }

    /// Returns a connection to a server.
    pub(crate) async fn connection(
        &self,
        node: &Node,
        purpose: Purpose,
    ) -> Result<Arc<Connection>, RedisStoreError> {
        let connect = || Box::pin(self.connect(node));
        node.shared(purpose).connection(connect).await
    }

    /// Makes a new connection to the server of a tag, for a caller that blocks it.
    pub(crate) async fn own(&self, tag: usize) -> Result<MultiplexedConnection, RedisStoreError> {
        let node = self.node(tag).await?;
        Ok(Box::pin(self.connect(&node)).await?.1)
    }

    /// Asks for the owners of the slots before the next request, since something failed.
    pub(crate) fn suspect(&self) {
        if matches!(self.topology, Topology::Cluster(_)) {
            self.stale.store(true, Ordering::Release);
        }
    }

    /// Notes a redirection, and returns the server that it names.
    pub(crate) fn moved(&self, tag: usize, to: &Address, for_good: bool) -> Arc<Node> {
        let mut owners = self.owners();
        let node = owners.node(to);
        if for_good {
            owners.of[tag] = Some(node.clone());
        }
        node
    }

    async fn connect(
        &self,
        node: &Node,
    ) -> Result<(Address, MultiplexedConnection), RedisStoreError> {
        let address = match (&node.address, &self.topology) {
            (None, Topology::Sentinel { name, sentinels }) => self.primary(name, sentinels).await?,
            (address, _) => address.clone().ok_or(RedisStoreError::Setting(
                "only sentinels can name a primary",
            ))?,
        };
        let connection = self.connector.primary(&address).await?;
        Ok((address, connection))
    }

    /// Returns the primary that the first responding sentinel names.
    async fn primary(
        &self,
        name: &str,
        sentinels: &[Location],
    ) -> Result<Address, RedisStoreError> {
        let mut failed = None;
        for sentinel in sentinels {
            let mut request = cmd("SENTINEL");
            request.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
            let answer = self
                .once(
                    &sentinel.address,
                    &sentinel.login,
                    sentinels.len(),
                    &[request],
                )
                .await
                .and_then(only);
            match answer.as_ref().map(list) {
                Ok([host, port]) => {
                    let port = number(port).and_then(|port| u16::try_from(port).ok());
                    let port = port.ok_or(RedisStoreError::Malformed("a sentinel's answer"))?;
                    return Ok(Address::told(&text(host), port, &sentinel.address));
                }
                Ok(_) => {}
                Err(error) => failed = Some(error.clone()),
            }
        }
        let name = name.to_owned();
        Err(failed.unwrap_or(RedisStoreError::NoPrimary { name }))
    }

    /// Sends requests over a temporary connection. The timeout allows for trying `of` servers.
    async fn once(
        &self,
        address: &Address,
        login: &Login,
        of: usize,
        requests: &[redis::Cmd],
    ) -> Result<Vec<redis::Value>, RedisStoreError> {
        let share = u32::try_from(of.clamp(1, 8)).unwrap_or(8) + 1;
        let within = self.connector.within / share;
        let asked = async {
            let mut connection = self.connector.open(address, login, within).await?;
            let mut pipeline = redis::Pipeline::new();
            for request in requests {
                pipeline.add_command(request.clone());
            }
            let answers = connection.send_packed_commands(&pipeline, 0, requests.len());
            let answers = answers.await.and_then(|answers| {
                let answers = answers.into_iter().map(redis::Value::extract_error);
                answers.collect::<Result<Vec<_>, _>>()
            });
            answers.map_err(|error| RedisStoreError::of_driver(&address.to_string(), error))
        };
        let timed_out = |_| RedisStoreError::TimedOut {
            node: address.to_string(),
            timeout: within,
        };
        timeout(within, asked).await.map_err(timed_out)?
    }

    async fn ask_for_owners(&self) -> Result<(), RedisStoreError> {
        let Topology::Cluster(seeds) = &self.topology else {
            return Ok(());
        };
        let mut asked = self.asking.lock().await;
        if !self.stale.load(Ordering::Acquire) || asked.is_some_and(|asked| asked.elapsed() < PAUSE)
        {
            return Ok(());
        }
        let mut servers: Vec<_> = self.owners().nodes.keys().cloned().collect();
        for seed in seeds {
            if !servers.contains(&seed.address) {
                servers.push(seed.address.clone());
            }
        }
        let mut failed = RedisStoreError::Setting("a cluster needs at least one address");
        // Starts with a random one: the first may be the one that failed.
        let first = fastrand::usize(..=servers.len());
        servers.rotate_left(first);
        // Several at once, so that those that are gone don't hold up the others.
        let of = servers.len();
        let answers = servers
            .into_iter()
            .map(|server| async move { self.owners_by(&server, of).await });
        let mut answers = stream::iter(answers).buffer_unordered(ASKED_AT_ONCE);
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(owners) => {
                    self.owners().replace(&owners);
                    self.stale.store(false, Ordering::Release);
                    *asked = Some(Instant::now());
                    return Ok(());
                }
                Err(error) => failed = error,
            }
        }
        *asked = Some(Instant::now());
        Err(failed)
    }

    /// Asks a server for the owner of each tag.
    async fn owners_by(
        &self,
        server: &Address,
        of: usize,
    ) -> Result<Vec<Address>, RedisStoreError> {
        let mut requests = vec![cmd("CLUSTER")];
        requests[0].arg("SLOTS");
        for key in &self.keys {
            let mut request = cmd("CLUSTER");
            request.arg("KEYSLOT").arg(key);
            requests.push(request);
        }
        let answers = self
            .once(server, &self.connector.login, of, &requests)
            .await?;
        let (ranges, slots) = answers
            .split_first()
            .ok_or(RedisStoreError::Malformed("an answer without a value"))?;
        let slot = |value| number(value).and_then(|slot| u16::try_from(slot).ok());
        let slots: Option<Vec<u16>> = slots.iter().map(slot).collect();
        let slots = slots.ok_or(RedisStoreError::Malformed("the number of a slot"))?;
        let owner = |wanted: u16| {
            list(ranges).iter().find_map(|range| {
                let [first, last, primary, ..] = list(range) else {
                    return None;
                };
                let [host, port, ..] = list(primary) else {
                    return None;
                };
                let is_in = (slot(first)?..=slot(last)?).contains(&wanted);
                let host = String::from_utf8_lossy(bytes(host));
                is_in.then(|| Some(Address::told(&host, slot(port)?, server)))?
            })
        };
        let slots = self.slots.get_or_init(|| slots);
        let owned = |slot| owner(slot).ok_or(RedisStoreError::NoOwner { slot });
        slots.iter().map(|slot| owned(*slot)).collect()
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owners {
    /// Sets the owner of each tag, and forgets the servers that own none.
    fn replace(&mut self, owners: &[Address]) {
        self.nodes.retain(|address, _| owners.contains(address));
        self.of = owners
            .iter()
            .map(|address| Some(self.node(address)))
            .collect();
    }

    fn node(&mut self, address: &Address) -> Arc<Node> {
        if let Some(node) = self.nodes.get(address) {
            return node.clone();
        }
        let node = Arc::new(Node {
            address: Some(address.clone()),
            ..Node::default()
        });
        self.nodes.insert(address.clone(), node.clone());
        node
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The addresses of a cluster whose servers are replaced would grow without bound, and each
    /// refresh would wait for those that are gone.
    #[test]
    fn servers_without_slots_are_forgotten() {
        let address = |port| Address {
            host: "a".to_owned(),
            port,
        };
        let mut owners = Owners::default();
        owners.replace(&[address(1), address(2), address(1)]);
        let kept = owners.node(&address(2));
        owners.node(&address(9));
        owners.replace(&[address(2), address(3), address(3)]);
        let mut known: Vec<_> = owners.nodes.keys().map(|known| known.port).collect();
        known.sort_unstable();
        assert_eq!(known, [2, 3]);
        let of: Vec<_> = owners
            .of
            .iter()
            .flatten()
            .map(|node| node.address.clone())
            .collect();
        assert_eq!(of, [2, 3, 3].map(|port| Some(address(port))));
        assert!(
            Arc::ptr_eq(&kept, &owners.node(&address(2))),
            "its connections are kept"
        );
    }
}
