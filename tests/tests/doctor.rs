//! `doctor` on fleets where something is wrong, with real git, shells and sshd.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail by panicking"
)]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nixmox_tests::{Ran, Shape, TestEnv};
use serde_json::Value;

/// The value that is looked for.
const SECRET: &str = "c0rrect-h0rse-b4ttery";

fn fleet(shape: Shape) -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(shape);
    env.secrets(&[("routers.psk", SECRET), ("server1.db.password", "an0ther-v4lue")]);
    env.tool("git", &["config", "--global", "user.email", "a@example.org"]);
    env.tool("git", &["config", "--global", "user.name", "a"]);
    env
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Returns code and place of everything that is found, notes about the system left out.
fn findings(ran: &Ran) -> Vec<(String, String)> {
    assert!(!ran.out.contains(SECRET) && !ran.err.contains(SECRET), "{ran:#?}");
    let json: Value = serde_json::from_str(&ran.out).unwrap_or_else(|_| panic!("{ran:#?}"));
    let all = json["findings"].as_array().unwrap().iter();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let system = ["memory-not-locked", "core-files", "few-admins", "key-directory-readable"];
    all.map(|finding| (text(finding, "code"), text(finding, "place")))
        .filter(|(code, _)| !system.contains(&code.as_str()))
        .collect()
}

#[track_caller]
fn check(env: &TestEnv, args: &[&str], expect: &[(&str, &str)]) {
    let ran = env.run(&[&["doctor", "--json"], args].concat());
    let found = findings(&ran);
    let found: Vec<_> = found.iter().map(|(code, place)| (&**code, &**place)).collect();
    assert_eq!(found, expect, "{ran:#?}");
}

