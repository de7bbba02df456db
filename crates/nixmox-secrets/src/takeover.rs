//! Taking over what another tool keeps: a tree of Nixverse, of sops files, or of agenix.
//!
//! A tree is read through [`Store`](crate::store::Store), so that nothing in it is followed or unbounded, and values
//! go from its sealed files into the master's text in memory. What comes of a tree is a [`Taken`]: values with their
//! place in the master, nodes and host keys that are to be written first, and everything that could not be taken,
//! with the reason. Nothing here is written.
//!
//! | tree of | function | who is a host there |
//! |---|---|---|
//! | Nixverse | [`nixverse`](fn@nixverse) | what `nodes/` declares |
//! | sops, with or without `.sops.yaml` | [`sops`](fn@sops) | whose key's age form is a recipient |
//! | agenix | [`agenix`](fn@agenix) | whose key stands in `publicKeys` |

mod agenix;
mod hosts;
mod nixverse;
mod sops;

use std::collections::BTreeMap;

use nixmox_hostkey::HostKeyError;
use nixmox_sops::{Identities, SealError};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretString, SecretTree, Value};

use crate::store::{Changes, Mode, RelPath};
use crate::strict::sealable;
use crate::{Error, Fleet, Form, Unsealable, master};
pub use agenix::agenix;
pub use hosts::{HostGiven, Hosts};
pub use nixverse::nixverse;
pub use sops::sops;

/// Name in the master, beside `nodes`, of what no host is known for; it is delivered to nobody.
pub const UNASSIGNED: &str = "imported";
/// The most files of a tree.
const MAX_FILES: usize = 100_000;
/// How deep a tree is looked into.
const MAX_DEPTH: usize = 24;

/// What a tree is read with.
#[derive(Clone, Copy)]
pub struct Into<'a> {
    /// The fleet that takes it over.
    pub fleet: &'a Fleet,
    /// The keys that open the tree's files.
    pub identities: &'a Identities,
    /// What the fleet's master is written in: in YAML every leaf is sealed, whether or not it is delivered.
    pub form: Form,
    /// Whether names of files become part of the names of values.
    pub by_file: bool,
}

/// One value on its way into the master.
#[derive(Clone)]
pub struct Item {
    /// Its path in the master.
    pub path: Vec<String>,
    /// The value.
    pub value: Value,
    /// The file that it comes from, and its path in it.
    pub from: String,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Item({} from {})", self.path.join("."), self.from)
    }
}

/// Something that was not taken, or needs a look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// The file, value, host or recipient.
    pub place: String,
    /// Why.
    pub why: Why,
}

/// Why something was not taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Why {
    /// It does not open, or cannot be read; with the cause.
    Unopened(String),
    /// It is not text, and values are.
    NotText,
    /// A host's file cannot hold it.
    Unsealable(Unsealable),
    /// Comments, which trees of values do not have; with their number.
    Comments(usize),
    /// Documents behind the first; with their number.
    Documents(usize),
    /// A file that is put onto the host as it is: here only values are delivered.
    DeliveredFile,
    /// It is not sealed.
    NotSealed,
    /// No host of this fleet is among its recipients: it is kept in the master and delivered to nobody.
    NoHost,
    /// A recipient that is neither a host nor an admin here; with the number of files that it opens, and its name there.
    Stranger(usize, Option<String>),
    /// A recipient of the tree that is no admin of this fleet.
    NotAnAdmin,
    /// Its machine has another key than the one that will be made for it here.
    KeyStaysBehind,
    /// The tree's node files were copied, and what they refer to was not.
    OnlyCopied,
}

impl Why {
    /// Names the reason for scripts; the names are stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unopened(_) => "unopened",
            Self::NotText => "not-text",
            Self::Unsealable(_) => "unsealable",
            Self::Comments(_) => "comments",
            Self::Documents(_) => "documents",
            Self::DeliveredFile => "delivered-file",
            Self::NotSealed => "not-sealed",
            Self::NoHost => "no-host",
            Self::Stranger(..) => "stranger",
            Self::NotAnAdmin => "not-an-admin",
            Self::KeyStaysBehind => "key-stays-behind",
            Self::OnlyCopied => "only-copied",
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unopened(cause) => write!(f, "was not opened: {cause}"),
            Self::NotText => f.write_str("is not UTF-8 text, and a value is"),
            Self::Unsealable(why) => write!(f, "was not taken: {why}"),
            Self::Comments(1) => f.write_str("one comment was not taken"),
            Self::Comments(n) => write!(f, "{n} comments were not taken"),
            Self::Documents(n) => write!(f, "of {n} documents the first was taken"),
            Self::DeliveredFile => f.write_str("is a file for the host as it is; set it as a value"),
            Self::NotSealed => f.write_str("is not sealed, and was not taken"),
            Self::NoHost => f.write_str("no host here opens it: kept beside `nodes`, for nobody"),
            Self::Stranger(files, name) => {
                write!(f, "opens {files} of the files, and is neither host nor admin here")?;
                match name {
                    Some(name) => write!(f, "; is `{name}` there: if that is a host, say --host"),
                    None => f.write_str("; if that is a host, say --host NAME=KEY"),
                }
            }
            Self::NotAnAdmin => f.write_str("is a recipient there and none here; add it if it shall be"),
            Self::KeyStaysBehind => f.write_str(
                "gets a new key, and its machine has another: bring the new one there, or say --host-key",
            ),
            Self::OnlyCopied => f.write_str("was copied; files that it refers to were not"),
        }
    }
}

