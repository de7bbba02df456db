//! A marked secret through every command, in success and in failure: the mark may be where it was asked for, and
//! nowhere else.
//!
//! Every run is traced by `strace` (Debian package strace), so that arguments and environments of children, files
//! opened for writing, and everything written is seen. Afterwards all directories are searched.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use nixmox_tests::{Ran, Shape, TestEnv};

/// The mark. Nothing of it is escaped in Nix, YAML, JSON, or by strace.
const CANARY: &str = "cAnArY7w2Kq9ZtXe";
/// What the mark is in a key: a key that cannot be parsed holds it as it is.
const BROKEN_KEY: &str = "AGE-SECRET-KEY-1CANARY7W2KQ9ZTXE";
/// Another admin's recipient, whose key nobody has any more.
const OTHER: &str = "age1rc7gc0p8fyva9vwdjkw8lwfz4gxm3dscg2tyexlf0lsescl9f4dqcz5962";
/// The calls that start programs, open files, or write.
const TRACE: [&str; 8] = [
    "-f",
    "-v",
    "-s",
    "65535",
    "-e",
    "signal=none",
    "-e",
    "trace=execve,execveat,?open,openat,openat2,?creat,write,?writev,?pwrite64,?pwritev,sendto,sendmsg,?link,linkat,?rename,renameat,renameat2,?symlink,symlinkat,memfd_create,prctl,prlimit64",
];

/// Values that are made from the mark: in a text, in a hash, and by a command that prints what it reads.
const DECLARED: &str = r#"
  nodes.routers.url._generate = { type = "template"; text = "//{{routers.psk}}@x"; every = "1h"; };
  nodes.routers.hash._generate = { type = "bcrypt"; of = "routers.psk"; cost = 4; };
  nodes.routers.wg._generate = { type = "wireguard"; perHost = true; };
  nodes.servers.out._generate =
    { type = "command"; command = [ "cat" ]; inputs.psk = "routers.psk"; };
"#;

/// One run with the mark.
struct Case {
    args: Vec<&'static str>,
    stdin: String,
    code: i32,
    /// Whether standard output is to show the mark.
    shows: bool,
}

fn case(args: &[&'static str], code: i32) -> Case {
    Case { args: args.to_vec(), stdin: String::new(), code, shows: false }
}

impl Case {
    fn stdin(self, text: impl Into<String>) -> Self {
        Self { stdin: text.into(), ..self }
    }

    fn shows(self) -> Self {
        Self { shows: true, ..self }
    }
}

/// A fleet whose secrets are the mark: of a group, of a host, beside other values.
fn marked(shape: Shape) -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(Shape { git: true, ..shape });
    env.secrets(&[
        ("routers.psk", CANARY),
        ("server1.db.password", CANARY),
        ("servers.user", "app"),
    ]);
    env.tool("git", &["add", "--all"]);
    env
}

/// Two branches of a fleet with the mark in both, set up for git; the one that is checked out is `ours`.
fn branches(shape: Shape) -> TestEnv {
    let mut env = marked(shape);
    for name in ["AUTHOR", "COMMITTER"] {
        env.var(&format!("GIT_{name}_NAME"), "a")
            .var(&format!("GIT_{name}_EMAIL"), "a@example.org");
    }
    env.run(&["git", "install"]).ends(0);
    let commit = |env: &TestEnv, message: &str| {
        env.tool("git", &["add", "--all"]);
        env.tool("git", &["commit", "--quiet", "-m", message]);
    };
    commit(&env, "start");
    env.tool("git", &["branch", "start"]);
    for (name, path) in [("theirs", "server1.db.password"), ("ours", "routers.psk")] {
        env.tool("git", &["checkout", "--quiet", "-b", name, "start"]);
        env.secrets(&[(path, &format!("{CANARY}-{name}")), ("servers.user", name)]);
        commit(&env, name);
    }
    env
}

