//! What can be wrong with a fleet's sealed files, in words and for scripts.

use std::fmt;

use crate::store::RelPath;

/// One thing that is wrong with a fleet's sealed files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file that it is about.
    pub path: RelPath,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What can be wrong with a sealed file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A crash left a commit that the next change will finish.
    Unfinished,
    /// It holds plaintext where ciphertext belongs.
    Plaintext,
    /// It is not there, though its host has secrets.
    Missing,
    /// It cannot be read as a sops file or a key; with the cause.
    Malformed(String),
    /// It is not sealed as strictly as a fleet's files are; with the rule and the place.
    Unsound(String),
    /// It is sealed to others than it should be.
    Recipients {
        /// Who should open it and cannot.
        missing: Vec<String>,
        /// Who can open it and should not.
        extra: Vec<String>,
    },
    /// It does not open, or its MAC is wrong; with the cause.
    Unopened(String),
    /// Its values are not those that the master gives the host; with their names.
    Outdated(Vec<String>),
    /// It belongs to no host of the fleet, or to one without secrets.
    Orphan,
    /// It lies elsewhere than it belongs; the next change moves it there.
    Misplaced(RelPath),
    /// Its public parts are not those of the generated secrets.
    AlteredPublic,
    /// No digest of this tool vouches for this host key.
    UnvouchedKey,
    /// The key that its host is to get was not made by this tool, or is gone.
    UnvouchedNextKey,
    /// No digest of this tool vouches for this sealed file: somebody else may know its data key.
    UnvouchedFile,
    /// No digest of this tool vouches for these recipients in `.sops.yaml`, or for those that were taken out.
    UnvouchedAdmins(Vec<String>),
    /// The roster is not one that this machine trusts; with the cause.
    Untrusted(String),
    /// It names recipients that the roster does not.
    Strangers(Vec<String>),
    /// It lacks recipients that the roster names; the next change writes it anew.
    BehindRoster,
    /// It has no signature, in a fleet that signs what it delivers.
    Unsigned,
    /// Its signature is not accepted; with the cause.
    BadSignature(String),
}

impl ProblemKind {
    /// Names the problem for scripts; the names are stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unfinished => "unfinished-commit",
            Self::Plaintext => "plaintext",
            Self::Missing => "missing",
            Self::Malformed(_) => "malformed",
            Self::Unsound(_) => "unsound",
            Self::Recipients { .. } => "wrong-recipients",
            Self::Unopened(_) => "does-not-open",
            Self::Outdated(_) => "outdated",
            Self::Orphan => "orphan",
            Self::Misplaced(_) => "misplaced",
            Self::AlteredPublic => "altered-public-parts",
            Self::UnvouchedKey => "unvouched-key",
            Self::UnvouchedNextKey => "unvouched-next-key",
            Self::UnvouchedFile => "unvouched-file",
            Self::UnvouchedAdmins(_) => "unvouched-admins",
            Self::Untrusted(_) => "untrusted-roster",
            Self::Strangers(_) => "strangers",
            Self::BehindRoster => "behind-roster",
            Self::Unsigned => "unsigned",
            Self::BadSignature(_) => "bad-signature",
        }
    }
}

impl fmt::Display for ProblemKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unfinished => f.write_str("a crash left a commit unfinished"),
            Self::Plaintext => f.write_str("holds plaintext"),
            Self::Missing => f.write_str("is missing, though its host has secrets"),
            Self::Malformed(cause) => write!(f, "is malformed: {cause}"),
            Self::Unsound(what) => write!(f, "is not sealed strictly: {what}"),
            Self::Recipients { missing, extra } => {
                f.write_str("is sealed to the wrong recipients:")?;
                missing.iter().try_for_each(|r| write!(f, " -{r}"))?;
                extra.iter().try_for_each(|r| write!(f, " +{r}"))
            }
            Self::Unopened(cause) => write!(f, "does not open: {cause}"),
            Self::Outdated(names) => {
                write!(f, "does not hold what the master gives its host: {}", names.join(", "))
            }
            Self::Orphan => f.write_str("belongs to no host that has secrets"),
            Self::Misplaced(path) => write!(f, "belongs at {path}"),
            Self::AlteredPublic => {
                f.write_str("does not hold the public parts of the generated secrets")
            }
            Self::UnvouchedKey => f.write_str("was neither made nor accepted by this tool"),
            Self::UnvouchedNextKey => {
                f.write_str("is not the key that this tool made for its host to get")
            }
            Self::UnvouchedFile => f.write_str("was not sealed by this tool"),
            Self::UnvouchedAdmins(names) => {
                f.write_str("has recipients that nobody has vouched for:")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::Untrusted(cause) => write!(f, "is not trusted: {cause}"),
            Self::Strangers(names) => {
                f.write_str("names recipients that the roster does not:")?;
                names.iter().try_for_each(|name| write!(f, " {name}"))
            }
            Self::BehindRoster => f.write_str("lacks recipients that the roster names"),
            Self::Unsigned => f.write_str("has no signature, though this fleet signs"),
            Self::BadSignature(cause) => write!(f, "has a signature that is not accepted: {cause}"),
        }
    }
}