/// What a tree gives.
#[derive(Debug, Default)]
pub struct Taken {
    /// The values.
    pub items: Vec<Item>,
    /// A whole master, for a fleet whose own holds nothing yet.
    pub text: Option<(Form, SecretString)>,
    /// Definitions of nodes to write first: public text.
    pub definitions: BTreeMap<RelPath, Vec<u8>>,
    /// Groups that are made, with their members.
    pub groups: BTreeMap<String, Vec<NodeName>>,
    /// Hosts' key pairs to write first: the sealed private and the public file, and the fingerprint.
    pub keys: BTreeMap<NodeName, Pair>,
    /// What was not taken, or needs a look.
    pub left: Vec<Left>,
    /// How many sealed files were opened.
    pub files: usize,
    /// Whether every leaf has to be sealed.
    every_leaf: bool,
}

/// A host's key pair on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The private key, sealed to admins.
    pub private: Vec<u8>,
    /// The line of the public key.
    pub public: Vec<u8>,
    /// The fingerprint, to be compared with the machine's.
    pub fingerprint: String,
}

/// Why a tree is not taken over.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TakeoverError {
    /// Reading one of the two repositories fails.
    #[error(transparent)]
    Fleet(#[from] Error),
    /// Reading the tree fails.
    #[error("the tree cannot be taken over")]
    Tree(#[source] Box<Error>),
    /// The tree is this fleet.
    #[error("this is the fleet itself")]
    Itself,
    /// The tree has no file of the kind that was asked for.
    #[error("there is nothing to take: {0}")]
    Nothing(&'static str),
    /// Two values would have one place.
    #[error("two values would be `{path}`: {first} and {second}")]
    Collision {
        /// The place in the master.
        path: String,
        /// Where one comes from.
        first: String,
        /// Where the other does.
        second: String,
    },
    /// A node means something else in the tree than here.
    #[error("`{node}` is {there} there, and {here} here")]
    Node {
        /// The node.
        node: String,
        /// What it is in the tree.
        there: String,
        /// What it is in this fleet.
        here: String,
    },
    /// A host has a key here and another in the tree.
    #[error("host {0} has another key here than there")]
    OtherKey(NodeName),
    /// The tree has an overlay and this fleet has not.
    #[error(
        "the tree keeps what is generated below private/, and this fleet has no such directory"
    )]
    NoOverlay,
    /// The rules of agenix cannot be read.
    #[error("secrets.nix does not tell who opens what")]
    Rules(#[source] RulesProblem),
    /// A name or a key that was given is none.
    #[error("`{0}` is no name of a host with its key")]
    Given(String),
    /// A private key that was given is not usable.
    #[error("the key that was given for {host} is not usable")]
    GivenKey {
        /// The host.
        host: String,
        /// Why.
        source: HostKeyError,
    },
    /// A key cannot be sealed to the admins.
    #[error("the key of {host} cannot be sealed")]
    Seal {
        /// The host.
        host: NodeName,
        /// Why.
        source: SealError,
    },
}

/// What is wrong with the rules of agenix; they hold no secrets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RulesProblem {
    /// They do not evaluate here.
    #[error(transparent)]
    Nix(nixmox_nix::Error),
    /// They are not UTF-8 text.
    #[error("it is not UTF-8 text")]
    NotUtf8,
    /// They are not a set of files with lists of keys.
    #[error("`{0}` has no list `publicKeys` of texts")]
    Shape(String),
}

impl Taken {
    fn new(into: Into<'_>) -> Self {
        Self { every_leaf: into.form == Form::Yaml, ..Self::default() }
    }

    fn left(&mut self, place: impl std::fmt::Display, why: Why) {
        self.left.push(Left { place: place.to_string(), why });
    }

