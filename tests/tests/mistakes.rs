//! Fleets that are not as they should be: links, wrong kinds of files, garbage, missing rights, missing homes.
//!
//! Every case ends with an answer in words and leaves the files that were there as they were.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nixmox_tests::{Ran, Shape, TestEnv, copy_tree, files};

const SEALED: &str = "nodes/routers/router1/secrets.yaml";
const KEY: &str = "nodes/routers/router1/ssh_host_ed25519_key";
const PUBLIC: &str = "nodes/routers/router1/ssh_host_ed25519_key.pub";
/// Everything that is generated, or read without having been written by a person.
const GENERATED: [&str; 5] = ["secrets.yaml", ".nixmox/digests.json", SEALED, KEY, PUBLIC];

fn fleet(shape: Shape) -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(shape).secrets(&[("routers.psk", "old"), ("servers.user", "app")]);
    env
}

fn bytes(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let seen = files(root).into_iter().filter(|file| !file.ends_with(".nixmox/lock"));
    seen.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
}

/// Demands that a run says in words what is wrong.
#[track_caller]
fn refused(ran: &Ran) {
    assert!(ran.code.is_some_and(|code| code != 0 && code != 101), "{ran:#?}");
    assert!(ran.err.starts_with("error: ") && !ran.err.contains("panicked"), "{ran:#?}");
}

/// Does `harm` to a fleet, and demands that reading, checking and changing it neither succeed nor change anything.
#[track_caller]
fn refuses(harm: impl FnOnce(&Path), says: &str) {
    let env = fleet(Shape::default());
    harm(&env.path("fleet"));
    let before = bytes(&env.path("fleet"));
    let set = env.run_with(&["set", "routers.psk"], "new");
    refused(&set);
    assert!(set.err.contains(says), "{set:#?}");
    let check = env.run(&["check"]);
    assert!(matches!(check.code, Some(code) if code != 0 && code != 101), "{check:#?}");
    assert_eq!(bytes(&env.path("fleet")), before);
}

fn replace_by_link(root: &Path, path: &str) {
    let elsewhere = root.parent().unwrap().join("given").join("elsewhere");
    fs::rename(root.join(path), &elsewhere).unwrap();
    symlink(&elsewhere, root.join(path)).unwrap();
}

#[test]
fn links_are_not_followed() {
    for path in [
        "secrets.yaml",
        ".nixmox",
        "nodes/routers/router1",
        "nodes/routers",
        "nodes",
        SEALED,
        KEY,
        PUBLIC,
    ] {
        refuses(|root| replace_by_link(root, path), "symbolic link");
    }
    refuses(|root| replace_by_link(root, ".sops.yaml"), "symbolic link");
    refuses(|root| replace_by_link(root, ".nixmox/digests.json"), "symbolic link");
}

#[test]
fn a_dangling_link_is_no_missing_file() {
    let env = fleet(Shape::default());
    fs::remove_file(env.path("fleet/secrets.yaml")).unwrap();
    symlink(env.path("given/nowhere"), env.path("fleet/secrets.yaml")).unwrap();
    refused(&env.run_with(&["set", "routers.psk"], "new"));
    assert!(!env.path("given/nowhere").exists());
}

#[test]
fn a_directory_is_no_file() {
    for path in [
        ".sops.yaml",
        "secrets.yaml",
        ".nixmox/digests.json",
        SEALED,
        KEY,
        PUBLIC,
        "nodes/routers/group.nix",
    ] {
        let harm = |root: &Path| {
            fs::remove_file(root.join(path)).unwrap();
            fs::create_dir(root.join(path)).unwrap();
        };
        // A directory without a group's file is no group.
        refuses(harm, if path.ends_with("group.nix") { "`routers`" } else { path });
    }
}

#[test]
fn a_pipe_is_no_file_and_nobody_waits_for_it() {
    for path in ["secrets.yaml", SEALED, "nodes/routers/group.nix"] {
        let harm = |root: &Path| {
            fs::remove_file(root.join(path)).unwrap();
            assert!(Command::new("mkfifo").arg(root.join(path)).status().unwrap().success());
        };
        refuses(harm, if path.ends_with("group.nix") { "`routers`" } else { path });
    }
}

