//! Completes or undoes what an interrupted run left.

use std::collections::BTreeSet;
use std::fs::File;

use rustix::fs::{Mode as Permissions, RawMode, fchmod};

use super::beneath::Beneath;
use super::commit::{MAX_JOURNAL, check_dir, complete, hash_at, hash_of};
use super::journal::{self, Operation};
use super::txn::{self, Txn};
use super::{JournalError, Locked, Mode, RelPath, StoreError, read_bounded};

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
        let all = journal::parse(&bytes)?;
        let left = self.left(&beneath, &txn, &all)?;
        let touched: BTreeSet<_> = all.iter().flat_map(|step| step.path().ancestors()).collect();
        complete(&beneath, &txn, &left, touched)?;
        self.store.beneath.forget();
        Ok(Recovery::Finished { paths: all.iter().map(|step| step.path().clone()).collect() })
    }

    /// Returns the operations that are not done yet, each of them found to be possible.
    fn left(
        &self,
        beneath: &Beneath,
        txn: &Txn,
        operations: &[Operation],
    ) -> Result<Vec<Operation>, StoreError> {
        let mut left = Vec::new();
        for operation in operations {
            if is_left(beneath, txn, operation)? {
                check_dir(beneath, &self.own, operation.path()).map_err(unusable)?;
                left.push(operation.clone());
            }
        }
        Ok(left)
    }
}

fn is_left(beneath: &Beneath, txn: &Txn, operation: &Operation) -> Result<bool, StoreError> {
    let path = operation.path();
    let found = hash_at(beneath, path).map_err(unusable)?;
    let old = match operation {
        Operation::Remove { old, .. } if found.is_some() => Some(*old),
        Operation::Remove { .. } => return Ok(false),
        Operation::Write { staged, mode, new, old, .. } => match txn.staged(*staged) {
            Ok(Some(file)) => {
                check_staged(file, path, *new, *mode)?;
                if found == Some(*new) { found } else { *old }
            }
            Ok(None) if found == Some(*new) => return Ok(false),
            Ok(None) => return Err(JournalError::Staged { path: path.clone() }.into()),
            Err(error) => return Err(unusable(error)),
        },
    };
    if found == old { Ok(true) } else { Err(JournalError::Target { path: path.clone() }.into()) }
}

/// The journal is to blame for what it names, but not for a disk that fails.
fn unusable(error: StoreError) -> StoreError {
    match error {
        StoreError::Io { .. } | StoreError::DiskFull { .. } | StoreError::ReadOnly { .. } => error,
        _ => JournalError::Unusable(Box::new(error)).into(),
    }
}

fn check_staged(file: File, path: &RelPath, new: [u8; 32], mode: Mode) -> Result<(), StoreError> {
    let bits = Permissions::from_raw_mode(RawMode::from(mode.bits()));
    fchmod(&file, bits).map_err(|errno| StoreError::io(&txn::dir(), "changing", errno))?;
    match hash_of(file, path).map_err(unusable)? {
        hash if hash == new => Ok(()),
        _ => Err(JournalError::Staged { path: path.clone() }.into()),
    }
}
