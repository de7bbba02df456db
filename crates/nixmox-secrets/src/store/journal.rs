//! The journal of a decided commit: what is left to do, as JSON.
//!
//! Whoever can commit to the repository can also commit a journal. So reading takes nothing on
//! trust: what it returns could have been written by the store.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{JournalError, MAX_ENTRIES, Mode, RelPath};

const VERSION: u32 = 1;

/// One step of a commit; every step may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    /// Renames the staged file to the path.
    Write { path: RelPath, staged: usize, mode: Mode, new: [u8; 32], old: Option<[u8; 32]> },
    /// Removes the path.
    Remove { path: RelPath, old: [u8; 32] },
}

impl Operation {
    pub(super) fn path(&self) -> &RelPath {
        match self {
            Self::Write { path, .. } | Self::Remove { path, .. } => path,
        }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    version: u32,
    operations: Vec<Step>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum Step {
    Write { path: String, staged: usize, mode: String, new: String, old: Option<String> },
    Remove { path: String, old: String },
}

/// Only this much is read first, so that a later version is named and not called a syntax error.
#[derive(Deserialize)]
struct Head {
    version: u32,
}

pub(super) fn format(operations: &[Operation]) -> Result<Vec<u8>, JournalError> {
    let operations = operations.iter().map(to_step).collect();
    serde_json::to_vec(&Text { version: VERSION, operations }).map_err(JournalError::Syntax)
}

pub(super) fn parse(bytes: &[u8]) -> Result<Vec<Operation>, JournalError> {
    let head: Head = serde_json::from_slice(bytes).map_err(JournalError::Syntax)?;
    if head.version != VERSION {
        return Err(JournalError::Version { found: head.version });
    }
    let text: Text = serde_json::from_slice(bytes).map_err(JournalError::Syntax)?;
    let steps = text.operations.into_iter().enumerate();
    let operations =
        steps.map(|(index, step)| from_step(index, step)).collect::<Result<Vec<_>, _>>()?;
    check_conflicts(&operations)?;
    Ok(operations)
}

fn to_step(operation: &Operation) -> Step {
    match operation {
        Operation::Write { path, staged, mode, new, old } => Step::Write {
            path: path.as_str().to_owned(),
            staged: *staged,
            mode: format!("{:04o}", mode.bits()),
            new: hex(new),
            old: old.as_ref().map(hex),
        },
        Operation::Remove { path, old } => {
            Step::Remove { path: path.as_str().to_owned(), old: hex(old) }
        }
    }
}

fn from_step(index: usize, step: Step) -> Result<Operation, JournalError> {
    let bad = |field| JournalError::Field { index, field };
    let path = |text: &str| {
        let path = RelPath::parse(text).map_err(|source| JournalError::Path { index, source })?;
        if path.is_reserved() { Err(bad("path")) } else { Ok(path) }
    };
    let hash = |text: &str| unhex(text).ok_or_else(|| bad("hash"));
    match step {
        Step::Write { staged, .. } if staged >= MAX_ENTRIES => Err(bad("staged name")),
        Step::Write { path: target, staged, mode, new, old } => Ok(Operation::Write {
            path: path(&target)?,
            staged,
            mode: match mode.as_str() {
                "0600" => Mode::Private,
                "0644" => Mode::Public,
                _ => return Err(bad("mode")),
            },
            new: hash(&new)?,
            old: old.as_deref().map(hash).transpose()?,
        }),
        Step::Remove { path: target, old } => {
            Ok(Operation::Remove { path: path(&target)?, old: hash(&old)? })
        }
    }
}

fn check_conflicts(operations: &[Operation]) -> Result<(), JournalError> {
    let written: BTreeSet<_> = operations
        .iter()
        .filter(|operation| matches!(operation, Operation::Write { .. }))
        .map(Operation::path)
        .collect();
    let (mut paths, mut names) = (BTreeSet::new(), BTreeSet::new());
    for (index, operation) in operations.iter().enumerate() {
        let path = operation.path();
        let beneath = path.ancestors().any(|above| written.contains(&above));
        let twice = !paths.insert(path)
            || matches!(operation, Operation::Write { staged, .. } if !names.insert(*staged));
        if beneath || twice {
            return Err(JournalError::Conflict { index });
        }
    }
    Ok(())
}

fn hex(hash: &[u8; 32]) -> String {
    let digit = |half: u8| char::from_digit(half.into(), 16).unwrap_or_default();
    hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 || digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = pair.iter().try_fold(0u8, |byte, digit| {
            let digit = char::from(*digit).to_digit(16)?;
            u8::try_from(digit).ok().map(|digit| byte << 4 | digit)
        })?;
    }
    Some(hash)
}
