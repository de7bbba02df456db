//! The directory `.nixmox/txn`, where a commit is prepared.
//!
//! | name | content |
//! |---|---|
//! | `0`, `1`, … | staged files, up to [`BLOCK`] of them |
//! | `d1/512`, … | further ones: cores that fill one directory wait for each other |
//! | `journal.new` | the journal while it is written |
//! | `journal` | the journal; that it is there decides the commit |

use std::fs::File;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Mode as Permissions, OFlags, RawMode, fchmod, mkdirat, openat, renameat, unlinkat,
};
use rustix::io::Errno;

use super::beneath::{Beneath, list, open_dir, open_file, set_mode};
use super::lock::own_dir;
use super::{FileContent, RelPath, StoreError, sync};

const JOURNAL: &str = "journal";
const DRAFT: &str = "journal.new";

/// So many files in a row are staged in one directory.
const BLOCK: usize = 512;

/// So many directories further files are spread over; each stays open.
const BLOCKS: usize = 16;

/// The path of the directory.
pub(super) fn dir() -> RelPath {
    RelPath::own(".nixmox/txn")
}

/// The path of the journal.
pub(super) fn journal() -> RelPath {
    RelPath::own(".nixmox/txn/journal")
}

/// The open directory.
pub(super) struct Txn {
    own: Arc<OwnedFd>,
    dir: Arc<OwnedFd>,
    /// The directories of further files, the first of them `d1`.
    more: Vec<OwnedFd>,
}

