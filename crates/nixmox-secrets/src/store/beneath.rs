//! Opens paths beneath a directory, one component after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode as Permissions, OFlags, RawMode, Stat, fchmod, fstat, mkdirat,
    openat, statat,
};
use rustix::io::Errno;

use super::{Entry, EntryKind, MAX_ENTRIES, RelPath, StoreError};

/// Far below the 256 descriptors that some systems allow a process.
const MAX_KNOWN: usize = 64;

/// A directory and the descriptors of the directories beneath it that were used lately.
///
/// A descriptor stays with its directory when that is renamed or replaced. So a commit walks
/// anew with a value of its own; a stale read is found there by its hash.
#[derive(Debug)]
pub(super) struct Beneath {
    root: Arc<OwnedFd>,
    known: Mutex<BTreeMap<RelPath, Arc<OwnedFd>>>,
    /// Directories that were found to be absent, where one look at each is enough.
    absent: Option<Mutex<BTreeSet<RelPath>>>,
}

impl Beneath {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root: Arc::new(root), known: Mutex::default(), absent: None }
    }

    /// Returns the same directory with nothing remembered.
    pub(super) fn again(other: &Self) -> Self {
        Self { root: Arc::clone(&other.root), known: Mutex::default(), absent: None }
    }

    /// Returns the same directory with nothing remembered yet, for one look at many paths: what is absent the first
    /// time is absent until it is made through this value.
    pub(super) fn at_once(other: &Self) -> Self {
        Self { absent: Some(Mutex::default()), ..Self::again(other) }
    }

    pub(super) fn forget(&self) {
        self.known().clear();
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<RelPath, Arc<OwnedFd>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a directory; `None` when it or one above it is absent.
    pub(super) fn dir(&self, path: &RelPath) -> Result<Option<Arc<OwnedFd>>, StoreError> {
        if let Some(known) = self.known().get(path) {
            return Ok(Some(Arc::clone(known)));
        }
        let Some((parent, name)) = path.split() else {
            return Ok(Some(Arc::clone(&self.root)));
        };
        if self.absent().is_some_and(|absent| absent.contains(path)) {
            return Ok(None);
        }
        // As deep as a path has components, of which there are few.
        let Some(above) = self.dir(&parent)? else {
            return Ok(None);
        };
        match open_dir(&*above, name, path)? {
            None => {
                self.absent().as_mut().map(|absent| absent.insert(path.clone()));
                Ok(None)
            }
            Some(dir) => Ok(Some(self.remember(path, dir))),
        }
    }

    fn absent(&self) -> Option<MutexGuard<'_, BTreeSet<RelPath>>> {
        self.absent.as_ref().map(|absent| absent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn remember(&self, path: &RelPath, dir: OwnedFd) -> Arc<OwnedFd> {
        let dir = Arc::new(dir);
        self.absent().as_mut().map(|absent| absent.remove(path));
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(path.clone(), Arc::clone(&dir));
        dir
    }

    /// Opens a directory, and makes what is missing of its path; `made` is called for each.
    pub(super) fn make_dir(
        &self,
        path: &RelPath,
        made: &mut impl FnMut(&RelPath),
    ) -> Result<Arc<OwnedFd>, StoreError> {
        if let Some(dir) = self.dir(path)? {
            return Ok(dir);
        }
        let Some((parent, name)) = path.split() else {
            return Ok(Arc::clone(&self.root));
        };
        let above = self.make_dir(&parent, made)?;
        let failed = |errno| StoreError::io(path, "making", errno);
        match mkdirat(&*above, name, Permissions::from_raw_mode(0o755)) {
            // Another run may want the same directory at the same moment.
            Ok(()) | Err(Errno::EXIST) => made(path),
            Err(errno) => return Err(failed(errno)),
        }
        let gone = || StoreError::io(path, "opening", Errno::NOENT);
        let dir = open_dir(&*above, name, path)?.ok_or_else(gone)?;
        set_mode(&dir, 0o755).map_err(failed)?;
        Ok(self.remember(path, dir))
    }

    /// Returns what a path is, links not followed; `None` when it is absent.
    pub(super) fn kind(&self, path: &RelPath) -> Result<Option<EntryKind>, StoreError> {
        let Some((parent, name)) = path.split() else {
            return Ok(Some(EntryKind::Dir));
        };
        match self.dir(&parent)? {
            None => Ok(None),
            Some(dir) => stat(&*dir, name, path).map(|found| found.as_ref().map(kind_of)),
        }
    }

    /// Opens a regular file for reading; `None` when it or a directory above it is absent.
    pub(super) fn file(&self, path: &RelPath) -> Result<Option<File>, StoreError> {
        let Some((parent, name)) = path.split() else {
            return Err(StoreError::NotAFile { path: path.clone(), kind: EntryKind::Dir });
        };
        match self.dir(&parent)? {
            None => Ok(None),
            Some(dir) => open_file(&*dir, name, path),
        }
    }
}

/// Opens a directory of an open one; `None` when it is absent.
pub(super) fn open_dir(
    above: impl AsFd,
    name: &str,
    path: &RelPath,
) -> Result<Option<OwnedFd>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(&above, name, flags, Permissions::empty()) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT) => Ok(None),
        // Systems disagree about what a link is answered with; so the link itself is asked.
        Err(errno @ (Errno::NOTDIR | Errno::LOOP | Errno::MLINK)) => {
            Err(match stat(&above, name, path)?.as_ref().map(kind_of) {
                Some(EntryKind::Symlink) => StoreError::Symlink { path: path.clone() },
                Some(EntryKind::Dir) | None => StoreError::io(path, "opening", errno),
                Some(_) => StoreError::NotADirectory { path: path.clone() },
            })
        }
        Err(errno) => Err(StoreError::io(path, "opening", errno)),
    }
}

