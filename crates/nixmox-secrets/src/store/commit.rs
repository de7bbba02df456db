//! Changes many files at once: all of them or none.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;
use rustix::fs::{Access, AtFlags, accessat, fstat, unlinkat};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

use super::beneath::{Beneath, open_file, refused};
use super::journal::{self, Operation};
use super::txn::{self, Txn};
use super::{Changes, EntryKind, Locked, MAX_FILE, RelPath, StoreError};
use super::{sha256, sync};

/// How many files are hashed or staged on one core before another is worth its start.
const SHARE: usize = 64;

/// The most bytes that a journal may have.
pub(super) const MAX_JOURNAL: usize = 64 << 20;

impl Locked<'_> {
    /// Carries out all the changes, or none of them.
    ///
    /// Whenever the process or the machine stops, the next [`Locked::recover`] leaves either
    /// every file as it was before or every file as it is wanted.
    ///
    /// # Errors
    /// [`StoreError::ChangedMeanwhile`] when an expectation does not hold;
    /// [`StoreError::Contradiction`], [`StoreError::Reserved`], [`StoreError::TooLarge`] and
    /// [`StoreError::TooMany`] for changes that no repository could take; [`StoreError::Symlink`],
    /// [`StoreError::NotAFile`], [`StoreError::NotADirectory`] and
    /// [`StoreError::OtherFileSystem`] for what stands at a path; [`StoreError::Unfinished`] when
    /// there is something to recover; [`StoreError::DiskFull`], [`StoreError::ReadOnly`] and
    /// [`StoreError::Io`] when the disk fails. After all of these nothing has changed.
    /// [`StoreError::Unapplied`] when the disk failed after the commit was decided.
    pub fn commit(&mut self, changes: Changes) -> Result<(), StoreError> {
        changes.check()?;
        check_targets(&Beneath::at_once(&self.store.beneath), &self.own, &changes)?;
        // It looks at every path anew, right before the commit is decided.
        let beneath = Beneath::at_once(&self.store.beneath);
        if changes.is_empty() {
            return hashes(&beneath, &changes).map(|_| ());
        }
        let txn = Txn::create(&beneath, &self.own, changes.writes.len())?;
        let operations = match decide(&beneath, &txn, &changes) {
            Ok(operations) => operations,
            Err(error) => return Err(undo(&beneath, &txn, error)),
        };
        let done = complete(&beneath, &txn, &operations, BTreeSet::new());
        self.store.beneath.forget();
        done
    }
}

/// Refuses targets that could not be replaced, before anything is staged.
fn check_targets(beneath: &Beneath, own: &OwnedFd, changes: &Changes) -> Result<(), StoreError> {
    let paths: Vec<_> = changes.writes.keys().chain(&changes.removes).collect();
    // No directory is kept open for it: there may be more of them than a process may have open files.
    let sound = Mutex::new(BTreeSet::new());
    let checked: Vec<Result<(), StoreError>> = paths
        .into_par_iter()
        .with_min_len(SHARE)
        .map(|path| match beneath.kind(path)? {
            None | Some(EntryKind::File) => {
                let Some((above, dir)) = nearest(beneath, path)? else { return Ok(()) };
                let sound = || sound.lock().unwrap_or_else(PoisonError::into_inner);
                if !sound().contains(&above) {
                    check_open_dir(&dir, own, &above)?;
                    sound().insert(above);
                }
                Ok(())
            }
            Some(kind) => Err(refused(path, kind)),
        })
        .collect();
    // Of several errors always the first file's, whichever thread was faster.
    checked.into_iter().collect()
}

/// Finds the nearest directory above a file that is there.
fn nearest(
    beneath: &Beneath,
    file: &RelPath,
) -> Result<Option<(RelPath, Arc<OwnedFd>)>, StoreError> {
    for path in file.ancestors() {
        if let Some(dir) = beneath.dir(&path)? {
            return Ok(Some((path, dir)));
        }
    }
    Ok(None)
}

/// Checks that a file can be renamed into the nearest directory above it that is there.
pub(super) fn check_dir(
    beneath: &Beneath,
    own: &OwnedFd,
    file: &RelPath,
) -> Result<(), StoreError> {
    match nearest(beneath, file)? {
        Some((path, dir)) => check_open_dir(&dir, own, &path),
        None => Ok(()),
    }
}

