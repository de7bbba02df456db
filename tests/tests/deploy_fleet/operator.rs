//! Somebody with a fleet's repository and a bed of hosts.

use std::collections::BTreeMap;
use std::fs;
use std::process::Child;

use nixmox_tests::{
    Bed, BedHost, Fleet, NIX_CONFIG, Ran, TestEnv, copy_tree, deploy_program, eventually,
};
use serde_json::json;

/// Somebody who deploys.
pub(crate) struct Operator {
    pub(crate) env: TestEnv,
    pub(crate) bed: Bed,
    pub(crate) systems: Fleet,
}

impl Operator {
    /// Has so many hosts, and a flake with their systems in revision 1.
    pub(crate) fn new(count: usize) -> Self {
        let mut env = TestEnv::of(deploy_program());
        env.var("NIX_CONFIG", NIX_CONFIG);
        let systems = Fleet::new(&env.path("systems"), count);
        Self { env, bed: Bed::up(count), systems }
    }

    /// Writes a file of the repository.
    pub(crate) fn file(&self, name: &str, text: &str) {
        let path = self.env.path("fleet").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Builds the systems as they are set now, and writes down where they are.
    pub(crate) fn build(&self) -> BTreeMap<String, String> {
        let systems = self.systems.build();
        let lines: String = systems.iter().map(|(node, path)| format!("{node} {path}\n")).collect();
        self.env.give("paths", lines);
        systems
    }

    /// Returns arguments with those that every run has here.
    pub(crate) fn arguments(&self, words: &str) -> Vec<String> {
        let config = self.bed.ssh_config().display().to_string();
        let paths = self.env.path("given/paths").display().to_string();
        let word = |word: &str| word.replace("PATHS", &paths);
        // In front, because behind `--` nothing is for the program.
        ["--ssh-config".to_owned(), config].into_iter().chain(words.split(' ').map(word)).collect()
    }

    /// Runs the program; `PATHS` is the file of the systems.
    pub(crate) fn run(&self, words: &str) -> Ran {
        let arguments = self.arguments(words);
        self.env.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Deploys what was built to all hosts, with little patience.
    pub(crate) fn deploy(&self, more: &str) -> Ran {
        self.run(&format!("deploy --all --paths PATHS --dwell 1 {more}").trim().replace("  ", " "))
    }

    /// Starts the program without waiting for it, as the leader of a process group, as a shell at a terminal does.
    pub(crate) fn start(&self, words: &str) -> Child {
        let mut command = self.env.command(deploy_program());
        command.args(self.arguments(words)).spawn().unwrap()
    }

    /// Has every activation take so many seconds after it has touched `/run/began`.
    pub(crate) fn slow(&self, seconds: u32) {
        let script =
            format!("[ -z \"${{NIXOS_ACTION:-}}\" ] || {{ touch /run/began; sleep {seconds}; }}");
        self.systems.set_all("activationScripts", json!({ "slow": script }));
    }

    /// Makes somebody else at another machine, with the same repository and no record of what was done from here.
    pub(crate) fn colleague(&self) -> TestEnv {
        let mut other = TestEnv::of(deploy_program());
        other.var("NIX_CONFIG", NIX_CONFIG).var("USER", "bob");
        copy_tree(&self.env.path("fleet"), &other.path("fleet"));
        other
    }

    pub(crate) fn host(&self, number: usize) -> BedHost<'_> {
        self.bed.host(number)
    }

    /// Says what every host runs.
    pub(crate) fn running(&self) -> BTreeMap<String, String> {
        self.bed.hosts().map(|host| (host.name(), host.current_system())).collect()
    }
}

/// How often somebody has logged in to a host.
pub(crate) fn logins(host: BedHost<'_>) -> usize {
    host.sh("journalctl --boot | grep -c 'Accepted publickey' || true").trim().parse().unwrap()
}

/// How many activations a host knows of.
pub(crate) fn activations(host: BedHost<'_>) -> usize {
    host.sh("ls /var/lib/nixmox/txn 2>/dev/null | wc -l").trim().parse().unwrap()
}

/// Waits until a host is being activated.
pub(crate) fn began(host: BedHost<'_>) {
    eventually("the activation has begun", || host.has("/run/began"));
}
