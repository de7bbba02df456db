//! A marked secret through every command of `nixmox-sops`: the mark may be where it was asked for, and nowhere else.
//!
//! As in `leak.rs`, every run is traced by `strace`. What differs is the job: `exec-env` hands the values to the
//! environment of the command that it runs, and `exec-file` writes them to a private file in memory.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nixmox_tests::{Ran, TestEnv, sops_program};

/// The mark. Nothing of it is escaped in YAML, JSON, dotenv, ini, or by strace.
const CANARY: &str = "cAnArY7w2Kq9ZtXe";
const TRACE: [&str; 8] = [
    "-f",
    "-v",
    "-s",
    "65535",
    "-e",
    "signal=none",
    "-e",
    "trace=execve,execveat,?open,openat,openat2,?creat,write,?writev,?pwrite64,?pwritev,sendto,sendmsg,?link,linkat,?rename,renameat,renameat2,?symlink,symlinkat,memfd_create",
];
const IDENTITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/sops/identities/age1.txt");

/// Where the mark may be, besides the editor's file.
#[derive(Clone, Copy, PartialEq)]
enum May {
    Nowhere,
    /// On standard output.
    Output,
    /// In the environment of the command that is run.
    Environment,
}

fn env() -> TestEnv {
    let mut env = TestEnv::of(sops_program());
    let key = fs::read_to_string(IDENTITY).unwrap();
    let recipient = key.lines().find_map(|line| line.strip_prefix("# public key: ")).unwrap();
    fs::write(env.path("fleet/.sops.yaml"), format!("creation_rules:\n  - age: {recipient}\n"))
        .unwrap();
    env.var("SOPS_AGE_KEY_FILE", IDENTITY);
    for (name, text) in [
        ("plain.yaml", format!("a: {CANARY}\nb: other\n")),
        ("plain.env", format!("A={CANARY}\nB=other\n")),
        ("plain.ini", format!("[s]\na = {CANARY}\n")),
        ("plain.json", format!("{{\"a\": \"{CANARY}\"}}")),
        ("plain.bin", format!("{CANARY}\n")),
    ] {
        let given = env.give(name, text);
        let sealed = name.replace("plain", "f");
        env.run(&["encrypt", "--output", &sealed, &given]).ends(0);
    }
    env
}

#[track_caller]
fn check(env: &TestEnv, (args, code): (&[&str], i32), stdin: &str, may: May) -> Ran {
    let traced = env.traced(&TRACE, args, stdin);
    let ran = traced.ran.ends(code);
    assert_eq!(ran.out.contains(CANARY), may == May::Output, "{args:?} prints {}", ran.out);
    assert!(!ran.err.contains(CANARY) && !ran.err.contains("panicked"), "{args:?}: {}", ran.err);
    let root = env.path("").display().to_string();
    for line in traced.log.lines() {
        if let Some(path) = opened_for_writing(line) {
            let known = [&*root, "/dev/", "pipe:", "socket:", "anon_inode:"];
            let fine = known.iter().any(|start| path.starts_with(start));
            assert!(fine && !path.starts_with("/dev/shm/nixmox"), "{args:?}: {line}");
        }
        if !line.contains(CANARY) {
            continue;
        }
        let to = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let to = to.map_or("", |(to, _)| to);
        // Standard output is a pipe here, and written to through a copy of its descriptor.
        let output = may == May::Output && to.starts_with("pipe:[") && !line.contains("write(2<");
        let private = to.contains("/run/nixmox-edit-") || to == "/dev/null";
        let environment = line.contains("execve(") && may == May::Environment;
        let write = line.contains("write(") && (output || private);
        assert!(write || environment, "{args:?}: {line}");
    }
    let holders = env.holders(CANARY);
    assert!(holders.is_empty(), "{args:?} leaves it in {holders:?}");
    ran
}

/// Names the file that a line of the log opens for writing, if it does and succeeds.
fn opened_for_writing(line: &str) -> Option<&str> {
    let opens = line.contains("open") && (line.contains("O_WRONLY") || line.contains("O_RDWR"));
    let (_, opened) = line.rsplit_once(" = ").filter(|_| opens && !line.contains(" = -1 "))?;
    opened.split_once('<')?.1.strip_suffix('>')
}