/// Opens a file of an open directory; never blocks on a pipe, and never follows a link.
pub(super) fn open_file(
    dir: impl AsFd,
    name: &str,
    path: &RelPath,
) -> Result<Option<File>, StoreError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match openat(&dir, name, flags | OFlags::NOCTTY, Permissions::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => {
            return Err(match stat(&dir, name, path)?.as_ref().map(kind_of) {
                Some(EntryKind::File) | None => StoreError::io(path, "opening", errno),
                Some(kind) => refused(path, kind),
            });
        }
    };
    let found = fstat(&file).map_err(|errno| StoreError::io(path, "reading", errno))?;
    match kind_of(&found) {
        EntryKind::File => Ok(Some(File::from(file))),
        kind => Err(refused(path, kind)),
    }
}

/// Returns the error for something that is not a regular file.
pub(super) fn refused(path: &RelPath, kind: EntryKind) -> StoreError {
    match kind {
        EntryKind::Symlink => StoreError::Symlink { path: path.clone() },
        _ => StoreError::NotAFile { path: path.clone(), kind },
    }
}

fn stat(dir: impl AsFd, name: &str, path: &RelPath) -> Result<Option<Stat>, StoreError> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(StoreError::io(path, "reading", errno)),
    }
}

/// Gives a file or directory its permissions, whatever the umask; one that has them is not written to again.
pub(super) fn set_mode(file: impl AsFd, bits: RawMode) -> rustix::io::Result<()> {
    let wanted = Permissions::from_raw_mode(bits);
    match fstat(&file)?.st_mode & 0o7777 {
        found if found == bits => Ok(()),
        _ => fchmod(file, wanted),
    }
}

fn kind_of(found: &Stat) -> EntryKind {
    FileType::from_raw_mode(found.st_mode).into()
}

/// Lists an open directory in byte order of the names.
pub(super) fn list(dir: impl AsFd, path: &RelPath) -> Result<Vec<Entry>, StoreError> {
    let failed = |errno| StoreError::io(path, "listing", errno);
    let mut entries = Vec::new();
    for item in Dir::read_from(&dir).map_err(failed)? {
        let item = item.map_err(failed)?;
        let raw = item.file_name().to_bytes();
        if raw == b"." || raw == b".." {
            continue;
        }
        if entries.len() >= MAX_ENTRIES {
            return Err(StoreError::TooMany { path: path.clone(), limit: MAX_ENTRIES });
        }
        entries.push(entry(&dir, path, &item)?);
    }
    entries.sort();
    Ok(entries)
}

fn entry(dir: impl AsFd, path: &RelPath, item: &rustix::fs::DirEntry) -> Result<Entry, StoreError> {
    let Ok(name) = item.file_name().to_str() else {
        let name = item.file_name().to_string_lossy().into_owned();
        return Ok(Entry { name, kind: EntryKind::Other });
    };
    let kind = match item.file_type() {
        // Some file systems do not say it in the listing.
        FileType::Unknown => stat(dir, name, path)?.as_ref().map_or(EntryKind::Other, kind_of),
        known => known.into(),
    };
    Ok(Entry { name: name.to_owned(), kind })
}
