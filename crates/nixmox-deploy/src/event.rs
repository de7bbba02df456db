//! What happens while a host is deployed, for whoever shows or records it.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use nixmox_topology::NodeName;

/// Something that happened to a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Event {
    /// The node.
    pub node: NodeName,
    /// When it happened, by this machine's clock.
    pub at: SystemTime,
    /// What it was.
    pub what: Happening,
}

/// What can happen to a node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A phase began; the one before it is over.
    Phase(Phase),
    /// A step of other work than a deployment began; the one before it is over.
    Step {
        /// Its name.
        name: &'static str,
        /// Which one it is, from 0.
        number: u32,
        /// How many there are.
        of: u32,
    },
    /// A line that the activation on the host wrote, without control characters.
    Log(String),
    /// How far the phase is.
    Progress {
        /// How much is done.
        done: u64,
        /// Of how much.
        total: u64,
    },
    /// A check was tried.
    Check {
        /// Its name.
        name: String,
        /// Whether it passed.
        passed: bool,
    },
    /// A connection of its own showed that the host can be reached.
    Confirmed {
        /// How many of them there were.
        count: u32,
        /// How many there have to be.
        of: u32,
    },
    /// The connection was lost, which by itself is no failure.
    ConnectionLost,
}

/// What is being done for a node, in the order in which it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Its configuration is evaluated.
    Evaluate,
    /// It is asked what it runs.
    Probe,
    /// Its system is built.
    Build,
    /// Its system is copied.
    Copy,
    /// The guard takes its snapshot.
    Prepare,
    /// The new system is activated.
    Activate,
    /// Its health is checked and new connections are made.
    Confirm,
    /// The new system becomes the one that boots.
    Commit,
    /// It goes back to the system that it had.
    RollBack,
    /// It reboots.
    Reboot,
}

/// Where events go.
#[derive(Clone)]
pub struct EventSink(Arc<dyn Fn(Event) + Send + Sync>);

impl EventSink {
    /// Sends events to a function; it must not block.
    pub fn new(receive: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Arc::new(receive))
    }

    /// Drops every event.
    pub fn none() -> Self {
        Self::new(|_| ())
    }

    /// Sends one event.
    pub fn send(&self, node: &NodeName, what: Happening) {
        (self.0)(Event { node: node.clone(), at: SystemTime::now(), what });
    }
}

impl fmt::Debug for EventSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventSink")
    }
}
