//! Many hosts, in their order.

mod drive;
mod end;
mod undo;
mod work;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use nixmox_topology::NodeName;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::{EventSink, Host, Limits, Nix, NixLine, Place, Request, Rollout, ScheduleError};
use crate::{StorePath, System};

pub use end::{End, Ended, JobError};

/// What is to be done on one host.
#[derive(Debug)]
pub struct Job {
    /// The host.
    pub host: Host,
    /// Whether it builds its system itself.
    pub build_on_remote: bool,
    /// Whether the system is in its store already, and nothing is built or copied.
    pub there: bool,
    /// Its system.
    pub system: System,
    /// What is asked of it; the system in it is that one.
    pub request: Request,
    /// Where it stands among the others.
    pub place: Place,
}

/// How a run is done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How Nix is run here.
    pub nix: Nix,
    /// How much is done at once.
    pub limits: Limits,
    /// How carefully hosts follow each other.
    pub rollout: Rollout,
    /// Where links keep what was built from garbage collection.
    pub roots: PathBuf,
    /// What else is kept: the source that the systems were evaluated from.
    pub source: Option<StorePath>,
    /// Whether hosts fetch what they can from their own caches.
    pub substitute: bool,
    /// Whether only systems are built, and no host is asked anything.
    pub build_only: bool,
    /// Whether nothing at all is done when one host runs something else than its request expects.
    pub all_as_expected: bool,
    /// Whether an activation that another run began on a host is brought to its end first.
    pub adopt: bool,
    /// Whether hosts reboot into their new system, and how long that may take.
    pub reboot: Option<Duration>,
}

/// Who is told what happens.
#[derive(Clone)]
pub struct Watch {
    /// Told of each host's steps.
    pub events: EventSink,
    /// Told what Nix says while it builds.
    pub build: Arc<dyn Fn(NixLine) + Send + Sync>,
    /// Told how a host ended; once more when it went back later.
    pub ended: Arc<dyn Fn(&Ended) + Send + Sync>,
    /// Becomes true when nothing new is to be begun.
    pub stop: watch::Receiver<bool>,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// Brings hosts to their systems: asks all of them, builds everything, copies, and activates in order.
///
/// A host that is as it should be costs one connection. Nothing is activated before everything was built. How each host
/// ended is told to `watch` at once, and returned for all of them.
///
/// # Errors
///
/// [`ScheduleError`] when hosts need each other; then nothing was done.
pub async fn deploy(
    jobs: Vec<Job>,
    settings: Settings,
    watch: Watch,
) -> Result<BTreeMap<NodeName, Ended>, ScheduleError> {
    drive::drive(jobs, settings, watch).await
}

/// Does something with every host, so many at once; results come in the order of the hosts.
pub async fn each<T, F>(
    hosts: Vec<Arc<Host>>,
    at_once: NonZeroUsize,
    work: impl Fn(Arc<Host>) -> F,
) -> Vec<(NodeName, T)>
where
    F: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    let permits = Arc::new(Semaphore::new(at_once.get()));
    let mut running = JoinSet::new();
    for (place, host) in hosts.into_iter().enumerate() {
        let (permits, node) = (Arc::clone(&permits), host.node().clone());
        let work = work(host);
        running.spawn(async move {
            let _permit = permits.acquire().await;
            (place, node, work.await)
        });
    }
    let mut results = Vec::new();
    while let Some(result) = running.join_next().await {
        results.extend(result.ok());
    }
    results.sort_by_key(|(place, _, _)| *place);
    results.into_iter().map(|(_, node, result)| (node, result)).collect()
}