/// Diffs and merges are git's, which starts the program: the mark is looked for in all that both do.
#[test]
fn git_leaks_nothing() {
    for yaml in [false, true] {
        let env = branches(Shape { yaml, ..Shape::default() });
        for (args, code) in [
            (&["diff", "start", "theirs"][..], 0),
            (&["log", "-p", "--all"], 0),
            (&["show", "ours"], 0),
            (&["merge", "--no-edit", "theirs"], 1),
        ] {
            let traced = env.traced_tool("git", &TRACE, args);
            let ran = traced.ran.ends(code);
            let what = format!("git {args:?}");
            assert!(!ran.out.contains(CANARY), "{what} prints {}", ran.out);
            check_said(&ran.err, &what);
            check_log(&env, &traced.log, false, &what);
            assert!(traced.log.contains("nixmox-secrets"), "{what} does not start the program");
            assert_eq!(env.holders(CANARY), [""; 0], "{what}");
        }
        for args in [
            &["git", "conflicts"][..],
            &["git", "conflicts", "--json"],
            &["git", "diff"],
            &["git", "diff", "start", "ours", "--json"],
        ] {
            check(&env, &case(args, 0));
        }
        for args in [
            &["git", "conflicts", "--reveal"][..],
            &["git", "diff", "--reveal"],
            &["git", "textconv", "secrets.yaml", "--reveal"],
            &["git", "resolve"],
        ] {
            check(&env, &case(args, 2));
        }
        check(&env, &case(&["git", "resolve", "--theirs"], 0));
    }
}

/// Runs a case under strace and looks everywhere.
#[track_caller]
fn check(env: &TestEnv, case: &Case) -> Ran {
    let traced = env.traced(&TRACE, &case.args, &case.stdin);
    let ran = traced.ran.ends(case.code);
    let what = format!("{:?}", case.args);
    assert_eq!(ran.out.contains(CANARY), case.shows, "{what} prints {}", ran.out);
    check_said(&ran.err, &what);
    check_log(env, &traced.log, case.shows, &what);
    let holders = env.holders(CANARY);
    assert!(holders.is_empty(), "{what} leaves it in {holders:?}");
    ran
}

#[track_caller]
fn check_said(said: &str, what: &str) {
    let marked = said.contains(CANARY) || said.contains(BROKEN_KEY);
    assert!(!marked, "{what} says {said}");
    assert!(!said.contains("panicked"), "{what} panics: {said}");
}

/// Reads what strace saw: the mark in no call but reads, writes of the editor's file and of pipes, and where it was
/// asked for; and no file for writing outside the test's directories.
#[track_caller]
fn check_log(env: &TestEnv, log: &str, shows: bool, what: &str) {
    let root = env.path("").display().to_string();
    for line in log.lines() {
        if let Some(path) = opened_for_writing(line) {
            // What a real Nix does with its locks and caches is judged by whether the mark is in it.
            let known = [&*root, "/dev/", "/nix/var/", "pipe:", "socket:", "anon_inode:"];
            // A sandbox tells the kernel who it is: numbers of users, nothing else.
            let numbers = ["/uid_map", "/gid_map", "/setgroups"];
            let told = path.starts_with("/proc/") && numbers.iter().any(|end| path.ends_with(end));
            let fine = told || known.iter().any(|start| path.starts_with(start));
            assert!(fine && !path.starts_with("/dev/shm/nixmox"), "{what}: {line}");
        }
        if !line.contains(CANARY) && !line.contains(BROKEN_KEY) {
            continue;
        }
        let to = line.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
        let to = to.map_or("", |(to, _)| to);
        let output = line.contains("write(1<") && shows;
        // Into the editor's file, to a Nix that evaluates, and where everything vanishes.
        let private = to.contains("/run/nixmox-edit-") || to == "/dev/null";
        let piped = to.starts_with("pipe:[") && !line.contains("write(2<");
        assert!(line.contains("write(") && (output || private || piped), "{what}: {line}");
    }
}

