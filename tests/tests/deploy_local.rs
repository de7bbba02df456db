//! A program with the library in it, which deploys to the machine that it runs on.

#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::fs;

use nixmox_tests::{Bed, BedHost, Fleet, activate_program, is_settled, until};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where the program is on the host.
const PROGRAM: &str = "/var/lib/deployer";

/// Says what is to be done, with little patience.
fn order(system: &str, more: &Value) -> String {
    let mut order = json!({
        "local": true, "node": "node1", "toplevel": system,
        "activation": 20, "confirmation": 6, "dwell": 1, "commit": 20, "rollback": 20,
    });
    let more = more.as_object().into_iter().flatten();
    for (name, value) in more {
        order[name.as_str()] = value.clone();
    }
    order.to_string()
}

/// Has the program do it on the host; returns its last word.
#[track_caller]
fn runs(host: BedHost<'_>, before: &[&str], order: &str) -> String {
    let said = host.exec(&[before, &[PROGRAM, order]].concat());
    said.lines().last().unwrap_or_default().to_owned()
}

#[test]
fn a_machine_deploys_to_itself() {
    let bed = Bed::up(1);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 1);
    let host = bed.host(1);
    fs::copy(activate_program(), host.root().join(PROGRAM.trim_start_matches('/'))).unwrap();
    // Nothing of it is done over the network.
    host.cut();
    let system = |setting: &str, value: Value| {
        fleet.set("node1", setting, value);
        let system = fleet.build()["node1"].clone();
        put(host, &system);
        system
    };

    let first = system("revision", json!(1));
    let last = runs(host, &[], &order(&first, &json!({})));
    assert!(last.starts_with("outcome Activated"), "{last}");
    let last = runs(host, &[], &order(&first, &json!({})));
    assert_eq!(last, "outcome Unchanged");

    let broken = system("variant", json!("activate-fails"));
    let last = runs(host, &[], &order(&broken, &json!({})));
    assert!(last.starts_with("outcome RolledBack { why: ActivationFailed { status: 2 }"), "{last}");

    // Whoever may use sudo may do it, and nobody else.
    fleet.set("node1", "variant", "ok");
    let second = system("revision", json!(2));
    let deploy = ["setpriv", "--reuid=deploy", "--regid=wheel", "--init-groups"];
    let last = runs(host, &deploy, &order(&second, &json!({})));
    assert!(last.starts_with("error "), "{last}");
    assert_eq!(host.current_system(), first);
    let last = runs(host, &deploy, &order(&second, &json!({ "sudo": true })));
    assert!(last.starts_with("outcome Activated"), "{last}");

    // It is killed before it has confirmed anything: the machine goes back without it.
    let third = system("revision", json!(3));
    let stopped = order(&third, &json!({ "stop_at": "phase Confirm" }));
    let said = host.sh(&format!("timeout -s KILL 10 {PROGRAM} '{stopped}' || true"));
    assert!(said.contains("phase Confirm"), "{said}");
    until(host, "rolled-back");
    host.heal();
    is_settled(host, &second);
}

/// Brings a closure into the store of a host without its network.
fn put(host: BedHost<'_>, system: &str) {
    host.heal();
    host.copy(system);
    host.cut();
}
