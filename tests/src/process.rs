//! A server process that reports when it is ready, and never outlives its test.

use std::{
    collections::VecDeque,
    fmt,
    io::{BufRead, BufReader, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use tokio::sync::mpsc;

/// How many lines of a server's log a failure shows.
const TAIL: usize = 60;

type Tail = Arc<Mutex<VecDeque<String>>>;

/// A running server, killed on drop and when the thread that started it ends, for whatever reason.
/// Start it on the test's own thread.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
    tail: Tail,
    /// Its data, deleted once it has ended.
    _data: TempDir,
}

impl Process {
    /// Starts `program` in the folder `data`; `set` completes the command.
    pub(crate) fn start(
        name: &'static str,
        program: &str,
        data: TempDir,
        set: impl FnOnce(&mut Command),
    ) -> Self {
        // No destructor runs if the test process is killed.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", program])
            .current_dir(data.path())
            // Whatever it leaves behind when it is killed is deleted with its data.
            .env("TMPDIR", data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        set(&mut command);
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("setpriv, of util-linux, does not run: {error}"));
        let (sender, lines) = mpsc::unbounded_channel();
        let tail = Tail::default();
        pump(child.stdout.take(), &sender, &tail);
        pump(child.stderr.take(), &sender, &tail);
        Self {
            name,
            child,
            lines,
            tail,
            _data: data,
        }
    }

    /// Reads the log up to the line for which `read` returns a value.
    pub(crate) async fn says<T>(
        &mut self,
        what: &str,
        within: Duration,
        read: impl Fn(&str) -> Option<T>,
    ) -> T {
        let found = async {
            while let Some(line) = self.lines.recv().await {
                if let Some(found) = read(&line) {
                    return Some(found);
                }
            }
            None
        };
        let name = self.name;
        match tokio::time::timeout(within, found).await {
            Ok(Some(found)) => found,
            // The panic drops the process, which prints its log.
            Ok(None) => panic!("{name} ended before it printed {what}"),
            Err(_) => panic!("{name} did not print {what} within {within:?}"),
        }
    }

    /// Returns its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by its short name, such as `TERM`.
    pub(crate) fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(
            sent.is_ok_and(|status| status.success()),
            "kill -s {signal} {id}"
        );
    }

    /// Waits until the process has ended, when both its pipes are closed. Returns the lines since
    /// the last one that was read.
    pub(crate) async fn ended(mut self, within: Duration) -> (ExitStatus, Vec<String>) {
        let mut said = Vec::new();
        let closed = async {
            while let Some(line) = self.lines.recv().await {
                said.push(line);
            }
        };
        let name = self.name;
        if tokio::time::timeout(within, closed).await.is_err() {
            panic!("{name} did not end within {within:?}");
        }
        (self.child.wait().expect("a child process"), said)
    }
}

/// Reads to the end, even if nobody reads the lines: a full pipe would block the server.
fn pump(
    pipe: Option<impl Read + Send + 'static>,
    sender: &mpsc::UnboundedSender<String>,
    tail: &Tail,
) {
    let pipe = pipe.expect("a piped stream");
    let (sender, tail) = (sender.clone(), tail.clone());
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            {
                let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                if tail.len() == TAIL {
                    tail.pop_front();
                }
                tail.push_back(line.clone());
            }
            let _ = sender.send(line);
        }
    });
}

impl Drop for Process {
    #[expect(
        clippy::print_stderr,
        reason = "a failed test shows what its server said"
    )]
    fn drop(&mut self) {
        // Both calls fail only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            eprintln!("the last lines of {}:", self.name);
            for line in tail.iter() {
                eprintln!("  {line}");
            }
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process")
            .field("name", &self.name)
            .field("id", &self.child.id())
            .finish_non_exhaustive()
    }
}