#[test]
fn a_sound_fleet_has_one_admin_too_few() {
    let env = fleet(Shape { git: true, ..Shape::default() });
    let ran = env.run(&["doctor"]).ends(1);
    assert!(
        ran.out.contains("few-admins  secrets.yaml  is sealed to one recipient alone"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("drill: 1 of 1 recipient proved on 4 files"), "{}", ran.out);
    assert!(ran.out.contains("1 problem found"), "{}", ran.out);
    check(&env, &[], &[]);
}

#[test]
fn leftovers_are_found_and_only_copies_are_removed() {
    let env = fleet(Shape::default());
    let at = |name: &str| env.path("fleet").join(name);
    let sealed = fs::read(at("secrets.yaml")).unwrap();
    for name in ["build/router1", "extra"] {
        fs::create_dir_all(at(name)).unwrap();
    }
    let plain = format!("{{ nodes.routers.psk = \"{SECRET}\"; }}");
    env.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", "extra/ssh_host_ed25519_key"]);
    env.tool("age-keygen", &["-o", "build/router1/age.key"]);
    env.tool("age-keygen", &["-o", "extra/keys.txt"]);
    for name in ["build/secrets.nix", "build/server1.json", "extra/a.dec.yaml", "secrets.yaml~"] {
        fs::write(at(name), &plain).unwrap();
    }
    fs::write(at("extra/sealed.dec.yaml"), &sealed).unwrap();
    let keys = [
        ("unsealed-private-key", "extra/ssh_host_ed25519_key"),
        ("identity-in-tree", "extra/keys.txt"),
    ];
    let copies = [
        ("leftover-nixverse", "build/router1/age.key"),
        ("leftover-nixverse", "build/secrets.nix"),
        ("leftover-nixverse", "build/server1.json"),
        ("leftover-decrypted", "extra/a.dec.yaml"),
        ("leftover-editor", "secrets.yaml~"),
    ];
    check(&env, &[], &[&copies[..], &keys].concat());
    let ran = env.run(&["doctor", "--fix"]).ends(2);
    assert!(ran.err.contains("--yes agrees to all of it"), "{}", ran.err);
    assert!(at("build/secrets.nix").exists());
    env.run(&["doctor", "--fix", "--yes"]).ends(1);
    check(&env, &[], &keys);
    assert!(at("extra/keys.txt").exists() && at("extra/sealed.dec.yaml").exists());
    assert_eq!(fs::read(at("secrets.yaml")).unwrap(), sealed);
    env.run(&["check"]).ends(0);
}

#[test]
fn each_removal_is_asked_for() {
    let env = fleet(Shape::default());
    for name in ["a.dec.yaml", "b.dec.yaml"] {
        fs::write(env.path("fleet").join(name), SECRET).unwrap();
    }
    let mut pty = env.terminal(100, &["doctor", "--fix"]);
    pty.expect("Wipe and remove a.dec.yaml?");
    pty.send("y\n");
    pty.expect("Wipe and remove b.dec.yaml?");
    pty.send("n\n");
    assert_eq!(pty.end().0, 1);
    assert!(!env.path("fleet/a.dec.yaml").exists() && env.path("fleet/b.dec.yaml").exists());
}

#[test]
fn values_are_found_in_the_tree_git_shells_temporary_files_and_a_store() {
    let env = fleet(Shape { git: true, ..Shape::default() });
    let at = |name: &str| env.path("fleet").join(name);
    fs::write(at("notes.txt"), format!("x\n{SECRET}\n")).unwrap();
    env.tool("git", &["add", "--all"]);
    env.tool("git", &["commit", "--quiet", "--message", "first"]);
    fs::remove_file(at("notes.txt")).unwrap();
    env.tool("git", &["add", "--all"]);
    env.tool("git", &["commit", "--quiet", "--message", &format!("take {SECRET} out")]);
    fs::write(at("loose.txt"), SECRET).unwrap();
    env.tool("git", &["add", "loose.txt"]);
    env.tool("git", &["rm", "--quiet", "--force", "loose.txt"]);
    fs::write(at("ignored.log"), SECRET).unwrap();
    let home = env.path("home");
    fs::write(home.join(".bash_history"), format!("ls\necho {SECRET} | wc\n")).unwrap();
    fs::create_dir_all(env.path("tmp/123")).unwrap();
    fs::write(env.path("tmp/123/secrets.yaml"), SECRET).unwrap();
    fs::create_dir_all(env.path("given/store/etc")).unwrap();
    fs::write(env.path("given/store/etc/conf"), format!("a\nb\npw={SECRET}\n")).unwrap();
    std::os::unix::fs::symlink("/etc", env.path("given/store/link")).unwrap();
    let store = env.path("given/store").display().to_string();
    let ran = env.run(&["doctor", "--json", "--store", &store]).ends(1);
    let found = findings(&ran);
    let commit = |n: &str| env.tool("git", &["rev-parse", &format!("HEAD~{n}")])[..12].to_owned();
    let object = env.tool("git", &["rev-parse", "HEAD~1:notes.txt"]);
    let loose = env.tool("git", &["hash-object", at("ignored.log").to_str().unwrap()]);
    let mut history: Vec<_> =
        found.iter().filter(|(code, _)| code == "value-in-history").map(|(_, p)| &**p).collect();
    history.sort_unstable();
    let text = format!("the text of {}", commit("0"));
    let loose = format!("object {}", &loose[..12]);
    assert_eq!(history, ["notes.txt", &*loose, &*text], "{object}");
    assert!(ran.out.contains(&format!(
        "line 2 in commit {} holds the value of nodes.routers.psk",
        commit("1")
    )));
    let place = |code: &str| {
        let of: Vec<_> = found.iter().filter(|(c, _)| c == code).map(|(_, p)| p.clone()).collect();
        let [one] = of.as_slice() else { panic!("{code}: {of:?}") };
        one.clone()
    };
    assert_eq!(place("value-in-tree"), "ignored.log");
    assert_eq!(place("value-in-shell-history"), home.join(".bash_history").display().to_string());
    assert_eq!(place("value-in-temp"), env.path("tmp/123/secrets.yaml").display().to_string());
    assert_eq!(place("value-in-store"), format!("{store}/etc/conf"));
}

/// zsh and fish write their histories in ways of their own, which they are made to do here.
#[test]
fn histories_are_read_as_the_shells_write_them() {
    let env = TestEnv::new();
    let mut env = env;
    env.fleet(Shape::default());
    let value = "pässwörd-mit-Ümlaut\\x1";
    env.secrets(&[("routers.psk", value)]);
    let script = "HISTFILE=$HOME/.zsh_history; HISTSIZE=9; SAVEHIST=9; print -rs -- \"$1\"; fc -W";
    env.tool("zsh", &["-f", "-i", "-c", script, "zsh", &format!("echo '{value}'")]);
    let fish = env.path("home/.local/share/fish");
    fs::create_dir_all(&fish).unwrap();
    let written = fs::read(env.path("home/.zsh_history")).unwrap();
    let plain = |bytes: &[u8]| bytes.windows(value.len()).any(|w| w == value.as_bytes());
    assert!(!plain(&written), "zsh writes it as it is");
    let typed = format!("- cmd: echo '{}'\n  when: 1\n", value.replace('\\', "\\\\"));
    fs::write(fish.join("fish_history"), typed).unwrap();
    let ran = env.run(&["doctor", "--json"]).ends(1);
    let found = findings(&ran);
    let home = env.path("home").display().to_string();
    let places: Vec<_> =
        found.iter().map(|(code, place)| (&**code, place.strip_prefix(&*home).unwrap())).collect();
    assert_eq!(
        places,
        [
            ("value-in-shell-history", "/.local/share/fish/fish_history"),
            ("value-in-shell-history", "/.zsh_history"),
        ]
    );
}

#[test]
fn keys_that_others_can_read_are_found_and_mended() {
    let env = fleet(Shape::default());
    let keys = env.path("home/.config/sops/age/keys.txt");
    let directory = keys.parent().unwrap();
    mode(&keys, 0o644);
    mode(directory, 0o777);
    let (file, above) = (keys.display().to_string(), directory.display().to_string());
    check(&env, &[], &[("key-mode", &file), ("key-directory-writable", &above)]);
    env.run(&["doctor", "--fix", "--yes"]).ends(1);
    check(&env, &[], &[]);
    assert_eq!(fs::metadata(&keys).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(directory).unwrap().permissions().mode() & 0o777, 0o700);
}

/// Generated values are part of the drill: what opens the master and not them would be lost with the other admins.
#[test]
fn a_drill_tries_generated_values_too() {
    let mut env = fleet(Shape::default());
    let key = env.path("given/second.txt").display().to_string();
    env.tool("age-keygen", &["-o", &key]);
    let second = env.tool("age-keygen", &["-y", &key]).trim().to_owned();
    let rules = env.path("fleet/.sops.yaml");
    let text = fs::read_to_string(&rules).unwrap();
    let at = text.find("age1").unwrap();
    fs::write(&rules, format!("{}{second},{}", &text[..at], &text[at..])).unwrap();
    env.run(&["updatekeys", "--yes"]).ends(0);
    let master = env.run(&["decrypt", "secrets.yaml"]).ends(0).out;
    let declared = "nodes = {\n    routers.token._generate = { type = \"hex\"; };\n";
    env.types(&master.replacen("nodes = {\n", declared, 1));
    env.run(&["edit"]).ends(0);
    let ran = env.run(&["doctor", "--drill", &key]).ends(0);
    assert!(ran.out.contains("drill: 2 of 2 recipients proved on 5 files"), "{}", ran.out);
    // Somebody gives the first admin, in that file alone, what is sealed to a stranger: the second one still opens it.
    let file = env.path("fleet/.nixmox/generated.yaml");
    let sealed = fs::read_to_string(&file).unwrap();
    let (before, entry) = sealed.split_once(&format!("recipient: {second}\n")).unwrap();
    let (begin, end) = ("-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----");
    let stranger = env.tool("sh", &["-c", "age-keygen 2>/dev/null | age-keygen -y"]);
    let other =
        env.tool("sh", &["-c", &format!("head -c 32 /dev/zero | age -a -r {}", stranger.trim())]);
    let other = other.trim().replace('\n', "\n            ");
    let (head, rest) = entry.split_once(begin).unwrap();
    let (_, tail) = rest.split_once(end).unwrap();
    fs::write(&file, format!("{before}recipient: {second}\n{head}{other}{tail}")).unwrap();
    let found = findings(&env.run(&["doctor", "--json", "--drill", &key]));
    assert!(
        found.contains(&("drill-failed".to_owned(), ".nixmox/generated.yaml".to_owned())),
        "{found:?}"
    );
    // A file that no key opens at all is told as well.
    let zeros = sealed.replace(begin, "-----BEGIN AGE ENCRYPTED FILE-----\n            AAAA");
    fs::write(&file, zeros).unwrap();
    let found = findings(&env.run(&["doctor", "--json", "--drill", &key]));
    assert!(found.iter().any(|(_, place)| place == ".nixmox/generated.yaml"), "{found:?}");
}

#[test]
fn a_drill_tells_whose_key_was_not_proved() {
    let env = fleet(Shape::default());
    let at = |name: &str| env.path("given").join(name).display().to_string();
    env.tool("age-keygen", &["-o", &at("second.txt")]);
    env.tool("age-keygen", &["-o", &at("stranger.txt")]);
    let second = env.tool("age-keygen", &["-y", &at("second.txt")]).trim().to_owned();
    let rules = env.path("fleet/.sops.yaml");
    let text = fs::read_to_string(&rules).unwrap();
    let first = text.split_whitespace().find(|word| word.starts_with("age1")).unwrap();
    fs::write(&rules, format!("creation_rules:\n  - age: {first},{second}\n")).unwrap();
    env.run_with(&["set", "server2.x", "--accept-admins"], "a-new-v4lue").ends(0);
    check(&env, &[], &[("not-proved", &second)]);
    env.run(&["doctor"]).ends(0);
    mode(Path::new(&at("second.txt")), 0o600);
    check(&env, &["--drill", &at("second.txt")], &[]);
    let ran = env.run(&["doctor", "--drill", &at("second.txt")]).ends(0);
    assert!(ran.out.contains("drill: 2 of 2 recipients proved on 5 files"), "{}", ran.out);
    mode(Path::new(&at("stranger.txt")), 0o600);
    check(&env, &["--drill", &at("stranger.txt")], &[("not-proved", &second)]);
    env.run(&["doctor", "--drill", "/etc/hostname"]).ends(2);
    // Somebody wrote the name of one admin over the key of another.
    let master = env.path("fleet/secrets.yaml");
    let sealed = fs::read_to_string(&master).unwrap();
    let swapped = sealed.replace(first, "@").replace(&second, first).replace('@', &second);
    fs::write(&master, swapped).unwrap();
    let ran = env.run(&["doctor", "--json"]).ends(1);
    let codes: Vec<_> = findings(&ran).into_iter().map(|(code, _)| code).collect();
    assert!(
        codes.contains(&"drill-failed".to_owned()) && codes.contains(&"label-lies".to_owned()),
        "{codes:?}"
    );
}

#[test]
fn without_a_key_the_rest_is_examined() {
    let env = fleet(Shape::default());
    fs::remove_file(env.path("home/.config/sops/age/keys.txt")).unwrap();
    fs::write(env.path("fleet/a.dec.yaml"), SECRET).unwrap();
    check(&env, &[], &[("leftover-decrypted", "a.dec.yaml"), ("no-key", "secrets.yaml")]);
}

/// A real sshd on this machine, with a host key of the test's.
struct Sshd(Child, u16);

impl Sshd {
    fn start(env: &TestEnv, name: &str, key: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        mode(key, 0o600);
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nPidFile none\nUsePAM no\n",
            key.display()
        );
        let config = env.give(name, text);
        fs::create_dir_all("/run/sshd").unwrap();
        let mut sshd = Command::new("/usr/sbin/sshd");
        sshd.args(["-D", "-e", "-f", &config]).stdin(Stdio::null()).stderr(Stdio::null());
        // Ended on every way out, also when it does not listen.
        let sshd = Self(sshd.spawn().unwrap(), port);
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                return sshd;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("sshd does not listen");
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn machines_show_the_key_that_the_repository_has_or_they_are_named() {
    let env = fleet(Shape::default());
    let own = env.path("given/own");
    let sealed = "nodes/routers/router1/ssh_host_ed25519_key";
    env.run(&["decrypt", sealed, "--output", own.to_str().unwrap()]).ends(0);
    let other = env.path("given/other");
    env.tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", other.to_str().unwrap()]);
    let right = Sshd::start(&env, "right.conf", &own);
    let wrong = Sshd::start(&env, "wrong.conf", &other);
    let at = |host: &str, port: u16| format!("{host}=127.0.0.1:{port}");
    check(&env, &["--live", &at("router1", right.1)], &[]);
    let differs = [("live-key-differs", "router1")];
    check(&env, &["--live", &at("router1", wrong.1)], &differs);
    let ran = env.run(&["doctor", "--live", &at("router1", wrong.1)]).ends(1);
    let print = env.tool("ssh-keygen", &["-l", "-f", other.to_str().unwrap()]);
    assert!(ran.out.contains(print.split(' ').nth(1).unwrap()), "{}", ran.out);
    // ssh's configuration tells where hosts are.
    fs::create_dir_all(env.path("home/.ssh")).unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let entry =
        |host: &str, port: u16| format!("Host {host}\n  HostName 127.0.0.1\n  Port {port}\n");
    let config = [
        entry("router1", right.1),
        entry("router2", closed),
        entry("server1", wrong.1),
        "Host *\n  HostName 127.0.0.1\n  Port 1\n".to_owned(),
    ];
    let path = env.give("ssh_config", config.concat());
    // ssh takes the home of the user from the system, not from the environment.
    let ssh = env.path("given/bin");
    fs::create_dir(&ssh).unwrap();
    fs::write(ssh.join("ssh"), format!("#!/bin/sh\nexec /usr/bin/ssh -F {path} \"$@\"\n")).unwrap();
    mode(&ssh.join("ssh"), 0o755);
    let mut env = env;
    let search = format!("{}:{}", ssh.display(), std::env::var("PATH").unwrap());
    env.var("PATH", &search);
    let expect = [("live-key-differs", "server1"), ("live-key-unknown", "router2")];
    check(&env, &["--live"], &expect);
    check(&env, &["--live", &at("router1", closed)], &[("live-key-unknown", "router1")]);
    env.run(&["doctor", "--live", "router1=-oProxyCommand=x"]).ends(2);
    env.run(&["doctor", "--live", "nobody"]).ends(7);
}

#[test]
fn what_a_killed_editor_left_in_memory_is_found_and_removed() {
    let mut env = fleet(Shape::default());
    env.editor("touch \"$given/open\"; exec sleep 60");
    let mut edit = env.start(&["edit"]);
    while !env.path("given/open").exists() {
        assert!(edit.try_wait().unwrap().is_none(), "the editor does not start");
        std::thread::sleep(Duration::from_millis(20));
    }
    check(&env, &[], &[]);
    // The editor sleeps in the private directory's session; the program that would clean up is gone.
    edit.kill().unwrap();
    edit.wait().unwrap();
    let ran = env.run(&["doctor", "--json"]).ends(1);
    let found = findings(&ran);
    assert!(
        found.iter().any(
            |(code, place)| code == "leftover-directory" && place.contains("/run/nixmox-edit-")
        ),
        "{found:?}"
    );
    env.run(&["doctor", "--fix", "--yes"]).ends(1);
    let left: Vec<_> = fs::read_dir(env.path("run")).unwrap().collect();
    assert_eq!(left.len(), 0, "{left:?}");
}