impl Txn {
    /// Makes the directory for so many files; one that is there already is an unfinished commit.
    pub(super) fn create(
        beneath: &Beneath,
        own: &Arc<OwnedFd>,
        files: usize,
    ) -> Result<Self, StoreError> {
        match mkdirat(&**own, "txn", Permissions::from_raw_mode(0o700)) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(StoreError::Unfinished),
            Err(errno) => return Err(StoreError::io(&dir(), "making", errno)),
        }
        let made = Self::open(beneath, own).and_then(|txn| {
            let txn = txn.ok_or_else(|| StoreError::io(&dir(), "opening", Errno::NOENT))?;
            txn.with_blocks(files).map_err(|errno| StoreError::io(&dir(), "making", errno))
        });
        made.inspect_err(|_| {
            // Best effort: what stays has nothing in it, and the next recovery removes it.
            let _ = unlinkat(&**own, "txn", AtFlags::REMOVEDIR);
        })
    }

    fn with_blocks(mut self, files: usize) -> rustix::io::Result<Self> {
        let mode = Permissions::from_raw_mode(0o700);
        fchmod(&*self.dir, mode)?;
        for block in 1..files.div_ceil(BLOCK).min(BLOCKS) {
            mkdirat(&*self.dir, name_of(block), mode)?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            self.more.push(openat(&*self.dir, name_of(block), flags, Permissions::empty())?);
        }
        Ok(self)
    }

    /// Opens the directory that a former run left; `None` when there is none.
    pub(super) fn open(beneath: &Beneath, own: &Arc<OwnedFd>) -> Result<Option<Self>, StoreError> {
        let Some(dir) = beneath.dir(&dir())? else { return Ok(None) };
        let mut more = Vec::new();
        for block in 1..BLOCKS {
            match open_dir(&*dir, &name_of(block), &path_of(block))? {
                Some(block) => more.push(block),
                None => break,
            }
        }
        Ok(Some(Self { own: Arc::clone(own), dir, more }))
    }

    /// Returns the directory that a file is staged in; a journal that somebody else wrote may name one that is not there.
    fn block(&self, index: usize) -> Option<&OwnedFd> {
        match (index / BLOCK) % BLOCKS {
            0 => Some(&*self.dir),
            block => self.more.get(block - 1),
        }
    }

    /// Writes the new content of `path` to a staged file, and makes it durable if asked to.
    pub(super) fn stage(
        &self,
        index: usize,
        (path, content): (&RelPath, &FileContent),
        durable: bool,
    ) -> Result<(), StoreError> {
        let bits = RawMode::from(content.mode.bits());
        let absent = || StoreError::io(path, "writing", Errno::NOENT);
        let block = self.block(index).ok_or_else(absent)?;
        let mut file = make(block, &index.to_string(), path, bits)?;
        set_mode(&file, bits).map_err(|errno| StoreError::io(path, "writing", errno))?;
        file.write_all(&content.bytes).map_err(|source| StoreError::io(path, "writing", source))?;
        if durable {
            sync::one(&file).map_err(|errno| StoreError::io(path, "syncing", errno))?;
        }
        Ok(())
    }

    /// Makes every staged file durable at once.
    pub(super) fn sync_all(&self) -> Result<(), StoreError> {
        sync::all(&*self.dir).map_err(|errno| StoreError::io(&dir(), "syncing", errno))
    }

    /// Renames the journal into place: the commit is decided when this returns.
    pub(super) fn publish(&self, bytes: &[u8]) -> Result<(), StoreError> {
        let path = journal();
        let failed = |errno| StoreError::io(&path, "writing", errno);
        let mut file = make(&self.dir, DRAFT, &path, 0o600)?;
        file.write_all(bytes).map_err(|source| StoreError::io(&path, "writing", source))?;
        sync::one(&file).map_err(failed)?;
        self.more.iter().try_for_each(sync::one).map_err(failed)?;
        self.sync()?;
        sync::one(&*self.own).map_err(|errno| StoreError::io(&own_dir(), "syncing", errno))?;
        renameat(&*self.dir, DRAFT, &*self.dir, JOURNAL).map_err(failed)?;
        self.sync()
    }

    fn sync(&self) -> Result<(), StoreError> {
        sync::one(&*self.dir).map_err(|errno| StoreError::io(&dir(), "syncing", errno))
    }

    /// Opens a staged file.
    pub(super) fn staged(&self, index: usize) -> Result<Option<File>, StoreError> {
        let Some(block) = self.block(index) else { return Ok(None) };
        open_file(block, &index.to_string(), &dir())
    }

    /// Renames a staged file to its target.
    pub(super) fn apply(
        &self,
        index: usize,
        target: &OwnedFd,
        name: &str,
    ) -> rustix::io::Result<()> {
        renameat(self.block(index).ok_or(Errno::NOENT)?, index.to_string(), target, name)
    }

    /// Removes the directory and everything in it.
    ///
    /// The journal goes first and durably: without the staged files it could not be carried out.
    pub(super) fn remove(&self) -> Result<(), StoreError> {
        let failed = |errno| StoreError::io(&dir(), "removing", errno);
        match unlinkat(&*self.dir, JOURNAL, AtFlags::empty()) {
            Ok(()) => self.sync()?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
        // The last one first: whoever comes after a crash looks from the first one on.
        for (block, open) in (1..BLOCKS).zip(&self.more).rev() {
            for entry in list(open, &path_of(block))? {
                unlinkat(open, entry.name, AtFlags::empty()).map_err(failed)?;
            }
            unlinkat(&*self.dir, name_of(block), AtFlags::REMOVEDIR).map_err(failed)?;
        }
        for entry in list(&*self.dir, &dir())? {
            unlinkat(&*self.dir, entry.name, AtFlags::empty()).map_err(failed)?;
        }
        unlinkat(&*self.own, "txn", AtFlags::REMOVEDIR).map_err(failed)
    }
}

fn name_of(block: usize) -> String {
    format!("d{block}")
}

fn path_of(block: usize) -> RelPath {
    RelPath::own(&format!(".nixmox/txn/d{block}"))
}

fn make(dir: &OwnedFd, name: &str, path: &RelPath, bits: RawMode) -> Result<File, StoreError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
    let mode = Permissions::from_raw_mode(bits);
    openat(dir, name, flags | OFlags::CLOEXEC, mode)
        .map(File::from)
        .map_err(|errno| StoreError::io(path, "writing", errno))
}
