//! A host's own files of secrets: there before the activation, gone back from with the system.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::fs;
use std::process::Command;

use nixmox_deploy::{HealthCheck, HealthProbe, Outcome, Request, Sealed, SecretFiles, Vantage};
use nixmox_hostkey::HostPublicKey;
use nixmox_tests::{Bed, BedHost, Deployer, Fleet, is_settled, switch, until};
use nixmox_tree::SecretString;
use serde_json::json;
use tempfile::TempDir;

const SEALED: &str = "/etc/nixmox/secrets.yaml";
const KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Another key for the host, made by OpenSSH: the private file and the public line.
fn new_key(directory: &TempDir) -> (String, HostPublicKey) {
    let path = directory.path().join("key");
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-t", "ed25519", "-N", "", "-C", "", "-f"]).arg(&path);
    assert!(make.status().unwrap().success());
    let public = fs::read_to_string(path.with_extension("pub")).unwrap();
    (fs::read_to_string(path).unwrap(), HostPublicKey::parse(&public).unwrap())
}

fn with_secrets(system: &str, text: &str, key: &str) -> Request {
    let sealed = Some(Sealed { path: SEALED.into(), text: text.into() });
    let secrets = Some(SecretFiles { sealed, host_key: Some(SecretString::new(key)) });
    Request { secrets, ..switch(system) }
}

fn read(host: BedHost<'_>, path: &str) -> String {
    host.sh(&format!("cat {path} 2>/dev/null || true"))
}

/// A system whose activation writes down which secrets it has found, and may take a while.
fn fleet(directory: &TempDir, seconds: u32) -> Fleet {
    let fleet = Fleet::new(directory.path(), 1);
    let snippet = format!("cat {SEALED} >/var/found 2>&1 || true; sleep {seconds}");
    fleet.set("node1", "activationScripts", json!({ "finds": snippet }));
    fleet
}

#[test]
fn secrets_are_there_for_the_activation_and_are_swapped_back() {
    let bed = Bed::up(1);
    let host = bed.host(1);
    let directory = TempDir::new().unwrap();
    let system = fleet(&directory, 0).build().remove("node1").unwrap();
    let (before, old_key) = (host.current_system(), read(host, KEY));
    let (key, public) = new_key(&directory);
    // For a while it may answer with either.
    let deployer = Deployer::with(&bed, "", |target| target.host_keys.push(public));

    let mut unhealthy = with_secrets(&system, "first", &key);
    let failing = HealthProbe::Command("exit 1".into());
    unhealthy.checks =
        vec![HealthCheck { retries: 1, ..HealthCheck::new("it", failing, Vantage::Host) }];
    let outcome = deployer.activate(1, &unhealthy).unwrap();
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
    assert_eq!(read(host, "/var/found"), "first", "the activation found it");
    assert_eq!((read(host, SEALED), read(host, KEY)), (String::new(), old_key));
    is_settled(host, &before);

    let outcome = deployer.activate_there(1, &with_secrets(&system, "second", &key)).unwrap();
    assert!(matches!(outcome, Outcome::Activated { .. }), "{outcome:?}");
    assert_eq!((read(host, SEALED), read(host, KEY)), ("second".into(), key.trim().into()));
    assert_eq!(host.sh(&format!("stat -c %a {KEY}")), "400");
    let left = host.sh("ls /run/nixmox /var/lib/nixmox/last; grep nixmox /proc/mounts || true");
    assert!(!left.contains("old.") && !left.contains("secrets."), "{left}");
    assert_eq!((host.current_system(), host.boot_default()), (system.clone(), system.clone()));
    let only_new = Deployer::with(&bed, "", |target| target.host_keys = vec![public]);
    assert_eq!(only_new.activate_there(1, &switch(&system)).unwrap(), Outcome::Unchanged);
}

