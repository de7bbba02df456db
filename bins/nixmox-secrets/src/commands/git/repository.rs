//! What is asked of git: objects, names and the index. Nothing here runs filters, drivers or hooks of a repository.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nixmox_cli::{Exit, Failure};
use nixmox_secrets::FILE_LIMIT;

/// The most bytes of a listing that are read.
const LIST_LIMIT: usize = 256 << 20;
/// The most bytes of all objects that one command reads.
const OBJECTS_LIMIT: usize = 512 << 20;

/// Variables by which a git that started us names its own repository; ours is named by its directory.
const INHERITED: [&str; 6] = [
    "GIT_DIR",
    "GIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_PREFIX",
    "GIT_OBJECT_DIRECTORY",
    "GIT_COMMON_DIR",
];

/// A directory inside a git repository.
pub(super) struct Repository {
    dir: PathBuf,
}

/// A name in a tree or the index that git may show otherwise than it is.
pub(super) type Blob = String;

impl Repository {
    /// Takes a directory that must lie in a repository with a working tree.
    pub(super) fn at(dir: &Path) -> Result<Self, Failure> {
        let repository = Self { dir: dir.to_owned() };
        let inside = repository.ask(["rev-parse", "--is-inside-work-tree"]);
        match inside.as_deref() {
            Some("true") => Ok(repository),
            _ => Err(Failure::new(
                Exit::Usage,
                format!("{} is not in a git repository", dir.display()),
            )
            .hint("`git init` makes it one")),
        }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut git = nixmox_cli::scrubbed(Command::new("git"));
        for name in INHERITED {
            git.env_remove(name);
        }
        git.env("GIT_OPTIONAL_LOCKS", "0").env("GIT_NO_LAZY_FETCH", "1").env("LC_ALL", "C");
        git.arg("-C").arg(&self.dir).args(["--no-pager", "--literal-pathspecs"]).args(args);
        git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        git
    }

    /// Runs git and returns what it printed; its own words are the cause of a failure.
    pub(super) fn run<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Vec<u8>, Failure> {
        let failed = |cause: String| {
            Failure::new(Exit::Failure, "git failed").because(std::io::Error::other(cause))
        };
        let output = self.command(args).output().map_err(|e| failed(e.to_string()))?;
        if !output.status.success() {
            return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        }
        if output.stdout.len() > LIST_LIMIT {
            return Err(failed(format!("it printed more than {LIST_LIMIT} bytes")));
        }
        Ok(output.stdout)
    }

    /// Asks git for one line; nothing when it has no answer.
    pub(super) fn ask<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Option<String> {
        let output = self.command(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8(output.stdout).ok()?.trim_end_matches('\n').to_owned())
    }

    /// Returns the commit that a revision names.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        let name = format!("{revision}^{{commit}}");
        self.ask(["rev-parse", "--verify", "--quiet", "--end-of-options", &name])
    }

    /// Lists the regular files of a commit below this directory by their paths from it, and the commits of submodules.
    pub(super) fn tree(&self, commit: &str) -> Result<BTreeMap<String, Entry>, Failure> {
        let listing = self.run(["ls-tree", "-r", "-z", "--end-of-options", commit])?;
        let mut entries = BTreeMap::new();
        for line in listing.split(|byte| *byte == 0) {
            // Names that are no text are none of the fleet's.
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Some((about, path)) = line.split_once('\t') else { continue };
            let mut words = about.split(' ');
            let entry = match (words.next(), words.nth(1)) {
                (Some("100644" | "100755"), Some(id)) => Entry::File(id.to_owned()),
                (Some("160000"), Some(id)) => Entry::Submodule(id.to_owned()),
                _ => continue,
            };
            entries.insert(path.to_owned(), entry);
        }
        Ok(entries)
    }

    /// Reads objects by their names, each up to the size of a fleet's largest file; larger ones are left out.
    pub(super) fn blobs(&self, ids: &[&str]) -> Result<BTreeMap<Blob, Vec<u8>>, Failure> {
        let failed = |e: std::io::Error| {
            Failure::new(Exit::Failure, "git cat-file gave no objects").because(e)
        };
        let mut git = self.command(["cat-file", "--batch"]);
        git.stdin(Stdio::piped()).stderr(Stdio::null());
        let mut child = git.spawn().map_err(failed)?;
        let asked: String = ids.iter().map(|id| format!("{id}\n")).collect();
        let stdin = child.stdin.take();
        let feeder = std::thread::spawn(move || {
            // A git that ends early has said so by what it did not answer.
            stdin.map(|mut pipe| pipe.write_all(asked.as_bytes()))
        });
        let mut blobs = BTreeMap::new();
        if let Some(out) = child.stdout.take() {
            let mut out = std::io::BufReader::new(out);
            let mut left = OBJECTS_LIMIT;
            for _ in ids {
                let Some((id, bytes)) = next_object(&mut out, &mut left).map_err(failed)? else {
                    continue;
                };
                blobs.insert(id, bytes);
            }
        }
        drop(feeder.join());
        child.wait().map_err(failed)?;
        Ok(blobs)
    }

    /// Lists what a merge left open in the index below this directory: of each path the objects of the stages.
    pub(super) fn unmerged(&self) -> Result<BTreeMap<String, [Option<Blob>; 3]>, Failure> {
        let listing = self.run(["ls-files", "--unmerged", "-z"])?;
        let mut found: BTreeMap<String, [Option<Blob>; 3]> = BTreeMap::new();
        for line in listing.split(|byte| *byte == 0) {
            let Ok(line) = std::str::from_utf8(line) else { continue };
            let Some((about, path)) = line.split_once('\t') else { continue };
            let words: Vec<&str> = about.split(' ').collect();
            let [_, id, stage] = words.as_slice() else { continue };
            let stage = stage.parse::<usize>().ok().and_then(|stage| stage.checked_sub(1));
            let stages = found.entry(path.to_owned()).or_default();
            if let Some(place) = stage.and_then(|stage| stages.get_mut(stage)) {
                *place = Some((*id).to_owned());
            }
        }
        Ok(found)
    }
}

/// What a tree has at a path.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Entry {
    /// A regular file and its object.
    File(Blob),
    /// A submodule and its commit.
    Submodule(String),
}

/// Reads one answer of `cat-file --batch`; nothing for an object that is missing, no file, or too large.
fn next_object(
    out: &mut impl std::io::BufRead,
    left: &mut usize,
) -> std::io::Result<Option<(Blob, Vec<u8>)>> {
    let mut head = Vec::new();
    let mut limited = out.take(4096);
    std::io::BufRead::read_until(&mut limited, b'\n', &mut head)?;
    let head = String::from_utf8_lossy(&head);
    let words: Vec<&str> = head.trim_end().split(' ').collect();
    let [id, kind, size] = words.as_slice() else { return Ok(None) };
    let size: usize = size.parse().map_err(std::io::Error::other)?;
    let wanted = *kind == "blob" && size <= FILE_LIMIT;
    *left = left.checked_sub(if wanted { size } else { 0 }).ok_or_else(|| {
        std::io::Error::other(format!("the objects have more than {OBJECTS_LIMIT} bytes"))
    })?;
    let length = u64::try_from(size).unwrap_or(u64::MAX).saturating_add(1);
    let mut body = out.take(length);
    if !wanted {
        std::io::copy(&mut body, &mut std::io::sink())?;
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    body.read_to_end(&mut bytes)?;
    bytes.truncate(size);
    Ok(Some(((*id).to_owned(), bytes)))
}
