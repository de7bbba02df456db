//! The ways to a host: other accounts, other builders, the user's own configuration of ssh.

use std::fs;
use std::path::Path;
use std::process::Command;

use nixmox_tests::Ran;

use crate::operator::{Operator, activations};

fn node(operator: &Operator, number: usize, deploy: &str) {
    let text = format!("{{ os = \"nixos\"; deploy = {{ {deploy} }}; }}");
    operator.file(&format!("nodes/node{number}/node.nix"), &text);
}

/// The fleet's flake is the repository itself.
fn take_flake(operator: &Operator) {
    nixmox_tests::copy_tree(operator.systems.path(), &operator.env.path("fleet"));
}

#[test]
fn an_account_that_may_use_sudo_is_enough() {
    let operator = Operator::new(2);
    node(&operator, 1, "targetHost = \"deploy@node1\"; useRemoteSudo = true;");
    // It need not be trusted by Nix on the host.
    node(&operator, 2, "targetHost = \"deploy@node2\"; useRemoteSudo = true;");
    operator.systems.set("node2", "etc", serde_json::json!({
        "nix/nix.conf": "build-users-group = nixbld\nsandbox = false\nsubstitute = false\ntrusted-users = root\n",
    }));
    let systems = operator.build();
    operator.deploy("").ends(0);
    operator.systems.set_all("revision", 3);
    let newer = operator.build();
    assert_ne!(systems, newer);
    operator.deploy("").ends(0);
    for host in operator.bed.hosts() {
        host.runs_and_boots(&newer[&host.name()]);
        assert!(host.log().contains("switch-to-configuration"));
        let logins = host.sh("journalctl --boot | grep -c 'Accepted publickey for root' || true");
        assert_eq!(logins.trim(), "0", "nobody came in as root");
    }
    let ran = operator.run("exec node1 -- id -un").ends(0);
    assert_eq!(ran.out, "node1: root\n");

    // Without sudo it is refused, and nothing has happened.
    node(&operator, 1, "targetHost = \"guest@node1\"; useRemoteSudo = true;");
    operator.systems.set_all("revision", 4);
    operator.build();
    let ran = operator.run("deploy node1 --paths PATHS").ends(71);
    assert!(ran.out.contains("node1  failed: "), "{ran:#?}");
    operator.host(1).runs_and_boots(&newer["node1"]);
}

#[test]
fn a_host_builds_its_system_itself() {
    let operator = Operator::new(2);
    node(&operator, 1, "buildOnRemote = true;");
    node(&operator, 2, "");
    operator.systems.set_all("revision", "built-there");
    take_flake(&operator);
    let ran = operator.run("deploy --all --dwell 1").ends(0);
    assert!(ran.err.contains("node1: build"), "{ran:#?}");
    let (one, two) = (operator.host(1).current_system(), operator.host(2).current_system());
    // What the host has built is not here; what was built here is.
    assert!(!Path::new(&one).exists(), "{one}");
    assert!(Path::new(&two).exists(), "{two}");
    operator.host(1).runs_and_boots(&one);
    assert!(one.ends_with("nixos-system-node1-23.05.testbed.ok.built-there"), "{one}");
    // Building alone is done here, for every host.
    operator.systems.set_all("revision", "built-here");
    take_flake(&operator);
    operator.run("deploy --all --goal build").ends(0);
    assert_eq!(operator.host(1).current_system(), one);
    assert_eq!(activations(operator.host(1)), 1);
    let systems = operator.build();
    assert!(systems.values().all(|system| Path::new(system).exists()));
}

/// The user's own `~/.ssh/config`, which is read without `--ssh-config`.
fn own_config(operator: &Operator, more: &str) {
    let home = operator.env.path("home/.ssh");
    fs::create_dir_all(&home).unwrap();
    let bed = fs::read_to_string(operator.bed.ssh_config()).unwrap();
    fs::write(home.join("config"), format!("{more}\n{bed}")).unwrap();
}