/// Names the file that a line of the log opens for writing, if it does and succeeds.
fn opened_for_writing(line: &str) -> Option<&str> {
    let opens = line.contains("open") && (line.contains("O_WRONLY") || line.contains("O_RDWR"));
    let failed = line.contains(" = -1 ");
    let (_, opened) = line.rsplit_once(" = ").filter(|_| opens && !failed)?;
    opened.split_once('<')?.1.strip_suffix('>')
}

/// Lists the commands that the program has.
fn commands(env: &TestEnv) -> BTreeSet<String> {
    let help = env.run(&["-h"]).ends(0).out;
    let (_, list) = help.split_once("Commands:\n").unwrap();
    let (list, _) = list.split_once("\n\n").unwrap();
    let names = list.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    names.filter(|name| !name.is_empty() && *name != "help").map(str::to_owned).collect()
}

#[expect(clippy::too_many_lines, reason = "one line for each way to call the program")]
#[test]
fn no_command_leaks_in_success() {
    let mut env = marked(Shape::default());
    env.types(&format!(
        "{{ nodes.routers.psk = \"{CANARY}\"; nodes.server1.db.password = \"2{CANARY}\"; {DECLARED} }}"
    ));
    env.give("plain.yaml", format!("nodes:\n  router1:\n    psk: {CANARY}\n"));
    fs::create_dir(env.path("home/.ssh")).unwrap();
    let key = env.path("home/.ssh/id_ed25519").display().to_string();
    env.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &key]);
    let given =
        |name: &str| -> &'static str { env.path("given").join(name).display().to_string().leak() };
    let demo: &'static str = env.path("tmp/demo").display().to_string().leak();
    let man: &'static str = env.path("tmp/man").display().to_string().leak();
    let file = "nodes/routers/router1/secrets.yaml";
    let cases = [
        case(&["demo", demo], 0),
        case(&["init", "--repo", "."], 0),
        case(&["edit", "--dry-run"], 0),
        case(&["edit"], 0),
        case(&["edit"], 200),
        case(&["set", "router2.psk"], 0).stdin(CANARY),
        case(&["set", "router2.key", "--file", given("plain.yaml")], 0),
        case(&["set", "router2.psk", "--json", "--nix"], 0).stdin(format!("3{CANARY}")),
        case(&["unset", "router2.psk"], 0),
        case(&["get", "routers.psk"], 0).shows(),
        case(&["list"], 0),
        case(&["list", "--json"], 0),
        case(&["show", "router1"], 0),
        case(&["show", "router1", "--json"], 0),
        case(&["eval"], 0),
        case(&["eval", "--nix"], 0),
        case(&["explain", "router1"], 0),
        case(&["explain", "router1", "psk", "--json"], 0),
        case(&["generate"], 0),
        case(&["generate", "--json"], 0),
        case(&["generate", "--regenerate", "servers.out"], 0),
        case(&["generate", "--regenerate", "routers", "--dry-run"], 0),
        case(&["generate", "--due"], 0),
        case(&["get", "servers.out"], 0).shows(),
        case(&["status"], 0),
        case(&["seal"], 0),
        case(&["seal", "--dry-run"], 0),
        case(&["updatekeys", "--yes"], 0),
        case(&["rotate", "router1"], 0),
        case(&["rotate", "--json"], 0),
        case(&["rotate-host", "router2"], 0),
        case(&["rotate-host", "router2", "--finish"], 0),
        case(&["who", "routers.psk"], 0),
        case(&["who", "router1", "--json"], 0),
        case(&["due"], 0),
        case(&["compromised", "server2", "--no-history", "--dry-run"], 0),
        case(&["compromised", "server2", "--json"], 0),
        case(&["due", "--json"], 1),
        case(&["who", "routers.psk", "--ever"], 0),
        case(&["access"], 0),
        case(&["access", "--json"], 0),
        case(&["check"], 0),
        case(&["check", "--keyless"], 0),
        case(&["import", given("plain.yaml")], 0),
        case(&["import", "-", "--format", "nix"], 0)
            .stdin(format!("{{ nodes.router1.psk = \"4{CANARY}\"; }}")),
        case(&["doctor"], 1),
        case(&["doctor", "--json", "--store", given("")], 1),
        case(&["consumers", "router1"], 1).stdin("{}"),
        case(&["encrypt", given("plain.yaml"), "--output", "x.yaml"], 0),
        case(&["encrypt", given("plain.yaml"), "--node", "router1"], 0),
        case(&["decrypt", file, "--node", "router1"], 0).shows(),
        case(&["decrypt", "secrets.yaml"], 0).shows(),
        case(&["git", "install", "--dry-run"], 0),
        case(&["git", "install"], 0),
        case(&["git", "textconv", file], 0),
        case(&["git", "textconv", "secrets.yaml"], 0),
        case(&["git", "conflicts"], 0),
        case(&["git", "resolve"], 0),
        case(
            &[
                "git",
                "merge-driver",
                "secrets.yaml",
                "secrets.yaml",
                "secrets.yaml",
                "secrets.yaml",
            ],
            0,
        ),
        case(&["sign", "enable", "--name", "alice"], 0),
        case(&["set", "router2.psk"], 0).stdin(format!("5{CANARY}")),
        case(&["sign", "status"], 0),
        case(&["sign", "signers"], 0),
        case(&["verify"], 0),
        case(&["recipients", "list"], 0),
        case(&["recipients", "list", "--json"], 0),
        case(&["recipients", "add", "bob", OTHER], 0),
        case(&["recipients", "remove", "bob", "--json"], 0),
        case(&["check"], 0),
        case(&["completions", "bash"], 0),
        case(&["man"], 0),
        case(&["man", "--dir", man], 0),
    ];
    for case in &cases {
        check(&env, case);
        env.tool("git", &["add", "--all"]);
    }
    let covered: BTreeSet<String> = cases.iter().map(|case| case.args[0].to_owned()).collect();
    assert_eq!(covered, commands(&env), "every command must be run with the mark");
}

