//! What can be wrong with keys, signatures and statements.

use thiserror::Error;

use crate::{FleetId, Hash};

/// Why a text is no key that can be used for signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The text is far too long for a key.
    #[error("the text is too long for an SSH key")]
    TooLong,
    /// The text is not in OpenSSH's format, or is damaged.
    #[error("the text is not an SSH key in OpenSSH's format, or is damaged")]
    Malformed,
    /// The private key is under a passphrase; an agent or `ssh-keygen` signs with it.
    #[error("the private key is under a passphrase")]
    Encrypted,
    /// Keys of this type are not used here.
    #[error("keys of this type do not sign here; use ed25519, sk-ed25519, ecdsa on P-256, or RSA")]
    Type,
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is no SSHSIG, or a damaged one.
    #[error("it is not a signature as `ssh-keygen -Y sign` writes it")]
    Malformed,
    /// It was made for something else.
    #[error("it was made for another purpose than this")]
    Namespace,
    /// It was made with another key.
    #[error("it was made with another key")]
    Key,
    /// It is not of these bytes, or was made up.
    #[error("it does not fit what it is said to sign")]
    Wrong,
}

/// Why a list of allowed signers cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllowedError {
    /// It is no text, or far too long.
    #[error("it is not a text of reasonable size")]
    Text,
    /// A line is not `principals [options] type key`.
    #[error("line {line} is not `name [options] key`")]
    Line {
        /// The line, counted from one.
        line: usize,
    },
    /// A line has an option that is not supported, such as certificates or dates.
    #[error("line {line}: the option `{option}` is not supported")]
    Option {
        /// The line, counted from one.
        line: usize,
        /// The option's name.
        option: String,
    },
    /// It allows nobody to sign this.
    #[error("it names nobody who may sign for `{namespace}`")]
    Nobody {
        /// What was to be signed.
        namespace: String,
    },
}

/// Why a roster cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RosterError {
    /// It is no JSON of a roster, or has more in it than a roster has.
    #[error("it is not a roster: {0}")]
    Malformed(String),
    /// It is a later version of the format.
    #[error("it is written in version {0} of the format, which this program does not know")]
    Version(u32),
    /// The same content is written in another way than the one that is signed.
    #[error("it is not written in the canonical form")]
    NotCanonical,
    /// A name is not of the grammar of names.
    #[error("`{0}` is not a name: letters, digits, and `.`, `_`, `-`, `@` within")]
    Name(String),
    /// An admin has a key that is none.
    #[error("`{name}` has a signing key that cannot be used")]
    Key {
        /// The admin.
        name: String,
        /// Why.
        source: KeyError,
    },
    /// Two admins have one key: nobody could tell who signed or who reads.
    #[error("`{one}` and `{other}` have the same key")]
    Shared {
        /// One of the two.
        one: String,
        /// The other.
        other: String,
    },
    /// An admin has no recipient.
    #[error("`{0}` has no age recipient")]
    NoRecipient(String),
    /// A group has a member who is no admin.
    #[error("`{member}` of the group `{group}` is no admin")]
    Member {
        /// The group.
        group: String,
        /// Its member.
        member: String,
    },
    /// Nobody could change the roster any more.
    #[error("nobody who opens everything has a signing key: the roster could never change again")]
    NoSigner,
    /// What a first roster has and a later one has not, or the other way round.
    #[error("a first roster has a seed and no predecessor, a later one a fleet and a predecessor")]
    Place,
}

/// Why a chain of rosters is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainError {
    /// One of them cannot be used.
    #[error("roster {generation} cannot be used")]
    Roster {
        /// Which of them by its place.
        generation: u64,
        /// Why.
        source: RosterError,
    },
    /// One of them is not there.
    #[error("roster {generation} is missing")]
    Missing {
        /// Which.
        generation: u64,
    },
    /// One of them does not follow the one before it.
    #[error("roster {generation} does not follow the one before it")]
    Broken {
        /// Which of them by its place.
        generation: u64,
    },
    /// Its signature is not one.
    #[error("the signature of roster {generation} is not accepted")]
    Signature {
        /// Which.
        generation: u64,
        /// Why.
        source: SignatureError,
    },
    /// It was signed by somebody who may not.
    #[error(
        "roster {generation} is signed by {fingerprint}, who is no admin of the roster before it"
    )]
    Stranger {
        /// Which.
        generation: u64,
        /// The key's fingerprint.
        fingerprint: String,
    },
}

/// Why what lies beside a signature is not what an admin delivered.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DeliveryError {
    /// It is no signed statement of a delivery.
    #[error("the signature file is malformed: {0}")]
    Malformed(&'static str),
    /// The signature is not one of the statement.
    #[error("the signature is not accepted")]
    Signature(#[source] SignatureError),
    /// It was signed by a key that is nobody's.
    #[error("it is signed by {fingerprint}, which is no admin's key")]
    Stranger {
        /// The key's fingerprint.
        fingerprint: String,
    },
    /// It was signed by somebody who was an admin once.
    #[error("it is signed by `{name}`, who is no admin any more")]
    Former {
        /// The admin who was.
        name: String,
    },
    /// It is of another fleet.
    #[error("it was signed for another fleet, {found}")]
    Fleet {
        /// The fleet that it is of.
        found: FleetId,
    },
    /// It is of another host.
    #[error("it was signed for host {found}")]
    Host {
        /// The host that it is of.
        found: String,
    },
    /// It is of another file.
    #[error("it was signed for the file {found}")]
    Path {
        /// The file that it is of.
        found: String,
    },
    /// It is of other bytes: the file was replaced or changed.
    #[error("the file is not the one that was signed: its SHA-256 is {found}")]
    Content {
        /// The file's digest.
        found: Hash,
    },
    /// The file is sealed to others than was signed.
    #[error("the file is sealed to others than was signed")]
    Recipients,
    /// It holds another structure than was signed.
    #[error("the values are not those that were signed")]
    Structure,
    /// The public parts beside the file are others than was signed.
    #[error("the public parts beside it are not those that were signed")]
    Public,
    /// It is older than what was seen before.
    #[error("it is generation {found}, and generation {seen} was here before")]
    RolledBack {
        /// Its generation.
        found: u64,
        /// The highest that was seen.
        seen: u64,
    },
    /// Another statement of the same generation was seen before.
    #[error("generation {generation} was here before with another content")]
    Forked {
        /// Its generation.
        generation: u64,
    },
}
