//! The committed versions of a fleet's files, read from git once and without a checkout.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread;

use nixmox_cli::{Exit, Failure};
use nixmox_secrets::readers::{Commit, History, Place, Version};
use nixmox_secrets::{FILE_LIMIT, PRIVATE};
use nixmox_sops::Identities;

/// The most versions of files that are looked at.
const MOST_VERSIONS: usize = 1_000_000;
/// The longest path, or line, that git is listened to.
const LONGEST: u64 = 64 * 1024;
/// Versions that are held in memory at a time.
const CHUNK: usize = 512;
/// Bytes of them, before the last.
const MOST_HELD: u64 = 32 << 20;

/// The files that a fleet's secrets lie in, wherever they lay.
const FILES: [&str; 4] = [
    ":(glob)**/secrets.yaml",
    ":(glob)**/default.yaml",
    ":(glob)**/ssh_host_ed25519_key*",
    ":(glob)**/.nixmox/generated.yaml",
];

/// Reads every committed version of a fleet's sealed files and public keys, on all branches and in the reflog, and
/// tries keys on them.
pub(crate) fn read(root: &Path, identities: &Identities) -> Result<History, Failure> {
    let mut history = History::default();
    repository(root, "", (&mut history, identities)).map_err(|error| failed(root, error))?;
    let overlay = root.join(PRIVATE);
    if overlay.join(".git").exists() {
        repository(&overlay, "private/", (&mut history, identities))
            .map_err(|error| failed(&overlay, error))?;
    }
    Ok(history)
}

fn failed(root: &Path, error: io::Error) -> Failure {
    Failure::new(Exit::Failure, format!("the git history of {} cannot be read", root.display()))
        .because(error)
        .hint("the past is in git alone; without --ever only the files as they are count")
}

/// Adds the versions in one repository; its paths get a prefix.
fn repository(
    root: &Path,
    prefix: &str,
    (history, identities): (&mut History, &Identities),
) -> io::Result<()> {
    let wanted = list(root, prefix)?;
    let mut child = git(root).args(["cat-file", "--batch"]).stdin(Stdio::piped()).spawn()?;
    let stdin = child.stdin.take();
    let ids: Vec<String> = wanted.keys().cloned().collect();
    let feeder = thread::spawn(move || feed(stdin, &ids));
    let read = contents(&mut child, &wanted, (history, identities));
    // A git that stopped early has closed its input, which is no failure of the feeder's own.
    let _ = feeder.join();
    finish(child, read)
}

/// Waits for git, and makes its failure one of ours.
fn finish<T>(mut child: Child, read: io::Result<T>) -> io::Result<T> {
    if read.is_err() {
        let _ = child.kill();
    }
    let status = child.wait()?;
    let read = read?;
    if status.success() { Ok(read) } else { Err(io::Error::other(format!("git: {status}"))) }
}

fn git(root: &Path) -> Command {
    let mut git = nixmox_cli::scrubbed(Command::new("git"));
    git.arg("-C").arg(root).args(["--no-pager", "--no-replace-objects"]);
    git.args(["-c", "core.quotePath=off", "-c", "log.showSignature=false"]);
    git.envs([("GIT_OPTIONAL_LOCKS", "0"), ("GIT_NO_LAZY_FETCH", "1")]);
    git.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    git
}

fn feed(stdin: Option<ChildStdin>, ids: &[String]) {
    let Some(stdin) = stdin else { return };
    let mut stdin = io::BufWriter::new(stdin);
    for id in ids {
        if writeln!(stdin, "{id}").is_err() {
            return;
        }
    }
}

/// Where a version lay and which commits brought it.
type Lay = BTreeMap<String, (Commit, Commit)>;

/// Lists the versions of all files that count, by git's name for their content.
fn list(root: &Path, prefix: &str) -> io::Result<BTreeMap<String, Lay>> {
    let mut command = git(root);
    command.args(["log", "--all", "--reflog", "-m", "--full-history", "--relative", "--raw", "-z"]);
    command.args(["--no-abbrev", "--no-renames", "--no-color", "--no-ext-diff"]);
    command.args(["--format=format:C%H %ct", "--"]).args(FILES);
    let mut child = command.spawn()?;
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("git has no output"))?;
    let listed = parse(BufReader::new(stdout), prefix);
    finish(child, listed)
}

