//! The one thing that is asked of git: that flakes see new files.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nixmox_cli::terminal::escape;
use nixmox_secrets::PRIVATE;
use nixmox_secrets::store::RelPath;

/// Registers new files with `git add --intent-to-add`, in the repository that each belongs to.
///
/// Nix flakes see only files that git knows. A fleet that is no git repository, or a missing git, is no error.
pub(crate) fn intent_to_add(root: &Path, written: &[RelPath]) {
    if written.is_empty() {
        return;
    }
    // The store writes this one itself: it keeps its lock and unfinished commits out of git.
    let mut by_repository = BTreeMap::from([("", vec![".nixmox/.gitignore"])]);
    let overlay_is_own = root.join(PRIVATE).join(".git").exists();
    for path in written {
        let below = path.as_str().strip_prefix(PRIVATE).and_then(|path| path.strip_prefix('/'));
        match below {
            Some(path) if overlay_is_own => by_repository.entry(PRIVATE).or_default().push(path),
            _ => by_repository.entry("").or_default().push(path.as_str()),
        }
    }
    for (repository, paths) in by_repository {
        let directory = root.join(repository);
        // A command line has a limited length.
        for some in paths.chunks(500) {
            let mut git = nixmox_cli::scrubbed(Command::new("git"));
            git.arg("-C").arg(&directory);
            git.args(["add", "--intent-to-add", "--"]).args(some);
            git.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if !git.status().is_ok_and(|status| status.success()) {
                warn(&directory);
                break;
            }
        }
    }
}

/// Says that git did not take the new files, where there is a git repository to take them.
fn warn(directory: &Path) {
    let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
    if absolute.ancestors().any(|dir| dir.join(".git").exists()) {
        let place = escape(&directory.display().to_string()).into_owned();
        // There is nobody left to tell when standard error is gone.
        let _ = writeln!(
            anstream::stderr(),
            "warning: `git add --intent-to-add` failed in {place}; a flake does not see the new files until git does"
        );
    }
}
