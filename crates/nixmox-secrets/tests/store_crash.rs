//! Commits that are killed, or that the disk fails, at every single system call.
//!
//! `strace` (Debian package strace) is the one who kills, and its log is the witness of the order
//! in which things become durable. The subject is `examples/commit.rs`, in processes of its own.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and say how much they tried"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Everything that a commit asks of the system, apart from reading.
const CALLS: [&str; 11] = [
    "openat",
    "write",
    "fchmod",
    "ftruncate",
    "flock",
    "fsync",
    "syncfs",
    "mkdirat",
    "renameat",
    "renameat2",
    "unlinkat",
];

/// The mode and the content of every file outside `.nixmox`.
type State = BTreeMap<String, (u32, String)>;

/// A repository before a commit, and the script of the commit.
struct Scenario {
    old: Vec<(String, String)>,
    script: Vec<String>,
}

/// Few files, each synced by itself: replaced, new, new in new directories, removed.
fn few() -> Scenario {
    let file = |name: &str, content: &str| (name.to_owned(), content.to_owned());
    Scenario {
        old: vec![
            file("secrets.yaml", "old master"),
            file("hosts/gone/secrets.yaml", "bye"),
            file("hosts/web/secrets.yaml", "old web"),
            file("kept", "kept"),
        ],
        script: vec![
            "write 0600 secrets.yaml new master".to_owned(),
            "write 0600 hosts/web/secrets.yaml new web".to_owned(),
            "write 0644 hosts/db/deep/key.pub public".to_owned(),
            "remove hosts/gone/secrets.yaml".to_owned(),
            "expect secrets.yaml old master".to_owned(),
            "expect kept kept".to_owned(),
        ],
    }
}

/// So many files that they are synced all at once.
fn many() -> Scenario {
    let old = (0..36).step_by(2).map(|n| (format!("h/{n}/s"), format!("old {n}")));
    let script = (0..36).map(|n| match n {
        34 => "remove h/34/s".to_owned(),
        _ => format!("write 0600 h/{n}/s new {n}"),
    });
    Scenario { old: old.collect(), script: script.collect() }
}

/// So many files that they are staged in several directories.
fn thousand() -> Scenario {
    let old = (0..1100).step_by(2).map(|n| (format!("h/{n}"), format!("old {n}")));
    let script = (0..1100).map(|n| format!("write 0600 h/{n} new {n}"));
    Scenario { old: old.collect(), script: script.collect() }
}

impl Scenario {
    /// Makes the repository, with the script beside it.
    ///
    /// In memory where there is such a place: a thousand syncs of a shared disk take minutes, and
    /// who dies by a signal leaves the same files on both.
    fn make(&self) -> TempDir {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for (name, content) in &self.old {
            let file = dir.path().join("repo").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, content).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        }
        fs::write(dir.path().join("script"), self.script.join("\n")).unwrap();
        dir
    }

    fn old_state(&self) -> State {
        state(self.make().path())
    }

    fn new_state(&self) -> State {
        let dir = self.make();
        let output = Command::new(subject()).args(full(dir.path())).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        check_clean(dir.path());
        state(dir.path())
    }
}

/// The arguments of a whole run.
fn full(dir: &Path) -> Vec<PathBuf> {
    vec![dir.join("repo"), dir.join("script")]
}

/// The program under test, beside this test, where cargo builds it together with all tests of the workspace.
///
/// It is not built here: with one package selected its dependencies would be compiled again with other features. An
/// old one must not be judged.
fn subject() -> &'static Path {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(|| {
        // target/debug/deps/TEST
        let test = std::env::current_exe().unwrap();
        let path = test.ancestors().nth(2).unwrap().join("examples/commit");
        let modified = |path: &Path| fs::metadata(path).and_then(|found| found.modified()).ok();
        let sources = fs::read_to_string(path.with_extension("d")).unwrap_or_default();
        let mut sources = sources.split_whitespace().skip(1).map(Path::new);
        let built = modified(&path);
        assert!(
            built.is_some() && sources.all(|source| modified(source).is_some_and(|at| Some(at) <= built)),
            "{} is missing or older than its sources: run the tests with `cargo nextest run --workspace`, or build \
             it with `cargo build --workspace --examples`",
            path.display()
        );
        path
    })
}

