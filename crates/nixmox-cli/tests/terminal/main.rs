//! Prompts and editors behind a real terminal, and what signals leave behind.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

mod editors;
mod pty;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pty::{Pty, example};
use rustix::process::Signal;

/// A directory in memory for the workspaces of one test, and a fake editor beside it.
struct Bench {
    shm: tempfile::TempDir,
    disk: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let shm = tempfile::tempdir_in("/dev/shm").unwrap();
        Self { shm, disk: tempfile::tempdir().unwrap() }
    }

    /// Writes an editor: a shell script that finds the file in `$f`, its directory in `$d`, and notes in `$n`.
    fn editor(&self, body: &str) -> String {
        let path = self.disk.path().join("editor");
        let notes = self.disk.path().join("notes");
        let head = format!("#!/bin/sh\nf=$1\nd=$(dirname \"$f\")\nn={}\n", notes.display());
        fs::write(&path, format!("{head}{body}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path.display().to_string()
    }

    fn notes(&self) -> String {
        fs::read_to_string(self.disk.path().join("notes")).unwrap_or_default()
    }

    fn edit(&self, editor: &str, times: &str) -> Pty {
        let place = self.shm.path().display().to_string();
        Pty::run(example(), &["edit", &place, times, editor])
    }

    #[track_caller]
    fn nothing_is_left(&self) {
        let left: Vec<PathBuf> =
            fs::read_dir(self.shm.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn a_hidden_value_is_read_and_not_shown() {
    let mut pty = Pty::run(example(), &["secret"]);
    pty.expect("value: ");
    assert!(!pty.echoes(), "the terminal shows what is typed");
    pty.send("hunter2\r");
    pty.expect("7 bytes");
    let end = pty.end();
    assert_eq!(end.code, Some(0));
    assert!(!end.shown.contains("hunter"), "{}", end.shown);
    assert!(end.echoes, "the terminal has its settings back");
}

#[test]
fn more_than_a_kernels_line_can_be_pasted() {
    let mut pty = Pty::run(example(), &["secret"]);
    pty.expect("value: ");
    for _ in 0..100 {
        pty.send(&"x".repeat(100));
    }
    pty.send("\r");
    pty.expect("10000 bytes");
}

#[test]
fn what_a_prompt_cannot_take_is_refused() {
    #[track_caller]
    fn check(keys: &str, expect: &str) {
        let mut pty = Pty::run(example(), &["secret"]);
        pty.expect("value: ");
        pty.send(keys);
        pty.expect(expect);
        let end = pty.end();
        assert_eq!(end.code, Some(1));
        assert!(end.echoes && !end.shown.contains("hunter"), "{}", end.shown);
    }
    check("\x04", "error: no answer was given");
    check("hunter\x1b[A", "control character");
    check("-----BEGIN hunter\rsecond\rthird\r", "more than one line");
}

#[test]
fn ctrl_c_at_a_prompt_gives_the_terminal_back() {
    let mut pty = Pty::run(example(), &["secret"]);
    pty.expect("value: ");
    pty.send("hunt\x03");
    let end = pty.end();
    assert_eq!(end.code, Some(130));
    assert!(end.echoes && !end.shown.contains("hunt"), "{}", end.shown);
}

#[test]
fn sigterm_at_a_prompt_gives_the_terminal_back() {
    let mut pty = Pty::run(example(), &["secret"]);
    pty.expect("value: ");
    pty.signal(Signal::TERM);
    let end = pty.end();
    assert_eq!((end.code, end.echoes), (Some(143), true));
}

#[test]
fn questions_are_answered() {
    #[track_caller]
    fn check(keys: &str, expect: &str) {
        let mut pty = Pty::run(example(), &["confirm"]);
        pty.expect("sure? [y/N] ");
        pty.send(keys);
        pty.expect(expect);
    }
    check("y\r", "true");
    check("YES\r", "true");
    check("n\r", "false");
    check("\r", "false");
    check("yesterday\r", "false");
    check("\x04", "error: no answer was given");
}

#[test]
fn nobody_is_asked_without_a_terminal() {
    #[track_caller]
    fn check(what: &str) {
        let output = Command::new("setsid")
            .args(["--wait", example(), what])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error: there is no terminal to ask at\n"), "{said}");
        assert_eq!(output.status.code(), Some(1));
    }
    check("secret");
    check("confirm");
}

#[test]
fn a_terminal_is_no_pipe() {
    let mut pty = Pty::run(example(), &["stdin"]);
    pty.expect("error: standard input is a terminal");
    assert_eq!(pty.end().code, Some(1));
}

#[test]
fn an_edited_text_comes_back() {
    let bench = Bench::new();
    let editor = bench.editor("stat -c '%a %F' \"$f\" \"$d\" >$n; echo more >>\"$f\"");
    let mut pty = bench.edit(&editor, "1");
    pty.expect("2 lines, changed true, left []");
    assert_eq!(pty.end().code, Some(0));
    assert_eq!(bench.notes(), "600 regular file\n700 directory\n");
    bench.nothing_is_left();
}

#[test]
fn the_same_text_is_opened_again() {
    let bench = Bench::new();
    let editor = bench.editor("echo \"$d\" >>$n; echo more >>\"$f\"; touch \"$d/$(wc -l <$n)~\"");
    let mut pty = bench.edit(&editor, "2");
    let expect = "2 lines, changed true, left [\"1~\"]; 3 lines, changed true, left [\"2~\"]";
    pty.expect(expect);
    assert_eq!(pty.end().code, Some(0));
    let notes = bench.notes();
    let seen: Vec<_> = notes.lines().collect();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0], seen[1]);
    bench.nothing_is_left();
}

#[test]
fn an_editor_that_replaces_the_file_is_followed() {
    let bench = Bench::new();
    let editor = bench.editor("echo new >\"$d/x\"; mv \"$d/x\" \"$f\"");
    bench.edit(&editor, "1").expect("1 lines, changed true, left []");
    let editor = bench.editor("cp \"$f\" \"$d/x\"; mv \"$d/x\" \"$f\"");
    bench.edit(&editor, "1").expect("1 lines, changed false, left []");
}

#[test]
fn editors_that_fail_say_so() {
    #[track_caller]
    fn check(body: &str, expect: &str) {
        let bench = Bench::new();
        let mut pty = bench.edit(&bench.editor(body), "1");
        pty.expect(expect);
        assert_eq!(pty.end().code, Some(201));
        bench.nothing_is_left();
    }
    check("exit 3", "failed (exit status: 3)");
    check("kill -9 $$", "failed (signal: 9 (SIGKILL))");
    check("rm \"$f\"", "cannot read the private file secrets.nix back");
    check("ln -sf /etc/passwd \"$f\"", "replaced by something that is not a file");
    check("printf '\\377' >\"$f\"", "not UTF-8");
}

#[test]
fn a_missing_editor_is_named() {
    let mut pty = Bench::new().edit("no-such-editor", "1");
    pty.expect("error: editor no-such-editor not found");
    assert_eq!(pty.end().code, Some(201));
}

#[test]
fn temporary_files_of_an_editor_are_private_and_removed() {
    let bench = Bench::new();
    let editor = bench.editor("cp \"$f\" \"$TMPDIR/v1\"; echo $TMPDIR >$n");
    bench.edit(&editor, "1").expect("left [\".tmp/v1\"]");
    assert!(Path::new(bench.notes().trim()).starts_with(bench.shm.path()));
    bench.nothing_is_left();
}

#[test]
fn ctrl_c_belongs_to_the_editor() {
    let bench = Bench::new();
    let body = "trap 'echo got it; echo more >>\"$f\"; exit 0' INT; echo ready; while :; do sleep 0.1; done";
    let mut pty = bench.edit(&bench.editor(body), "1");
    pty.expect("ready");
    pty.send("\x03");
    pty.expect("got it");
    pty.expect("2 lines, changed true");
    assert_eq!(pty.end().code, Some(0));
    bench.nothing_is_left();
}

#[test]
fn a_signal_ends_editor_and_text() {
    #[track_caller]
    fn check(signal: Signal, code: i32, body: &str) {
        let bench = Bench::new();
        let body = format!("echo $$ >$n; {body}; echo ready; while :; do sleep 0.1; done");
        let mut pty = bench.edit(&bench.editor(&body), "1");
        pty.expect("ready");
        pty.signal(signal);
        assert_eq!(pty.end().code, Some(code));
        bench.nothing_is_left();
        // Dead, even if its new parent has not looked after it yet.
        let editor = format!("/proc/{}/stat", bench.notes().trim());
        let state = fs::read_to_string(editor).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "the editor lives on: {state}");
    }
    check(Signal::TERM, 143, ":");
    check(Signal::HUP, 129, ":");
    check(Signal::TERM, 143, "trap '' TERM HUP");
    check(Signal::TERM, 143, "touch \"$d/.swp\"; trap 'echo x >\"$d/late\"; exit 1' TERM");
}

#[test]
fn a_closed_terminal_removes_the_text() {
    let bench = Bench::new();
    let mut pty = bench.edit(&bench.editor("echo ready; while :; do sleep 0.1; done"), "1");
    pty.expect("ready");
    pty.hang_up();
    bench.nothing_is_left();
}

#[test]
fn what_a_killed_process_left_goes_at_the_next_start() {
    let bench = Bench::new();
    let mut pty = bench.edit(&bench.editor("echo ready; exec sleep 2"), "1");
    pty.expect("ready");
    pty.signal(Signal::KILL);
    assert_eq!(pty.end().code, None);
    assert_eq!(fs::read_dir(bench.shm.path()).unwrap().count(), 1);
    bench.edit(&bench.editor("true"), "1").expect("changed false");
    bench.nothing_is_left();
}

#[test]
fn children_see_no_identity() {
    let output = Command::new(example())
        .arg("child")
        .env("SOPS_AGE_KEY", "AGE-SECRET-KEY-1MARK")
        .env("SOPS_AGE_KEY_CMD", "echo MARK")
        .env("HARMLESS", "stays")
        .output()
        .unwrap();
    let seen = String::from_utf8(output.stdout).unwrap();
    assert!(seen.contains("HARMLESS=stays") && !seen.contains("MARK"), "{seen}");
}

#[test]
fn a_hardened_process_cannot_dump() {
    let output = Command::new(example()).arg("harden").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("not_traceable: true, no_core_file: true"), "{said}");
}

#[test]
fn a_small_limit_on_locked_memory_breaks_nothing() {
    // As somebody who may not lift the limit.
    let output = Command::new("setpriv")
        .args(["--bounding-set=-all", "--inh-caps=-all", "prlimit", "--memlock=65536:65536"])
        .args([example(), "harden"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("locked_memory: false"), "{said}");
}
