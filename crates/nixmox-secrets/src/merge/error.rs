//! Why a file is not merged.

use std::fmt;

use nixmox_sops::{DecryptError, ParseError, Path};
use thiserror::Error;

use crate::Error;

/// One of the three versions of a merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// What both sides started from.
    Base,
    /// What is merged into.
    Ours,
    /// What is merged.
    Theirs,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "the common version",
            Self::Ours => "our version",
            Self::Theirs => "their version",
        })
    }
}

/// Why a file is not merged; then ours stays as it is.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum MergeError {
    /// The fleet cannot be read, or does not allow what the merge would write.
    #[error(transparent)]
    Fleet(#[from] Error),
    /// A version is not a sops file.
    #[error("{version} is not a sops file")]
    NotSops {
        /// Which.
        version: Version,
    },
    /// The versions are of different formats.
    #[error("the two sides are of different formats")]
    Formats,
    /// A version is malformed.
    #[error("{version} is not a sound sops file")]
    Parse {
        /// Which.
        version: Version,
        /// What is wrong in it.
        source: ParseError,
    },
    /// A version does not open.
    #[error("{version} cannot be opened")]
    Open {
        /// Which.
        version: Version,
        /// Why: no key for it, or tampered with.
        source: DecryptError,
    },
    /// A version breaks a rule of a fleet's sealed files, as one does that somebody changed without its key.
    #[error("{version} is not sealed strictly: {rule} at {place}")]
    Unsound {
        /// Which.
        version: Version,
        /// The rule.
        rule: &'static str,
        /// Where.
        place: Path,
    },
    /// The rules name somebody who neither could open both sides nor was vouched for.
    #[error("nobody has vouched for {recipient}, whom .sops.yaml names for this file")]
    NewRecipient {
        /// Whom they name.
        recipient: String,
    },
}
