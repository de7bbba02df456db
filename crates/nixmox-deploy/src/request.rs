//! What is asked of one host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nixmox_topology::NodeName;
use nixmox_tree::SecretString;

use crate::{HealthCheck, Host, StorePath};

/// What is to be done with a system on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Goal {
    /// It runs now and boots from now on.
    Switch,
    /// It boots from the next boot on; what runs stays.
    Boot,
    /// It runs until the next boot.
    Test,
    /// The host says what would change.
    DryActivate,
    /// It lies in the host's store, kept from garbage collection.
    Push,
}

/// What is asked of one host. Its closure has to be in the host's store already.
#[derive(Debug, Clone)]
pub struct Request {
    /// The system.
    pub toplevel: StorePath,
    /// What is to be done with it.
    pub goal: Goal,
    /// What the host has to run now; when it runs something else, nothing is done.
    pub expected: Option<StorePath>,
    /// What has to be true before the system is kept.
    pub checks: Vec<HealthCheck>,
    /// Other nodes that checks may look from.
    pub peers: BTreeMap<NodeName, Arc<Host>>,
    /// How long each step may take, and what is accepted.
    pub patience: Patience,
    /// What is put in place before the activation.
    pub secrets: Option<SecretFiles>,
    /// Where the system comes from.
    pub provenance: Provenance,
}

impl Request {
    /// Asks for a switch to `toplevel`, with no checks of its own.
    pub fn switch(toplevel: StorePath) -> Self {
        Self {
            toplevel,
            goal: Goal::Switch,
            expected: None,
            checks: Vec::new(),
            peers: BTreeMap::new(),
            patience: Patience::default(),
            secrets: None,
            provenance: Provenance::default(),
        }
    }
}

/// How long each step may take, and what is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// For the activation on the host.
    pub activation: Duration,
    /// From the end of the activation until both confirmations and all checks have to be there.
    pub confirmation: Duration,
    /// Between two confirmations.
    pub dwell: Duration,
    /// How many confirmations there have to be.
    pub confirmations: u32,
    /// For making the system the one that boots.
    pub commit: Duration,
    /// For the old system's activation, when it goes back.
    pub rollback: Duration,
    /// Whether a system is accepted though units failed to start (exit status 4).
    pub failed_units: bool,
    /// Whether the host may reboot into its old system when going back has failed *and* the host itself sees that
    /// it cannot be reached. A client that is gone never makes a host reboot.
    pub reboot_on_failed_rollback: bool,
    /// Whether the host reboots into the new system before that is kept, and how long that may take. Its loader boots
    /// the new system once: a kernel that does not boot leaves a host that boots its old system, after a panic or a
    /// reset. Where the loader cannot do that, this has no effect.
    pub trial: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            activation: Duration::from_secs(300),
            confirmation: Duration::from_secs(60),
            dwell: Duration::from_secs(5),
            confirmations: 2,
            commit: Duration::from_secs(120),
            rollback: Duration::from_secs(300),
            failed_units: false,
            reboot_on_failed_rollback: false,
            trial: None,
        }
    }
}

/// The host's own files of secrets, put in place before the activation and swapped back when it goes back.
#[derive(Debug, Clone, Default)]
pub struct SecretFiles {
    /// The sealed file and where it belongs.
    pub sealed: Option<Sealed>,
    /// The private host key in OpenSSH's form, for `/etc/ssh/ssh_host_ed25519_key`.
    pub host_key: Option<SecretString>,
}

/// A sealed file.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Its absolute path on the host.
    pub path: String,
    /// Its text.
    pub text: String,
}

/// Where a system comes from, recorded on the host: short names and short values, such as `revision`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance(pub BTreeMap<String, String>);
