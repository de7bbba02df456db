//! The changes of one commit, as a value.

use std::collections::{BTreeMap, BTreeSet};

use super::{MAX_ENTRIES, MAX_FILE, RelPath, StoreError};

/// The files that one commit writes and removes, and what it relies on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// The new content of files, made or replaced.
    pub writes: BTreeMap<RelPath, FileContent>,
    /// The files to remove; one that is absent already is no error.
    pub removes: BTreeSet<RelPath>,
    /// The SHA-256 that files had when they were read, `None` for absent. They are compared under
    /// the lock, right before the commit is decided; they need not be files that are changed.
    pub expect: BTreeMap<RelPath, Option<[u8; 32]>>,
}

/// The bytes of a file and who may read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileContent {
    /// The content: ciphertext, or public.
    pub bytes: Vec<u8>,
    /// The permissions, whatever the umask.
    pub mode: Mode,
}

/// The permissions of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// 0600: only the owner reads it.
    Private,
    /// 0644: everybody reads it.
    Public,
}

impl Mode {
    /// Returns the permission bits.
    #[must_use]
    pub const fn bits(self) -> u16 {
        match self {
            Self::Private => 0o600,
            Self::Public => 0o644,
        }
    }
}

impl Changes {
    /// Returns a commit that does nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a file, made or replaced.
    pub fn write(&mut self, path: RelPath, bytes: Vec<u8>, mode: Mode) {
        self.writes.insert(path, FileContent { bytes, mode });
    }

    /// Removes a file.
    pub fn remove(&mut self, path: RelPath) {
        self.removes.insert(path);
    }

    /// Relies on a file having this SHA-256, or being absent, when the commit is decided.
    pub fn expect(&mut self, path: RelPath, hash: Option<[u8; 32]>) {
        self.expect.insert(path, hash);
    }

    /// Returns whether nothing is written and nothing removed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.removes.is_empty()
    }

    /// Checks what can be checked without the disk.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        if self.writes.len() + self.removes.len() > MAX_ENTRIES {
            return Err(StoreError::TooMany { path: RelPath::root(), limit: MAX_ENTRIES });
        }
        for path in self.writes.keys().chain(&self.removes) {
            if path.is_root() || path.is_reserved() {
                return Err(StoreError::Reserved { path: path.clone() });
            }
            let both = self.writes.contains_key(path) && self.removes.contains(path);
            if both || path.ancestors().any(|above| self.writes.contains_key(&above)) {
                return Err(StoreError::Contradiction { path: path.clone() });
            }
        }
        match self.writes.iter().find(|(_, content)| content.bytes.len() > MAX_FILE) {
            Some((path, _)) => Err(StoreError::TooLarge { path: path.clone(), limit: MAX_FILE }),
            None => Ok(()),
        }
    }
}
