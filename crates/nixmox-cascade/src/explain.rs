//! Where a host's values come from.

use nixmox_topology::{NodeName, Topology};
use nixmox_tree::{SecretTree, Value};

use crate::error::CascadeError;
use crate::merge::{Entries, Merger, Piece};
use crate::resolve::{check, host, is_hidden};
use crate::strength::{Levels, Strengths};

/// Where a host's value, or every value of a set, comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The host.
    pub host: NodeName,
    /// The path that was asked about.
    pub path: Vec<String>,
    /// What the host has there, in byte order of the paths.
    pub leaves: Vec<Leaf>,
    /// What is written there for groups and appears nowhere, because a value that is not a set cut it off.
    pub cut: Vec<Standing>,
}

/// One value of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf {
    /// Where it stands, from the top of the host's secrets.
    pub path: Vec<String>,
    /// The node that it is written for.
    pub from: NodeName,
    /// Its type, in Nix's words.
    pub type_name: &'static str,
    /// Whether the host gets it.
    pub delivery: Delivery,
    /// What other nodes have there, the strongest first.
    pub shadowed: Vec<Standing>,
}

/// Whether a value reaches its host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It does.
    Delivered,
    /// It does not: a key on the way begins with `_`.
    Hidden,
    /// It does not: it is an empty set.
    Empty,
}

/// Something that is written for a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The node.
    pub node: NodeName,
    /// Where it stands: at the value's own path, or above it when it is not a set.
    pub path: Vec<String>,
    /// Its type, in Nix's words.
    pub type_name: &'static str,
}

/// Explains what a host has at `path`; an empty path asks for everything.
///
/// # Errors
///
/// As [`crate::merged`], and [`CascadeError::NothingThere`] when the host has nothing at `path`.
pub fn explain(
    topology: &Topology,
    nodes: &SecretTree,
    host: &str,
    path: &[&str],
) -> Result<Explanation, CascadeError> {
    check(topology, nodes)?;
    let host = self::host(topology, host)?;
    let entries = Merger::new(topology, nodes).host(host)?;
    let levels = Strengths::new(topology, nodes).of_host(host);
    let mut leaves = Vec::new();
    match path.split_last() {
        None => below(&entries, &mut Vec::new(), &levels, &mut leaves),
        Some((last, above)) => {
            let piece = at(&entries, path)
                .ok_or_else(|| CascadeError::NothingThere { host: host.clone() })?;
            let mut walked = above.to_vec();
            leaf_or_below(last, piece, &mut walked, &levels, &mut leaves);
        }
    }
    let cut = cut(&entries, &levels, path);
    let path = owned(path);
    Ok(Explanation { host: host.clone(), path, leaves, cut })
}

/// Returns what is merged at a path that is not empty.
fn at<'p, 'a>(entries: &'p Entries<'a>, path: &[&str]) -> Option<&'p Piece<'a>> {
    let (first, below) = path.split_first()?;
    let piece = entries.get(*first)?;
    match (below, piece) {
        ([], piece) => Some(piece),
        (below, Piece::Set { entries, .. }) => at(entries, below),
        (_, Piece::Leaf { .. }) => None,
    }
}

fn below<'a>(
    entries: &Entries<'a>,
    walked: &mut Vec<&'a str>,
    levels: &Levels<'_>,
    leaves: &mut Vec<Leaf>,
) {
    for (name, piece) in entries {
        leaf_or_below(name, piece, walked, levels, leaves);
    }
}

fn leaf_or_below<'a>(
    name: &'a str,
    piece: &Piece<'a>,
    walked: &mut Vec<&'a str>,
    levels: &Levels<'_>,
    leaves: &mut Vec<Leaf>,
) {
    walked.push(name);
    match piece {
        Piece::Set { entries, .. } if !entries.is_empty() => below(entries, walked, levels, leaves),
        piece => leaves.push(leaf(piece, walked, levels)),
    }
    walked.pop();
}

fn leaf(piece: &Piece<'_>, path: &[&str], levels: &Levels<'_>) -> Leaf {
    let type_name = match piece {
        Piece::Leaf { value, .. } => value.type_name(),
        Piece::Set { .. } => "set",
    };
    let delivery = match piece {
        _ if path.iter().any(|name| is_hidden(name)) => Delivery::Hidden,
        Piece::Set { .. } => Delivery::Empty,
        Piece::Leaf { .. } => Delivery::Delivered,
    };
    let others = levels.iter().filter(|(node, _)| *node != piece.from());
    let shadowed = others.filter_map(|(node, tree)| standing(node, tree, path)).collect();
    Leaf { path: owned(path), from: piece.from().clone(), type_name, delivery, shadowed }
}

/// Finds what a node has at a path, or above it in its way.
fn standing(node: &NodeName, tree: &SecretTree, path: &[&str]) -> Option<Standing> {
    let (first, below) = path.split_first()?;
    match tree.get(first)? {
        Value::Tree(tree) if !below.is_empty() => {
            let mut found = standing(node, tree, below)?;
            found.path.insert(0, (*first).to_owned());
            Some(found)
        }
        value => Some(Standing {
            node: node.clone(),
            path: vec![(*first).to_owned()],
            type_name: value.type_name(),
        }),
    }
}

/// Finds values below `path` that neither appear in the merged tree nor are in the shadow of one that does.
fn cut(entries: &Entries<'_>, levels: &Levels<'_>, path: &[&str]) -> Vec<Standing> {
    let mut cut = Vec::new();
    for (node, tree) in levels {
        tree.for_each_leaf(&mut |leaf, value| {
            if leaf.starts_with(path) && is_cut(entries, leaf) {
                let node = (*node).clone();
                cut.push(Standing { node, path: owned(leaf), type_name: value.type_name() });
            }
        });
    }
    cut
}

fn is_cut(entries: &Entries<'_>, path: &[&str]) -> bool {
    let Some((first, below)) = path.split_first() else { return false };
    match entries.get(*first) {
        None => true,
        Some(Piece::Set { entries, .. }) => is_cut(entries, below),
        Some(Piece::Leaf { .. }) => false,
    }
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|name| (*name).to_owned()).collect()
}
