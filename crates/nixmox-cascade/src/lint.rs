//! Results that hang on the order of groups' names, or on how levels are put together.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_topology::{NodeName, Topology};
use nixmox_tree::{SecretTree, Value};

use crate::error::CascadeError;
use crate::explain::levels;
use crate::merge::{Entries, Merger, Piece};
use crate::resolve::{check, is_hidden};

/// A key whose result is sound but may surprise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lint {
    /// What may surprise.
    pub kind: LintKind,
    /// The key, from the top of the hosts' secrets.
    pub path: Vec<String>,
    /// The nodes that disagree about it: first the one that wins, then the others, the strongest first.
    pub levels: Vec<NodeName>,
    /// The hosts for which they do.
    pub hosts: Vec<NodeName>,
}

/// What may surprise about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum LintKind {
    /// Groups disagree, and what decides between them is how they are named.
    NamesDecide,
    /// A set is put together around a value that is not a set: levels beyond that value may still add to it.
    NotCut,
}

/// Finds every delivered key whose result would differ if groups were named otherwise, or if a value that is not a
/// set cut off the levels beyond it.
///
/// One finding stands for all hosts that have the same nodes in disagreement; findings are in order of their paths.
/// A disagreement between equal values is none.
///
/// # Errors
///
/// As [`crate::resolve`].
pub fn lint(topology: &Topology, nodes: &SecretTree) -> Result<Vec<Lint>, CascadeError> {
    check(topology, nodes)?;
    let mut merger = Merger::new(topology, nodes);
    let mut hosts: BTreeMap<Found, Vec<NodeName>> = BTreeMap::new();
    // Hosts without secrets of their own that are in the same groups have the same findings.
    let mut alike: BTreeMap<&[NodeName], Vec<Found>> = BTreeMap::new();
    for host in topology.hosts() {
        let own = nodes.get(host).is_some();
        let parents = topology.parents(host);
        let found = match alike.get(parents) {
            Some(found) if !own => found.clone(),
            _ => {
                let found = Walk::new(topology, host).over(nodes, &merger.host(host)?);
                if !own {
                    alike.insert(parents, found.clone());
                }
                found
            }
        };
        for finding in found {
            hosts.entry(finding).or_default().push(host.clone());
        }
    }
    let lint = |((path, kind, levels), hosts)| Lint { kind, path, levels, hosts };
    Ok(hosts.into_iter().map(lint).collect())
}

type Found = (Vec<String>, LintKind, Vec<NodeName>);

/// What a node has at one path.
type Candidate<'a> = (&'a NodeName, &'a Value);

struct Walk<'a> {
    topology: &'a Topology,
    host: &'a NodeName,
    path: Vec<&'a str>,
    found: Vec<Found>,
    /// For a node, the groups that are above the host in a way around it.
    around: BTreeMap<&'a NodeName, BTreeSet<&'a NodeName>>,
}

impl<'a> Walk<'a> {
    fn new(topology: &'a Topology, host: &'a NodeName) -> Self {
        Self { topology, host, path: Vec::new(), found: Vec::new(), around: BTreeMap::new() }
    }

    fn over(mut self, nodes: &'a SecretTree, merged: &Entries<'a>) -> Vec<Found> {
        self.sets(&levels(self.topology, nodes, self.host), merged);
        self.found
    }

    /// Goes through the keys of sets that all contribute to one.
    fn sets(&mut self, sets: &[(&'a NodeName, &'a SecretTree)], merged: &Entries<'a>) {
        let mut keys: BTreeMap<&str, Vec<Candidate<'a>>> = BTreeMap::new();
        for (node, set) in sets {
            for (name, value) in set.iter().filter(|(name, _)| !is_hidden(name)) {
                keys.entry(name).or_default().push((node, value));
            }
        }
        for (name, candidates) in keys.into_iter().filter(|(_, candidates)| candidates.len() > 1) {
            if let Some(piece) = merged.get(name) {
                self.path.push(name);
                self.key(&candidates, piece);
                self.path.pop();
            }
        }
    }

