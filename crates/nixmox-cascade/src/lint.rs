//! Results that hang on the order of groups' names, or on how levels are put together.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_topology::{NodeName, Topology};
use nixmox_tree::{SecretTree, Value};

use crate::error::CascadeError;
use crate::merge::{Entries, Merger, Piece};
use crate::resolve::{check, is_hidden};
use crate::strength::{Levels, Strengths};

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
/// As [`crate::resolve`], and [`CascadeError::TooEntangled`].
pub fn lint(topology: &Topology, nodes: &SecretTree) -> Result<Vec<Lint>, CascadeError> {
    check(topology, nodes)?;
    let mut merger = Merger::new(topology, nodes);
    let mut strengths = Strengths::new(topology, nodes);
    let mut steps = 0;
    let mut hosts: BTreeMap<Found, Vec<NodeName>> = BTreeMap::new();
    // Hosts without secrets of their own that are in the same groups have the same findings.
    let mut alike: BTreeMap<&[NodeName], Vec<Found>> = BTreeMap::new();
    for host in topology.hosts() {
        let own = nodes.get(host).is_some();
        let parents = topology.parents(host);
        let found = match alike.get(parents) {
            Some(found) if !own => found.clone(),
            _ => {
                let mut walk = Walk { topology, host, path: Vec::new(), found: Vec::new(), steps };
                walk.sets(&strengths.of_host(host), &merger.host(host)?);
                if walk.steps > MAX_STEPS {
                    return Err(CascadeError::TooEntangled);
                }
                let found = walk.found;
                steps = walk.steps;
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

/// How many memberships are looked at to find out what decides.
const MAX_STEPS: usize = 20_000_000;

type Found = (Vec<String>, LintKind, Vec<NodeName>);

/// What a node has at one path.
type Candidate<'a> = (&'a NodeName, &'a Value);

struct Walk<'a> {
    topology: &'a Topology,
    host: &'a NodeName,
    path: Vec<&'a str>,
    found: Vec<Found>,
    /// Memberships looked at so far, for all hosts.
    steps: usize,
}

impl<'a> Walk<'a> {
    /// Goes through the keys of sets that all contribute to one.
    fn sets(&mut self, sets: &Levels<'a>, merged: &Entries<'a>) {
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
        let strong = with.iter().map(|(node, _)| *node).collect();
        let rivals: Vec<_> = against
            .iter()
            .map(|(node, _)| *node)
            .filter(|r| self.may_precede(r, &strong))
            .collect();
        if !rivals.is_empty() {
            return self.note(LintKind::NamesDecide, winner.0, rivals);
        }
        let Piece::Set { entries, .. } = merged else { return };
        let around = self.not_cut(&with, &against);
        if !around.is_empty() {
            let around = candidates.iter().map(|(node, _)| *node).filter(|n| around.contains(n));
            return self.note(LintKind::NotCut, winner.0, around.collect());
        }
        let sets: Vec<_> = with.iter().filter_map(|(n, v)| Some((*n, v.as_tree()?))).collect();
        self.sets(&sets, entries);
    }

    /// Finds values that are not sets, and with them the sets that may lie beyond them and still matter.
    ///
    /// They matter when they have a key that no set has which is always on this side of the value.
    fn not_cut(
        &mut self,
        sets: &[Candidate<'a>],
        values: &[Candidate<'a>],
    ) -> BTreeSet<&'a NodeName> {
        let mut around = BTreeSet::new();
        if values.is_empty() {
            return around;
        }
        let mut judged = BTreeSet::new();
        for (_, set) in sets {
            let Value::Tree(tree) = set else { continue };
            tree.for_each_leaf(&mut |path, _| {
                let holders: BTreeSet<_> = holders(sets, path).collect();
                if path.iter().any(|name| is_hidden(name)) || !judged.insert(holders.clone()) {
                    return;
                }
                let between = values.iter().map(|(node, _)| *node);
                let between: Vec<_> = between.filter(|v| self.may_precede(v, &holders)).collect();
                if !between.is_empty() {
                    around.extend(between);
                    around.extend(holders);
                }
            });
        }
        around
    }

    /// Tells whether groups could be named so that `weak` comes before all of `strong`.
    ///
    /// The merge comes to a node's parents when it comes to the node, and it can be led up any way first. So `weak`
    /// can come first when there is a way up to one of its members that meets no member of a strong one before.
    fn may_precede(&mut self, weak: &NodeName, strong: &BTreeSet<&NodeName>) -> bool {
        if weak == self.host || strong.contains(self.host) {
            return weak == self.host;
        }
        let mut seen = BTreeSet::new();
        let mut open = vec![self.host];
        while let Some(at) = open.pop().filter(|_| self.steps <= MAX_STEPS) {
            let parents = self.topology.parents(at);
            self.steps += 1 + parents.len();
            if parents.contains(weak) {
                return true;
            }
            if !parents.iter().any(|parent| strong.contains(parent)) {
                open.extend(parents.iter().filter(|parent| seen.insert(*parent)));
            }
        }
        false
    }

    fn note(&mut self, kind: LintKind, winner: &'a NodeName, others: Vec<&'a NodeName>) {
        let others = others.into_iter().filter(|node| *node != winner);
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

/// Lists the nodes whose sets have something at a path.
fn holders<'a>(sets: &[Candidate<'a>], path: &[&str]) -> impl Iterator<Item = &'a NodeName> {
    let has = |value: &Value| value.as_tree().is_some_and(|tree| reaches(tree, path));
    sets.iter().filter(move |(_, value)| has(value)).map(|(node, _)| *node)
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
