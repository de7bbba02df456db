//! What is sealed anew though its values stay.

use std::collections::BTreeSet;

use nixmox_topology::{NodeName, Topology};

use crate::Error;

/// What gets new data keys though neither values nor recipients ask for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Renewal {
    /// Whether the master does.
    pub master: bool,
    /// The hosts whose private key and sealed file do.
    pub hosts: Renewed,
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
        Self { master: true, hosts: Renewed::All }
    }

    /// Tells whether nothing is renewed.
    pub fn is_empty(&self) -> bool {
        !self.master && self.hosts == Renewed::None
    }

    /// Tells whether a host's files are.
    pub(crate) fn is_of(&self, host: &NodeName) -> bool {
        match &self.hosts {
            Renewed::None => false,
            Renewed::Named(names) => names.contains(host.as_ref()),
            Renewed::All => true,
        }
    }

    /// Refuses names that are no host's.
    pub(crate) fn check(&self, topology: &Topology) -> Result<(), Error> {
        let Renewed::Named(names) = &self.hosts else { return Ok(()) };
        names.iter().try_for_each(|name| known_host(topology, name).map(drop))
    }
}

/// Finds the host of a name that somebody typed.
pub(crate) fn known_host<'a>(topology: &'a Topology, name: &str) -> Result<&'a NodeName, Error> {
    topology.hosts().find(|host| host.as_ref() == name).ok_or_else(|| {
        let nearest = topology.closest(name).iter().map(ToString::to_string).collect();
        Error::NoSuchHost { name: name.to_owned(), nearest }
    })
}
