//! The history of git, and the commits that brought what is found in it.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nixmox_cli::terminal::plural;
use nixmox_secrets::PRIVATE;
use nixmox_secrets::doctor::{
    MAX_OBJECT_HITS, Needles, ObjectHit, Occurrence, Searched, Trouble, objects,
};

use super::{Examined, searching};

/// How much of a commit's name is shown.
const SHORT: usize = 12;

/// Looks through everything that the fleet's repository, and that of its overlay, ever held.
pub(super) fn search(root: &Path, needles: &Needles, examined: &mut Examined) {
    let overlay = root.join(PRIVATE);
    for directory in [Some(root), Some(overlay.as_path()).filter(|path| path.join(".git").exists())]
    {
        let Some(directory) = directory.filter(|directory| is_repository(directory)) else {
            continue;
        };
        match read(directory, needles) {
            Ok(searched) => tell(directory, searched, examined),
            Err(error) => {
                let place = format!("the git history of {}", directory.display());
                examined.found(Trouble::NotSearched(error.to_string()), place);
            }
        }
    }
}

/// Prepares a git that fetches, locks and asks nothing.
fn git(directory: &Path, arguments: &[&str]) -> Command {
    let mut git = nixmox_cli::scrubbed(Command::new("git"));
    git.arg("--no-pager").arg("-C").arg(directory).args(arguments);
    git.envs([
        ("GIT_NO_LAZY_FETCH", "1"),
        ("GIT_OPTIONAL_LOCKS", "0"),
        ("GIT_TERMINAL_PROMPT", "0"),
    ]);
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    git
}

fn is_repository(directory: &Path) -> bool {
    git(directory, &["rev-parse", "--git-dir"]).status().is_ok_and(|status| status.success())
}

/// Streams every object through the search.
fn read(directory: &Path, needles: &Needles) -> io::Result<Searched> {
    let all = ["cat-file", "--batch", "--batch-all-objects", "--unordered", "--buffer"];
    let mut child = git(directory, &all).spawn()?;
    let progress = searching("the git history");
    let out = child.stdout.take().ok_or_else(|| io::Error::other("git says nothing"))?;
    let mut report = |count: u64| {
        if count.is_multiple_of(1000) {
            progress.say(&format!("{count} objects"));
        }
    };
    let searched = objects(needles, &mut BufReader::with_capacity(1 << 16, out), &mut report);
    end(&mut child)?;
    searched.map_err(io::Error::other)
}

/// Waits for a git whose output is read or given up.
fn end(child: &mut Child) -> io::Result<()> {
    match child.wait()?.success() {
        true => Ok(()),
        false => Err(io::Error::other("git failed")),
    }
}

fn tell(directory: &Path, searched: Searched, examined: &mut Examined) {
    for hit in &searched.hits {
        let (place, commit) = origin(directory, hit);
        for Occurrence { names, line } in &hit.found {
            let (names, line, commit) = (names.clone(), *line, commit.clone());
            examined.found(Trouble::ValueInHistory { names, line, commit }, place.clone());
        }
    }
    if searched.more > 0 {
        let cause =
            format!("only the first {MAX_OBJECT_HITS} of its objects with values are listed");
        examined.found(Trouble::NotSearched(cause), directory.display().to_string());
    }
    let count = usize::try_from(searched.objects).unwrap_or(usize::MAX);
    examined.looked.push(format!("searched {} of the git history", plural(count, "object")));
}

/// Finds the path of an object and the commit that brought it.
fn origin(directory: &Path, hit: &ObjectHit) -> (String, Option<String>) {
    let short = |id: &str| id.get(..SHORT).unwrap_or(id).to_owned();
    let text = format!("the text of {}", short(&hit.id));
    if !hit.is_file {
        return (text, Some(short(&hit.id)));
    }
    let nowhere = (format!("object {}", short(&hit.id)), None);
    let Some(commit) = first_commit(directory, &hit.id) else { return nowhere };
    let path = path_in(directory, &commit, &hit.id).unwrap_or_else(|| nowhere.0.clone());
    (path, Some(short(&commit)))
}

/// Names the oldest commit that has an object.
fn first_commit(directory: &Path, id: &str) -> Option<String> {
    let find = format!("--find-object={id}");
    let log = ["log", "--all", "--reverse", "-m", "--no-textconv", "--no-ext-diff", "--format=%H"];
    let mut child = git(directory, &[&log[..], &[&find]].concat()).spawn().ok()?;
    let mut first = String::new();
    let out = child.stdout.take()?;
    let read = BufReader::new(out.take(256)).read_line(&mut first);
    // The rest of what it says is of no interest.
    let _ = child.wait();
    read.ok()?;
    let first = first.trim();
    first
        .bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| first.to_owned())
        .filter(|id| !id.is_empty())
}

/// Finds the path that an object has in a commit.
fn path_in(directory: &Path, commit: &str, id: &str) -> Option<String> {
    let mut child = git(directory, &["ls-tree", "-r", "-z", "--full-tree", commit]).spawn().ok()?;
    let mut found = None;
    for entry in BufReader::new(child.stdout.take()?).split(0).map_while(Result::ok) {
        let entry = String::from_utf8_lossy(&entry);
        if let Some((kind, path)) = entry.split_once('\t')
            && found.is_none()
            && kind.split(' ').nth(2) == Some(id)
        {
            found = Some(path.to_owned());
        }
    }
    let _ = child.wait();
    found
}