#[test]
fn garbage_is_told_from_secrets() {
    let garbage: [&[u8]; 5] =
        [b"", b"\xff\xfe\x00\x80garbage", b"\0\0\0\0", b"sops:\n", b"{\"sops\": {}}"];
    for path in GENERATED {
        for content in garbage {
            let env = fleet(Shape::default());
            let file = env.path("fleet").join(path);
            fs::write(&file, content).unwrap();
            let check = env.run(&["check"]);
            let failed = matches!(check.code, Some(code) if code != 0 && code != 101);
            assert!(failed, "{path}: {check:#?}");
            let set = env.run_with(&["set", "routers.psk"], "new");
            assert!(set.code.is_some_and(|code| code != 101), "{path}: {set:#?}");
            // What is made anew from the master may be repaired; everything else must be kept for its owner.
            match set.code {
                Some(0) => drop(env.run(&["check"]).ends(0)),
                _ => assert_eq!(fs::read(&file).unwrap(), content, "{path}: {set:#?}"),
            }
        }
    }
}

#[test]
fn a_cut_file_is_told_from_a_whole_one() {
    for path in GENERATED {
        let env = fleet(Shape::default());
        let file = env.path("fleet").join(path);
        let whole = fs::read(&file).unwrap();
        for kept in [whole.len() / 4, whole.len() / 2, whole.len() - 2] {
            fs::write(&file, &whole[..kept]).unwrap();
            let check = env.run(&["check"]);
            let failed = matches!(check.code, Some(code) if code != 0 && code != 101);
            assert!(failed, "{path} cut to {kept}: {check:#?}");
        }
    }
}

#[test]
fn huge_files_are_refused_at_once() {
    for path in ["secrets.yaml", SEALED, "nodes/routers/group.nix", ".sops.yaml"] {
        let harm = |root: &Path| {
            // Without a byte on the disk; whoever reads it all has eight gigabytes in memory.
            let file = fs::File::options().write(true).open(root.join(path)).unwrap();
            file.set_len(8 << 30).unwrap();
        };
        let env = fleet(Shape::default());
        harm(&env.path("fleet"));
        refused(&env.run_with(&["set", "routers.psk"], "new"));
        let check = env.run(&["check"]);
        assert!(matches!(check.code, Some(code) if code != 0 && code != 101), "{check:#?}");
    }
    let env = fleet(Shape::default());
    let huge = env.give("huge.yaml", "");
    fs::File::options().write(true).open(&huge).unwrap().set_len(8 << 30).unwrap();
    refused(&env.run(&["encrypt", &huge]));
    refused(&env.run(&["decrypt", &huge]));
    refused(&env.run(&["import", &huge]));
    // The file that was given is named, not the secrets that are here.
    for (name, text, says) in [
        ("empty.yaml", "", "empty.yaml is empty"),
        ("empty.nix", " \n", "empty.nix is empty"),
        ("comment.yaml", "# nothing\n", "comment.yaml:1:1"),
        ("half.nix", "{ nodes = ", "half.nix:1:"),
    ] {
        let ran = env.run(&["import", &env.give(name, text)]).ends(2);
        assert!(ran.err.contains(says) && !ran.err.contains("secrets:"), "{ran:#?}");
    }
    refused(&env.run(&["set", "routers.psk", "--file", &huge]));
}

#[test]
fn deep_and_wide_texts_are_refused() {
    let mut env = fleet(Shape::default());
    let before = bytes(&env.path("fleet"));
    let deep = 100_000;
    for text in [
        format!("{{ nodes.router1.a = {}1{}; }}", "[".repeat(deep), "]".repeat(deep)),
        format!("{{ nodes.router1.a = {}1; }}", "x: ".repeat(deep)),
        format!("{{ nodes.router1.a = {}1; }}", "-".repeat(deep)),
        format!("{{ nodes.router1{} = 1; }}", ".a".repeat(deep)),
        format!("{{ nodes.router1.a = \"{}\"; }}", "${\"".repeat(deep)),
        "let f = x: f x; in f 1".to_owned(),
        "rec { nodes.router1 = nodes.router1; }".to_owned(),
        "let a = [ 1 1 1 1 1 1 1 1 ]; b = [ a a a a a a a a ]; c = [ b b b b b b b b ]; d = [ c c c c c c c c ]; \
         e = [ d d d d d d d d ]; f = [ e e e e e e e e ]; g = [ f f f f f f f f ]; h = [ g g g g g g g g ]; \
         i = [ h h h h h h h h ]; in { nodes.router1.a = i; }"
            .to_owned(),
    ] {
        refused(&env.types(&text).run(&["edit"]).ends(2));
    }
    for text in ["[".repeat(deep), "{\"a\":".repeat(deep), "- ".repeat(deep)] {
        refused(&env.run_with(&["import", "-", "--format", "yaml"], text));
    }
    assert_eq!(bytes(&env.path("fleet")), before);
}

