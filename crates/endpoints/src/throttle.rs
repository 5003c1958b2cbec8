//! Slows down those who guess client secrets.
//!
//! Only failures wait: a right secret always passes, whatever others do. The wait of a failure grows
//! with the number of failures for the client, or from the address, whichever are more.

use std::{
    hash::Hash,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::response::CallError;

/// The number of clients and addresses whose failures are counted. Others push the oldest out.
const COUNTED: u64 = 10_000;

/// After how long without a failure a count ends.
const MEMORY: Duration = Duration::from_secs(600);

/// The first wait. It doubles with each further failure.
const FIRST: Duration = Duration::from_millis(100);

/// The longest wait.
const LONGEST: Duration = Duration::from_secs(5);

/// The number of failures that wait at one time. Beyond it the answer is 429, at once.
const WAITING: usize = 1_024;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Source {
    Client(String),
    Address(IpAddr),
}

pub(crate) struct Throttle {
    failures: Cache<Source, Arc<AtomicU32>>,
    waiting: Semaphore,
}

impl Throttle {
    pub(crate) fn new() -> Self {
        Self {
            failures: Cache::builder()
                .max_capacity(COUNTED)
                .time_to_idle(MEMORY)
                .build(),
            waiting: Semaphore::new(WAITING),
        }
    }

    /// Counts a failure, and waits before it is answered. `client` is given for known clients only:
    /// names that are made up would fill the table.
    ///
    /// # Errors
    /// [`CallError::Busy`] if too many wait.
    pub(crate) async fn failed(
        &self,
        client: Option<&str>,
        address: Option<IpAddr>,
    ) -> Result<(), CallError> {
        let sources = [
            client.map(|id| Source::Client(id.to_owned())),
            address.map(|address| Source::Address(network(address))),
        ];
        let mut most = 0;
        for source in sources.into_iter().flatten() {
            let count = self.failures.entry(source).or_default().await;
            most = most.max(count.value().fetch_add(1, Ordering::Relaxed));
        }
        let _slot = self.waiting.try_acquire().map_err(|_| CallError::Busy)?;
        tokio::time::sleep(wait_after(most)).await;
        Ok(())
    }
}

/// Returns the wait after so many earlier failures.
fn wait_after(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    FIRST.saturating_mul(factor).min(LONGEST)
}

/// One holder has a whole /64 of IPv6.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_a_limit() {
        let waits: Vec<_> = [0, 1, 2, 5, 6, 40].map(wait_after).into();
        let millis: Vec<_> = waits.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [100, 200, 400, 3_200, 5_000, 5_000]);
    }

    #[test]
    fn a_network_is_one_source() {
        let network = |address: &str| network(address.parse().expect("an address"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_holds_a_bounded_number_of_waiters_and_counts() {
        let throttle = Arc::new(Throttle::new());
        let flood = (0..20_000_u32).map(|number| {
            let throttle = Arc::clone(&throttle);
            let address = IpAddr::from(number.to_be_bytes());
            tokio::spawn(async move { throttle.failed(Some("shop"), Some(address)).await })
        });
        let flood: Vec<_> = flood.collect();
        let mut waited = 0;
        for answer in flood {
            waited += u32::from(answer.await.expect("no panic").is_ok());
        }
        assert!(waited as usize >= WAITING, "{waited} waited");
        assert_eq!(throttle.waiting.available_permits(), WAITING);
        throttle.failures.run_pending_tasks().await;
        assert!(throttle.failures.entry_count() <= COUNTED);
    }
}
