//! The program killed at every call with which it changes a disk, and a disk that fails at each of them.
//!
//! `strace` (Debian package strace) kills, and makes calls fail. After a kill, the next run must find everything as it
//! was or everything as it was meant to be: `check` opens every file and compares it with the master.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests fail by panicking, and say how much they tried"
)]

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use nixmox_tests::{Call, HOSTS, Ran, Shape, TestEnv, calls, copy_tree, files};

/// Calls that change a disk, apart from opening files.
const CALLS: &str = "?write,?pwrite64,?writev,?fsync,?fdatasync,?syncfs,?sync_file_range,?ftruncate,?fchmod,?fchmodat,\
    ?rename,?renameat,?renameat2,?link,?linkat,?symlink,?symlinkat,?unlink,?unlinkat,?rmdir,?mkdir,?mkdirat,?openat";

/// What one host has at the end: its opened file, and its public key.
type Host = (Option<String>, Option<String>);

/// Everything that a person can get out of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    names: String,
    hosts: BTreeMap<&'static str, Host>,
    private: bool,
    rotating: bool,
    /// What is due, and whether the generated value is still the first one.
    due: String,
    first: bool,
}

/// One command on one fleet.
struct Scenario {
    env: TestEnv,
    args: Vec<&'static str>,
    stdin: &'static str,
    editor: &'static str,
    /// Whether the command makes the hosts' keys, which are others at every run.
    new_keys: bool,
    /// A generated value, which is another one whenever it is made.
    generated: Option<(&'static str, String)>,
}

impl Scenario {
    fn new(env: TestEnv, args: &[&'static str], stdin: &'static str) -> Self {
        copy_tree(&env.path("fleet"), &env.path("given/template"));
        Self { env, args: args.to_vec(), stdin, editor: "", new_keys: false, generated: None }
    }

    /// Makes the fleet what it was before the command.
    fn reset(&mut self) {
        let fleet = self.env.path("fleet");
        fs::remove_dir_all(&fleet).unwrap();
        copy_tree(&self.env.path("given/template"), &fleet);
        self.env.editor(self.editor);
    }

    fn run(&mut self, options: &[&str]) -> (Ran, Vec<Call>) {
        self.reset();
        let traced = self.env.traced(options, &self.args, self.stdin);
        (traced.ran, calls(&traced.log))
    }

    /// Lists the calls of an undisturbed run that change a disk.
    fn points(&mut self) -> Vec<Call> {
        let (ran, mut calls) = self.run(&["-e", &format!("trace={CALLS}")]);
        ran.ends(0);
        calls.retain(|call| call.name != "openat" || call.line.contains("O_CREAT"));
        calls
    }

    /// Reads everything, as the program shows it.
    #[track_caller]
    fn state(&self) -> State {
        let made =
            self.generated.as_ref().map(|(path, _)| self.env.run(&["get", path]).ends(0).out);
        // Whatever it is, every host that gets it has the one that the master knows.
        let masked = |text: Option<String>| match &made {
            Some(value) => text.map(|text| text.replace(value, "MADE")),
            None => text,
        };
        let hosts = HOSTS.iter().map(|(name, directory)| {
            let public = format!("fleet/{directory}/ssh_host_ed25519_key.pub");
            let overlaid = format!("fleet/private/{directory}/ssh_host_ed25519_key.pub");
            let key = [public, overlaid].map(|path| fs::read_to_string(self.env.path(&path)).ok());
            let key = key.into_iter().flatten().next().filter(|_| !self.new_keys);
            (*name, (masked(self.env.delivered(name)), key))
        });
        let hosts = hosts.collect();
        let names = self.env.run(&["list", "--json"]).ends(0).out;
        let next = self.env.path("fleet/nodes/routers/router1/ssh_host_ed25519_key.next");
        let rotating = next.exists();
        let due = if made.is_some() { self.env.run(&["due", "--json"]).out } else { String::new() };
        let first = self.generated.as_ref().map(|(_, first)| first) == made.as_ref();
        State {
            due,
            first,
            names,
            hosts,
            private: self.env.path("fleet/private/secrets.yaml").exists(),
            rotating,
        }
    }

    /// Runs what a person would run next, which completes or undoes what was interrupted, and demands that all is well.
    #[track_caller]
    fn recovered(&mut self, place: &str) -> State {
        let next = self.env.editor("true").run(&["edit"]);
        assert!(matches!(next.code, Some(0 | 200)), "{place}: {next:#?}");
        assert!(
            !self.env.path("fleet/.nixmox/txn").exists(),
            "{place}: traces of the commit are left"
        );
        let left = files(&self.env.path("run"));
        assert!(left.is_empty(), "{place}: plaintext is left: {left:?}");
        let check = self.env.run(&["check"]);
        assert_eq!(check.code, Some(0), "{place}: {check:#?}");
        self.state()
    }

    /// Kills the command at every point, and returns how often at which call.
    fn kill_everywhere(&mut self) -> BTreeMap<String, usize> {
        self.reset();
        let old = self.recovered("before");
        let points = self.points();
        let new = self.state();
        assert_ne!(old, new);
        let decides =
            |point: &Call| point.line.contains("\"journal.new\"") && point.name.contains("rename");
        let decision = points.iter().position(decides).unwrap();
        let mut killed = BTreeMap::new();
        for (n, point) in points.iter().enumerate() {
            let Call { name, when, line } = point;
            let place = format!("killed at {name} {when}, {line}");
            let inject = format!("inject={name}:signal=SIGKILL:when={when}");
            let (ran, _) = self.run(&["-e", &format!("trace={name}"), "-e", &inject]);
            assert_eq!(ran.signal, Some(9), "not {place}: {ran:#?}");
            let after = self.recovered(&place);
            // The rename of the journal decides; the kernel may have done it or not.
            let fits = match n.cmp(&decision) {
                Ordering::Less => after == old,
                Ordering::Equal => after == old || after == new,
                Ordering::Greater => after == new,
            };
            assert!(fits, "{place}: {after:#?}\nwas\n{old:#?}\nand was to be\n{new:#?}");
            *killed.entry(name.clone()).or_insert(0) += 1;
        }
        assert!(decision > 10 && points.len() - decision > 10, "{decision} of {}", points.len());
        println!("{killed:?}");
        killed
    }
}

impl Scenario {
    /// Lets every point fail, and returns how many did.
    fn fail_everywhere(&mut self, error: &str) -> usize {
        self.reset();
        let (old, before) = (self.recovered("before"), self.bytes());
        let points = self.points();
        let new = self.state();
        for point in &points {
            let Call { name, when, line } = point;
            let place = format!("{error} at {name} {when}, {line}");
            let inject = format!("inject={name}:error={error}:when={when}");
            let (ran, calls) = self.run(&["-e", &format!("trace={name}"), "-e", &inject]);
            assert!(calls.iter().any(|call| call.line.contains("(INJECTED)")), "no {place}");
            if ran.code != Some(0) {
                let said = ran.err.contains("error: ") && ran.err.contains("(os error");
                assert!(said && ran.signal.is_none(), "{place}: {ran:#?}");
                let decided = ran.err.contains("decided") || line.starts_with("write(1<");
                assert!(decided || self.bytes() == before, "changed by {place}: {ran:#?}");
            }
            let after = self.recovered(&place);
            let fits =
                if ran.code == Some(0) { after == new } else { after == old || after == new };
            assert!(fits, "{place}: {ran:#?}\n{after:#?}");
        }
        points.len()
    }

