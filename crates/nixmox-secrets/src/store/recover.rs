//! Completes or undoes what an interrupted run left.

use std::collections::BTreeSet;
use std::fs::File;

use rustix::fs::{Mode as Permissions, RawMode, fchmod};

use super::beneath::Beneath;
use super::commit::{MAX_JOURNAL, complete, hash_at, hash_of};
use super::journal::{self, Operation};
use super::txn::{self, Txn};
use super::{JournalError, Locked, RelPath, StoreError, read_bounded};

/// What a former run had left, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recovery {
    /// It had left nothing.
    Nothing,
    /// Its commit was decided, and is now complete.
    Finished {
        /// All the paths that it writes or removes.
        paths: Vec<RelPath>,
    },
    /// Its commit was not decided: nothing had changed, and what it staged is removed.
    Undone,
}

impl Locked<'_> {
    /// Completes a commit that was decided, or removes what is left of one that was not.
    ///
    /// It comes first under the lock. The journal and the staged files are checked whole before
    /// anything changes, because they may have come with the repository.
    ///
    /// # Errors
    /// [`StoreError::Journal`] when the journal is not one that the store could have written
    /// here; then a person has to look. [`StoreError::Unapplied`] when the disk fails again,
    /// and [`StoreError::Symlink`], [`StoreError::NotADirectory`], [`StoreError::TooMany`],
    /// [`StoreError::ReadOnly`], [`StoreError::Io`] for `.nixmox/txn` itself.
    pub fn recover(&mut self) -> Result<Recovery, StoreError> {
        let beneath = Beneath::again(&self.store.beneath);
        let Some(txn) = Txn::open(&beneath, &self.own)? else {
            return Ok(Recovery::Nothing);
        };
        let Some(file) = beneath.file(&txn::journal())? else {
            txn.remove()?;
            return Ok(Recovery::Undone);
        };
        let bytes = read_bounded(file, &txn::journal(), MAX_JOURNAL)?;
        let operations =
            journal::parse(&bytes).and_then(|all| Ok((left(&beneath, &txn, &all)?, all)));
        let (left, all) = operations.map_err(|source| StoreError::Journal { source })?;
        let touched: BTreeSet<_> = all.iter().flat_map(|step| step.path().ancestors()).collect();
        complete(&beneath, &txn, &left, touched)?;
        self.store.beneath.forget();
        Ok(Recovery::Finished { paths: all.iter().map(|step| step.path().clone()).collect() })
    }
}

/// Returns the operations that are not done yet, each of them found to be possible.
fn left(
    beneath: &Beneath,
    txn: &Txn,
    operations: &[Operation],
) -> Result<Vec<Operation>, JournalError> {
    let mut left = Vec::new();
    for operation in operations {
        let path = operation.path();
        let found = hash_at(beneath, path).map_err(unusable)?;
        match operation {
            Operation::Write { staged, mode, new, old, .. } => {
                let Some(file) = txn.staged(*staged).map_err(unusable)? else {
                    if found == Some(*new) {
                        continue;
                    }
                    return Err(JournalError::Staged { path: path.clone() });
                };
                if found != *old && found != Some(*new) {
                    return Err(JournalError::Target { path: path.clone() });
                }
                check_staged(file, path, *new, RawMode::from(mode.bits()))?;
            }
            Operation::Remove { old, .. } => match found {
                None => continue,
                Some(found) if found == *old => {}
                Some(_) => return Err(JournalError::Target { path: path.clone() }),
            },
        }
        left.push(operation.clone());
    }
    Ok(left)
}

fn unusable(error: StoreError) -> JournalError {
    JournalError::Unusable(Box::new(error))
}

fn check_staged(
    file: File,
    path: &RelPath,
    new: [u8; 32],
    mode: RawMode,
) -> Result<(), JournalError> {
    fchmod(&file, Permissions::from_raw_mode(mode))
        .map_err(|errno| unusable(StoreError::io(&txn::dir(), "reading", errno)))?;
    match hash_of(file, path).map_err(unusable)? {
        hash if hash == new => Ok(()),
        _ => Err(JournalError::Staged { path: path.clone() }),
    }
}
