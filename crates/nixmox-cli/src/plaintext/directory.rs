use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{
    AtFlags, FlockOperation, Mode, OFlags, flock, fstat, mkdirat, open, openat, statat, unlinkat,
};

use super::{PlaintextError, is_mine, wipe};

/// First part of the name of every directory, by which stale ones are found.
const PREFIX: &str = "nixmox-edit-";
/// Directory inside for temporary files of the editor.
pub(super) const SCRATCH: &str = ".tmp";
/// How often a name is tried that somebody else has taken, or whose directory a sweeper has removed.
const ATTEMPTS: usize = 64;

/// A directory of mode 0700, locked while this process lives.
pub(crate) struct Directory {
    parent: OwnedFd,
    name: String,
    path: PathBuf,
    fd: OwnedFd,
    /// True once it was removed: nothing may be created in it then.
    removed: Mutex<bool>,
}

impl Directory {
    /// Makes and locks a directory of a new name in `place`.
    pub(super) fn create(place: &Path) -> Result<Self, PlaintextError> {
        let failed = |source| PlaintextError::Create { path: place.to_owned(), source };
        let parent = open_directory(place).map_err(failed)?;
        for _ in 0..ATTEMPTS {
            if let Some(directory) = Self::try_create(&parent, place).map_err(failed)? {
                return Ok(directory);
            }
        }
        Err(failed(io::ErrorKind::AlreadyExists.into()))
    }

    /// Makes one attempt; nothing comes of it when the name was taken or the directory swept away before its lock.
    fn try_create(parent: &OwnedFd, place: &Path) -> io::Result<Option<Self>> {
        let name = format!("{PREFIX}{}", random_suffix()?);
        match mkdirat(parent, &name, Mode::RWXU) {
            Err(rustix::io::Errno::EXIST) => return Ok(None),
            other => other?,
        }
        let Ok(fd) = open_within(parent, name.as_bytes()) else { return Ok(None) };
        if flock(&fd, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Ok(None);
        }
        let (ours, there) = (fstat(&fd)?, statat(parent, &name, AtFlags::SYMLINK_NOFOLLOW));
        let same = there.is_ok_and(|t| (t.st_dev, t.st_ino) == (ours.st_dev, ours.st_ino));
        if !same || !is_mine(&ours) {
            return Ok(None);
        }
        let path = place.join(&name);
        let parent = parent.try_clone()?;
        let directory = Self { parent, name, path, fd, removed: Mutex::new(false) };
        if let Err(error) = mkdirat(&directory.fd, SCRATCH, Mode::RWXU) {
            directory.remove();
            return Err(error.into());
        }
        Ok(Some(directory))
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Creates a file of mode 0600, unless the directory is gone.
    pub(super) fn create_file(&self, name: &str) -> io::Result<File> {
        let removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if *removed {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?))
    }

    /// Wipes everything inside and removes the directory; whoever calls second finds nothing to do.
    pub(crate) fn remove(&self) {
        let mut removed = self.removed.lock().unwrap_or_else(PoisonError::into_inner);
        if !*removed {
            *removed = true;
            remove_locked(&self.parent, self.name.as_bytes(), &self.fd);
        }
    }

    /// Removes all but `keep` and the scratch directory, and names what was removed.
    pub(super) fn sweep(&self, keep: &str) -> Vec<String> {
        let mut swept = sweep_in(self.fd.as_fd(), "", &[keep, SCRATCH]);
        if let Ok(scratch) = open_within(&self.fd, SCRATCH.as_bytes()) {
            swept.extend(sweep_in(scratch.as_fd(), ".tmp/", &[]));
        }
        swept.sort();
        swept
    }
}

fn sweep_in(directory: BorrowedFd<'_>, prefix: &str, keep: &[&str]) -> Vec<String> {
    let mut swept = Vec::new();
    for name in wipe::names(directory).unwrap_or_default() {
        if keep.iter().any(|kept| kept.as_bytes() == name) {
            continue;
        }
        let is_directory = open_within(directory, &name).is_ok();
        if wipe::remove(directory, &name).is_ok() {
            let slash = if is_directory { "/" } else { "" };
            swept.push(format!("{prefix}{}{slash}", String::from_utf8_lossy(&name)));
        }
    }
    swept
}

/// Removes directories in `place` that nobody holds a lock on: their processes are dead.
pub(super) fn remove_stale(place: &Path) {
    each_stale(place, &mut |parent, name, fd| remove_locked(parent, name, fd));
}

/// Names directories in `place` that nobody holds a lock on.
pub(super) fn stale(place: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    each_stale(place, &mut |_, name, _| found.push(place.join(OsStr::from_bytes(name))));
    found
}

fn each_stale(place: &Path, found: &mut dyn FnMut(&OwnedFd, &[u8], &OwnedFd)) {
    let Ok(parent) = open_directory(place) else { return };
    for name in wipe::names(&parent).unwrap_or_default() {
        if !name.starts_with(PREFIX.as_bytes()) {
            continue;
        }
        let Ok(fd) = open_within(&parent, &name) else { continue };
        let mine = fstat(&fd).is_ok_and(|stat| is_mine(&stat));
        if mine && flock(&fd, FlockOperation::NonBlockingLockExclusive).is_ok() {
            found(&parent, &name, &fd);
        }
    }
}

/// A directory that cannot be removed now is stale for the next start.
fn remove_locked(parent: &OwnedFd, name: &[u8], fd: &OwnedFd) {
    let _ = wipe::empty(fd);
    let _ = unlinkat(parent, name, AtFlags::REMOVEDIR);
}

fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

fn open_within(parent: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(parent, name, flags, Mode::empty())?)
}

/// Ten characters from the kernel's random numbers: nobody can take the name beforehand.
fn random_suffix() -> io::Result<String> {
    let mut bytes = [0; 5];
    io::Read::read_exact(&mut File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
