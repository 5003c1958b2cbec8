//! Which server has a tag: always the same one, the one that the sentinels name, or the owner of
//! the tag's slot in a cluster.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use redis::{aio::MultiplexedConnection, cmd};
use tokio::time::{Instant, timeout};

use crate::{
    address::{Address, Location, Login},
    dial::Dial,
    error::RedisStoreError,
    link::{Link, Live},
    value::{bytes, list, number, only, text},
};

/// In a cluster, entries are spread over so many slots.
pub(crate) const CLUSTER_TAGS: usize = 16;

/// The owners of slots are not asked for more often.
const PAUSE: Duration = Duration::from_millis(50);

/// How the servers are set up.
#[derive(Clone, Debug)]
pub(crate) enum Place {
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
    /// `None`: whom the sentinels name.
    address: Option<Address>,
    asks: Link,
    /// Writes that wait for replicas block their connection, so they have one of their own.
    writes: Link,
}

/// Which of a server's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lane {
    Asks,
    Writes,
}

impl Node {
    pub(crate) fn link(&self, lane: Lane) -> &Link {
        match lane {
            Lane::Asks => &self.asks,
            Lane::Writes => &self.writes,
        }
    }

    /// The next who asks makes new connections.
    pub(crate) fn forget(&self) {
        self.asks.forget();
        self.writes.forget();
    }
}

#[derive(Debug)]
pub(crate) struct Route {
    dial: Dial,
    place: Place,
    /// A key under each tag.
    keys: Vec<String>,
    slots: OnceLock<Vec<u16>>,
    owners: Mutex<Owners>,
    asking: tokio::sync::Mutex<Option<Instant>>,
    stale: AtomicBool,
}

#[derive(Debug, Default)]
struct Owners {
    nodes: HashMap<Address, Arc<Node>>,
    /// By tag.
    of: Vec<Option<Arc<Node>>>,
}

impl Route {
    pub(crate) fn new(dial: Dial, place: Place, keys: Vec<String>) -> Self {
        let node = match &place {
            Place::Single(location) => Some(Some(location.address.clone())),
            Place::Sentinel { .. } => Some(None),
            Place::Cluster(_) => None,
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
            stale: AtomicBool::new(matches!(place, Place::Cluster(_))),
            dial,
            place,
            keys,
            slots: OnceLock::new(),
            owners: Mutex::new(owners),
            asking: tokio::sync::Mutex::default(),
        }
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether another server may be asked when one fails.
    pub(crate) fn moves(&self) -> bool {
        !matches!(self.place, Place::Single(_))
    }

    /// The server of a tag, as far as is known.
    pub(crate) async fn node(&self, tag: usize) -> Result<Arc<Node>, RedisStoreError> {
        if self.stale.load(Ordering::Acquire) {
            self.ask_for_owners().await?;
        }
        let node = self.owners().of[tag].clone();
        node.ok_or_else(|| RedisStoreError::NoOwner {
            slot: self.slots.get().map_or(0, |slots| slots[tag]),
        })
    }

    /// A connection to a server.
    pub(crate) async fn live(&self, node: &Node, lane: Lane) -> Result<Arc<Live>, RedisStoreError> {
        node.link(lane).live(|| self.connect(node)).await
    }

    /// A new connection for one who will block it.
    pub(crate) async fn own(&self, tag: usize) -> Result<MultiplexedConnection, RedisStoreError> {
        let node = self.node(tag).await?;
        Ok(self.connect(&node).await?.1)
    }

    /// Something failed: before the next question, the owners are asked for.
    pub(crate) fn suspect(&self) {
        if matches!(self.place, Place::Cluster(_)) {
            self.stale.store(true, Ordering::Release);
        }
    }

    /// A server said that a tag has moved; the server that has it.
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
        let address = match (&node.address, &self.place) {
            (None, Place::Sentinel { name, sentinels }) => self.primary(name, sentinels).await?,
            (address, _) => address.clone().ok_or(RedisStoreError::Setting(
                "only sentinels can name a primary",
            ))?,
        };
        let connection = self.dial.primary(&address).await?;
        Ok((address, connection))
    }

