//! What can be wrong between a master and the nodes of a fleet.

use std::fmt;

use nixmox_topology::NodeName;
use thiserror::Error;

/// How deep the sets and lists of one node may nest.
pub const MAX_DEPTH: usize = 64;

/// How many values one run may lay under others: hosts times the values above each.
pub const MAX_VALUES: usize = 4_000_000;

/// Why secrets cannot be resolved. No variant holds a value.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CascadeError {
    /// There are secrets for a node that the fleet does not have.
    #[error("`{}` is neither a host nor a group of this fleet{}", Shown(name), Meant(closest))]
    UnknownNode {
        /// The name, unchecked.
        name: String,
        /// What may have been meant, the likeliest first.
        closest: Vec<NodeName>,
    },
    /// There are secrets for `common`, which is no node.
    #[error("`common` is no node; secrets for all hosts go to a group that has them all")]
    Common,
    /// A node's secrets are not a set.
    #[error("the secrets of `{node}` are a {type_name}, not a set")]
    NotASet {
        /// The node.
        node: NodeName,
        /// The type of what it has.
        type_name: &'static str,
    },
    /// A key at the top of a node's secrets is taken by the sealed file's own metadata.
    #[error("`{node}` has a secret named `sops`, which sealed files keep for themselves")]
    ReservedKey {
        /// The node.
        node: NodeName,
    },
    /// A node's secrets nest too deeply.
    #[error("the secrets of `{node}` nest deeper than {MAX_DEPTH} levels")]
    TooDeep {
        /// The node.
        node: NodeName,
    },
    /// The hosts together have too many values.
    #[error("the secrets of all hosts together are more than {MAX_VALUES} values")]
    TooLarge,
    /// The groups are so entangled that it takes too long to find out what decides between them.
    #[error("the groups of this fleet are too entangled to find out what decides between them")]
    TooEntangled,
    /// The name that was asked about is a group.
    #[error("`{name}` is a group; only hosts have resolved secrets")]
    NotAHost {
        /// The group.
        name: NodeName,
    },
    /// The host has nothing at the path that was asked about.
    #[error("`{host}` has nothing at that path")]
    NothingThere {
        /// The host.
        host: NodeName,
    },
}

/// An unchecked name, fit to be read on a terminal.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(100).try_for_each(|c| write!(f, "{}", c.escape_debug()))
    }
}

/// The end of a sentence about a name that may have meant another.
struct Meant<'a>(&'a [NodeName]);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            let before = if at == 0 { "; did you mean" } else { " or" };
            write!(f, "{before} `{name}`")?;
        }
        f.write_str(if self.0.is_empty() { "" } else { "?" })
    }
}