/// Runs the subject under strace, which writes a log beside the repository.
fn traced(dir: &Path, options: &[&str], args: &[PathBuf]) -> (Output, String) {
    let log = dir.join("log");
    let output = Command::new("strace")
        .args(["-f", "-qq", "-y", "-o"])
        .arg(&log)
        .args(options)
        .arg(subject())
        .args(args)
        .output();
    let output = output.expect("strace cannot be run: install the Debian package strace");
    let log = fs::read_to_string(&log).expect("strace wrote no log: may it trace here?");
    (output, log)
}

/// Runs the subject and does `fault` to its call number `when` of the name `call`; `None` when it
/// makes fewer.
fn inject(dir: &Path, call: &str, fault: &str, when: &str, args: &[PathBuf]) -> Option<Output> {
    let trace = format!("trace=?{call}");
    let inject = format!("inject=?{call}:{fault}:when={when}");
    let (output, log) = traced(dir, &["-e", &trace, "-e", &inject], args);
    let hit = output.status.signal() == Some(9) || log.contains("(INJECTED)");
    assert!(hit || output.status.success(), "{output:?}");
    hit.then_some(output)
}

/// Kills the subject at its call number `when` of the name `call`; false when it makes fewer.
fn kill(dir: &Path, call: &str, when: usize, args: &[PathBuf]) -> bool {
    let output = inject(dir, call, "signal=SIGKILL", &when.to_string(), args);
    output.is_some_and(|output| {
        assert_eq!(output.status.signal(), Some(9), "{output:?}");
        true
    })
}

