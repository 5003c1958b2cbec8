//! A server on the first core: a router in a thread of its own, or HAProxy.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use http::HeaderValue;
use rustix::thread::{CpuSet, gettid, sched_setaffinity};
use tokio::{runtime::Builder, sync::oneshot};
use tower_revoke_testing::TestIssuer;

use crate::{
    rounds::Outcome,
    target::Target,
    tokens::{AUDIENCE, ISSUER, REVOKED},
};

/// How long a server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Server {
    pub addr: SocketAddr,
    /// The file with the CPU time of its thread.
    schedstat: String,
    running: Running,
}

enum Running {
    Router(Option<(oneshot::Sender<()>, JoinHandle<()>)>),
    HaProxy(Child),
}

impl Server {
    /// Serves a router. `build` runs in the thread that serves.
    pub fn router<F>(build: F) -> Outcome<Self>
    where
        F: AsyncFnOnce() -> Box<dyn Target> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let (started, start) = mpsc::channel();
        let thread = thread::spawn(move || {
            let mut first = CpuSet::new();
            first.set(0);
            let pinned = sched_setaffinity(None, &first);
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a runtime");
            runtime.block_on(async {
                let target = build().await;
                let address = (Ipv4Addr::LOCALHOST, 0);
                let listener = tokio::net::TcpListener::bind(address).await;
                let listener = listener.expect("a free port");
                let addr = listener.local_addr().expect("its port");
                let _ = started.send((addr, gettid(), pinned));
                tokio::select! {
                    () = target.serve(listener) => {}
                    _ = stopped => {}
                }
            });
        });
        let (addr, id, pinned) = start
            .recv_timeout(START_TIMEOUT)
            .map_err(|e| e.to_string())?;
        pinned.map_err(|error| format!("the first core: {error}"))?;
        Ok(Self {
            addr,
            schedstat: format!("/proc/self/task/{}/schedstat", id.as_raw_nonzero()),
            running: Running::Router(Some((stop, thread))),
        })
    }

    /// Starts HAProxy, which verifies the token, its issuer, audience and expiry, and looks its `jti`
    /// up in a map of `listed` others and the revoked one.
    pub fn haproxy(folder: &Path, issuer: &TestIssuer, listed: u64) -> Outcome<Self> {
        let write = |name: &str, text: String| {
            let path = folder.join(name);
            fs::write(&path, text).map_err(|error| error.to_string())?;
            Ok::<_, String>(path.display().to_string())
        };
        let key = write("key.pem", issuer.public_pem())?;
        let mut map: String = (0..listed).map(|jti| format!("{jti:032x} 1\n")).collect();
        map += &format!("{REVOKED} 1\n");
        let map = write("revoked.map", map)?;
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| e.to_string())?;
        let addr = bound.local_addr().map_err(|error| error.to_string())?;
        drop(bound);
        let config = include_str!("haproxy.cfg")
            .replace("ADDR", &addr.to_string())
            .replace("ALGORITHM", issuer.algorithm().name())
            .replace("ISSUER", ISSUER)
            .replace("AUDIENCE", AUDIENCE)
            .replace("KEY", &key)
            .replace("MAP", &map);
        let config = write("haproxy.cfg", config)?;
        let child = Command::new("taskset")
            .args(["-c", "0", "haproxy", "-db", "-f", &config])
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| format!("haproxy by taskset: {error}"))?;
        let server = Self {
            addr,
            schedstat: format!("/proc/{}/schedstat", child.id()),
            running: Running::HaProxy(child),
        };
        let started = Instant::now();
        while TcpStream::connect(addr).is_err() {
            if started.elapsed() > START_TIMEOUT {
                return Err("HAProxy doesn't listen".to_owned());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    /// Returns the CPU time since the start, in nanoseconds.
    pub fn cpu_nanos(&self) -> Outcome<u64> {
        let text = fs::read_to_string(&self.schedstat).map_err(|error| error.to_string())?;
        let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
        nanos.ok_or_else(|| format!("{} has no number", self.schedstat))
    }

    /// Returns the status of one request.
    pub fn status(&self, authorization: &HeaderValue) -> Outcome<u16> {
        let ask = || {
            let mut stream = TcpStream::connect(self.addr)?;
            stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n")?;
            stream.write_all(b"Authorization: ")?;
            stream.write_all(authorization.as_bytes())?;
            stream.write_all(b"\r\n\r\n")?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok::<_, std::io::Error>(line)
        };
        let line = ask().map_err(|error| error.to_string())?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        status.ok_or_else(|| format!("no status: {line}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match &mut self.running {
            Running::Router(running) => {
                if let Some((stop, thread)) = running.take() {
                    let _ = stop.send(());
                    let _ = thread.join();
                }
            }
            Running::HaProxy(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