/// Trees of other tools with the mark in them, and shell histories and leftovers that hold it in the open.
#[test]
fn what_others_left_is_taken_and_found_without_a_word_of_it() {
    let env = marked(Shape::default());
    let given =
        |name: &str| -> &'static str { env.path("given").join(name).display().to_string().leak() };
    env.give("plain.yaml", format!("psk: {CANARY}\n"));
    for tree in ["agenix", "sops"] {
        fs::create_dir(given(tree)).unwrap();
    }
    let rules = fs::read_to_string(env.path("fleet/.sops.yaml")).unwrap();
    let me = rules.split_whitespace().find(|word| word.starts_with("age1")).unwrap();
    env.tool("age", &["-r", me, "-o", given("agenix/psk.age"), given("plain.yaml")]);
    env.give("agenix/secrets.nix", format!("{{ \"psk.age\".publicKeys = [ \"{me}\" ]; }}"));
    env.run(&["encrypt", given("plain.yaml"), "--output", given("sops/a.yaml")]).ends(0);
    nixmox_tests::copy_tree(&env.path("fleet"), Path::new(given("nixverse")));
    for tool in ["nixverse", "agenix", "sops"] {
        check(&env, &case(&["import", tool, given(tool), "--dry-run", "--json"], 0));
        check(&env, &case(&["import", tool, given(tool), "--accept-host-keys"], 0));
    }
    // Told with its place and without its value, wherever it is.
    env.give("agenix/psk", CANARY);
    let store = given("agenix");
    let found = check(&env, &case(&["doctor", "--store", store], 1));
    assert!(found.out.contains("value-in-store"), "{found:#?}");
    let drilled = check(&env, &case(&["doctor", "--drill", given("plain.yaml")], 2));
    assert!(drilled.err.contains("is no key file"), "{drilled:#?}");
    check(&env, &case(&["consumers", "router1"], 2).stdin(CANARY));
    check(&env, &case(&["import", "agenix", given("sops")], 100));
}