fn commands(env: &TestEnv) -> BTreeSet<String> {
    let help = env.run(&["-h"]).ends(0).out;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[test]
fn no_command_leaks() {
    let mut env = env();
    let given = |name: &str| env.path("given").join(name).display().to_string();
    let json = format!("\"2{CANARY}\"");
    let (yaml, bad) = (given("plain.yaml"), env.give("bad.yaml", format!("a: *{CANARY}\n")));
    let typed = format!("a: 3{CANARY}\nb: edited\n");
    env.types(&typed);
    let set = ["set", "--value-stdin", "f.yaml", "[\"a\"]"];
    let pages = env.path("tmp/man").display().to_string();
    let cases: [(&[&str], i32, &str, May); 28] = [
        (&["encrypt", &yaml], 0, "", May::Nowhere),
        (&["encrypt", "--filename-override", "x.yaml"], 0, "a: cAnArY7w2Kq9ZtXe\n", May::Nowhere),
        (&["-e", &yaml], 0, "", May::Nowhere),
        (&["encrypt", &bad], 2, "", May::Nowhere),
        (&["encrypt", "f.yaml"], 203, "", May::Nowhere),
        (&["decrypt", "f.yaml"], 0, "", May::Output),
        (&["decrypt", "f.env"], 0, "", May::Output),
        (&["decrypt", "f.ini"], 0, "", May::Output),
        (&["decrypt", "f.bin"], 0, "", May::Output),
        (&["decrypt", "--extract", "[\"a\"]", "f.json"], 0, "", May::Output),
        (&["decrypt", "--output-type", "binary", "f.yaml"], 4, "", May::Nowhere),
        (&["decrypt", "--output-type", "ini", "f.yaml"], 4, "", May::Nowhere),
        (&set, 0, &json, May::Nowhere),
        (&set, 7, CANARY, May::Nowhere),
        (&["unset", "f.yaml", "[\"c\"]"], 1, "", May::Nowhere),
        (&["rotate", "-i", "f.yaml"], 0, "", May::Nowhere),
        (&["updatekeys", "-y", "f.yaml"], 0, "", May::Nowhere),
        (&["filestatus", "f.yaml"], 0, "", May::Nowhere),
        (&["filestatus", &bad], 1, "", May::Nowhere),
        (&["exec-env", "f.env", "test -n \"$A\""], 0, "", May::Environment),
        (&["exec-env", "f.ini", "true"], 1, "", May::Nowhere),
        (&["exec-file", "f.yaml", "cat {} >/dev/null"], 0, "", May::Nowhere),
        (&["exec-file", "f.yaml", "exit 9"], 9, "", May::Nowhere),
        (&["edit", "f.yaml"], 0, "", May::Nowhere),
        (&["edit", "f.yaml"], 200, "", May::Nowhere),
        (&["f.json"], 2, "", May::Nowhere),
        (&["completions", "bash"], 0, "", May::Nowhere),
        (&["man", "--dir", &pages], 0, "", May::Nowhere),
    ];
    let mut covered = BTreeSet::new();
    for (args, code, stdin, may) in cases {
        check(&env, (args, code), stdin, may);
        covered.insert(args[0].to_owned());
    }
    covered.retain(|name| !name.starts_with('-') && !name.contains('.'));
    assert_eq!(covered, commands(&env), "every command must be run with the mark");
}

#[test]
fn a_command_that_is_run_sees_no_identity() {
    let mut env = env();
    let key = fs::read_to_string(IDENTITY).unwrap();
    let key = key.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap();
    env.without("SOPS_AGE_KEY_FILE").var("SOPS_AGE_KEY", key);
    for command in ["exec-env", "exec-file"] {
        let seen = env.run(&[command, "f.env", "env"]).ends(0).out;
        assert!(!seen.contains("AGE"), "{seen}");
        assert!(seen.contains("HOME="), "{seen}");
    }
    let seen = env.run(&["exec-env", "--pristine", "f.env", "/usr/bin/env"]).ends(0).out;
    assert!(!seen.contains("HOME=") && seen.contains("B=other"), "{seen}");
    let seen = env.run(&["exec-env", "--same-process", "f.env", "echo $B"]).ends(0).out;
    assert_eq!(seen, "other\n");
}

/// The program is ended while the command has the plaintext.
#[test]
fn signals_leave_nothing() {
    let env = env();
    for (signal, number) in [("TERM", 15), ("HUP", 1)] {
        let line = format!("cat {{}} >/dev/null; kill -s {signal} $PPID; exec sleep 60");
        let ran = env.run(&["exec-file", "f.yaml", &line]);
        assert_eq!(ran.code, Some(128 + number), "{ran:?}");
        assert_eq!(env.holders(CANARY), [""; 0]);
        let left: Vec<_> = fs::read_dir(env.path("run")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
    assert!(!Path::new("/dev/shm/nixmox").exists());
}
