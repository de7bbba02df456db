//! The merge itself, over borrowed values that remember who wrote them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use nixmox_topology::{NodeName, Topology};
use nixmox_tree::{SecretTree, Value};

use crate::error::{CascadeError, MAX_VALUES};

/// A merged set: its keys in byte order.
pub(crate) type Entries<'a> = BTreeMap<&'a str, Piece<'a>>;

/// A part of a merged tree.
#[derive(Clone)]
pub(crate) enum Piece<'a> {
    /// Whatever is not a set.
    Leaf { value: &'a Value, from: &'a NodeName },
    /// A set, from the strongest of the nodes that have one here.
    Set { entries: Entries<'a>, from: &'a NodeName },
}

impl<'a> Piece<'a> {
    fn of(value: &'a Value, from: &'a NodeName) -> Self {
        match value {
            Value::Tree(tree) => Self::Set { entries: written(tree, from), from },
            value => Self::Leaf { value, from },
        }
    }

    pub(crate) fn from(&self) -> &'a NodeName {
        match self {
            Self::Leaf { from, .. } | Self::Set { from, .. } => from,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Leaf { .. } => 1,
            Self::Set { entries, .. } => 1 + size(entries),
        }
    }
}

fn written<'a>(tree: &'a SecretTree, from: &'a NodeName) -> Entries<'a> {
    tree.iter().map(|(name, value)| (name.as_str(), Piece::of(value, from))).collect()
}

fn size(entries: &Entries<'_>) -> usize {
    entries.values().map(Piece::size).sum()
}

/// Puts what `from` wrote over what is there.
fn put_over<'a>(there: &mut Entries<'a>, tree: &'a SecretTree, from: &'a NodeName) {
    for (name, value) in tree {
        match (there.get_mut(name.as_str()), value) {
            (Some(Piece::Set { entries, from: strongest }), Value::Tree(tree)) => {
                *strongest = from;
                put_over(entries, tree, from);
            }
            _ => drop(there.insert(name, Piece::of(value, from))),
        }
    }
}

/// Lays a level under what is there: only keys that are still free take from it.
fn lay_under<'a>(there: &mut Entries<'a>, under: &Entries<'a>) {
    for (name, piece) in under {
        match (there.entry(name), piece) {
            (Entry::Vacant(free), piece) => drop(free.insert(piece.clone())),
            (Entry::Occupied(mut taken), Piece::Set { entries: under, .. }) => {
                if let Piece::Set { entries, .. } = taken.get_mut() {
                    lay_under(entries, under);
                }
            }
            (Entry::Occupied(_), Piece::Leaf { .. }) => {}
        }
    }
}

/// Merges host after host, sharing what they have in common.
pub(crate) struct Merger<'a> {
    topology: &'a Topology,
    nodes: &'a SecretTree,
    /// The merged values of groups that together name a node, by their names, with their size.
    levels: BTreeMap<&'a [NodeName], (Entries<'a>, usize)>,
    laid: usize,
}

impl<'a> Merger<'a> {
    pub(crate) fn new(topology: &'a Topology, nodes: &'a SecretTree) -> Self {
        Self { topology, nodes, levels: BTreeMap::new(), laid: 0 }
    }

    /// Merges everything that one host has.
    ///
    /// The rule goes up depth first and lays the parents of whatever it comes to under the rest. It comes to a group
    /// once for every way up to it, which may be exponentially many; but a level that has been laid under a tree once
    /// changes nothing when it is laid under it again: all its keys are taken. So each group counts where it comes
    /// first, which is the order of [`Topology::ancestors`].
    pub(crate) fn host(&mut self, host: &'a NodeName) -> Result<Entries<'a>, CascadeError> {
        let own = self.nodes.get(host).and_then(Value::as_tree);
        let mut merged = own.map(|tree| written(tree, host)).unwrap_or_default();
        self.laid += size(&merged);
        for node in std::iter::once(host).chain(self.topology.ancestors(host)) {
            let (nodes, parents) = (self.nodes, self.topology.parents(node));
            let (level, size) = self.levels.entry(parents).or_insert_with(|| level(nodes, parents));
            self.laid += *size;
            if self.laid > MAX_VALUES {
                return Err(CascadeError::TooLarge);
            }
            lay_under(&mut merged, level);
        }
        Ok(merged)
    }
}

/// Merges what sibling groups wrote: from the first name to the last, each over those before.
fn level<'a>(nodes: &'a SecretTree, parents: &'a [NodeName]) -> (Entries<'a>, usize) {
    let mut level = Entries::new();
    for parent in parents {
        if let Some(Value::Tree(tree)) = nodes.get(parent) {
            put_over(&mut level, tree, parent);
        }
    }
    let size = size(&level);
    (level, size)
}