fn state(dir: &Path) -> State {
    let root = dir.join("repo");
    let mut found = State::new();
    let mut dirs = vec![root.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && name != ".nixmox" {
                dirs.push(path);
            } else if path.is_file() {
                let mode = path.metadata().unwrap().permissions().mode() & 0o7777;
                found.insert(name, (mode, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

fn check_clean(dir: &Path) {
    assert!(!dir.join("repo/.nixmox/txn").exists(), "the traces of the commit are left");
}

fn recover(dir: &Path) {
    let output = Command::new(subject()).arg(dir.join("repo")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    check_clean(dir);
}

/// Kills a commit at every call, and returns how often it was killed at which.
fn kill_everywhere(scenario: &Scenario) -> BTreeMap<&'static str, usize> {
    kill_at(scenario, |_| 1)
}

/// Kills a commit at each first of so many calls of a name, and returns how often it was killed at which.
fn kill_at(scenario: &Scenario, each: fn(&str) -> usize) -> BTreeMap<&'static str, usize> {
    let (old, new) = (scenario.old_state(), scenario.new_state());
    let (mut points, mut ends, mut mixed) = (BTreeMap::new(), BTreeSet::new(), 0);
    for call in CALLS {
        for when in (1..).step_by(each(call)) {
            let dir = scenario.make();
            if !kill(dir.path(), call, when, &full(dir.path())) {
                break;
            }
            *points.entry(call).or_default() += 1;
            let broken = state(dir.path());
            mixed += usize::from(broken != old && broken != new);
            recover(dir.path());
            let after = state(dir.path());
            assert!(after == old || after == new, "killed at {call} {when}: {after:#?}");
            ends.insert(after == new);
        }
    }
    assert_eq!(ends.len(), 2, "commits must have been killed before and after the decision");
    assert!(mixed > 0, "no commit was killed between two files");
    println!("{points:?}, {mixed} of them between two files");
    points
}

#[test]
fn a_killed_commit_of_few_files_is_all_or_nothing() {
    let points = kill_everywhere(&few());
    assert!(points.values().sum::<usize>() > 40, "{points:?}");
    for call in ["write", "fsync", "mkdirat", "unlinkat"] {
        assert!(points.get(call).is_some_and(|count| *count >= 3), "{call}: {points:?}");
    }
    // A file that is made with the right permissions keeps them; only a directory of the store is always told.
    assert!(points.contains_key("fchmod"), "{points:?}");
    assert!(!points.contains_key("syncfs"), "{points:?}");
}

#[test]
fn a_killed_commit_of_many_files_is_all_or_nothing() {
    let points = kill_everywhere(&many());
    assert!(points.values().sum::<usize>() > 200, "{points:?}");
    assert_eq!(points.get("syncfs"), Some(&2), "{points:?}");
}

#[test]
fn a_killed_commit_in_several_directories_is_all_or_nothing() {
    let points = kill_at(&thousand(), |call| match call {
        "openat" | "write" | "renameat" => 149,
        _ => 1,
    });
    // The store's own directory, that of the commit, and two more in it; then the journal and all of these go.
    assert_eq!(points.get("mkdirat"), Some(&4), "{points:?}");
    assert_eq!(points.get("unlinkat"), Some(&4), "{points:?}");
    assert!(points.get("renameat").is_some_and(|count| *count >= 3), "{points:?}");
}

/// Makes every call fail, and returns how many did.
fn fail_everywhere(scenario: &Scenario, error: &str, persists: bool) -> usize {
    let (old, new) = (scenario.old_state(), scenario.new_state());
    let mut points = 0;
    for call in CALLS {
        for when in 1.. {
            let dir = scenario.make();
            let at = if persists { format!("{when}+") } else { when.to_string() };
            let fault = format!("error={error}");
            let args = full(dir.path());
            let Some(output) = inject(dir.path(), call, &fault, &at, &args) else { break };
            points += 1;
            let place = format!("{error} at {call} {at}: {output:?}");
            check_failure(dir.path(), call, &output, (&old, &new), &place);
        }
    }
    points
}

fn check_failure(
    dir: &Path,
    call: &str,
    output: &Output,
    (old, new): (&State, &State),
    place: &str,
) {
    let found = state(dir);
    if output.status.success() {
        // The loader of programs tries files that need not be there.
        assert!(call == "openat" && found == *new, "not reported: {place}");
        check_clean(dir);
        return;
    }
    let said = String::from_utf8_lossy(&output.stderr);
    if !said.contains("decided but not completed") {
        assert_eq!(found, *old, "said that nothing changed: {place}");
    }
    recover(dir);
    let after = state(dir);
    assert!(after == *old || after == *new, "{place}: {after:#?}");
}

#[test]
fn a_disk_that_fails_once_leaves_all_or_nothing() {
    for error in ["EIO", "ENOSPC"] {
        let points = fail_everywhere(&few(), error, false);
        assert!(points > 40, "{points}");
    }
}

#[test]
fn a_disk_that_fails_from_then_on_leaves_all_or_nothing() {
    let points = fail_everywhere(&few(), "EIO", true);
    assert!(points > 40, "{points}");
}

#[test]
fn a_disk_that_fails_under_many_files_leaves_all_or_nothing() {
    let points = fail_everywhere(&many(), "ENOSPC", false);
    assert!(points > 200, "{points}");
}

#[test]
fn a_full_disk_and_a_read_only_one_are_said_plainly() {
    let said = |call: &str, error: &str, when: &str| {
        let dir = few().make();
        let fault = format!("error={error}");
        let output = inject(dir.path(), call, &fault, when, &full(dir.path())).unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        said("write", "ENOSPC", "3"),
        "no space is left for writing hosts/db/deep/key.pub: No space left on device (os error 28)\n"
    );
    assert_eq!(
        said("mkdirat", "EROFS", "1"),
        ".nixmox is on a read-only file system: Read-only file system (os error 30)\n"
    );
}

#[test]
fn a_killed_recovery_is_completed_by_the_next() {
    let scenario = few();
    let (old, new) = (scenario.old_state(), scenario.new_state());
    let mut points = 0;
    for call in CALLS {
        for when in 1.. {
            let dir = scenario.make();
            break_between_two_files(dir.path(), &old, &new);
            if !kill(dir.path(), call, when, &[dir.path().join("repo")]) {
                break;
            }
            points += 1;
            recover(dir.path());
            assert_eq!(state(dir.path()), new, "killed at {call} {when}");
        }
    }
    assert!(points > 20, "{points}");
}

/// A disk that fails makes the commit undo itself; that is killed at each of its removals.
#[test]
fn a_killed_undo_leaves_all_or_nothing() {
    let scenario = few();
    let (old, new) = (scenario.old_state(), scenario.new_state());
    let mut points = 0;
    for sync in 1..=points_of("fsync") {
        for removal in 1.. {
            let dir = scenario.make();
            let fail = format!("inject=fsync:error=EIO:when={sync}");
            let kill = format!("inject=unlinkat:signal=SIGKILL:when={removal}");
            let options = ["-e", "trace=fsync,unlinkat", "-e", &fail, "-e", &kill];
            let (output, _) = traced(dir.path(), &options, &full(dir.path()));
            if output.status.signal() != Some(9) {
                break;
            }
            points += 1;
            recover(dir.path());
            let after = state(dir.path());
            assert!(after == old || after == new, "fsync {sync}, removal {removal}: {after:#?}");
        }
    }
    assert!(points > 20, "{points}");
}

/// How often a whole run of the few makes a call.
fn points_of(call: &str) -> usize {
    let dir = few().make();
    let (_, log) = traced(dir.path(), &["-e", &format!("trace={call}")], &full(dir.path()));
    log.matches(&format!(" {call}(")).count()
}

/// Kills a commit in the middle of its last renames.
fn break_between_two_files(dir: &Path, old: &State, new: &State) {
    // Of `.gitignore`, of the journal, of the first target; the call has two names.
    let killed = ["renameat", "renameat2"].iter().any(|c| kill(dir, c, 4, &full(dir)));
    let broken = state(dir);
    assert!(killed && broken != *old && broken != *new, "{broken:#?}");
}

/// One line of the log, without its process id: the call and everything that it names.
fn calls(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| line.split_once(' ').map(|(_, call)| call.trim())).collect()
}

/// The places in the log where a call with all of these pieces stands.
fn places(calls: &[&str], pieces: &[&str]) -> Vec<usize> {
    let fits = |call: &str| pieces.iter().all(|piece| call.contains(piece));
    calls.iter().enumerate().filter(|(_, call)| fits(call)).map(|(at, _)| at).collect()
}

#[track_caller]
fn check_order(scenario: &Scenario, staged: usize) {
    let dir = scenario.make();
    let trace = format!("trace=?{}", CALLS.join(",?"));
    let (output, log) = traced(dir.path(), &["-e", &trace], &full(dir.path()));
    assert!(output.status.success(), "{output:?}");
    let calls = calls(&log);
    let one = |pieces: &[&str]| {
        let found = places(&calls, pieces);
        assert_eq!(found.len(), 1, "{pieces:?} in {log}");
        found[0]
    };
    // Whether something is synced after one place and before another.
    let synced = |fd: &str, after: usize, before: usize| {
        let itself = places(&calls, &["fsync(", fd]);
        let all = places(&calls, &["syncfs("]);
        itself.iter().chain(&all).any(|at| after < *at && *at < before)
    };

    let decided = one(&["rename", "\"journal.new\"", "\"journal\""]);
    for n in 0..staged {
        let written = one(&["write(", &format!("/txn/{n}>")]);
        assert!(synced(&format!("/txn/{n}>"), written, decided), "file {n} in {log}");
        assert!(synced("/txn>", written, decided), "the name of file {n} in {log}");
    }
    let journal = one(&["write(", "/txn/journal.new>"]);
    assert!(synced("/txn/journal.new>", journal, decided), "the journal in {log}");
    assert!(synced("/.nixmox>", one(&["mkdirat(", "\"txn\""]), decided), "the directory in {log}");

    let over = one(&["unlinkat(", "\"journal\""]);
    let targets: Vec<_> =
        places(&calls, &["rename", "/txn>, \""]).into_iter().filter(|at| *at > decided).collect();
    assert_eq!(targets.len(), staged, "{log}");
    assert!(synced("/txn>", decided, targets[0]), "the decision in {log}");
    let removed = places(&calls, &["unlinkat(", "/repo/h"]);
    let made = places(&calls, &["mkdirat(", "/repo/h"]);
    assert!(!removed.is_empty() && !made.is_empty(), "{log}");
    for at in targets.into_iter().chain(removed).chain(made) {
        let changed = changed_dir(calls[at]);
        assert!(at < over && synced(&changed, at, over), "{changed} of {} in {log}", calls[at]);
    }
    assert!(places(&calls, &["fsync(", "/txn>"]).iter().any(|at| *at > over), "{log}");
}

/// The directory that the last descriptor of a call stands for, as strace writes it.
fn changed_dir(call: &str) -> String {
    let (_, last) = call.rsplit_once('<').unwrap();
    let (dir, _) = last.split_once('>').unwrap();
    format!("<{dir}>")
}

#[test]
fn what_must_be_durable_first_is_synced_first() {
    check_order(&few(), 3);
    check_order(&many(), 35);
}
