//! Nodes, groups and membership of a fleet.
//!
//! A directory of `nodes/` (or of `private/nodes/`) declares a host when it has `host.nix` or `node.nix`, and a
//! group when it has `group.nix`, whose attribute names are the group's members. A member without a file of its
//! own is a host that its groups make. [`Topology::build`] takes what the directories declare, reports everything
//! that is wrong with it at once, and afterwards every question about membership has an answer:
//!
//! | question | function |
//! |---|---|
//! | which hosts and groups are there | [`Topology::hosts`], [`Topology::groups`], [`Topology::nodes`] |
//! | which groups name a node, and which are above those | [`Topology::parents`], [`Topology::ancestors`] |
//! | what a group names, and which hosts that makes | [`Topology::members`], [`Topology::hosts_of`] |
//! | where a node's files lie | [`Topology::dir`] |
//! | what a mistyped name may have meant | [`Topology::closest`] |
//!
//! Order is everywhere the byte order of names (`1 < B < a < a-b`). The name `common` is never a node: as a
//! directory or a member it is skipped.
//!
//! Where Nixverse finds a mistake only when something looks at the wrong node, this crate looks at all of them:
//! a cycle, an empty group or a reserved name is refused even if no secret mentions it. It also refuses what
//! Nixverse lets pass, member names outside the grammar of [`NodeName`], because names become paths.
//!
//! What it does not do: it reads no file and evaluates no Nix; its caller lists the directories and knows the
//! members' names. It merges no secrets (`nixmox-cascade` does).
//!
//! ```
//! use nixmox_topology::{Area, Declaration, DeclarationKind, Topology};
//!
//! let web = Declaration {
//!     name: "web".into(),
//!     area: Area::Public,
//!     kind: DeclarationKind::Group { members: vec!["w1".into(), "w2".into()] },
//!     file: "nodes/web/group.nix".into(),
//! };
//! let fleet = Topology::build(vec![web])?;
//! let hosts: Vec<_> = fleet.hosts().map(|host| fleet.dir(host)).collect();
//! assert_eq!(hosts, ["nodes/web/w1", "nodes/web/w2"]);
//! # Ok::<(), nixmox_topology::TopologyError>(())
//! ```

mod build;
mod cycle;
mod declaration;
mod error;
mod name;
mod topology;

pub use declaration::{Area, Declaration, DeclarationKind};
pub use error::{Finding, TopologyError};
pub use name::{NameError, NodeName};
pub use topology::{Kind, MAX_GROUPS_ABOVE, MAX_MEMBERSHIPS, MAX_NODES, Topology};
