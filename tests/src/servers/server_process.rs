//! The process of a server whose data survives it, and which can be killed and frozen.

use std::{fs, process::Command, time::Duration};

use crate::process::Process;

/// Ending takes a moment, or longer on a very busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(240);

/// A process with all its children; `None` while the server is down.
#[derive(Debug, Default)]
pub(super) struct ServerProcess(Option<Process>);

impl ServerProcess {
    /// Wraps a running process.
    pub(super) fn of(process: Process) -> Self {
        Self(Some(process))
    }

    /// Whether it was killed, or not started yet.
    pub(super) fn is_gone(&self) -> bool {
        self.0.is_none()
    }

    /// Kills it with all its children, as a crash of the machine does.
    pub(super) async fn kill(&mut self) {
        if let Some(process) = self.0.take() {
            let children = children(process.id());
            process.signal("KILL");
            signal("KILL", &children);
            process.ended(ENDS_WITHIN).await;
        }
    }

    /// Freezes it: it accepts connections, but no longer responds.
    pub(super) fn freeze(&self) {
        self.running().signal("STOP");
        signal("STOP", &children(self.running().id()));
    }

    /// Lets it continue.
    pub(super) fn thaw(&self) {
        signal("CONT", &children(self.running().id()));
        self.running().signal("CONT");
    }

    fn running(&self) -> &Process {
        self.0.as_ref().expect("a running server")
    }
}

/// Returns its child processes; PostgreSQL has one for each connection, and a few others.
fn children(parent: u32) -> Vec<u32> {
    let is_child = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in parentheses, may contain spaces.
        let rest = stat.rsplit_once(')')?.1;
        let its_parent: u32 = rest.split_whitespace().nth(1)?.parse().ok()?;
        (its_parent == parent).then_some(id)
    };
    let all = fs::read_dir("/proc").expect("a Linux");
    all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(is_child)
        .collect()
}

fn signal(signal: &str, ids: &[u32]) {
    if !ids.is_empty() {
        let ids = ids.iter().map(u32::to_string);
        // One may have ended by itself.
        let _ = Command::new("kill").args(["-s", signal]).args(ids).output();
    }
}
