//! What can be done on the spot, one by one and with a yes.

use std::fs::{self, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nixmox_cli::plaintext::Places;
use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure, plaintext, prompt};
use nixmox_secrets::FILE_LIMIT;
use nixmox_secrets::doctor::is_sealed;
use nixmox_tree::SecretBytes;

use super::Examined;
use super::walk::open_regular;

/// One thing that can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fix {
    /// Wipe and remove a file.
    Remove(PathBuf),
    /// Give a file or directory this mode.
    Mode(PathBuf, u32),
    /// Wipe and remove the directories of editors that were killed.
    Stale,
}

/// Does everything that a person agrees to, and returns the numbers of the findings that are mended.
pub(super) fn all(examined: &Examined, yes: bool) -> Result<Vec<usize>, Failure> {
    let mut done = Vec::new();
    for (index, (finding, fix)) in examined.findings.iter().enumerate() {
        let Some(fix) = fix else { continue };
        if !yes && !prompt::confirm(&question(fix, &finding.place)).map_err(nobody)? {
            continue;
        }
        carry_out(fix).map_err(|error| {
            let place = escape(&finding.place).into_owned();
            Failure::new(Exit::Write, format!("{place} stays as it is")).because(error)
        })?;
        done.push(index);
    }
    Ok(done)
}

fn nobody(error: prompt::PromptError) -> Failure {
    Failure::from_error(Exit::Usage, error).hint("without a terminal, --yes agrees to all of it")
}

fn question(fix: &Fix, place: &str) -> String {
    match fix {
        Fix::Remove(_) => format!("Wipe and remove {place}?"),
        Fix::Mode(_, mode) => format!("Give {place} the mode {mode:03o}?"),
        Fix::Stale => format!("Wipe and remove the directory {place}?"),
    }
}

fn carry_out(fix: &Fix) -> io::Result<()> {
    match fix {
        Fix::Remove(path) => remove(path),
        Fix::Mode(path, mode) => fs::set_permissions(path, Permissions::from_mode(*mode)),
        Fix::Stale => {
            plaintext::remove_stale(&Places::from_env(false));
            Ok(())
        }
    }
}

/// Removes a file, unless it is sealed by now.
fn remove(path: &Path) -> io::Result<()> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(FILE_LIMIT).unwrap_or(u64::MAX);
    let read = open_regular(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    let bytes = SecretBytes::new(bytes);
    if read > FILE_LIMIT || is_sealed(bytes.expose()) {
        return Err(io::Error::other("it is sealed, or too large to tell"));
    }
    plaintext::remove_file(path)
}
