//! What can go wrong between the store and the disk.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use super::{EntryKind, PathError, RelPath};

/// The reason why the store did not do what was asked.
///
/// Unless it is [`StoreError::Unapplied`], a failed commit has changed nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The root is not a directory that can be opened.
    #[error("{} cannot be opened as the top directory of a repository", path.display())]
    Root {
        /// The root as it was given.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system refused an operation; the source says why (permission, a broken disk).
    #[error("{action} {path} failed")]
    Io {
        /// The file or directory.
        path: RelPath,
        /// What was being done, as a word that takes the path as its object.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The disk or the user's quota is full.
    #[error("no space is left for {action} {path}")]
    DiskFull {
        /// The file or directory.
        path: RelPath,
        /// What was being done, as a word that takes the path as its object.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The repository lies on a file system that is mounted read-only.
    #[error("{path} is on a read-only file system")]
    ReadOnly {
        /// The file or directory.
        path: RelPath,
        /// What the system said.
        source: io::Error,
    },
    /// A component of the path is a symbolic link; the store follows none.
    #[error("{path} is a symbolic link, and links are not followed")]
    Symlink {
        /// The link.
        path: RelPath,
    },
    /// The path names something that is not a regular file.
    #[error("{path} is not a regular file but {}", name_of(*kind))]
    NotAFile {
        /// The path.
        path: RelPath,
        /// What it is.
        kind: EntryKind,
    },
    /// Something that is not a directory stands where one must be.
    #[error("{path} is not a directory")]
    NotADirectory {
        /// The path.
        path: RelPath,
    },
    /// A file has more bytes than its reader or the store allows.
    #[error("{path} has more than {limit} bytes")]
    TooLarge {
        /// The file.
        path: RelPath,
        /// The limit in bytes.
        limit: usize,
    },
    /// A directory or a commit has more entries than the store allows.
    #[error("{path} has more than {limit} entries")]
    TooMany {
        /// The directory.
        path: RelPath,
        /// The limit.
        limit: usize,
    },
    /// Another run holds the lock.
    #[error("another run is working on this repository{}", named(holder.as_ref()))]
    Busy {
        /// Who holds it, when the lock file says so.
        holder: Option<Holder>,
    },
    /// A former run was interrupted; [`super::Locked::recover`] comes first.
    #[error("a former run was interrupted and has to be recovered first")]
    Unfinished,
    /// A file is not what it was when it was read.
    #[error("{path} was changed by someone else in the meantime")]
    ChangedMeanwhile {
        /// The file.
        path: RelPath,
    },
    /// A commit both writes and removes a path, or writes a file and another beneath it.
    #[error("the changes to {path} contradict each other")]
    Contradiction {
        /// The path.
        path: RelPath,
    },
    /// A commit names a place that the store keeps for itself, or the root.
    #[error("{path} is a place that cannot be written to")]
    Reserved {
        /// The path.
        path: RelPath,
    },
    /// A path is on another file system than `.nixmox`, so it cannot be replaced atomically.
    #[error("{path} is on another file system than the rest of the repository")]
    OtherFileSystem {
        /// The directory.
        path: RelPath,
    },
    /// A commit was decided and then could not be carried out; the next recovery completes it.
    #[error("the changes were decided but not completed; the next run completes them")]
    Unapplied {
        /// What stopped it.
        #[source]
        source: Box<StoreError>,
    },
    /// A journal was left in the repository that cannot be carried out; nothing was changed.
    #[error(
        "the unfinished commit in .nixmox/txn cannot be completed; compare the repository with \
         git, restore what is wrong, and delete .nixmox/txn"
    )]
    Journal {
        /// What is wrong with it.
        #[from]
        source: JournalError,
    },
}

/// What is wrong with a journal that was found in the repository.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// It is not the JSON of a journal.
    #[error("the journal cannot be read")]
    Syntax(#[source] serde_json::Error),
    /// It was written by another version.
    #[error("the journal has version {found}, which is not known")]
    Version {
        /// The version it names.
        found: u32,
    },
    /// It names a path that is no path of a repository.
    #[error("operation {index} of the journal has a bad path")]
    Path {
        /// The number of the operation, from 0.
        index: usize,
        /// The rule it breaks.
        source: PathError,
    },
    /// It has a staged name, a mode or a hash that the store never writes.
    #[error("operation {index} of the journal has a bad {field}")]
    Field {
        /// The number of the operation, from 0.
        index: usize,
        /// Which one.
        field: &'static str,
    },
    /// It names the same path or staged file twice, or a file and another beneath it.
    #[error("operation {index} of the journal contradicts another one")]
    Conflict {
        /// The number of the operation, from 0.
        index: usize,
    },
    /// A staged file is missing or is not what the journal says.
    #[error("the staged file for {path} is missing or was changed")]
    Staged {
        /// The path that it was staged for.
        path: RelPath,
    },
    /// A target is neither what it was before the commit nor what it is after it.
    #[error("{path} was changed after the commit was interrupted")]
    Target {
        /// The path.
        path: RelPath,
    },
    /// A path cannot be reached as a regular file.
    #[error("a path of the journal cannot be used")]
    Unusable(#[source] Box<StoreError>),
}

/// The run that holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// When it took the lock.
    pub since: SystemTime,
}

impl StoreError {
    pub(super) fn io(path: &RelPath, action: &'static str, source: impl Into<io::Error>) -> Self {
        let (path, source) = (path.clone(), source.into());
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::DiskFull { path, action, source }
            }
            io::ErrorKind::ReadOnlyFilesystem => Self::ReadOnly { path, source },
            _ => Self::Io { path, action, source },
        }
    }
}

fn name_of(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => "a file",
        EntryKind::Dir => "a directory",
        EntryKind::Symlink => "a symbolic link",
        EntryKind::Other => "a pipe, a socket or a device",
    }
}

fn named(holder: Option<&Holder>) -> impl fmt::Display {
    holder.map_or_else(String::new, |holder| format!(" (process {})", holder.pid))
}