    fn key(&mut self, candidates: &[Candidate<'a>], merged: &Piece<'a>) {
        let Some(winner) = candidates.iter().find(|(node, _)| *node == merged.from()) else {
            return;
        };
        let (with, against): (Vec<Candidate<'a>>, Vec<Candidate<'a>>) =
            candidates.iter().partition(|(_, value)| agree(value, winner.1));
        let mut rivals = against.clone();
        rivals.retain(|rival| !with.iter().any(|other| self.settled(other.0, rival.0)));
        if !rivals.is_empty() {
            return self.note(LintKind::NamesDecide, winner.0, &rivals);
        }
        let Piece::Set { entries, .. } = merged else { return };
        let around = self.not_cut(&with, &against);
        if !around.is_empty() {
            return self.note(LintKind::NotCut, winner.0, &in_order(candidates, &around));
        }
        let sets: Vec<_> = with.iter().filter_map(|(n, v)| Some((*n, v.as_tree()?))).collect();
        self.sets(&sets, entries);
    }

    /// Finds values that are not sets, and with them the sets that may lie beyond them and still matter.
    ///
    /// A set matters when it has a key that no set on this side of the value has.
    fn not_cut(&mut self, sets: &[Candidate<'a>], values: &[Candidate<'a>]) -> Vec<&'a NodeName> {
        let mut around = Vec::new();
        for (value, _) in values {
            let (near, far): (Vec<Candidate<'a>>, Vec<Candidate<'a>>) =
                sets.iter().partition(|(set, _)| self.settled(set, value));
            let far = far.into_iter().filter(|(_, set)| !covered(set, &near));
            let before = around.len();
            around.extend(far.map(|(node, _)| node));
            if around.len() > before {
                around.push(value);
            }
        }
        around
    }

    /// Tells whether `strong` comes before `weak` however the groups are named.
    ///
    /// It does when all ways up to `weak` lead through `strong`; or through a node that `strong` names as a member
    /// and `weak` does not, since the parents of a node come before all that is above them.
    fn settled(&mut self, strong: &'a NodeName, weak: &'a NodeName) -> bool {
        if self.only_through(strong, weak) {
            return true;
        }
        let (topology, host) = (self.topology, self.host);
        let between = std::iter::once(host).chain(topology.ancestors(host));
        between
            .filter(|node| topology.parents(node).contains(strong))
            .filter(|node| !topology.parents(node).contains(weak))
            .any(|node| self.only_through(node, weak))
    }

    /// Tells whether all ways from the host up to `above` lead through `node`.
    fn only_through(&mut self, node: &'a NodeName, above: &'a NodeName) -> bool {
        let (topology, host) = (self.topology, self.host);
        if above == node || above == host {
            return false;
        }
        let around = self.around.entry(node).or_insert_with(|| {
            let mut around = BTreeSet::new();
            let mut open = if node == host { Vec::new() } else { vec![host] };
            while let Some(at) = open.pop() {
                let fresh = topology.parents(at).iter().filter(|parent| *parent != node);
                open.extend(fresh.filter(|parent| around.insert(*parent)));
            }
            around
        });
        !around.contains(above)
    }

    fn note(&mut self, kind: LintKind, winner: &'a NodeName, others: &[Candidate<'a>]) {
        let others = others.iter().map(|(node, _)| *node).filter(|node| *node != winner);
        let levels = std::iter::once(winner).chain(others).cloned().collect();
        let path = self.path.iter().map(|name| (*name).to_owned()).collect();
        self.found.push((path, kind, levels));
    }
}

/// Tells whether two values at one key leave nothing to decide between them there.
fn agree(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Tree(_), Value::Tree(_)) => true,
        (a, b) => a == b,
    }
}

fn in_order<'a>(candidates: &[Candidate<'a>], nodes: &[&'a NodeName]) -> Vec<Candidate<'a>> {
    candidates.iter().filter(|(node, _)| nodes.contains(node)).copied().collect()
}

/// Tells whether sets on this side of a value have every shown key that `set` has.
fn covered(set: &Value, near: &[Candidate<'_>]) -> bool {
    let mut covered = true;
    if let Value::Tree(tree) = set {
        tree.for_each_leaf(&mut |path, _| {
            let hidden = path.iter().any(|name| is_hidden(name));
            let there = |value: &Value| value.as_tree().is_some_and(|tree| reaches(tree, path));
            covered &= hidden || near.iter().any(|(_, value)| there(value));
        });
    }
    covered
}

/// Tells whether a tree has a value at a path, or a value in its way.
fn reaches(tree: &SecretTree, path: &[&str]) -> bool {
    let Some((first, below)) = path.split_first() else { return true };
    match tree.get(first) {
        None => false,
        Some(Value::Tree(tree)) => reaches(tree, below),
        Some(_) => true,
    }
}