fn check_open_dir(dir: &OwnedFd, own: &OwnedFd, path: &RelPath) -> Result<(), StoreError> {
    let failed = |errno| StoreError::io(path, "writing to", errno);
    let device = |dir: &OwnedFd| fstat(dir).map(|found| found.st_dev).map_err(failed);
    if device(dir)? != device(own)? {
        return Err(StoreError::OtherFileSystem { path: path.clone() });
    }
    let access = Access::WRITE_OK | Access::EXEC_OK;
    accessat(dir.as_fd(), ".", access, AtFlags::empty()).map_err(failed)
}

/// Stages the files and decides the commit.
fn decide(beneath: &Beneath, txn: &Txn, changes: &Changes) -> Result<Vec<Operation>, StoreError> {
    let staged = stage(txn, changes)?;
    let hashes = match sync::at_once(changes.writes.len()) {
        true => sync_and_hash(beneath, txn, changes)?,
        false => hashes(beneath, changes)?,
    };
    let operations = operations(changes, staged, &hashes);
    let bytes = journal::format(&operations)?;
    if bytes.len() > MAX_JOURNAL {
        return Err(StoreError::TooLarge { path: txn::journal(), limit: MAX_JOURNAL });
    }
    txn.publish(&bytes)?;
    Ok(operations)
}

/// Looks at the old files with all cores while the disk is busy with the new ones.
fn sync_and_hash<'a>(
    beneath: &Beneath,
    txn: &Txn,
    changes: &'a Changes,
) -> Result<BTreeMap<&'a RelPath, Option<[u8; 32]>>, StoreError> {
    let mut found = None;
    rayon::in_place_scope(|scope| {
        scope.spawn(|_| found = Some(hashes(beneath, changes)));
        txn.sync_all()
    })?;
    // What was spawned has ended by now.
    found.unwrap_or_else(|| Ok(BTreeMap::new()))
}

/// Stages the files and returns their hashes: few are made durable one by one, many are left to be synced at once.
fn stage(txn: &Txn, changes: &Changes) -> Result<Vec<[u8; 32]>, StoreError> {
    let at_once = sync::at_once(changes.writes.len());
    let files: Vec<_> = changes.writes.iter().enumerate().collect();
    let hashes: Vec<Result<_, StoreError>> = files
        .into_par_iter()
        .with_min_len(if at_once { SHARE } else { usize::MAX })
        .map(|(index, file)| txn.stage(index, file, !at_once).map(|()| sha256(&file.1.bytes)))
        .collect();
    // Of several errors always the first file's, whichever thread was faster.
    hashes.into_iter().collect()
}

/// Hashes what stands at every path that matters, and compares it with what is expected.
fn hashes<'a>(
    beneath: &Beneath,
    changes: &'a Changes,
) -> Result<BTreeMap<&'a RelPath, Option<[u8; 32]>>, StoreError> {
    let targets = changes.writes.keys().chain(&changes.removes);
    let mut paths: Vec<_> = targets.chain(changes.expect.keys()).collect();
    paths.par_sort_unstable();
    paths.dedup();
    let hashed: Vec<_> = paths
        .into_par_iter()
        .with_min_len(SHARE)
        .map(|path| hash_at(beneath, path).map(|hash| (path, hash)))
        .collect();
    let hashed = hashed.into_iter().map(|hashed| {
        let (path, hash) = hashed?;
        match changes.expect.get(path) {
            Some(expect) if *expect != hash => {
                Err(StoreError::ChangedMeanwhile { path: path.clone() })
            }
            _ => Ok((path, hash)),
        }
    });
    hashed.collect()
}

/// Hashes the file at a path; `None` when it is absent.
pub(super) fn hash_at(beneath: &Beneath, path: &RelPath) -> Result<Option<[u8; 32]>, StoreError> {
    beneath.file(path)?.map(|file| hash_of(file, path)).transpose()
}

