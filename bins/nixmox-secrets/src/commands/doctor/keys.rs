//! Who else can read or replace the user's keys.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nixmox_secrets::doctor::Trouble;
use nixmox_secrets::identities::{Loaded, Source};

use super::Examined;
use super::fix::Fix;

/// Variables that name a key file.
const FILES: [&str; 2] = ["SOPS_AGE_KEY_FILE", "SOPS_AGE_SSH_PRIVATE_KEY_FILE"];
/// Permissions of others than the owner.
const OTHERS: u32 = 0o077;
/// Permission of others to write.
const WRITE: u32 = 0o022;
/// Lets everybody write, and nobody remove what is another's: a directory such as `/tmp`.
const STICKY: u32 = 0o1000;

/// Checks modes and owners of every key file that is there, and of its directory.
pub(super) fn check(loaded: &Loaded, drilled: &[PathBuf], examined: &mut Examined) {
    let named = |source: &Source| match source {
        Source::Variable(name) if FILES.contains(name) => std::env::var_os(name).map(PathBuf::from),
        Source::File(path) => Some(path.clone()),
        _ => None,
    };
    let paths: BTreeSet<PathBuf> =
        loaded.tried.iter().filter_map(named).chain(drilled.iter().cloned()).collect();
    let mut directories = BTreeSet::new();
    for path in paths {
        let Ok(found) = fs::metadata(&path) else { continue };
        if !found.is_file() {
            continue;
        }
        file(&path, &found, examined);
        directories.extend(path.parent().map(Path::to_owned));
    }
    for path in directories {
        directory(&path, examined);
    }
}

fn file(path: &Path, found: &fs::Metadata, examined: &mut Examined) {
    let place = path.display().to_string();
    let mode = found.mode() & 0o7777;
    if !is_own(found.uid()) {
        examined.found(Trouble::KeyOwner(found.uid()), place);
    } else if mode & OTHERS != 0 {
        examined.fixable(Trouble::KeyMode(mode), place, Fix::Mode(path.to_owned(), 0o600));
    }
}

fn directory(path: &Path, examined: &mut Examined) {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let Ok(found) = fs::metadata(path) else { return };
    let place = path.display().to_string();
    let mode = found.mode() & 0o7777;
    let fix = || Fix::Mode(path.to_owned(), 0o700);
    if !is_own(found.uid()) {
        examined.found(Trouble::KeyOwner(found.uid()), place);
    } else if mode & WRITE != 0 && mode & STICKY == 0 {
        examined.fixable(Trouble::DirectoryWritable(mode), place, fix());
    } else if mode & OTHERS != 0 {
        examined.found(Trouble::DirectoryReadable(mode), place);
    }
}

/// Root may read everything anyway.
fn is_own(user: u32) -> bool {
    user == 0 || user == rustix::process::geteuid().as_raw()
}
