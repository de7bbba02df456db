//! What can go wrong between a fleet and its sealed files.

use std::collections::BTreeSet;

use nixmox_cascade::CascadeError;
use nixmox_generate::{DeclareError, GenerateError};
use nixmox_hostkey::HostKeyError;
use nixmox_manifest::InventoryError;
use nixmox_nix::Error as NixError;
use nixmox_sops::{
    ConfigError as RulesError, DecryptError, IdentityError, ParseError, PlainError, RecipientError,
    SealError, ShapeError,
};
use nixmox_topology::{NodeName, TopologyError};
use nixmox_tree::SecretString;
use thiserror::Error;

use crate::policy::PolicyProblem;
use crate::store::{PathError, RelPath, StoreError};
use crate::strict::Unsealable;
use crate::trust::TrustError;

/// Why an operation on the secrets of a fleet failed.
///
/// No variant holds a secret value: a text that does not evaluate is kept as a [`SecretString`] beside the place.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// A roster or a signature is not trusted, or cannot be made.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// What was delivered to a host is not what an admin signed.
    #[error("what host {host} was delivered is not accepted")]
    Delivery {
        /// The host.
        host: String,
        /// What does not fit.
        source: nixmox_signing::DeliveryError,
    },
    /// A file of the fleet could not be read or written safely.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A path that would leave the fleet or is not plain.
    #[error(transparent)]
    Path(#[from] PathError),
    /// A node's directory is a symbolic link.
    #[error("{path} is a symbolic link, which is not followed")]
    SymlinkedNode {
        /// The link.
        path: RelPath,
    },
    /// A group file does not tell its members.
    #[error("the members of {path} cannot be told")]
    GroupFile {
        /// The group file.
        path: RelPath,
        /// What is wrong in it; group files hold no secrets, so the text may be shown.
        problem: SourceProblem,
    },
    /// The manifest does not tell which services there are.
    #[error("the services of {path} cannot be told")]
    Manifest {
        /// The manifest.
        path: RelPath,
        /// What is wrong in it; manifests hold no secrets, so it may be shown.
        problem: ManifestProblem,
    },
    /// The nodes and groups contradict each other.
    #[error("the nodes of this fleet contradict each other")]
    Topology(#[source] TopologyError),
    /// `.sops.yaml` is wrong.
    #[error("{path} cannot be used")]
    Rules {
        /// The file.
        path: RelPath,
        /// What is wrong in it.
        source: RulesError,
    },
    /// There is no `.sops.yaml`, so nobody is named to seal the master to.
    #[error("this fleet has no .sops.yaml, which names the recipients of its secrets")]
    NoRules,
    /// No rule of `.sops.yaml` is for a file, or the one that is names no recipient.
    #[error(".sops.yaml names no recipient for {path}")]
    NoRecipients {
        /// The file to be sealed.
        path: RelPath,
    },
    /// There is no master file.
    #[error("this fleet has no {path} yet")]
    NoMaster {
        /// Where it would be.
        path: RelPath,
    },
    /// A sealed file is malformed.
    #[error("{path} is not a sound sops file")]
    Parse {
        /// The file.
        path: RelPath,
        /// What is wrong in it.
        source: ParseError,
    },
    /// A sealed file cannot be opened.
    #[error("{path} cannot be opened")]
    Open {
        /// The file.
        path: RelPath,
        /// Why: no key for it, or tampered with.
        source: DecryptError,
    },
    /// The master's text does not say what it should.
    #[error("the secrets do not evaluate")]
    Text(TextProblem),
    /// The values do not fit the nodes.
    #[error("the secrets do not fit the nodes of this fleet")]
    Cascade(#[source] CascadeError),
    /// Something in the master begins like a declaration and is none.
    #[error("the secrets declare what cannot be made")]
    Declare(#[source] DeclareError),
    /// A declared value cannot be made.
    #[error("a declared secret cannot be made")]
    Generate(#[source] GenerateError),
    /// A path names nothing that is generated.
    #[error("nothing that is generated stands at `{path}`")]
    NotGenerated {
        /// The path as it was asked for.
        path: String,
    },
    /// The file of generated values was not sealed by this tool: somebody else may know what is in it.
    #[error("nobody has vouched for the generated secrets in {path}")]
    UnvouchedGenerated {
        /// The file.
        path: RelPath,
    },
    /// The file of generated values opens, but does not hold any.
    #[error("{path} does not have the form of generated secrets")]
    Records {
        /// The file.
        path: RelPath,
    },
    /// A file of somebody else stands where public parts belong.
    #[error(
        "{path} is in the way of the public parts of generated secrets, and this tool did not write it"
    )]
    InTheWay {
        /// The file.
        path: RelPath,
    },
    /// A host's value cannot be sealed.
    #[error("the value of `{path}` for host {host} cannot be delivered: {problem}")]
    Unsealable {
        /// The host that would get it.
        host: NodeName,
        /// The value's path within the host's secrets.
        path: String,
        /// Why.
        problem: Unsealable,
    },
    /// A file could not be sealed.
    #[error("{path} cannot be sealed")]
    Seal {
        /// The file.
        path: RelPath,
        /// Why.
        source: SealError,
    },
    /// A host's age recipient is not usable.
    #[error("the key of host {host} is no age recipient")]
    Recipient {
        /// The host.
        host: NodeName,
        /// Why.
        source: RecipientError,
    },
    /// A host key file is malformed, or its two halves do not belong together.
    #[error("{path} is not a usable host key")]
    HostKey {
        /// The file.
        path: RelPath,
        /// What is wrong.
        source: HostKeyError,
    },
    /// A host's private and public key files hold different keys.
    #[error("{key} and {public} are not halves of one key")]
    MismatchedHostKey {
        /// The sealed private key.
        key: RelPath,
        /// The public key.
        public: RelPath,
    },
    /// A host's private key does not make an age identity.
    #[error("{path} makes no age identity")]
    HostIdentity {
        /// The sealed private key.
        path: RelPath,
        /// Why.
        source: IdentityError,
    },
    /// One of a host's two key files is missing.
    #[error("host {host} has {present} but not {missing}")]
    HalfHostKey {
        /// The host.
        host: NodeName,
        /// The file that is there.
        present: RelPath,
        /// The file that is not.
        missing: RelPath,
    },
    /// A host has no key yet.
    #[error("host {host} has no key yet")]
    NoHostKey {
        /// The host.
        host: NodeName,
    },
    /// The key that a host is to get was not made here: it may be anybody's.
    #[error("nobody has vouched for the key that host {host} is to get")]
    UnvouchedNextKey {
        /// The host.
        host: NodeName,
    },
    /// The key that a host is to get is gone.
    #[error("the key that host {host} is to get is gone")]
    LostNextKey {
        /// The host.
        host: NodeName,
    },
    /// No key waits for a host.
    #[error("the key of host {host} is not being replaced")]
    NoNextKey {
        /// The host.
        host: NodeName,
    },
    /// Host keys in the repository that no admin has vouched for with this tool.
    #[error("nobody has vouched for {} of this fleet", keys(.hosts.len()))]
    UnknownHostKeys {
        /// Each host with the fingerprint of its key.
        hosts: Vec<(NodeName, String)>,
    },
    /// The recipients of `.sops.yaml` are not those that an admin last sealed to, or nothing tells who those were.
    #[error("nobody has vouched for the recipients in .sops.yaml as they are now")]
    AdminsChanged {
        /// Recipients that would gain access to something; all of them when no digests vouch for any.
        added: BTreeSet<String>,
        /// Recipients that would lose it.
        removed: BTreeSet<String>,
    },
    /// A generated file exists both inside and outside `private/`.
    #[error("{public} and {private} both exist")]
    BothAreas {
        /// The one outside the overlay.
        public: RelPath,
        /// The one inside.
        private: RelPath,
    },
    /// A host has no files where they belong, and keys in several directories that belong to no host.
    #[error("the key of host {host} lies in several places, none of them its own")]
    ScatteredHost {
        /// The host.
        host: NodeName,
        /// The sealed keys that could be its own.
        places: Vec<RelPath>,
    },
    /// A path names nothing in the secrets.
    #[error("there is no secret at `{path}`")]
    NoSuchSecret {
        /// The path as it was asked for.
        path: String,
    },
    /// A name is neither a node nor a group of the fleet.
    #[error("`{name}` is no host of this fleet")]
    NoSuchHost {
        /// The name as it was asked for.
        name: String,
        /// The nearest names there are.
        nearest: Vec<String>,
    },
}

fn keys(count: usize) -> String {
    if count == 1 { "1 host key".to_owned() } else { format!("{count} host keys") }
}

/// Why a definition that holds no secrets cannot be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum SourceProblem {
    /// The file is not UTF-8 text.
    NotUtf8,
    /// The file is not an attribute set that the evaluator accepts.
    Nix {
        /// The file's text.
        text: String,
        /// The place and the cause.
        source: NixError,
    },
}

/// Why a manifest does not tell its services.
#[derive(Debug)]
#[non_exhaustive]
pub enum ManifestProblem {
    /// The file is not UTF-8 text.
    NotUtf8,
    /// It cannot be read, or its sections are not what they should be.
    Unread(Box<InventoryError>),
}

/// Why the master's text cannot be used, with the text for whoever may see it.
#[derive(Debug)]
#[non_exhaustive]
pub enum TextProblem {
    /// The text is not UTF-8.
    NotUtf8,
    /// The Nix expression does not parse or evaluate.
    Nix {
        /// The text.
        text: SecretString,
        /// The place and the cause.
        source: NixError,
    },
    /// The YAML does not parse.
    Yaml {
        /// The text.
        text: SecretString,
        /// The place and the cause.
        source: PlainError,
    },
    /// The YAML has several documents, of which only the first would count.
    SeveralDocuments,
    /// `nodes` is there and is not a set.
    NodesNotASet,
    /// `policy` says what no policy can.
    Policy(PolicyProblem),
    /// An edit by path was refused.
    Edit(nixmox_nix::EditError),
    /// The YAML says what a tree of secrets cannot, or an edit by path goes through a value that is not a set.
    Shape(ShapeError),
    /// Real Nix could not be run or refused the text.
    RealNix(std::io::Error),
    /// Real Nix answered something that is no tree.
    Answer(nixmox_nix::AnswerError),
}
