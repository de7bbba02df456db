//! Which hosts a value reaches, and what somebody can read.

use std::collections::BTreeSet;

use nixmox_cascade::{Delivery, Leaf};
use nixmox_topology::{NodeName, Topology};
use nixmox_tree::SecretTree;
use rayon::prelude::*;

use super::{Access, Readable};
use crate::Error;
use crate::fleet::Fleet;
use crate::master;

/// The hosts that get a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receivers {
    /// The hosts.
    pub hosts: BTreeSet<NodeName>,
    /// Whether the cascade told; otherwise the names that are readable in the hosts' files did.
    pub resolved: bool,
}

/// Finds the hosts that get the value at `path` of the master; values beside `nodes` go to none.
///
/// With the master's tree the cascade tells; without it, the names in the hosts' sealed files.
///
/// # Errors
///
/// [`Error::NoSuchSecret`] when there is no such value, [`Error::Cascade`] when the secrets do not fit the nodes.
pub fn receivers(
    topology: &Topology,
    tree: Option<&SecretTree>,
    access: &Access,
    path: &[String],
) -> Result<Receivers, Error> {
    let nothing = || Error::NoSuchSecret { path: path.join(".") };
    let (node, below) = match path {
        [nodes, node, below @ ..] if nodes == "nodes" => (Some(node), below),
        _ => (None, &[][..]),
    };
    let Some(tree) = tree else {
        let named = node.map(|node| topology.hosts_of(node)).unwrap_or_default();
        let has = |host: &NodeName| {
            let file = access.hosts.get(host).and_then(|host| host.sealed.as_ref());
            file.is_some_and(|file| file.names.iter().any(|name| name.starts_with(below)))
        };
        let hosts: BTreeSet<_> = named.into_iter().filter(has).collect();
        return if hosts.is_empty() {
            Err(nothing())
        } else {
            Ok(Receivers { hosts, resolved: false })
        };
    };
    let nodes = master::nodes(tree)?;
    let hosts = match node {
        Some(node) => reached(topology, &nodes, node, below)?,
        None => BTreeSet::new(),
    };
    if hosts.is_empty() && tree.at(path).is_none() {
        return Err(nothing());
    }
    Ok(Receivers { hosts, resolved: true })
}

/// Finds the hosts below a node that get what is written for it; a host gets what it has, wherever from.
fn reached(
    topology: &Topology,
    nodes: &SecretTree,
    node: &str,
    below: &[String],
) -> Result<BTreeSet<NodeName>, Error> {
    let hosts = topology.hosts_of(node);
    let gets = |host: &NodeName| -> Result<bool, Error> {
        let leaves = leaves(topology, nodes, host, below)?;
        Ok(leaves.iter().any(|leaf| host.as_ref() == node || leaf.from.as_ref() == node))
    };
    let hosts: Vec<(NodeName, Result<bool, Error>)> =
        hosts.into_par_iter().map(|host| (host.clone(), gets(&host))).collect();
    let mut reached = BTreeSet::new();
    for (host, gets) in hosts {
        if gets? {
            reached.insert(host);
        }
    }
    Ok(reached)
}

/// Lists what a host is delivered at a path, with where it comes from.
fn leaves(
    topology: &Topology,
    nodes: &SecretTree,
    host: &NodeName,
    below: &[String],
) -> Result<Vec<Leaf>, Error> {
    let below: Vec<&str> = below.iter().map(String::as_str).collect();
    match nixmox_cascade::explain(topology, nodes, host.as_ref(), &below) {
        Ok(found) => {
            let delivered = |leaf: &Leaf| leaf.delivery == Delivery::Delivered;
            Ok(found.leaves.into_iter().filter(delivered).collect())
        }
        Err(nixmox_cascade::CascadeError::NothingThere { .. }) => Ok(Vec::new()),
        Err(error) => Err(Error::Cascade(error)),
    }
}

impl Readable {
    /// Finds what the holder of `recipient` can read, by the labels in the files and by what is suspicious in them.
    ///
    /// `tree` is the master's, with generated values put in. Whoever is named by the master reads everything in it;
    /// whoever is named by a host's key or file, what that host gets; whoever is named by the file of generated values,
    /// what is in that.
    ///
    /// # Errors
    ///
    /// [`Error::Cascade`] when the secrets do not fit the nodes, [`Error::Text`] when `nodes` is no set.
    pub fn by(
        fleet: &Fleet,
        tree: &SecretTree,
        access: &Access,
        recipient: &str,
    ) -> Result<Self, Error> {
        let names =
            |file: &super::FileReaders| file.readers.iter().any(|r| r.recipient == recipient);
        let master = access.master.as_ref().is_some_and(names);
        let generated = access.generated.as_ref().filter(|file| names(file));
        let hosts: BTreeSet<NodeName> = access
            .hosts
            .iter()
            .filter(|(_, host)| [&host.sealed, &host.key].into_iter().flatten().any(names))
            .map(|(host, _)| host.clone())
            .collect();
        let mut found = Self::of(fleet, tree, (master, hosts))?;
        let made = generated.iter().flat_map(|file| &file.names);
        let path = |name: &Vec<String>| std::iter::once("nodes".to_owned()).chain(name.clone());
        found.secrets.extend(made.map(|name| path(name).collect()));
        Ok(found)
    }

    /// Finds what somebody can read who opens these: the master, or the keys of hosts.
    ///
    /// # Errors
    ///
    /// [`Error::Cascade`] when the secrets do not fit the nodes, [`Error::Text`] when `nodes` is no set.
    pub fn of(
        fleet: &Fleet,
        tree: &SecretTree,
        (master, hosts): (bool, BTreeSet<NodeName>),
    ) -> Result<Self, Error> {
        let mut secrets = BTreeSet::new();
        let owned = |path: &[&str]| path.iter().map(|name| (*name).to_owned()).collect();
        if master {
            tree.for_each_leaf(&mut |path, _| {
                secrets.insert(owned(path));
            });
            return Ok(Self { master, hosts, secrets });
        }
        let nodes = master::nodes(tree)?;
        let delivered: Vec<Result<Vec<Vec<String>>, Error>> =
            hosts.par_iter().map(|host| written(fleet.topology(), &nodes, host)).collect();
        for paths in delivered {
            secrets.extend(paths?);
        }
        Ok(Self { master, hosts, secrets })
    }
}

/// Lists what a host is delivered, by where it is written in the master.
pub(crate) fn written(
    topology: &Topology,
    nodes: &SecretTree,
    host: &NodeName,
) -> Result<Vec<Vec<String>>, Error> {
    let path = |leaf: Leaf| {
        let mut path = vec!["nodes".to_owned(), leaf.from.to_string()];
        path.extend(leaf.path);
        path
    };
    Ok(leaves(topology, nodes, host, &[])?.into_iter().map(path).collect())
}
