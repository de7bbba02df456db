//! Keeps other runs out while the repository is changed.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, Mode as Permissions, OFlags, flock, openat, renameat};
use rustix::io::Errno;

use super::beneath::{Beneath, open_file};
use super::{Holder, RelPath, Store, StoreError, sync};

/// What git must not see: the lock, and the staged files of a commit.
const IGNORED: &[u8] = b"/lock\n/txn\n/.gitignore.new\n";

/// A repository that no other run of nixmox changes; dropping it lets the others in.
#[derive(Debug)]
pub struct Locked<'a> {
    pub(super) store: &'a Store,
    /// The directory `.nixmox`.
    pub(super) own: Arc<OwnedFd>,
    /// The system lets go of the lock when this is closed, however the process ends.
    _lock: File,
}

/// The directory that the store keeps for itself.
pub(super) fn own_dir() -> RelPath {
    RelPath::own(".nixmox")
}

impl Store {
    /// Takes the lock of the repository, or says at once who has it.
    ///
    /// It makes `.nixmox` with a `.gitignore` when there is none.
    ///
    /// # Errors
    /// [`StoreError::Busy`] when another run has the lock, [`StoreError::ReadOnly`],
    /// [`StoreError::DiskFull`], [`StoreError::Symlink`], [`StoreError::Io`].
    pub fn lock(&self) -> Result<Locked<'_>, StoreError> {
        self.beneath.forget();
        let beneath = Beneath::again(&self.beneath);
        let mut made = false;
        let own = beneath.make_dir(&own_dir(), &mut |_| made = true)?;
        let lock = take(&own)?;
        ignore(&own)?;
        if made {
            sync::dir(&beneath, &own_dir())?;
            sync::dir(&beneath, &RelPath::root())?;
        }
        Ok(Locked { store: self, own, _lock: lock })
    }
}

fn take(own: &OwnedFd) -> Result<File, StoreError> {
    let path = RelPath::own(".nixmox/lock");
    let failed = |errno: Errno| StoreError::io(&path, "locking", errno);
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    match openat(own, "lock", create, Permissions::from_raw_mode(0o644)) {
        Ok(_) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(failed(errno)),
    }
    // Checked to be a regular file before it is opened for writing.
    let mut seen = open_file(own, "lock", &path)?.ok_or_else(|| failed(Errno::NOENT))?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut lock = File::from(openat(own, "lock", flags, Permissions::empty()).map_err(failed)?);
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(StoreError::Busy { holder: holder(&mut seen) }),
        Err(errno) => return Err(failed(errno)),
    }
    sign(&mut lock).map_err(|source| StoreError::io(&path, "locking", source))?;
    Ok(lock)
}

fn sign(lock: &mut File) -> std::io::Result<()> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    lock.set_len(0)?;
    lock.rewind()?;
    lock.write_all(format!("{} {since}\n", std::process::id()).as_bytes())
}

/// Reads who holds the lock; another version or a half-written line is no one.
fn holder(lock: &mut File) -> Option<Holder> {
    let mut text = String::new();
    lock.take(64).read_to_string(&mut text).ok()?;
    let (pid, since) = text.strip_suffix('\n')?.split_once(' ')?;
    let since = UNIX_EPOCH.checked_add(Duration::from_secs(since.parse().ok()?))?;
    Some(Holder { pid: pid.parse().ok()?, since })
}

/// Makes `.nixmox/.gitignore` unless there is one; by renaming, so that it is never half there.
fn ignore(own: &OwnedFd) -> Result<(), StoreError> {
    let path = RelPath::own(".nixmox/.gitignore");
    if open_file(own, ".gitignore", &path)?.is_some() {
        return Ok(());
    }
    let failed = |errno: Errno| StoreError::io(&path, "writing", errno);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW;
    let mode = Permissions::from_raw_mode(0o644);
    let draft = openat(own, ".gitignore.new", flags | OFlags::CLOEXEC, mode).map_err(failed)?;
    let mut draft = File::from(draft);
    let written = draft.write_all(IGNORED);
    written.map_err(|source| StoreError::io(&path, "writing", source))?;
    sync::one(&draft).map_err(failed)?;
    renameat(own, ".gitignore.new", own, ".gitignore").map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Option<(u32, u64)>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        let found = holder(&mut file)
            .map(|holder| (holder.pid, holder.since.duration_since(UNIX_EPOCH).unwrap().as_secs()));
        assert_eq!(found, expect, "{text:?}");
    }

    #[test]
    fn only_a_whole_line_names_a_holder() {
        check("12 1700000000\n", Some((12, 1_700_000_000)));
        check("12 1700000000", None);
        check("12\n", None);
        check("", None);
        check("x 1\n", None);
        check("1 99999999999999999999\n", None);
        check(&"9".repeat(1000), None);
    }
}