    /// Takes every leaf of a tree of values to its place below `above`; what cannot be sealed is left.
    fn tree(&mut self, above: &[String], tree: &SecretTree, from: &str) {
        tree.for_each_leaf(&mut |path, value| {
            let from = format!("{from} ({})", path.join("."));
            let path: Vec<String> =
                above.iter().cloned().chain(path.iter().map(|name| (*name).to_owned())).collect();
            // In Nix what is not delivered is never sealed leaf by leaf.
            let delivered = path.first().is_some_and(|top| top == "nodes");
            let hidden = path.iter().any(|name| name.starts_with('_'));
            let below = match (self.every_leaf, delivered && !hidden) {
                (true, _) => path.as_slice(),
                (false, true) => path.get(2..).unwrap_or_default(),
                (false, false) => &[],
            };
            let nothing = match value {
                Value::Null => true,
                Value::Tree(tree) => tree.is_empty(),
                _ => false,
            };
            if self.every_leaf && nothing {
                return self.left(from, Why::Unsealable(Unsealable::EmptyItem));
            }
            let whole = below.iter().rev().fold(value.clone(), |below, name| {
                Value::Tree([(name.clone(), below)].into_iter().collect())
            });
            if let (Value::Tree(whole), false) = (&whole, below.is_empty())
                && let Err((_, why)) = sealable(whole.clone())
            {
                return self.left(from, Why::Unsealable(why));
            }
            self.items.push(Item { path, value: value.clone(), from });
        });
    }

    /// Returns the master's text with all values in it.
    ///
    /// # Errors
    ///
    /// [`TakeoverError::Collision`] when two values have one place, or one of the master's is another;
    /// [`TakeoverError::Fleet`] when the text cannot be evaluated or edited.
    pub fn apply(&self, form: Form, text: &SecretString) -> Result<SecretString, TakeoverError> {
        let held = master::evaluate(form, text, None)?;
        if let Some((of, whole)) = &self.text
            && *of == form
            && is_empty(&held)
        {
            return Ok(whole.clone());
        }
        let mut text = text.clone();
        for item in self.fresh(&held)? {
            let path: Vec<&str> = item.path.iter().map(String::as_str).collect();
            text = master::set(form, &text, &path, &item.value)?;
        }
        Ok(text)
    }

    /// Finds the items that the master does not hold yet, and refuses two values for one place.
    fn fresh(&self, held: &SecretTree) -> Result<Vec<&Item>, TakeoverError> {
        let mut places: BTreeMap<&[String], &Item> = BTreeMap::new();
        let mut fresh = Vec::new();
        let collision = |item: &Item, first: &str| TakeoverError::Collision {
            path: item.path.join("."),
            first: first.to_owned(),
            second: item.from.clone(),
        };
        for item in &self.items {
            if let Some(other) = places.insert(&item.path, item) {
                if other.value != item.value {
                    return Err(collision(item, &other.from));
                }
                continue;
            }
            match held.at(&item.path) {
                Some(value) if *value == item.value => {}
                Some(_) => return Err(collision(item, "the master")),
                None => fresh.push(item),
            }
        }
        for item in &fresh {
            for length in 1..item.path.len() {
                let above = item.path.get(..length).unwrap_or_default();
                if let Some(other) = places.get(above) {
                    return Err(collision(item, &other.from));
                }
                if held.at(above).is_some_and(|value| value.as_tree().is_none()) {
                    return Err(collision(item, "the master"));
                }
            }
        }
        Ok(fresh)
    }

    /// Returns the files that have to be there before the secrets are sealed: definitions and host keys.
    ///
    /// # Errors
    ///
    /// [`TakeoverError::Fleet`], never in practice: every directory is that of a checked name.
    pub fn prepare(&self, fleet: &Fleet) -> Result<Changes, TakeoverError> {
        let mut changes = Changes::new();
        for (path, bytes) in &self.definitions {
            changes.expect(path.clone(), None);
            changes.write(path.clone(), bytes.clone(), Mode::Public);
        }
        for (host, pair) in &self.keys {
            let paths = fleet.layout.host(&self.directory(fleet, host)).map_err(Error::from)?;
            for (path, bytes, mode) in [
                (paths.key, &pair.private, Mode::Public),
                (paths.public, &pair.public, Mode::Public),
            ] {
                changes.expect(path.clone(), None);
                changes.write(path, bytes.clone(), mode);
            }
        }
        Ok(changes)
    }

    /// Returns the directory that a host will have, once the definitions are written.
    fn directory(&self, fleet: &Fleet, host: &NodeName) -> String {
        let own = ["node.nix", "host.nix"].iter().any(|file| {
            let path = RelPath::parse(&format!("nodes/{host}/{file}"));
            path.is_ok_and(|path| self.definitions.contains_key(&path))
        });
        let made = self.groups.iter().filter(|(_, members)| members.contains(host));
        let group = made.map(|(group, _)| group.as_str()).max();
        match group {
            Some(group) if !own && !fleet.topology.contains(host) => {
                format!("nodes/{group}/{host}")
            }
            _ => fleet.topology.dir(host),
        }
    }
}

/// Tells whether a master gives nothing to anybody.
fn is_empty(master: &SecretTree) -> bool {
    master.iter().all(|(name, value)| match value {
        Value::Tree(tree) => name == "nodes" && tree.is_empty(),
        _ => false,
    })
}