pub(super) fn hash_of(file: File, path: &RelPath) -> Result<[u8; 32], StoreError> {
    let failed = |source| StoreError::io(path, "reading", source);
    let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
    let (mut hasher, mut buffer) = (Sha256::new(), [0; 16 << 10]);
    let mut file = file.take(limit.saturating_add(1));
    loop {
        let count = file.read(&mut buffer).map_err(failed)?;
        match buffer.get(..count) {
            Some([]) | None => break,
            Some(bytes) => hasher.update(bytes),
        }
    }
    if file.limit() == 0 {
        return Err(StoreError::TooLarge { path: path.clone(), limit: MAX_FILE });
    }
    Ok(hasher.finalize().into())
}

fn operations(
    changes: &Changes,
    staged: Vec<[u8; 32]>,
    hashes: &BTreeMap<&RelPath, Option<[u8; 32]>>,
) -> Vec<Operation> {
    let old = |path| hashes.get(path).copied().flatten();
    let writes = changes.writes.iter().zip(staged).enumerate();
    let writes = writes.map(|(staged, ((path, content), new))| Operation::Write {
        path: path.clone(),
        staged,
        mode: content.mode,
        new,
        old: old(path),
    });
    let removes = changes
        .removes
        .iter()
        .filter_map(|path| old(path).map(|old| Operation::Remove { path: path.clone(), old }));
    writes.chain(removes).collect()
}

/// Removes what was staged, and says truly whether the commit is off.
fn undo(beneath: &Beneath, txn: &Txn, error: StoreError) -> StoreError {
    let removed = txn.remove();
    match beneath.kind(&txn::journal()) {
        // Only the journal decides; other leftovers are removed by the next recovery.
        Ok(None) => error,
        _ if removed.is_ok() => error,
        _ => StoreError::Unapplied { source: Box::new(error) },
    }
}

/// Carries out a decided commit and removes its traces.
///
/// `touched` are directories that a former run may have changed without making them durable.
pub(super) fn complete(
    beneath: &Beneath,
    txn: &Txn,
    operations: &[Operation],
    touched: BTreeSet<RelPath>,
) -> Result<(), StoreError> {
    apply(beneath, txn, operations, touched)
        .and_then(|touched| sync::dirs(beneath, &touched))
        .and_then(|()| txn.remove())
        .map_err(|error| StoreError::Unapplied { source: Box::new(error) })
}

/// Renames and removes, many files on all cores; the order does not matter, each can be done again.
fn apply(
    beneath: &Beneath,
    txn: &Txn,
    operations: &[Operation],
    touched: BTreeSet<RelPath>,
) -> Result<BTreeSet<RelPath>, StoreError> {
    let done: Vec<Result<_, StoreError>> = operations
        .par_chunks(SHARE)
        .map(|some| {
            let mut touched = BTreeSet::new();
            some.iter().try_for_each(|one| apply_one(beneath, txn, one, &mut touched))?;
            Ok(touched)
        })
        .collect();
    // Of several errors always the first file's, whichever thread was faster.
    done.into_iter().try_fold(touched, |mut all, some| {
        all.append(&mut some?);
        Ok(all)
    })
}

fn apply_one(
    beneath: &Beneath,
    txn: &Txn,
    operation: &Operation,
    touched: &mut BTreeSet<RelPath>,
) -> Result<(), StoreError> {
    let path = operation.path();
    let Some((parent, name)) = path.split() else { return Ok(()) };
    match operation {
        Operation::Write { staged, .. } => {
            let mut made = |dir: &RelPath| touched.extend(dir.ancestors().take(1));
            let dir = beneath.make_dir(&parent, &mut made)?;
            // One rename at a time goes from one directory of a file system to another. While the old file is open, it
            // is not freed meanwhile, but when this is dropped.
            let _old = open_file(&*dir, name, path);
            txn.apply(*staged, &dir, name)
                .map_err(|errno| StoreError::io(path, "replacing", errno))?;
        }
        Operation::Remove { .. } => {
            let Some(dir) = beneath.dir(&parent)? else { return Ok(()) };
            match unlinkat(&*dir, name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(errno) => return Err(StoreError::io(path, "removing", errno)),
            }
        }
    }
    touched.insert(parent);
    Ok(())
}
