//! What can be wrong with the nodes of a fleet.

use std::fmt;

use thiserror::Error;

use crate::topology::{MAX_GROUPS_ABOVE, MAX_MEMBERSHIPS, MAX_NODES};
use crate::{NameError, NodeName};

/// How many findings are kept; whoever has more fixes these first.
pub(crate) const MAX_FINDINGS: usize = 100;

/// How much of an unchecked name or path is shown.
const MAX_SHOWN: usize = 100;

/// Everything that is wrong with the nodes of a fleet; there is at least one finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopologyError {
    findings: Vec<Finding>,
}

impl TopologyError {
    pub(crate) fn new(findings: Vec<Finding>) -> Self {
        Self { findings }
    }

    /// Returns the findings in the order of the names that they are about, at most a hundred.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl fmt::Display for TopologyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, finding) in self.findings.iter().enumerate() {
            let before = if at == 0 { "" } else { "; " };
            write!(f, "{before}{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for TopologyError {}

/// One thing that is wrong with the nodes of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Finding {
    /// A directory that declares a node has a name that no node can have.
    #[error("{} names a node badly: {problem}", shown(file))]
    Directory {
        /// The declaring file.
        file: String,
        /// The directory's name.
        name: String,
        /// The broken rule.
        problem: NameError,
    },
    /// A group has a member whose name no node can have.
    #[error("{} has a member \"{}\": {problem}", shown(file), shown(name))]
    Member {
        /// The group's file.
        file: String,
        /// The member's name.
        name: String,
        /// The broken rule.
        problem: NameError,
    },
    /// One name is both a host and a group.
    #[error("`{name}` is a host by {} and a group by {}", shown(host), shown(group))]
    HostAndGroup {
        /// The name.
        name: NodeName,
        /// The file that makes it a host.
        host: String,
        /// The file that makes it a group.
        group: String,
    },
    /// A directory adds a member to a section of the manifest, which would give it that section's secrets.
    #[error("`{}` is in {group} by {}, and not by {}", shown(member), shown(file), shown(section))]
    OutsideSection {
        /// The section.
        group: NodeName,
        /// The name that is added.
        member: String,
        /// The group's file.
        file: String,
        /// Where the section is written.
        section: String,
    },
    /// A group is its own member.
    #[error("{} has its own group as a member", shown(file))]
    ContainsItself {
        /// The group's file.
        file: String,
    },
    /// Groups contain each other in a circle.
    #[error("groups contain each other: {} (in {})", circle(path), files(among))]
    Cycle {
        /// The groups, each containing the next, and the last containing the first.
        path: Vec<NodeName>,
        /// Their files.
        among: Vec<String>,
    },
    /// A group has no members.
    #[error("the group in {} has no members", files(among))]
    Empty {
        /// Its public and private files.
        among: Vec<String>,
    },
    /// There are too many nodes.
    #[error("there are more than {MAX_NODES} nodes")]
    TooManyNodes,
    /// There are too many memberships.
    #[error("the groups have more than {MAX_MEMBERSHIPS} members in all")]
    TooManyMemberships,
    /// Too many groups are above one node.
    #[error("`{name}` is in more than {MAX_GROUPS_ABOVE} groups, directly or through others")]
    TooManyGroupsAbove {
        /// The first such node from the top.
        name: NodeName,
    },
}

/// Makes unchecked text fit to be read on a terminal: short, and without control or direction characters.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

fn files(among: &[String]) -> String {
    among.iter().map(|file| shown(file)).collect::<Vec<_>>().join(", ")
}

fn circle(path: &[NodeName]) -> String {
    path.iter().chain(path.first()).map(NodeName::as_str).collect::<Vec<_>>().join(" ⊇ ")
}
