//! Which node's value comes before which.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_topology::{NodeName, Topology};
use nixmox_tree::{SecretTree, Value};

/// Nodes that have secrets, with these.
pub(crate) type Levels<'a> = [(&'a NodeName, &'a SecretTree)];

/// Puts the nodes above each host in order, sharing what hosts have in common.
pub(crate) struct Strengths<'a> {
    topology: &'a Topology,
    nodes: &'a SecretTree,
    above: BTreeMap<&'a NodeName, Vec<(&'a NodeName, &'a SecretTree)>>,
}

impl<'a> Strengths<'a> {
    pub(crate) fn new(topology: &'a Topology, nodes: &'a SecretTree) -> Self {
        Self { topology, nodes, above: BTreeMap::new() }
    }

    /// Lists a host and the groups above it that have secrets, the strongest first.
    pub(crate) fn of_host(&mut self, host: &'a NodeName) -> Vec<(&'a NodeName, &'a SecretTree)> {
        for parent in self.topology.parents(host) {
            self.fill(parent);
        }
        self.written(host).into_iter().chain(self.list(host)).collect()
    }

    /// Makes the list of a group after those of all groups above it.
    fn fill(&mut self, group: &'a NodeName) {
        let mut open = vec![group];
        while let Some(at) = open.pop() {
            if self.above.contains_key(at) {
                continue;
            }
            let parents = self.topology.parents(at);
            if parents.iter().all(|parent| self.above.contains_key(parent)) {
                let list = self.list(at);
                self.above.insert(at, list);
            } else {
                open.push(at);
                open.extend(parents);
            }
        }
    }

    /// Lists the parents of a node, the last first, and then what is above each, the first first.
    fn list(&self, node: &NodeName) -> Vec<(&'a NodeName, &'a SecretTree)> {
        let parents = self.topology.parents(node);
        let direct = parents.iter().rev().filter_map(|parent| self.written(parent));
        let above = parents.iter().filter_map(|parent| self.above.get(parent)).flatten().copied();
        let mut seen = BTreeSet::new();
        direct.chain(above).filter(|(node, _)| seen.insert(*node)).collect()
    }

    fn written(&self, node: &'a NodeName) -> Option<(&'a NodeName, &'a SecretTree)> {
        Some((node, self.nodes.get(node).and_then(Value::as_tree)?))
    }
}