#[expect(clippy::too_many_lines, reason = "one line for each mistake")]
#[test]
fn texts_that_do_not_evaluate_are_not_quoted() {
    let mut env = marked(Shape::default());
    let c = CANARY;
    for text in [
        format!("{{ nodes.router1.psk = {c}; }}"),
        format!("{{ nodes.router1.psk = \"{c}; }}"),
        format!("{{ nodes.router1.psk = {c}\"; nodes.router2.psk = \"x\"; }}"),
        format!("{{ nodes.router1.psk = ''{c}; }}"),
        format!("{{ nodes.router1.psk = \"{c}\" }}"),
        format!("{{ nodes.router1.psk = \"${{{c}}}\"; }}"),
        format!("{{ nodes.router1.psk = {{ a = 1; }}.{c}; }}"),
        format!("{{ nodes.router1.psk = {{ a = 1; }}.\"{c}\"; }}"),
        format!("{{ nodes.router1.psk = throw \"{c}\"; }}"),
        format!("{{ nodes.router1.psk = abort \"{c}\"; }}"),
        format!("{{ nodes.router1.psk = builtins.trace \"{c}\" 1; }}"),
        format!("{{ nodes.router1.psk = import ./{c}; }}"),
        format!("{{ nodes.router1.psk = ./{c}; }}"),
        format!("{{ nodes.router1.psk = <{c}>; }}"),
        format!("{{ nodes.router1.psk = 1 + \"{c}\"; }}"),
        format!("{{ nodes.router1.psk = builtins.{c}; }}"),
        format!("{{ nodes.router1.psk = x: \"{c}\"; }}"),
        format!("{{ nodes.router1.psk = [ \"{c}\" null ]; }}"),
        format!("{{ nodes.router1 = {{ psk = \"\"; b = \"{c}\"; }}; }}"),
        format!("{{ nodes.router1 = \"{c}\"; }}"),
        format!("{{ nodes = \"{c}\"; }}"),
        format!("{{ nodes.router1.a._generate = \"{c}\"; }}"),
        format!("{{ nodes.router1.a._generate.type = \"{c}\"; }}"),
        format!("{{ nodes.router1.a._generate = {{ type = \"bcrypt\"; of = \"{c}\"; }}; }}"),
        format!(
            "{{ nodes.router1.a._generate = {{ type = \"bcrypt\"; of = \"router1.{c}\"; }}; }}"
        ),
        format!("{{ nodes.router1.a._generate = {{ type = \"hex\"; bytes = \"{c}\"; }}; }}"),
        format!(
            "{{ nodes.router1.a._generate = {{ type = \"template\"; text = \"{{{{{c}\"; }}; }}"
        ),
        format!(
            "{{ nodes.router1.a._generate = {{ type = \"template\"; text = \"{{{{x.{c}}}}}\"; }}; }}"
        ),
        format!(
            "{{ nodes.router1 = {{ p = \"{c}{c}{c}{c}{c}\"; a._generate = {{ type = \"bcrypt\"; of = \"router1.p\"; }}; }}; }}"
        ),
        format!(
            "{{ nodes.router1.a._generate = {{ type = \"command\"; command = [ \"sh\" \"-c\" \"cat >&2; exit 1\" ]; inputs.p = \"router1.p\"; }}; nodes.router1.p = \"{c}\"; }}"
        ),
        format!("\"{c}\""),
        c.to_owned(),
        format!("{{ nodes.nobody.psk = \"{c}\"; }}"),
        format!("{{ nodes.router1.psk = \"a\"; nodes.router1.psk = \"{c}\"; }}"),
        format!("{{ nodes.router1.{}psk = \"{c}\"; }}", "a.".repeat(100)),
        format!(
            "{{ secrets, ... }}: {{ nodes.router1.psk = secrets.nodes.router1.psk + \"{c}\"; }}"
        ),
    ] {
        env.types(&text);
        let ran = check(&env, &case(&["edit", "--dry-run"], 2));
        assert!(ran.err.contains("error: "), "{text}: {ran:#?}");
    }
    env.types(&format!("{{ nodes.router1.psk = {CANARY}; }}"));
    let failing = check(&env, &case(&["edit"], 2));
    assert!(failing.err.contains("given up; nothing was changed"), "{failing:#?}");
    check(&env, &case(&["edit", "--nix"], 2));
    env.types(&format!("{{ nodes.router1.psk = throw \"{CANARY}\"; }}"));
    check(&env, &case(&["edit", "--nix"], 2));
    // Evaluating must not put files into the store, where everybody reads them.
    env.types(&format!("{{ nodes.router1.psk = builtins.trace \"{CANARY}\" (builtins.toFile \"x\" \"{CANARY}\"); }}"));
    let evaluated = check(&env, &case(&["edit", "--nix"], 0));
    assert!(evaluated.out.contains("updated"), "{evaluated:#?}");
    let path = env.run(&["get", "router1.psk"]);
    let path = path.out.trim();
    assert!(!path.starts_with("/nix/store/") || !Path::new(path).exists(), "{path} is there");
}