/// Runs the program with the user's own configuration.
fn own(operator: &Operator, words: &str) -> Ran {
    let paths = operator.env.path("given/paths").display().to_string();
    let words: Vec<String> = words.split(' ').map(|word| word.replace("PATHS", &paths)).collect();
    operator.env.run(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Puts the public key of a host into the repository, as `nixmox-secrets` does.
fn pin(operator: &Operator, number: usize, key: &str) {
    let path = format!("nodes/node{number}/ssh_host_ed25519_key");
    operator.file(&path, "sealed, and of no matter here");
    operator.file(&format!("{path}.pub"), &format!("{key}\n"));
}

#[test]
fn a_connection_that_the_user_has_open_proves_nothing() {
    let operator = Operator::new(1);
    let socket = operator.env.path("run/own").display().to_string();
    own_config(&operator, &format!("Host *\n    ControlMaster auto\n    ControlPath {socket}\n"));
    node(&operator, 1, &format!("targetHost = \"{}\";", operator.host(1).address()));
    let config = operator.env.path("home/.ssh/config");
    let mut master = Command::new("ssh");
    master.arg("-F").arg(&config).args(["-M", "-f", "-N", "-S", &socket, "node1"]);
    assert!(master.status().unwrap().success());
    let systems = operator.build();
    let old = operator.running();

    // The repository knows another key: that somebody else is connected already makes it no other host.
    let other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICRpaYxC7B5wmxBzajOOqQTnT7KcLkA5/yxVSVv+VuDV";
    pin(&operator, 1, other);
    let ran = own(&operator, "deploy --all --paths PATHS --dwell 1").ends(71);
    assert!(ran.out.contains("the host's key is not the one that is known"), "{ran:#?}");
    assert_eq!(operator.running(), old);

    pin(&operator, 1, &operator.host(1).host_key());
    own(&operator, "deploy --all --paths PATHS --dwell 1").ends(0);
    assert_eq!(operator.running(), systems);

    // With sshd gone the user's connection lives on, and confirms nothing.
    operator.systems.set("node1", "variant", "sshd-off");
    operator.build();
    let ran = own(&operator, "deploy --all --paths PATHS --dwell 1 --confirm-timeout 8").ends(70);
    assert!(ran.out.contains("it could not be reached over new connections"), "{ran:#?}");
    operator.host(1).runs_and_boots(&systems["node1"]);
    let mut exit = Command::new("ssh");
    exit.arg("-F").arg(&config).args(["-S", &socket, "-O", "exit", "node1"]);
    assert!(exit.output().unwrap().status.success(), "the user's connection is still there");
}

#[test]
fn a_jump_host_of_the_user_changes_nothing_about_who_is_trusted() {
    let operator = Operator::new(2);
    // The user says how the second is reached; the first is a host of the fleet as well.
    own_config(&operator, "Host node2\n    ProxyJump node1\n");
    for number in [1, 2] {
        let address = operator.host(number).address();
        node(&operator, number, &format!("targetHost = \"{address}\";"));
        pin(&operator, number, &operator.host(number).host_key());
    }
    let systems = operator.build();
    own(&operator, "deploy --all --paths PATHS --dwell 1").ends(0);
    assert_eq!(operator.running(), systems);
    let through = operator.host(1).address();
    let from = operator.host(2).sh("journalctl --boot | grep 'Accepted publickey' | tail -n 1");
    assert!(from.contains(&format!("from {through} ")), "{from}");

    operator.systems.set_all("revision", 5);
    operator.build();
    pin(&operator, 2, &operator.host(1).host_key());
    let ran = own(&operator, "deploy --all --paths PATHS --dwell 1 --on-failure continue").ends(71);
    assert!(
        ran.out.contains("node2  failed: it cannot be asked what it runs: the host's key is not"),
        "{ran:#?}"
    );
    assert_eq!(operator.host(2).current_system(), systems["node2"]);
}
