//! The merge itself, over borrowed values that remember who wrote them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

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

/// What sibling groups have together.
struct Level<'a> {
    entries: Entries<'a>,
    size: usize,
}

impl<'a> Level<'a> {
    /// Merges siblings from the first name to the last, each over those before.
    fn of(nodes: &'a SecretTree, siblings: &'a [NodeName]) -> Self {
        let mut entries = Entries::new();
        for sibling in siblings {
            if let Some(Value::Tree(tree)) = nodes.get(sibling) {
                put_over(&mut entries, tree, sibling);
            }
        }
        let size = size(&entries);
        Self { entries, size }
    }
}

/// Merges host after host, sharing what they have in common.
pub(crate) struct Merger<'a> {
    topology: &'a Topology,
    nodes: &'a SecretTree,
    /// The levels directly above hosts, by the groups that they are of.
    direct: BTreeMap<&'a [NodeName], Level<'a>>,
    /// The levels directly above groups, by the group.
    above: BTreeMap<&'a NodeName, Level<'a>>,
    /// How many values were laid, by this merger and by those that work beside it.
    laid: Arc<AtomicUsize>,
}

impl<'a> Merger<'a> {
    pub(crate) fn new(topology: &'a Topology, nodes: &'a SecretTree) -> Self {
        let (direct, above) = (BTreeMap::new(), BTreeMap::new());
        Self { topology, nodes, direct, above, laid: Arc::default() }
    }

    /// Returns one for other hosts of the same fleet, to work beside this one under the same limit.
    pub(crate) fn beside(&self) -> Self {
        Self { laid: Arc::clone(&self.laid), ..Self::new(self.topology, self.nodes) }
    }

    /// Merges everything that one host has.
    ///
    /// The rule goes up depth first and lays the parents of whatever it comes to under the rest. It comes to a group
    /// once for every way up to it, which may be exponentially many; but a level that has been laid under a tree once
    /// changes nothing when it is laid under it again: all its keys are taken. So each group counts where it comes
    /// first, which is the order of [`Topology::ancestors`].
    pub(crate) fn host(&mut self, host: &'a NodeName) -> Result<Entries<'a>, CascadeError> {
        let (topology, nodes) = (self.topology, self.nodes);
        let own = nodes.get(host).and_then(Value::as_tree);
        let mut merged = own.map(|tree| written(tree, host)).unwrap_or_default();
        self.laid.fetch_add(size(&merged), Ordering::Relaxed);
        let parents = topology.parents(host);
        let direct = self.direct.entry(parents).or_insert_with(|| Level::of(nodes, parents));
        lay(&mut merged, direct, &self.laid)?;
        for group in topology.ancestors(host) {
            let level = self.above.entry(group);
            let level = level.or_insert_with(|| Level::of(nodes, topology.parents(group)));
            lay(&mut merged, level, &self.laid)?;
        }
        Ok(merged)
    }
}

fn lay<'a>(
    merged: &mut Entries<'a>,
    level: &Level<'a>,
    laid: &AtomicUsize,
) -> Result<(), CascadeError> {
    let before = laid.fetch_add(level.size, Ordering::Relaxed);
    if before.saturating_add(level.size) > MAX_VALUES {
        return Err(CascadeError::TooLarge);
    }
    lay_under(merged, &level.entries);
    Ok(())
}