/// Runs as a person without rights over others' files, whoever runs the tests.
fn as_nobody(env: &TestEnv, args: &[&str], stdin: &str) -> Ran {
    let mut words =
        vec!["--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs", "--"];
    let program = env.program().display().to_string();
    words.push(&program);
    words.extend(args);
    let input = env.give("stdin", stdin);
    fs::set_permissions(&input, fs::Permissions::from_mode(0o644)).unwrap();
    let mut command = env.command(Path::new("setpriv"));
    if !is_root() {
        command = env.command(env.program());
        words = args.to_vec();
    }
    command.args(words).stdin(fs::File::open(input).unwrap());
    Ran::new(&command.output().unwrap())
}

fn is_root() -> bool {
    String::from_utf8(Command::new("id").arg("-u").output().unwrap().stdout).unwrap().trim() == "0"
}

/// Gives everything of a test to the one who runs in [`as_nobody`].
fn give_away(env: &TestEnv) {
    if is_root() {
        env.tool("chown", &["-R", "65534:65534", env.path("").to_str().unwrap()]);
    }
}

#[test]
fn a_person_without_rights_over_others_can_do_everything() {
    let mut env = fleet(Shape { git: true, ..Shape::default() });
    // The editor looks at the one who started it.
    env.editor(
        "cat /proc/$PPID/environ >\"$given/environ\" 2>\"$given/refused\"; \
         grep -h 'core file' /proc/$PPID/limits >\"$given/core\"; sed -i s/old/new/ \"$f\"",
    );
    give_away(&env);
    as_nobody(&env, &["edit"], "").ends(0);
    as_nobody(&env, &["set", "router1.a"], "value").ends(0);
    assert_eq!(as_nobody(&env, &["get", "routers.psk"], "").ends(0).out, "new");
    as_nobody(&env, &["check"], "").ends(0);
    let read = |name: &str| fs::read_to_string(env.path("given").join(name)).unwrap();
    assert_eq!(read("environ"), "");
    assert!(read("refused").contains("Permission denied"), "{}", read("refused"));
    let core = read("core");
    assert!(core.split_whitespace().filter(|word| *word == "0").count() == 2, "{core}");
}

#[test]
fn a_repository_that_cannot_be_written_is_said_plainly() {
    let env = fleet(Shape::default());
    give_away(&env);
    let fleet = env.path("fleet");
    for path in ["fleet", "fleet/.nixmox", "fleet/nodes/routers/router1"] {
        let path = env.path(path);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o500)).unwrap();
        for file in files(&fleet.join(".nixmox")) {
            fs::set_permissions(file, fs::Permissions::from_mode(0o400)).unwrap();
        }
        let before = bytes(&fleet);
        let set = as_nobody(&env, &["set", "routers.psk"], "new");
        if set.code != Some(0) {
            refused(&set);
            assert!(set.err.contains("ermission") || set.err.contains("read-only"), "{set:#?}");
            assert_eq!(bytes(&fleet), before);
        }
        assert_ne!(set.code, Some(0), "{}: {set:#?}", path.display());
        assert_eq!(as_nobody(&env, &["get", "routers.psk"], "").ends(0).out, "old");
        as_nobody(&env, &["check"], "").ends(0);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        for file in files(&fleet.join(".nixmox")) {
            fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
        }
    }
}

