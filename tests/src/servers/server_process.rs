//! The process of a server whose data outlive it: it is killed and frozen, and may be gone.

use std::{fs, process::Command, time::Duration};

use crate::process::Process;

/// It ends at once; a machine that is very busy takes longer.
const ENDS_WITHIN: Duration = Duration::from_secs(240);

/// A process, with all that it started; none while the server is down.
#[derive(Debug, Default)]
pub(super) struct ServerProcess(Option<Process>);

impl ServerProcess {
    /// One that runs.
    pub(super) fn of(process: Process) -> Self {
        Self(Some(process))
    }

    /// Whether it was killed, or not started yet.
    pub(super) fn is_gone(&self) -> bool {
        self.0.is_none()
    }

    /// Ends it, with all that it started, as a crash of the machine does.
    pub(super) async fn kill(&mut self) {
        if let Some(process) = self.0.take() {
            let children = children(process.id());
            process.signal("KILL");
            signal("KILL", &children);
            process.ended(ENDS_WITHIN).await;
        }
    }

    /// It takes connections, and says nothing any more.
    pub(super) fn freeze(&self) {
        self.running().signal("STOP");
        signal("STOP", &children(self.running().id()));
    }

    /// It goes on.
    pub(super) fn thaw(&self) {
        signal("CONT", &children(self.running().id()));
        self.running().signal("CONT");
    }

    fn running(&self) -> &Process {
        self.0.as_ref().expect("a server that runs")
    }
}

/// The processes that it started; of PostgreSQL, one for each connection, and some of its own.
fn children(parent: u32) -> Vec<u32> {
    let is_child = |id: u32| {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name, in parentheses, may have spaces.
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
