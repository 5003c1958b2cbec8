//! Establishes connections: TCP, TLS, the login, and the checks that a server must pass.

use std::{
    collections::HashSet,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, Pipeline, RedisConnectionInfo, Value, aio::MultiplexedConnection,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use crate::{
    address::{Address, Login},
    error::RedisStoreError,
    scripts::load_all,
    value::{map, text},
};

/// How connections are made.
#[derive(Debug)]
pub(crate) struct Connector {
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Tls>,
    pub(crate) login: Login,
    pub(crate) database: u32,
    pub(crate) is_cluster: bool,
    pub(crate) within: Duration,
    pub(crate) skip_eviction_check: bool,
    pub(crate) warned: Mutex<HashSet<Address>>,
}

impl Connector {
    /// A connection to any server: a sentinel, or one that is asked about its cluster.
    pub(crate) async fn open(
        &self,
        address: &Address,
        login: &Login,
        within: Duration,
    ) -> Result<MultiplexedConnection, RedisStoreError> {
        let opened = timeout(within, self.handshake(address, login, 0)).await;
        opened.unwrap_or_else(|_| Err(timed_out(address, within)))
    }

    /// A connection to a primary that passed the checks and has our scripts.
    pub(crate) async fn primary(
        &self,
        address: &Address,
    ) -> Result<MultiplexedConnection, RedisStoreError> {
        let opened = async {
            let mut connection = self.handshake(address, &self.login, self.database).await?;
            self.check(address, &mut connection).await?;
            Ok(connection)
        };
        let opened = timeout(self.within, opened).await;
        opened.unwrap_or_else(|_| Err(timed_out(address, self.within)))
    }

    async fn handshake(
        &self,
        address: &Address,
        login: &Login,
        database: u32,
    ) -> Result<MultiplexedConnection, RedisStoreError> {
        let unreachable = |source| RedisStoreError::Unreachable {
            node: address.to_string(),
            source: Arc::new(source),
        };
        let stream = tcp(address).await.map_err(unreachable)?;
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            let stream = tls.wrap(&address.host, stream).await;
            return log_in(address, login, database, stream.map_err(unreachable)?).await;
        }
        log_in(address, login, database, stream).await
    }

    async fn check(
        &self,
        address: &Address,
        connection: &mut MultiplexedConnection,
    ) -> Result<(), RedisStoreError> {
        let mut requests = Pipeline::new();
        requests.cmd("INFO").arg("server");
        requests.cmd("ROLE");
        requests.cmd("CONFIG").arg("GET").arg("maxmemory-policy");
        requests.cmd("CONFIG").arg("GET").arg("append*");
        for load in load_all() {
            requests.add_command(load);
        }
        let answers = connection.send_packed_commands(&requests, 0, requests.len());
        let rejected = |error| RedisStoreError::of_driver(&address.to_string(), error);
        let mut answers = answers.await.map_err(rejected)?.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil).extract_error();

        // The login may lack the right to these two; then the first write fails.
        match next() {
            Ok(info) => {
                let info = text(&info);
                new_enough(address, &info)?;
                if !self.is_cluster && info_field(&info, "redis_mode") == Some("cluster") {
                    return Err(RedisStoreError::Setting(
                        "the server is one of a cluster: use RedisStore::cluster",
                    ));
                }
            }
            Err(error) => without_login(address, error)?,
        }
        match next() {
            Ok(Value::Array(role)) if role.first().is_some_and(|role| text(role) != "master") => {
                let node = address.to_string();
                return Err(RedisStoreError::NotPrimary { node });
            }
            Ok(_) => {}
            Err(error) => without_login(address, error)?,
        }
        self.keeps_all(address, next())?;
        if let Ok(settings) = next() {
            self.warn_of_aof(address, &settings);
        }
        for loaded in answers {
            loaded.extract_error().map_err(rejected)?;
        }
        Ok(())
    }

    /// Our keys have no time to live, so the `volatile-…` policies spare them.
    fn keeps_all(
        &self,
        address: &Address,
        policy: redis::RedisResult<Value>,
    ) -> Result<(), RedisStoreError> {
        let node = address.to_string();
        match policy.map(|settings| map(&settings, "maxmemory-policy")) {
            Ok(Some(policy)) if policy == "noeviction" || policy.starts_with("volatile-") => Ok(()),
            Ok(Some(policy)) => Err(RedisStoreError::Evicts { node, policy }),
            _ if self.skip_eviction_check => Ok(()),
            Ok(None) => Err(RedisStoreError::EvictionUnknown {
                node,
                source: Arc::new(RedisStoreError::Malformed("the answer to CONFIG GET")),
            }),
            Err(error) => Err(RedisStoreError::EvictionUnknown {
                node,
                source: Arc::new(error),
            }),
        }
    }

    fn warn_of_aof(&self, address: &Address, settings: &Value) {
        let setting = |name| map(settings, name);
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if !warned.insert(address.clone()) {
            return;
        }
        if setting("appendonly").as_deref() == Some("no") {
            tracing::warn!(
                target: "tower_revoke::store_redis",
                node = %address,
                "AOF is off (appendonly no): if this Redis stops, revocations and uses since its \
                 last snapshot are lost"
            );
        } else if setting("appendfsync").is_some_and(|fsync| fsync != "always") {
            tracing::info!(
                target: "tower_revoke::store_redis",
                node = %address,
                "appendfsync is not always: if the machine of this Redis crashes, revocations and \
                 uses of about the last second are lost"
            );
        }
    }
}