#[test]
fn yaml_that_does_not_parse_is_not_quoted() {
    let mut env = marked(Shape { yaml: true, ..Shape::default() });
    let c = CANARY;
    for psk in [
        format!("\"{c}"),
        format!("'{c}"),
        format!("{c}: x"),
        format!("*{c}"),
        format!("@{c}"),
        format!("%{c}"),
        format!("'{c}' x"),
        format!("\"\\z{c}\""),
        format!("[{c}"),
        format!("[{c}, null]"),
        format!("{{{c}"),
        format!("x\n    psk: {c}"),
        format!("x\n    ? [{c}]\n    : x"),
        format!("x\n\t{c}: x"),
        format!("{c}\n---\nb: {c}"),
    ] {
        env.types(&format!("nodes:\n  router1:\n    psk: {psk}\n"));
        let ran = check(&env, &case(&["edit", "--dry-run"], 2));
        assert!(ran.err.contains("error: "), "{psk}: {ran:#?}");
    }
    env.types(&format!("nodes:\n  router1: {c}\n"));
    check(&env, &case(&["edit"], 2));
    env.types(&format!("nodes: {c}\n"));
    check(&env, &case(&["edit"], 2));
}

#[test]
fn input_that_cannot_be_taken_is_not_quoted() {
    let env = marked(Shape::default());
    let c = CANARY;
    let set = |path, stdin: String| case(&["set", path], 0).stdin(stdin);
    let fails = |case: Case, code| check(&env, &Case { code, ..case });
    fails(set("router1.psk.deeper", c.to_owned()), 0);
    fails(set("servers.user.deeper", c.to_owned()), 7);
    fails(set("router1.a", format!("\0{c}")), 7);
    fails(set("router1", c.to_owned()), 2);
    fails(set("nodes", c.to_owned()), 2);
    fails(set("router1.sops", c.to_owned()), 2);
    fails(set("router1.a_unencrypted", c.to_owned()), 2);
    fails(set("nobody.psk", c.to_owned()), 7);
    fails(set("router1..psk", c.to_owned()), 7);
    for (format, text) in [
        ("json", format!("{{\"nodes\": {c}}}")),
        ("json", format!("{{\"nodes\": {{\"router1\": {{\"a\": \"{c}}}}}}}")),
        ("json", format!("{{\"nodes\": \"{c}\"}}")),
        ("yaml", format!("nodes: {c}")),
        ("yaml", format!("nodes: *{c}")),
        ("nix", format!("{{ nodes.router1.a = {c}; }}")),
        ("nix", format!("{{ nodes.router1.a = [ null \"{c}\" ]; }}")),
    ] {
        fails(case(&["import", "-", "--format", format], 2).stdin(text), 2);
    }
    for (name, text) in [
        ("bad.yaml", format!("a: *{c}")),
        ("bad.json", format!("{{\"a\": {c}}}")),
        ("top.yaml", c.to_owned()),
        ("unsealed.yaml", format!("a: {c}")),
    ] {
        let file: &'static str = env.give(name, text).leak();
        let command = if name == "unsealed.yaml" { "decrypt" } else { "encrypt" };
        let code = if command == "decrypt" { 1 } else { 2 };
        fails(case(&[command, file], code), code);
    }
}

