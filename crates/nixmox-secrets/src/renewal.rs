//! What is sealed anew though its values stay.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_topology::{NodeName, Topology};

use crate::Error;

/// What gets new data keys though neither values nor recipients ask for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Whether the master does.
    pub master: bool,
    /// The hosts whose private key and sealed file do.
    pub hosts: Renewed,
    /// What is done to the keys of hosts, by name.
    pub keys: BTreeMap<String, KeyStep>,
    /// Values that somebody may have read, from their node on: they are remembered until they change.
    pub exposed: BTreeSet<Vec<String>>,
}

/// A step on the way from a host's key to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStep {
    /// Makes the new key, and seals the host's file to the old and the new one; again, it changes nothing.
    Begin,
    /// Puts the new key into the place of the old one, and seals the host's file to it alone.
    Finish,
    /// Drops the new key, and seals the host's file to the old one alone.
    Abort,
    /// Makes a new key at once; the old one opens nothing any more.
    Replace,
}

/// The hosts of a [`Renewal`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Renewed {
    /// None of them.
    #[default]
    None,
    /// Those of these names.
    Named(BTreeSet<String>),
    /// Every one.
    All,
}

impl Renewal {
    /// Renews everything.
    pub fn everything() -> Self {
        Self { master: true, hosts: Renewed::All, ..Self::default() }
    }

    /// Tells whether nothing is renewed.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Tells whether a host's files are.
    pub(crate) fn is_of(&self, host: &NodeName) -> bool {
        match &self.hosts {
            Renewed::None => false,
            Renewed::Named(names) => names.contains(host.as_ref()),
            Renewed::All => true,
        }
    }

    /// Returns what is done to the key of a host, if anything.
    pub(crate) fn step(&self, host: &NodeName) -> Option<KeyStep> {
        self.keys.get(host.as_ref()).copied()
    }

    /// Tells whether the digests of before must vouch for nothing: those of a key that was dropped still would.
    pub(crate) fn voids_digests(&self) -> bool {
        self.master || self.keys.values().any(|step| *step != KeyStep::Begin)
    }

    /// Refuses names that are no host's.
    pub(crate) fn check(&self, topology: &Topology) -> Result<(), Error> {
        let named = match &self.hosts {
            Renewed::Named(names) => Some(names),
            _ => None,
        };
        let mut names = named.into_iter().flatten().chain(self.keys.keys());
        names.try_for_each(|name| known_host(topology, name).map(drop))
    }
}

/// Finds the host of a name that somebody typed.
pub(crate) fn known_host<'a>(topology: &'a Topology, name: &str) -> Result<&'a NodeName, Error> {
    topology.hosts().find(|host| host.as_ref() == name).ok_or_else(|| {
        let nearest = topology.closest(name).iter().map(ToString::to_string).collect();
        Error::NoSuchHost { name: name.to_owned(), nearest }
    })
}