#[test]
fn no_home_is_no_panic() {
    let mut env = fleet(Shape::default());
    let keys = fs::read_to_string(env.path("home/.config/sops/age/keys.txt")).unwrap();
    let key = keys.lines().find(|line| line.starts_with("AGE-")).unwrap();
    env.without("HOME").without("XDG_RUNTIME_DIR").without("TMPDIR").without("LANG");
    env.var("SOPS_AGE_KEY", key);
    assert_eq!(env.run(&["get", "routers.psk"]).ends(0).out, "old");
    env.editor("true").run(&["edit"]).ends(200);
    env.without("SOPS_AGE_KEY").var("HOME", "/nonexistent");
    refused(&env.run(&["get", "routers.psk"]).ends(128));
    refused(&env.run(&["init", "--repo", "."]));
    env.without("EDITOR").var("PATH", "/nonexistent").var("SOPS_AGE_KEY", key);
    let program = env.program().to_owned();
    let run = |args: &[&str]| {
        let mut command = Command::new("/usr/bin/setsid");
        command.arg(&program).args(args).current_dir(env.path("fleet")).env_clear();
        Ran::new(&command.env("SOPS_AGE_KEY", key).env("PATH", "/nonexistent").output().unwrap())
    };
    refused(&run(&["edit"]).ends(201));
    run(&["check"]).ends(0);
    run(&["unset", "routers.psk"]).ends(0);
}

#[test]
fn flakes_see_what_is_new() {
    let mut env = TestEnv::new();
    env.fleet(Shape { git: true, ..Shape::default() });
    env.secrets(&[("routers.psk", "old")]);
    let known = env.tool("git", &["ls-files"]);
    for path in GENERATED.iter().chain(&[".sops.yaml", ".gitignore"]) {
        assert!(known.lines().any(|line| line == *path), "{path}: {known}");
    }
    // The lock and the journal are nobody's business, and nothing is staged for the person.
    assert!(!known.contains("lock") && !known.contains("txn"), "{known}");
    assert_eq!(env.tool("git", &["diff", "--cached", "--name-only"]), "");
    let new = env.tool("git", &["diff", "--name-only"]);
    assert!(new.contains(SEALED), "{new}");
    env.tool("git", &["add", "--all"]);
    env.secrets(&[("routers.psk", "new")]);
    assert!(env.tool("git", &["diff", "--name-only"]).contains(SEALED));
}

#[test]
fn a_private_repository_of_its_own_knows_its_files() {
    let mut env = TestEnv::new();
    let private = env.path("fleet/private");
    let upstream = env.path("given/upstream");
    fs::create_dir(&upstream).unwrap();
    let upstream = upstream.to_str().unwrap();
    env.tool("git", &["init", "--quiet"]);
    env.tool("git", &["-C", upstream, "init", "--quiet"]);
    let who = ["-c", "user.name=x", "-c", "user.email=x@x"];
    let commit = ["commit", "--quiet", "--allow-empty", "-m", "x"];
    env.tool("git", &[&["-C", upstream], &who[..], &commit].concat());
    let allow = ["-c", "protocol.file.allow=always"];
    env.tool("git", &[&allow[..], &["submodule", "--quiet", "add", upstream, "private"]].concat());
    env.fleet_in_place(false).secrets(&[("routers.psk", "old")]);
    assert!(private.join(".git").is_file(), "it is a submodule");
    let known = env.tool("git", &["-C", private.to_str().unwrap(), "ls-files"]);
    for path in GENERATED {
        assert!(known.lines().any(|line| line == path), "{path}: {known}");
    }
    let outside = env.tool("git", &["ls-files"]);
    assert!(!outside.contains("private/"), "{outside}");
    let status = env.tool("git", &["-C", private.to_str().unwrap(), "status", "--porcelain"]);
    assert!(status.contains(&format!(" A {SEALED}")), "{status}");
}

#[test]
fn without_git_all_is_the_same() {
    let mut env = fleet(Shape::default());
    let bin = env.path("given/bin");
    fs::create_dir(&bin).unwrap();
    symlink("/usr/bin/setsid", bin.join("setsid")).unwrap();
    env.var("PATH", bin.to_str().unwrap());
    let mut command = Command::new("/usr/bin/setsid");
    command.arg(env.program()).args(["unset", "routers.psk"]).current_dir(env.path("fleet"));
    command.env_clear().env("HOME", env.path("home")).env("PATH", &bin);
    Ran::new(&command.output().unwrap()).ends(0);
}

