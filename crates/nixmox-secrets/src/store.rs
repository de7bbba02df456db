//! Opens the files of a fleet repository: the only place of the libraries that does.
//!
//! The store reads and writes ciphertext and public text; plaintext never comes here. The
//! repository is taken as hostile: every component of a path is opened without following
//! symbolic links, nothing above the root can be named, only regular files are opened, and
//! every size and count has a bound.
//!
//! | job | function |
//! |---|---|
//! | read one file | [`Store::read`] |
//! | list a directory | [`Store::entries`] |
//! | keep other runs out | [`Store::lock`] |
//! | complete or undo what a crash left | [`Locked::recover`], the first call under the lock |
//! | change many files at once, all or none | [`Locked::commit`] |
//! | see whether a crash left a decided commit | [`Store::unfinished`] |
//!
//! A commit stages every new file beneath `.nixmox/txn`, makes them durable, and then renames a
//! journal into place: that rename decides. Before it nothing of the repository has changed and
//! the next run removes what was staged; after it the next run carries out what is left.
//!
//! The store does not merge, does not keep old versions (git does), does not remove directories
//! that became empty, and cannot stop a program that ignores its lock, such as git: what
//! such a program changed between reading and committing is found by [`Changes::expect`].
//!
//! ```no_run
//! use nixmox_secrets::store::{Changes, Mode, RelPath, Store, sha256};
//!
//! let store = Store::open("fleet".as_ref())?;
//! let path = RelPath::parse("hosts/web/secrets.yaml")?;
//! let old = store.read(&path, 1 << 20)?;
//!
//! let mut locked = store.lock()?;
//! locked.recover()?;
//! let mut changes = Changes::new();
//! changes.expect(path.clone(), old.as_deref().map(sha256));
//! changes.write(path, b"sealed".to_vec(), Mode::Private);
//! locked.commit(changes)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod beneath;
mod changes;
mod commit;
mod error;
mod journal;
mod lock;
mod path;
mod recover;
mod sync;
mod txn;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode as Permissions, OFlags, openat};
use sha2::{Digest, Sha256};

use beneath::Beneath;
pub use changes::{Changes, FileContent, Mode};
pub use error::{Holder, JournalError, StoreError};
pub use lock::Locked;
pub use path::{PathError, RelPath};
pub use recover::Recovery;

/// The most bytes that a file of a commit may have.
pub const MAX_FILE: usize = 64 << 20;
/// The most operations of one commit, and the most entries of one directory.
pub const MAX_ENTRIES: usize = 100_000;

/// One fleet repository, opened at its root.
///
/// Reads may run on several threads. The root itself may be reached through symbolic links: the
/// user named it, not the repository.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    beneath: Beneath,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// The name; what is not UTF-8 is replaced, and its kind is then [`EntryKind::Other`].
    pub name: String,
    /// What the name stands for, symbolic links not followed.
    pub kind: EntryKind,
}

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link; the store never follows one.
    Symlink,
    /// A socket, a pipe, a device, or a name that is not UTF-8.
    Other,
}

impl From<FileType> for EntryKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Dir,
            FileType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

impl Store {
    /// Opens the repository whose top directory is `root`.
    ///
    /// # Errors
    /// [`StoreError::Root`] when it is not a directory that can be opened.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = openat(CWD, root, flags, Permissions::empty())
            .map_err(|errno| StoreError::Root { path: root.to_owned(), source: errno.into() })?;
        Ok(Self { root: root.to_owned(), beneath: Beneath::new(top) })
    }

    /// Returns the root as it was given to [`Store::open`].
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Reads a file of at most `limit` bytes; `None` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Symlink`], [`StoreError::NotAFile`] and [`StoreError::NotADirectory`] for
    /// what must not be opened, [`StoreError::TooLarge`] beyond the limit, [`StoreError::Io`].
    pub fn read(&self, path: &RelPath, limit: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.beneath.file(path)? {
            None => Ok(None),
            Some(file) => read_bounded(file, path, limit).map(Some),
        }
    }

    /// Tells whether a directory is there.
    ///
    /// # Errors
    /// As [`Store::entries`].
    pub(crate) fn has_dir(&self, path: &RelPath) -> Result<bool, StoreError> {
        Ok(self.beneath.dir(path)?.is_some())
    }

    /// Lists a directory in byte order of the names; one that is missing is empty.
    ///
    /// # Errors
    /// [`StoreError::Symlink`] and [`StoreError::NotADirectory`] when it is no directory,
    /// [`StoreError::TooMany`] beyond [`MAX_ENTRIES`], [`StoreError::Io`].
    pub fn entries(&self, path: &RelPath) -> Result<Vec<Entry>, StoreError> {
        match self.beneath.dir(path)? {
            None => Ok(Vec::new()),
            Some(dir) => beneath::list(&*dir, path),
        }
    }

    /// Says whether a crash left a commit that was decided and not completed.
    ///
    /// It is also true for a moment while another run commits. It writes nothing.
    ///
    /// # Errors
    /// [`StoreError::Symlink`], [`StoreError::NotADirectory`], [`StoreError::Io`].
    pub fn unfinished(&self) -> Result<bool, StoreError> {
        Ok(Beneath::again(&self.beneath).kind(&txn::journal())?.is_some())
    }
}

/// Returns the SHA-256 of some bytes, as [`Changes::expect`] takes it.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn read_bounded(file: File, path: &RelPath, limit: usize) -> Result<Vec<u8>, StoreError> {
    let too_large = || StoreError::TooLarge { path: path.clone(), limit };
    let failed = |source| StoreError::io(path, "reading", source);
    let size = usize::try_from(file.metadata().map_err(failed)?.len()).unwrap_or(usize::MAX);
    if size > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(size);
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > limit { Err(too_large()) } else { Ok(bytes) }
}
