//! Makes what was written survive a loss of power.

use std::collections::BTreeSet;
use std::os::fd::AsFd;

use super::beneath::Beneath;
use super::{RelPath, StoreError};

/// Up to here every file and directory is synced by itself; beyond it one `syncfs` is faster,
/// where the system has it.
pub(super) const FEW: usize = 32;

/// Returns whether so many files or directories are better synced all at once.
pub(super) fn at_once(count: usize) -> bool {
    cfg!(target_os = "linux") && count > FEW
}

/// Makes one open file or directory durable.
#[cfg(target_vendor = "apple")]
pub(super) fn one(fd: impl AsFd) -> rustix::io::Result<()> {
    // `fsync` leaves the data in the cache of the drive there.
    rustix::fs::fcntl_fullfsync(fd)
}

/// Makes one open file or directory durable.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn one(fd: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::fsync(fd)
}

/// Makes everything durable that is on the file system of `fd`.
#[cfg(target_os = "linux")]
pub(super) fn all(fd: impl AsFd) -> rustix::io::Result<()> {
    rustix::fs::syncfs(fd)
}

/// Is never reached: [`at_once`] says so.
#[cfg(not(target_os = "linux"))]
pub(super) fn all(fd: impl AsFd) -> rustix::io::Result<()> {
    one(fd)
}

/// Makes the entries of a directory durable.
pub(super) fn dir(beneath: &Beneath, path: &RelPath) -> Result<(), StoreError> {
    match beneath.dir(path)? {
        None => Ok(()),
        Some(dir) => one(&*dir).map_err(|errno| StoreError::io(path, "syncing", errno)),
    }
}

/// Makes the entries of many directories durable.
pub(super) fn dirs(beneath: &Beneath, paths: &BTreeSet<RelPath>) -> Result<(), StoreError> {
    if !at_once(paths.len()) {
        return paths.iter().try_for_each(|path| dir(beneath, path));
    }
    let root = RelPath::root();
    match beneath.dir(&root)? {
        None => Ok(()),
        Some(dir) => all(&*dir).map_err(|errno| StoreError::io(&root, "syncing", errno)),
    }
}