#[test]
fn a_fleet_may_lie_anywhere() {
    let env = fleet(Shape { git: true, ..Shape::default() });
    for name in ["with spaces", "-dash", "quo'te\"s", "новый", "new\nline", "esc\u{1b}[2J"] {
        let place = env.path("tmp").join(name);
        copy_tree(&env.path("fleet"), &place);
        let place = place.to_str().unwrap();
        env.run_with(&["set", "routers.a", "--repo", place], "value").ends(0);
        env.run(&["check", "--repo", place]).ends(0);
        assert!(env.tool("git", &["-C", place, "ls-files"]).contains(SEALED));
        let missing = format!("{place}/nowhere");
        let refusal = env.run(&["check", "--repo", &missing]);
        refused(&refusal.clone().ends(100));
        assert!(!refusal.err.contains('\u{1b}') && refusal.err.lines().count() < 5, "{refusal:#?}");
        fs::remove_dir_all(place).unwrap();
    }
}

#[test]
fn names_do_not_drive_the_terminal() {
    let mut env = fleet(Shape::default());
    let value = "x\u{1b}]0;y\u{7}\u{202e}";
    let name = "_a\u{1b}[2J";
    env.types(&format!(
        "{{ nodes.router1.\"{name}\" = 1; nodes.router1.\"a\u{202e}b\" = \"{value}\"; }}"
    ));
    env.run(&["edit"]).ends(0);
    for args in [
        &["list"][..],
        &["show", "router1"],
        &["eval"],
        &["explain", "router1"],
        &["show", "router1", "--reveal"],
        &["eval", "--reveal"],
        &["get", "router1.\"a\u{202e}b\""],
        &["get", "router1.\"\u{1b}[2J\""],
        &["get", "router1"],
        &["list", "--json"],
        &["show", "router1", "--json"],
        &["explain", "router1", "--json"],
        &["show", "\u{1b}[2J"],
    ] {
        let (_, shown) = env.terminal(80, &[&["--color", "never"], args].concat()).end();
        assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{args:?}: {shown:?}");
    }
    // Scripts read the names as they are.
    let json: serde_json::Value = serde_json::from_str(&env.run(&["eval"]).ends(0).out).unwrap();
    assert_eq!(json["router1"]["a\u{202e}b"], "••••••••");
    let json: serde_json::Value = serde_json::from_str(&env.run(&["list", "--json"]).out).unwrap();
    assert!(json["router1"].as_array().unwrap().contains(&"\"a\u{202e}b\"".into()), "{json}");
    let hostile = env.path("fleet/nodes/\u{1b}[2J");
    fs::create_dir(&hostile).unwrap();
    fs::write(hostile.join("node.nix"), "{ }").unwrap();
    let ran = env.run(&["list"]);
    assert!(!format!("{}{}", ran.out, ran.err).contains('\u{1b}'), "{ran:#?}");
}

/// Recovery must not be led elsewhere by what lies in the repository.
#[test]
fn a_planted_journal_writes_nothing_outside() {
    let env = fleet(Shape::default());
    // A journal as the program writes it: of a commit that is decided and not completed.
    let kill = ["-e", "trace=renameat", "-e", "inject=renameat:signal=SIGKILL:when=2"];
    let killed = env.traced(&kill, &["set", "routers.psk"], "new");
    assert_eq!(killed.ran.signal, Some(9), "{killed:#?}");
    let journal = env.path("fleet/.nixmox/txn/journal");
    let written = fs::read_to_string(&journal).unwrap();
    assert!(written.contains(&format!("\"{SEALED}\"")), "{written}");
    let before = bytes(&env.path("fleet/nodes"));
    let target = env.path("given/planted");
    let absolute = target.display().to_string();
    for path in
        ["../given/planted", &absolute, "nodes/../../given/planted", ".git/config", ".nixmox/lock"]
    {
        fs::write(&journal, written.replace(SEALED, path)).unwrap();
        let ran = env.run_with(&["set", "routers.psk"], "new").ends(1);
        refused(&ran);
        assert!(!target.exists() && !env.path("fleet/.git").exists(), "{ran:#?}");
        assert_eq!(bytes(&env.path("fleet/nodes")), before);
    }
    fs::write(&journal, written).unwrap();
    env.run_with(&["set", "routers.psk"], "newer").ends(0);
    env.run(&["check"]).ends(0);
}