/// Which units use a changed secret is what sops-nix knows, not the deployer: its activation asks the switch to restart
/// them. Here an activation does so in its place, and the switch as NixOS's does.
#[test]
fn units_that_use_a_changed_secret_are_restarted_also_on_the_way_back() {
    let bed = Bed::up(1);
    let host = bed.host(1);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 1);
    let asks = format!(
        "cmp -s {SEALED} /var/used || echo testbed-app.service >>/run/nixos/activation-restart-list; \
         cp {SEALED} /var/used"
    );
    fleet.set("node1", "activationScripts", json!({ "asks": asks }));
    let system = fleet.build().remove("node1").unwrap();
    let (key, public) = new_key(&directory);
    let deployer = Deployer::with(&bed, "", |target| target.host_keys.push(public));
    let run = || host.sh("systemctl show -P InvocationID testbed-app");

    deployer.activate(1, &with_secrets(&system, "first", &key)).unwrap();
    let first = run();
    deployer.activate_there(1, &with_secrets(&system, "first", &key)).unwrap();
    assert_eq!(run(), first, "nothing has changed for it");
    let outcome = deployer.activate_there(1, &with_secrets(&system, "second", &key)).unwrap();
    assert!(matches!(outcome, Outcome::Activated { .. }), "{outcome:?}");
    let second = run();
    assert_ne!(second, first, "its secret has changed");

    let mut unhealthy = with_secrets(&system, "third", &key);
    let asks_for_it = HealthProbe::Command("grep -q second /var/used".into());
    unhealthy.checks =
        vec![HealthCheck { retries: 1, ..HealthCheck::new("it", asks_for_it, Vantage::Host) }];
    let outcome = deployer.activate_there(1, &unhealthy).unwrap();
    assert!(matches!(outcome, Outcome::RolledBack { .. }), "{outcome:?}");
    assert_eq!(read(host, "/var/used"), "second");
    assert_ne!(run(), second, "it used the third for a while");
}

#[test]
fn a_power_cut_brings_the_old_secrets_back_with_the_old_system() {
    let bed = Bed::up(1);
    let host = bed.host(1);
    let directory = TempDir::new().unwrap();
    let system = fleet(&directory, 15).build().remove("node1").unwrap();
    let (before, old_key) = (host.current_system(), read(host, KEY));
    let (key, public) = new_key(&directory);
    // For a while it may answer with either.
    let deployer = Deployer::with(&bed, "", |target| target.host_keys.push(public));
    host.copy(&system);
    let request = with_secrets(&system, "new", &key);
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| deployer.activate_there(1, &request));
        until(host, "activating");
        nixmox_tests::eventually("it is found", || read(host, "/var/found") == "new");
        assert_eq!(read(host, KEY), key.trim());
        host.reset();
        host.wait();
        running.join().unwrap()
    });
    assert!(matches!(outcome, Ok(Outcome::RolledBack { .. })), "{outcome:?}");
    assert_eq!((read(host, SEALED), read(host, KEY)), (String::new(), old_key));
    is_settled(host, &before);
}

#[test]
fn secrets_appear_in_no_argument_and_no_log() {
    let bed = Bed::up(1);
    let host = bed.host(1);
    let directory = TempDir::new().unwrap();
    let system = fleet(&directory, 0).build().remove("node1").unwrap();
    let (key, public) = new_key(&directory);
    let deployer = Deployer::with(&bed, "", |target| target.host_keys.push(public));
    // The middle of the private key.
    let mark = key.lines().nth(3).unwrap();
    host.copy(&system);
    let secrets = SecretFiles { sealed: None, host_key: Some(SecretString::new(key.clone())) };
    let mut request = Request { secrets: Some(secrets), ..switch(&system) };
    // What every process was started with, seen while the secret is in place; in brackets, or it would find itself.
    let (first, rest) = mark.split_at(1);
    let pattern = format!("[{first}]{rest}");
    let seen = format!(
        "grep -q '{pattern}' {KEY} && ! grep -q '{pattern}' /proc/[0-9]*/cmdline /proc/[0-9]*/environ"
    );
    let check = HealthCheck::new("seen", HealthProbe::Command(seen), Vantage::Host);
    request.checks = vec![HealthCheck { retries: 1, ..check }];
    let outcome = deployer.activate_there(1, &request).unwrap();
    assert!(matches!(outcome, Outcome::Activated { .. }), "{outcome:?}");
    let search = format!(
        "grep -rl '{mark}' /var /run /tmp /root /nix/var /home 2>/dev/null; journalctl | grep -c '{mark}' || true"
    );
    assert_eq!(host.sh(&search), "0");
    assert!(!format!("{:?}", deployer.events()).contains(mark));
}