/// Nobody reads, and what was sealed does not open.
#[test]
fn closed_doors_tell_nothing() {
    let mut env = marked(Shape::default());
    let file = "nodes/routers/router1/secrets.yaml";
    for reveal in [["show", "router1", "--reveal"], ["eval", "router1", "--reveal"]] {
        check(&env, &case(&reveal, 2));
    }
    let keys = env.path("home/.config/sops/age/keys.txt");
    let key = fs::read_to_string(&keys).unwrap();
    fs::remove_file(&keys).unwrap();
    for args in [
        &["get", "routers.psk"][..],
        &["edit"],
        &["eval"],
        &["decrypt", "secrets.yaml"],
        &["check"],
    ] {
        check(&env, &case(args, 128));
    }
    check(&env, &case(&["set", "routers.psk"], 128).stdin(CANARY));
    // A key that is none, from each place where keys come from.
    let broken: &'static str = env.give("broken.txt", format!("{BROKEN_KEY}\n{CANARY}\n")).leak();
    fs::write(&keys, "").unwrap();
    for (name, value) in [
        ("SOPS_AGE_KEY_FILE", broken.to_owned()),
        ("SOPS_AGE_KEY_CMD", format!("cat {broken}")),
        ("SOPS_AGE_SSH_PRIVATE_KEY_FILE", broken.to_owned()),
        ("SOPS_AGE_SSH_PRIVATE_KEY_CMD", format!("cat {broken}")),
    ] {
        env.var(name, &value);
        check(&env, &case(&["get", "routers.psk"], 128));
        env.without(name);
    }
    fs::write(&keys, key).unwrap();
    // A file that somebody changed.
    let sealed = fs::read_to_string(env.path("fleet").join(file)).unwrap();
    let (before, mac) = sealed.split_once("mac: ENC[AES256_GCM,data:").unwrap();
    let changed = mac.replacen(&mac[..1], if mac.starts_with('A') { "B" } else { "A" }, 1);
    fs::write(env.path("fleet").join(file), format!("{before}mac: ENC[AES256_GCM,data:{changed}"))
        .unwrap();
    check(&env, &case(&["decrypt", file, "--node", "router1"], 51));
    check(&env, &case(&["check"], 1));
    check(&env, &case(&["status"], 0));
}

#[test]
fn an_editor_that_fails_leaves_nothing() {
    let mut env = marked(Shape::default());
    for (script, code) in [
        ("exit 3".to_owned(), 201),
        ("kill -9 $$".to_owned(), 201),
        (
            format!(
                "echo {CANARY} >\"$f~\"; echo {CANARY} >\"$d/.secrets.nix.swp\"; mkdir \"$d/b\"; echo {CANARY} >\"$d/b/c\""
            ),
            200,
        ),
        (format!("echo {CANARY} >\"$TMPDIR/copy\""), 200),
        ("rm \"$f\"".to_owned(), 201),
        ("rm \"$f\"; mkdir \"$f\"".to_owned(), 201),
        ("rm \"$f\"; ln -s /etc/passwd \"$f\"".to_owned(), 201),
        (format!("printf '\\377{CANARY}' >\"$f\""), 201),
    ] {
        // The shell of a fake editor writes the mark; its words must not hold it.
        let script = script.replace(CANARY, "$(cat \"$given/mark\")");
        env.give("mark", CANARY);
        env.editor(&script);
        check(&env, &case(&["edit"], code));
    }
    env.var("EDITOR", "no-such-editor");
    check(&env, &case(&["edit"], 201));
}

