//! Resolution of cascading secrets from groups to hosts, with provenance.
//!
//! A master writes values for groups and for hosts. A host's secrets are its own values, and under them those of
//! the groups that it is in:
//!
//! - a host's own value wins over every group's;
//! - under it lie the groups that name the host; where two of them disagree, the last name wins;
//! - under those lies everything above the *first* of these groups, then everything above the second, and so on;
//! - sets are merged key by key; lists, `null` and all other values replace each other whole;
//! - keys that begin with `_` serve references and are delivered to nobody; a set that is or becomes empty is left
//!   out, except directly in a list.
//!
//! This is Nixverse's order, exactly, with its two surprises: among the groups that name a node the last wins, but
//! among those above them the first; and a plain value at a middle level does not cut off a set above it when the
//! host has a set there. [`lint`] finds every key whose result hangs on one of them.
//!
//! | job | function |
//! |---|---|
//! | what every host is delivered | [`resolve`] |
//! | what one host has, hidden keys among it | [`merged`] |
//! | which node supplies each value of each host | [`origins`] |
//! | which hosts are delivered anything at all | [`counted`] |
//! | where a value comes from and what it shadows | [`explain`] |
//! | which results hang on the order of names | [`lint`] |
//!
//! `nodes` is the set of that name in an evaluated master. Values keep their types: an integer stays an integer and
//! `1.0` a float, however a format writes them; values and texts are shared, not copied.
//!
//! What it does not do: it evaluates no master (`nixmox-nix` and `nixmox-sops` read those), so it sees no
//! references between secrets, and it encrypts nothing.
//!
//! ```
//! use nixmox_topology::{Area, Declaration, DeclarationKind, Topology};
//! use nixmox_tree::{SecretTree, Value};
//!
//! let web = Declaration {
//!     name: "web".into(),
//!     area: Area::Public,
//!     kind: DeclarationKind::Group { members: vec!["w1".into(), "w2".into()] },
//!     file: "nodes/web/group.nix".into(),
//! };
//! let fleet = Topology::build(vec![web])?;
//! let mut nodes = SecretTree::new();
//! nodes.insert_at(&["web", "token"], Value::string("for all")).expect("free");
//! nodes.insert_at(&["w1", "token"], Value::string("for w1")).expect("free");
//!
//! let delivered = nixmox_cascade::resolve(&fleet, &nodes)?;
//! assert_eq!(delivered["w1"].get("token").and_then(Value::as_str), Some("for w1"));
//! assert_eq!(delivered["w2"].get("token").and_then(Value::as_str), Some("for all"));
//!
//! let why = nixmox_cascade::explain(&fleet, &nodes, "w1", &["token"])?;
//! assert_eq!(why.leaves[0].from, "w1");
//! assert_eq!(why.leaves[0].shadowed[0].node, "web");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod error;
mod explain;
mod lint;
mod merge;
mod resolve;
mod strength;

pub use error::{CascadeError, MAX_DEPTH, MAX_VALUES};
pub use explain::{Delivery, Explanation, Leaf, Standing, explain};
pub use lint::{Lint, LintKind, lint};
pub use resolve::{counted, merged, origins, resolve};