async fn tcp(address: &Address) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((address.host.as_str(), address.port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn log_in<S>(
    address: &Address,
    login: &Login,
    database: u32,
    stream: S,
) -> Result<MultiplexedConnection, RedisStoreError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut info = RedisConnectionInfo::default()
        .set_db(database.into())
        .set_skip_set_lib_name();
    if let Some(user) = &login.user {
        info = info.set_username(user);
    }
    if let Some(password) = &login.password {
        info = info.set_password(password);
    }
    // Each request has a timeout of its own.
    let config = AsyncConnectionConfig::new()
        .set_response_timeout(None)
        .set_connection_timeout(None);
    let opened = MultiplexedConnection::new_with_config(&info, stream, config).await;
    let opened = opened.map_err(|error| RedisStoreError::of_driver(&address.to_string(), error));
    let (connection, driver) = opened?;
    // Ends with the last clone of the connection.
    tokio::spawn(driver);
    Ok(connection)
}

/// The value of a line of `INFO`.
fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = info.lines().filter_map(|line| line.trim().split_once(':'));
    pairs
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

fn new_enough(address: &Address, info: &str) -> Result<(), RedisStoreError> {
    let Some(version) = info_field(info, "redis_version") else {
        return Ok(());
    };
    let mut numbers = version.split('.').map_while(|part| part.parse().ok());
    let is_old = (numbers.next(), numbers.next()) < (Some(6), Some(2));
    if is_old {
        return Err(RedisStoreError::TooOld {
            node: address.to_string(),
            version: version.to_owned(),
        });
    }
    Ok(())
}

/// Passes over what is only forbidden, not over a missing login.
fn without_login(address: &Address, error: redis::RedisError) -> Result<(), RedisStoreError> {
    match RedisStoreError::of_driver(&address.to_string(), error) {
        error @ RedisStoreError::Login { .. } => Err(error),
        _ => Ok(()),
    }
}

fn timed_out(address: &Address, within: Duration) -> RedisStoreError {
    RedisStoreError::TimedOut {
        node: address.to_string(),
        timeout: within,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_versions_are_compared() {
        let address = Address {
            host: "a".to_owned(),
            port: 1,
        };
        let check = |version: &str| {
            new_enough(
                &address,
                &format!("# Server\r\nredis_version:{version}\r\n"),
            )
            .is_ok()
        };
        assert!(check("6.2.0") && check("7.0.15") && check("10.1"));
        assert!(!check("6.0.16") && !check("5.0"));
        assert!(new_enough(&address, "# Server").is_ok());
    }
}