#[test]
fn a_run_that_must_wait_tells_nothing() {
    let mut env = marked(Shape::default());
    env.editor("touch \"$given/open\"; while test ! -e \"$given/close\"; do sleep 0.05; done");
    let mut first = env.start(&["edit"]);
    while !env.path("given/open").exists() {
        assert!(first.try_wait().unwrap().is_none(), "the editor does not start");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    // Both runs hold the text now: only the first may.
    let traced = env.traced(&TRACE, &["set", "routers.psk"], CANARY);
    check_said(&traced.ran.clone().ends(1).err, "a second run");
    check_log(&env, &traced.log, false, "a second run");
    env.give("close", "");
    assert_eq!(first.wait().unwrap().code(), Some(200));
    assert_eq!(env.holders(CANARY), [""; 0]);
}

/// The processes of the program are ended while the editor holds the text.
#[test]
fn signals_leave_nothing() {
    let mut env = marked(Shape::default());
    for (signal, number) in [("TERM", 15), ("HUP", 1), ("INT", 2), ("QUIT", 3)] {
        // An interrupt of the terminal is the editor's while it runs; from elsewhere it is sent to the program alone.
        let both = format!(
            "trap '' {signal}; kill -s {signal} $PPID; sleep 0.2; kill -s TERM $PPID; exec sleep 60"
        );
        env.editor(&format!("cp \"$f\" \"$f~\"; {both}"));
        let ran = env.run(&["edit"]);
        let expected = if number < 4 && number > 1 { 128 + 15 } else { 128 + number };
        let ran = ran.ends(expected);
        check_said(&format!("{}{}", ran.out, ran.err), signal);
        assert_eq!(env.holders(CANARY), [""; 0], "{signal}");
    }
    env.run(&["check"]).ends(0);
}

#[test]
fn children_see_no_key() {
    let mut env = marked(Shape::default());
    let keys = env.path("home/.config/sops/age/keys.txt");
    let key = fs::read_to_string(&keys).unwrap();
    let secret = key.lines().find(|line| line.starts_with("AGE-SECRET-KEY-")).unwrap().to_owned();
    fs::remove_file(&keys).unwrap();
    env.var("SOPS_AGE_KEY", &secret).var("MY_OWN", &secret);
    env.var("SOPS_AGE_KEY_CMD", "sh -c 'env >\"$0\"' /dev/null");
    env.editor("env >\"$given/environment\"");
    // The group file asks nix-instantiate, and the new host's files are told to git.
    let beyond =
        "let f = x: x; in f (builtins.listToAttrs [ { name = \"router3\"; value = { }; } ])";
    fs::create_dir_all(env.path("fleet/nodes/more")).unwrap();
    fs::write(env.path("fleet/nodes/more/group.nix"), beyond).unwrap();
    let mut children = BTreeSet::new();
    let edit = env.traced(&TRACE, &["edit"], "");
    let set = env.traced(&TRACE, &["set", "router1.a", "--nix"], "value");
    for run in [edit, set] {
        assert!(matches!(run.ran.code, Some(0 | 200)), "{:#?}", run.ran);
        let executed =
            run.log.lines().filter(|line| line.contains("execve(") && !line.contains(" = -1 "));
        for line in executed.skip(1) {
            assert!(!line.contains("AGE-SECRET-KEY") && !line.contains("SOPS_AGE"), "{line}");
            children.insert(line.split('"').nth(1).unwrap().rsplit('/').next().unwrap().to_owned());
        }
        assert!(run.log.contains("prctl(PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0"));
        assert!(run.log.contains("RLIMIT_CORE, {rlim_cur=0, rlim_max=0}"));
    }
    for child in ["sh", "git", "nix-instantiate"] {
        assert!(children.contains(child), "{child} was not started: {children:?}");
    }
    let environment = fs::read_to_string(env.path("given/environment")).unwrap();
    assert!(environment.contains("HOME=") && !environment.contains("AGE"), "{environment}");
}