    /// Returns the content of every file but those that only say who is at work.
    fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let own = self.env.path("fleet/.nixmox");
        let seen =
            files(&self.env.path("fleet")).into_iter().filter(|file| !file.starts_with(&own));
        seen.map(|file| (file.clone(), fs::read(file).unwrap())).collect()
    }
}

#[track_caller]
fn check(mut scenario: Scenario, at_least: usize) {
    let killed = scenario.kill_everywhere();
    let sum: usize = killed.values().sum();
    assert!(sum >= at_least, "{sum}: {killed:?}");
    for call in ["write", "openat", "renameat", "mkdirat", "unlinkat"] {
        assert!(killed.contains_key(call), "{call}: {killed:?}");
    }
    assert!(killed.contains_key("fsync") || killed.contains_key("syncfs"), "{killed:?}");
}

/// A fleet where every host has something, of its own or of its group.
fn sealed() -> TestEnv {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    env.secrets(&[("routers.psk", "old psk"), ("servers.db.password", "old password")]);
    env
}

#[test]
fn a_killed_set_loses_nothing() {
    check(Scenario::new(sealed(), &["set", "routers.psk"], "new psk"), 30);
}

#[test]
fn a_killed_edit_loses_nothing() {
    let scenario = Scenario::new(sealed(), &["edit"], "");
    let editor = "sed -i 's/old psk/new psk/; s/old password/new password/' \"$f\"";
    check(Scenario { editor, ..scenario }, 40);
}

#[test]
fn a_killed_first_edit_loses_nothing() {
    let mut env = TestEnv::new();
    env.fleet(Shape::default());
    let text = "{ nodes.routers.psk = \"first\"; nodes.servers.db.password = \"first\"; }";
    env.give("first.nix", text);
    let scenario = Scenario::new(env, &["edit"], "");
    let editor = "cat \"$given/first.nix\" >\"$f\"";
    check(Scenario { editor, new_keys: true, ..scenario }, 60);
}

#[test]
fn a_killed_removal_of_hosts_loses_nothing() {
    check(Scenario::new(sealed(), &["unset", "servers.db"], ""), 30);
}

#[test]
fn a_killed_rotation_loses_nothing() {
    let env = sealed();
    let scenario = Scenario::new(env, &["rotate-host", "router1"], "");
    check(scenario, 30);
}

#[test]
fn a_killed_end_of_a_rotation_loses_nothing() {
    let env = sealed();
    env.run(&["rotate-host", "router1"]).ends(0);
    check(Scenario::new(env, &["rotate-host", "router1", "--finish"], ""), 40);
}

/// A host was broken into: its key, what is generated, the data keys and the list of the rest change together or not.
#[test]
fn a_killed_reaction_to_a_broken_host_loses_nothing() {
    let mut env = sealed();
    let text = env.run(&["decrypt", "secrets.yaml"]).ends(0).out;
    let declared = "nodes = {\n    routers.token._generate = { type = \"hex\"; };\n";
    env.types(&text.replacen("nodes = {\n", declared, 1));
    env.run(&["edit"]).ends(0);
    let token = env.run(&["get", "routers.token"]).ends(0).out;
    let scenario = Scenario::new(env, &["compromised", "router1", "--no-history"], "");
    let generated = Some(("routers.token", token));
    check(Scenario { new_keys: true, generated, ..scenario }, 40);
}

#[test]
fn a_killed_move_into_private_loses_nothing() {
    let mut env = sealed();
    fs::create_dir(env.path("fleet/private")).unwrap();
    env.without("EDITOR");
    check(Scenario::new(env, &["set", "router1.psk"], "own"), 50);
}

#[test]
fn a_disk_that_fails_is_reported_and_changes_nothing() {
    let mut scenario = Scenario::new(sealed(), &["set", "routers.psk"], "new psk");
    for error in ["EIO", "ENOSPC"] {
        let points = scenario.fail_everywhere(error);
        assert!(points >= 30, "{points}");
    }
}