fn parse(mut log: impl BufRead, prefix: &str) -> io::Result<BTreeMap<String, Lay>> {
    let mut wanted: BTreeMap<String, Lay> = BTreeMap::new();
    let mut commit = Commit::default();
    let mut count = 0_usize;
    while let Some(word) = word(&mut log, 0)? {
        let (head, raw) = match word.split_once('\n') {
            Some((head, raw)) => (head, raw),
            None if word.starts_with(':') => ("", word.as_str()),
            None => (word.as_str(), ""),
        };
        if let Some((id, seconds)) = head.strip_prefix('C').and_then(|head| head.split_once(' ')) {
            commit = Commit { id: id.to_owned(), seconds: seconds.parse().unwrap_or_default() };
        }
        if !raw.starts_with(':') {
            continue;
        }
        let path = self::word(&mut log, 0)?.unwrap_or_default();
        let path = format!("{prefix}{path}");
        let mut parts = raw.split(' ').skip(1);
        let (mode, id) = (parts.next(), parts.nth(1));
        let Some(id) = id.filter(|id| is_id(id) && matches!(mode, Some("100644" | "100755")))
        else {
            continue;
        };
        if Place::of(&path).is_none() {
            continue;
        }
        count = count.saturating_add(1);
        if count > MOST_VERSIONS {
            return Err(io::Error::other("it has more than a million versions of sealed files"));
        }
        let span = wanted.entry(id.to_owned()).or_default().entry(path);
        let (first, last) = span.or_insert_with(|| (commit.clone(), commit.clone()));
        *first = first.clone().min(commit.clone());
        *last = last.clone().max(commit.clone());
    }
    Ok(wanted)
}

fn is_id(id: &str) -> bool {
    let known = matches!(id.len(), 40 | 64) && id.bytes().all(|b| b.is_ascii_hexdigit());
    known && id.bytes().any(|b| b != b'0')
}

/// Reads up to a byte that ends a word; nothing at the end.
fn word(from: &mut impl BufRead, end: u8) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = from.take(LONGEST).read_until(end, &mut bytes)?;
    if read == 0 {
        return Ok(None);
    }
    if bytes.last() == Some(&end) {
        bytes.pop();
    } else if u64::try_from(read).unwrap_or(u64::MAX) >= LONGEST {
        return Err(io::Error::other("git said a line that is too long"));
    }
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Reads what `git cat-file --batch` answers, and hands it on in chunks.
fn contents(
    child: &mut Child,
    wanted: &BTreeMap<String, Lay>,
    (history, identities): (&mut History, &Identities),
) -> io::Result<()> {
    let stdout = child.stdout.take().ok_or_else(|| io::Error::other("git has no output"))?;
    let mut answers = BufReader::new(stdout);
    let (mut chunk, mut held) = (Vec::new(), 0_u64);
    for _ in wanted {
        let Some(head) = word(&mut answers, b'\n')? else { break };
        let mut parts = head.split(' ');
        let (id, kind, size) = (parts.next(), parts.next(), parts.next());
        let Some(size) = size.and_then(|size| size.parse::<u64>().ok()) else {
            history.unread = history.unread.saturating_add(1);
            continue;
        };
        let mut bytes = Vec::new();
        let small = size <= u64::try_from(FILE_LIMIT).unwrap_or(u64::MAX) && kind == Some("blob");
        let mut content = answers.by_ref().take(size);
        if small {
            content.read_to_end(&mut bytes)?;
        } else {
            io::copy(&mut content, &mut io::sink())?;
            history.unread = history.unread.saturating_add(1);
        }
        answers.read_exact(&mut [0])?;
        let Some(lay) = id.and_then(|id| wanted.get(id)).filter(|_| small) else { continue };
        for (path, (first, last)) in lay {
            let commits = if first == last { vec![first] } else { vec![first, last] };
            chunk.extend(commits.into_iter().map(|commit| Version {
                path: path.clone(),
                commit: commit.clone(),
                bytes: bytes.clone(),
            }));
        }
        held = held.saturating_add(size);
        if chunk.len() >= CHUNK || held >= MOST_HELD {
            history.add(std::mem::take(&mut chunk), identities);
            held = 0;
        }
    }
    history.add(chunk, identities);
    Ok(())
}
