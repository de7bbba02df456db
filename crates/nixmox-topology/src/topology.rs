//! The questions that a topology answers.

use std::collections::{BTreeMap, BTreeSet};

use crate::build;
use crate::{Area, Declaration, NodeName, TopologyError};

/// The most hosts and groups that one fleet may have.
pub const MAX_NODES: usize = 20_000;

/// The most memberships that the groups of one fleet may have in all.
pub const MAX_MEMBERSHIPS: usize = 200_000;

/// The most groups that may be above one node.
pub const MAX_GROUPS_ABOVE: usize = 256;

/// How many suggestions a mistyped name gets.
const MAX_CLOSEST: usize = 3;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// One machine.
    Host,
    /// A named set of hosts and groups.
    Group,
}

/// One node and everything that is around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) area: Area,
    /// The group below whose directory its files lie; none when they have a directory of their own.
    pub(crate) home: Option<NodeName>,
    /// Sorted.
    pub(crate) parents: Vec<NodeName>,
    /// Sorted.
    pub(crate) members: Vec<NodeName>,
    /// Depth first through sorted parents, each group where it comes first.
    pub(crate) ancestors: Vec<NodeName>,
}

/// The nodes and groups of a fleet, known to be free of contradictions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology {
    pub(crate) nodes: BTreeMap<NodeName, Node>,
}

impl Topology {
    /// Unites what the directories of a fleet declare.
    ///
    /// Members of a group's public and private files are united. A name that only groups mention is a host.
    ///
    /// # Errors
    ///
    /// [`TopologyError`] with everything that is wrong, each finding with the files to look at.
    pub fn build(declarations: Vec<Declaration>) -> Result<Self, TopologyError> {
        build::build(declarations)
    }

    /// Goes through hosts and groups in byte order.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.keys()
    }

    /// Goes through hosts in byte order.
    pub fn hosts(&self) -> impl Iterator<Item = &NodeName> {
        self.of_kind(Kind::Host)
    }

    /// Goes through groups in byte order.
    pub fn groups(&self) -> impl Iterator<Item = &NodeName> {
        self.of_kind(Kind::Group)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().filter(move |(_, node)| node.kind == kind).map(|(name, _)| name)
    }

    /// Returns the checked name when the fleet has a node of it.
    pub fn name(&self, name: &str) -> Option<&NodeName> {
        self.nodes.get_key_value(name).map(|(name, _)| name)
    }

    /// Tells whether the fleet has a node of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.nodes.contains_key(name)
    }

    /// Returns what the name stands for, if anything.
    pub fn kind(&self, name: &str) -> Option<Kind> {
        self.nodes.get(name).map(|node| node.kind)
    }

    /// Returns the area of a node: private when no public file declares or mentions it.
    pub fn area(&self, name: &str) -> Option<Area> {
        self.nodes.get(name).map(|node| node.area)
    }

    /// Returns the groups that name this node, in byte order.
    pub fn parents(&self, name: &str) -> &[NodeName] {
        self.nodes.get(name).map_or(&[], |node| &node.parents)
    }

    /// Returns what this group names, in byte order; a host names nothing.
    pub fn members(&self, name: &str) -> &[NodeName] {
        self.nodes.get(name).map_or(&[], |node| &node.members)
    }

    /// Returns all groups above this node: its first parent, then all above that, then its second parent, and so on.
    ///
    /// A group that is reached in more than one way stands where it is reached first.
    pub fn ancestors(&self, name: &str) -> &[NodeName] {
        self.nodes.get(name).map_or(&[], |node| &node.ancestors)
    }

    /// Tells whether `group` is above `name`, directly or through other groups.
    pub fn is_above(&self, group: &str, name: &str) -> bool {
        self.ancestors(name).iter().any(|above| above == group)
    }

    /// Returns the hosts that a name stands for, in byte order: those below a group, or the host itself.
    pub fn hosts_of(&self, name: &str) -> Vec<NodeName> {
        let mut seen = BTreeSet::new();
        let mut hosts = BTreeSet::new();
        let mut open: Vec<&NodeName> = self.name(name).into_iter().collect();
        while let Some(next) = open.pop() {
            if !seen.insert(next) {
                continue;
            }
            match self.kind(next) {
                Some(Kind::Host) => drop(hosts.insert(next.clone())),
                _ => open.extend(self.members(next)),
            }
        }
        hosts.into_iter().collect()
    }

    /// Returns the directory of a node's files, below the repository or below its `private/`.
    ///
    /// A node that a directory declares has `nodes/<name>`, also one that this fleet does not have; a host that
    /// only groups name lies below the last of them. Groups of a manifest have no directories, so a service that is
    /// in no other group has `nodes/<name>` too.
    pub fn dir(&self, name: &NodeName) -> String {
        match self.nodes.get(name).and_then(|node| node.home.as_ref()) {
            Some(group) => format!("nodes/{group}/{name}"),
            None => format!("nodes/{name}"),
        }
    }

    /// Returns up to three names that a mistyped one may have meant, the likeliest first.
    pub fn closest(&self, mistyped: &str) -> Vec<NodeName> {
        if mistyped.len() > 2 * 63 {
            return Vec::new();
        }
        let allowed = (mistyped.len() / 3).max(1);
        let wanted = mistyped.to_ascii_lowercase();
        let mut near: Vec<(usize, &NodeName)> = self
            .nodes()
            .map(|name| (strsim::osa_distance(&wanted, &name.to_ascii_lowercase()), name))
            .filter(|(distance, _)| *distance <= allowed)
            .collect();
        near.sort();
        near.into_iter().take(MAX_CLOSEST).map(|(_, name)| name.clone()).collect()
    }
}
