//! From a master's `nodes` to what each host has and is delivered.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_topology::{Kind, NodeName, Topology};
use nixmox_tree::{SecretTree, Value};
use rayon::prelude::*;

use crate::error::{CascadeError, MAX_DEPTH};
use crate::merge::{Entries, Merger, Piece};

/// How many hosts are merged on one core before another is worth its start; what they share is merged once.
const SHARE: usize = 128;

/// Resolves what every counted host is delivered.
///
/// Hidden keys are gone, and sets that are or become empty; a host whose secrets are all hidden has an empty tree.
///
/// # Errors
///
/// [`CascadeError`] when `nodes` does not fit the fleet, or is too deep or too large.
pub fn resolve(
    topology: &Topology,
    nodes: &SecretTree,
) -> Result<BTreeMap<NodeName, SecretTree>, CascadeError> {
    check(topology, nodes)?;
    let hosts: Vec<_> = topology.hosts().filter(|host| counts(topology, nodes, host)).collect();
    let first = Merger::new(topology, nodes);
    let resolved: Vec<Result<Vec<_>, CascadeError>> = hosts
        .par_chunks(SHARE)
        .map(|some| {
            let mut merger = first.beside();
            some.iter().map(|host| Ok(((*host).clone(), delivered(&merger.host(host)?)))).collect()
        })
        .collect();
    Ok(resolved.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Merges everything that one host has, hidden keys and empty sets among it.
///
/// # Errors
///
/// As [`resolve`], and when `host` is no host of the fleet.
pub fn merged(
    topology: &Topology,
    nodes: &SecretTree,
    host: &str,
) -> Result<SecretTree, CascadeError> {
    check(topology, nodes)?;
    let host = self::host(topology, host)?;
    Ok(plain(&Merger::new(topology, nodes).host(host)?))
}

/// Tells of every value of every host, hidden ones among them, which node supplies it: host, path, node.
///
/// # Errors
///
/// As [`resolve`].
pub fn origins(
    topology: &Topology,
    nodes: &SecretTree,
    note: &mut dyn FnMut(&str, &[&str], &str),
) -> Result<(), CascadeError> {
    check(topology, nodes)?;
    let mut merger = Merger::new(topology, nodes);
    for host in topology.hosts() {
        let entries = merger.host(host)?;
        supplied(&entries, &mut Vec::new(), &mut |path, node| note(host, path, node));
    }
    Ok(())
}

fn supplied<'a>(
    entries: &Entries<'a>,
    path: &mut Vec<&'a str>,
    note: &mut dyn FnMut(&[&'a str], &str),
) {
    for (name, piece) in entries {
        path.push(name);
        match piece {
            Piece::Leaf { from, .. } => note(path, from),
            Piece::Set { entries, .. } => supplied(entries, path, note),
        }
        path.pop();
    }
}

/// Returns the hosts that get a sealed file: those that the master mentions, or a group above them.
///
/// A host counts even if all it gets is an empty set.
pub fn counted(topology: &Topology, nodes: &SecretTree) -> BTreeSet<NodeName> {
    topology.hosts().filter(|host| counts(topology, nodes, host)).cloned().collect()
}

fn counts(topology: &Topology, nodes: &SecretTree, host: &NodeName) -> bool {
    let mentioned = |name: &NodeName| nodes.get(name).is_some();
    mentioned(host) || topology.ancestors(host).iter().any(mentioned)
}

/// Looks up a host by name.
pub(crate) fn host<'a>(topology: &'a Topology, name: &str) -> Result<&'a NodeName, CascadeError> {
    let known = topology.name(name).ok_or_else(|| unknown(topology, name))?;
    match topology.kind(name) {
        Some(Kind::Host) => Ok(known),
        _ => Err(CascadeError::NotAHost { name: known.clone() }),
    }
}

fn unknown(topology: &Topology, name: &str) -> CascadeError {
    match name {
        "common" => CascadeError::Common,
        _ => CascadeError::UnknownNode { name: name.to_owned(), closest: topology.closest(name) },
    }
}

/// Checks that `nodes` has a set for every name, and every name a node.
pub(crate) fn check(topology: &Topology, nodes: &SecretTree) -> Result<(), CascadeError> {
    for (name, value) in nodes {
        let node = topology.name(name).ok_or_else(|| unknown(topology, name))?;
        let Value::Tree(tree) = value else {
            return Err(CascadeError::NotASet { node: node.clone(), type_name: value.type_name() });
        };
        if tree.get("sops").is_some() {
            return Err(CascadeError::ReservedKey { node: node.clone() });
        }
        if !fits(value, MAX_DEPTH) {
            return Err(CascadeError::TooDeep { node: node.clone() });
        }
    }
    Ok(())
}

/// Tells whether sets and lists nest at most `depth` deep.
fn fits(value: &Value, depth: usize) -> bool {
    let below = |value: &Value| depth > 0 && fits(value, depth - 1);
    match value {
        Value::Tree(tree) => tree.iter().all(|(_, value)| below(value)),
        Value::List(items) => items.iter().all(below),
        _ => true,
    }
}

/// Tells whether a key is for references only.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with('_')
}

fn plain(entries: &Entries<'_>) -> SecretTree {
    let value = |piece: &Piece<'_>| match piece {
        Piece::Leaf { value, .. } => (*value).clone(),
        Piece::Set { entries, .. } => plain(entries).into(),
    };
    entries.iter().map(|(name, piece)| ((*name).to_owned(), value(piece))).collect()
}

fn delivered(entries: &Entries<'_>) -> SecretTree {
    let shown = entries.iter().filter(|(name, _)| !is_hidden(name));
    let value = |piece: &Piece<'_>| match piece {
        Piece::Leaf { value, .. } => Some(without_hidden(value)),
        Piece::Set { entries, .. } => some_set(delivered(entries)),
    };
    shown.filter_map(|(name, piece)| Some(((*name).to_owned(), value(piece)?))).collect()
}

/// Takes hidden keys out of a value; one that stands in a list stays, even as an empty set.
fn without_hidden(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.iter().map(without_hidden).collect()),
        Value::Tree(tree) => {
            let shown = tree.iter().filter(|(name, _)| !is_hidden(name));
            let value = |value: &Value| match without_hidden(value) {
                Value::Tree(tree) => some_set(tree),
                value => Some(value),
            };
            let entries = shown.filter_map(|(name, v)| Some((name.clone(), value(v)?)));
            Value::Tree(entries.collect())
        }
        value => value.clone(),
    }
}

fn some_set(tree: SecretTree) -> Option<Value> {
    (!tree.is_empty()).then_some(Value::Tree(tree))
}