    /// Whom the first sentinel that answers names.
    async fn primary(
        &self,
        name: &str,
        sentinels: &[Location],
    ) -> Result<Address, RedisStoreError> {
        let mut failed = None;
        for sentinel in sentinels {
            let mut question = cmd("SENTINEL");
            question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
            let answer = self
                .once(
                    &sentinel.address,
                    &sentinel.login,
                    sentinels.len(),
                    &[question],
                )
                .await
                .and_then(only);
            match answer.as_ref().map(list) {
                Ok([host, port]) => {
                    let port = number(port).and_then(|port| u16::try_from(port).ok());
                    let port = port.ok_or(RedisStoreError::Garbled("a sentinel's answer"))?;
                    return Ok(Address::told(&text(host), port, &sentinel.address));
                }
                Ok(_) => {}
                Err(error) => failed = Some(error.clone()),
            }
        }
        let name = name.to_owned();
        Err(failed.unwrap_or(RedisStoreError::NoPrimary { name }))
    }

    /// Asks on a connection that is closed again; one of so many that may have to be asked.
    async fn once(
        &self,
        address: &Address,
        login: &Login,
        of: usize,
        questions: &[redis::Cmd],
    ) -> Result<Vec<redis::Value>, RedisStoreError> {
        let share = u32::try_from(of.clamp(1, 8)).unwrap_or(8) + 1;
        let within = self.dial.within / share;
        let asked = async {
            let mut connection = self.dial.open(address, login, within).await?;
            let mut pipeline = redis::Pipeline::new();
            for question in questions {
                pipeline.add_command(question.clone());
            }
            let answers = connection.send_packed_commands(&pipeline, 0, questions.len());
            let answers = answers.await.and_then(|answers| {
                let answers = answers.into_iter().map(redis::Value::extract_error);
                answers.collect::<Result<Vec<_>, _>>()
            });
            answers.map_err(|error| RedisStoreError::of_driver(&address.to_string(), error))
        };
        let timed_out = |_| RedisStoreError::TimedOut {
            node: address.to_string(),
            within,
        };
        timeout(within, asked).await.map_err(timed_out)?
    }

    async fn ask_for_owners(&self) -> Result<(), RedisStoreError> {
        let Place::Cluster(seeds) = &self.place else {
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
        // Another one is asked first each time: the first may be the one that failed.
        let first = fastrand::usize(..=servers.len());
        servers.rotate_left(first);
        for server in &servers {
            match self.owners_by(server, servers.len()).await {
                Ok(()) => {
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

    async fn owners_by(&self, server: &Address, of: usize) -> Result<(), RedisStoreError> {
        let mut questions = vec![cmd("CLUSTER")];
        questions[0].arg("SLOTS");
        for key in &self.keys {
            let mut question = cmd("CLUSTER");
            question.arg("KEYSLOT").arg(key);
            questions.push(question);
        }
        let answers = self.once(server, &self.dial.login, of, &questions).await?;
        let (ranges, slots) = answers
            .split_first()
            .ok_or(RedisStoreError::Garbled("an answer without a value"))?;
        let slot = |value| number(value).and_then(|slot| u16::try_from(slot).ok());
        let slots: Option<Vec<u16>> = slots.iter().map(slot).collect();
        let slots = slots.ok_or(RedisStoreError::Garbled("the number of a slot"))?;
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
        let found: Vec<_> = slots.iter().map(|slot| owner(*slot)).collect();
        let slots = self.slots.get_or_init(|| slots);
        if let Some(tag) = found.iter().position(Option::is_none) {
            return Err(RedisStoreError::NoOwner { slot: slots[tag] });
        }
        let mut owners = self.owners();
        owners.of = found
            .into_iter()
            .map(|address| address.map(|address| owners.node(&address)))
            .collect();
        Ok(())
    }

    fn owners(&self) -> MutexGuard<'_, Owners> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Owners {
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
