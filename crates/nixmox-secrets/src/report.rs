//! What a plan would do, or a commit did, by name.

use std::collections::BTreeMap;

use nixmox_cascade::Lint;
use nixmox_topology::NodeName;

use crate::store::RelPath;

/// What becomes of a sealed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It did not exist.
    Created,
    /// It held something else.
    Updated,
    /// Not a byte of it changes.
    Unchanged,
    /// Its host has no secrets any more.
    Removed,
}

/// Why a host's files change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The host had no sealed file.
    New,
    /// Its values are others than those in its file.
    Values,
    /// Its file is not the one that was sealed here: somebody changed or replaced it.
    NotOurs,
    /// Its file breaks a rule of sealed files.
    Unsound,
    /// Its key pair was made.
    KeyMade,
    /// Its key was accepted from the repository.
    KeyAccepted,
    /// The admins are others: its private key is sealed to them, its file has a new data key.
    Admins,
    /// Its files get new data keys because somebody asked for them.
    Renewed,
    /// It is to get a new key: its file is sealed to the old and the new one.
    NextKeyMade,
    /// Its new key takes the place of the old one.
    KeyReplaced,
    /// The key that it was to get is dropped.
    NextKeyDropped,
    /// Its files move: into the overlay, or to the directory that it has now.
    Moved,
    /// It has no secrets any more.
    Dropped,
    /// What it is delivered is signed anew.
    Signed,
    /// Nothing is signed any more.
    Unsigned,
}

/// What becomes of one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReport {
    /// What becomes of its sealed file.
    pub change: Change,
    /// Why, and what else of it changes.
    pub reasons: Vec<Reason>,
}

/// What a plan would do, or a commit did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What becomes of the master.
    pub master: Change,
    /// Every host that has secrets, or had some until now.
    pub hosts: BTreeMap<NodeName, HostReport>,
    /// Hosts whose key is being replaced: their files are sealed to the old and the new one.
    pub rotating: Vec<NodeName>,
    /// Sealed files that are no host's; they are left alone.
    pub orphans: Vec<RelPath>,
    /// Keys whose value depends on a trap of the cascade; none when nothing changes, for then nothing is evaluated.
    pub lints: Vec<Lint>,
    /// Generated values that were made or dropped, by name.
    pub generated: BTreeMap<String, nixmox_generate::Why>,
    /// What is written beside this: rosters, and `.sops.yaml`.
    pub also: Vec<RelPath>,
    /// Whether the digests are the only thing that is written beside this.
    pub digests: Change,
}

impl Report {
    /// Tells whether nothing would be written at all.
    pub fn is_unchanged(&self) -> bool {
        self.master == Change::Unchanged
            && self.digests == Change::Unchanged
            && self.also.is_empty()
            && self.hosts.values().all(|h| h.change == Change::Unchanged && h.reasons.is_empty())
    }

    /// Counts the hosts whose sealed file undergoes `change`.
    pub fn count(&self, change: Change) -> usize {
        self.hosts.values().filter(|host| host.change == change).count()
    }
}
