//! Systems that cut their host off, and networks that fail: the host goes back by itself, and is reached again.

use std::slice;
use std::sync::Arc;
use std::thread;

use nixmox_deploy::{Address, Host, RemoteCommand, SshFiles, SshSettings, Target};
use nixmox_hostkey::HostPublicKey;
use nixmox_tests::{Bed, BedHost, Deployment, Fleet, eventually};
use nixmox_topology::NodeName;
use serde_json::{Value, json};
use tempfile::TempDir;

/// What a deployment to it is refused with, and with what it is taken.
struct Row {
    variant: &'static str,
    more: fn() -> Value,
    ends: &'static str,
}

const NOT_CONFIRMED: &str = "outcome RolledBack { why: NotConfirmed";

/// Each on a host of its own.
const ROWS: [Row; 9] = [
    Row { variant: "net-down", more: || json!({}), ends: NOT_CONFIRMED },
    Row { variant: "net-wrong-ip", more: || json!({}), ends: NOT_CONFIRMED },
    Row { variant: "net-blackhole", more: || json!({}), ends: NOT_CONFIRMED },
    Row { variant: "no-keys", more: || json!({}), ends: NOT_CONFIRMED },
    // Sessions that are there live on, the shared connection among them: only a new one shows that sshd is gone.
    Row { variant: "sshd-off", more: || json!({}), ends: NOT_CONFIRMED },
    Row { variant: "sshd-port", more: || json!({}), ends: NOT_CONFIRMED },
    Row {
        variant: "sshd-broken",
        more: || json!({}),
        ends: "outcome RolledBack { why: ActivationFailed { status: 4 }",
    },
    Row { variant: "sshd-broken", more: || json!({ "failed_units": true }), ends: NOT_CONFIRMED },
    Row { variant: "kills-sessions", more: || json!({}), ends: "outcome Activated" },
];

#[test]
fn a_host_that_cuts_itself_off_goes_back() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), ROWS.len());
    for (number, row) in ROWS.iter().enumerate() {
        fleet.set(&format!("node{}", number + 1), "variant", row.variant);
    }
    let systems = fleet.build();
    let bed = Bed::up(ROWS.len());
    thread::scope(|scope| {
        for (host, row) in bed.hosts().zip(&ROWS) {
            let system = &systems[&host.name()];
            scope.spawn(move || goes_back(host, row, system));
        }
    });
}

fn goes_back(host: BedHost<'_>, row: &Row, system: &str) {
    let (old, boot) = (host.current_system(), host.boot_id());
    host.copy(system);
    Deployment::start(host, system, &(row.more)()).ends().with(row.ends);
    host.is_reached();
    assert_eq!(host.boot_id(), boot, "{}: nothing rebooted", row.variant);
    let expected = if row.ends.contains("Activated") { system } else { &old };
    host.runs_and_boots(expected);
}

/// Takes its network away some seconds after it was activated, and gives it back when it is stopped.
fn dies_later() -> Value {
    json!({ "dies.service": { "enable": true, "text": "[Service]\n\
        ExecStart=/bin/sh -c 'sleep 8; ip link set eth0 down; sleep 1000'\n\
        ExecStopPost=/bin/sh -c 'ip link set eth0 up'\n" } })
}

#[test]
fn a_network_that_dies_after_the_first_confirmation_is_noticed() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), 1);
    fleet.set("node1", "units", dies_later());
    let system = &fleet.build()["node1"];
    let bed = Bed::up(1);
    let host = bed.host(1);
    let old = host.current_system();
    host.copy(system);
    let mut deployment =
        Deployment::start(host, system, &json!({ "dwell": 16, "confirmation": 25 }));
    deployment.until("confirmed 1 of 2");
    deployment.ends().with(NOT_CONFIRMED);
    host.is_reached();
    host.runs_and_boots(&old);
}

#[test]
fn a_host_that_cannot_be_reached_any_more_does_not_wait_for_who_deploys() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), 1);
    let system = &fleet.build()["node1"];
    let bed = Bed::up(1);
    let host = bed.host(1);
    let (old, boot) = (host.current_system(), host.boot_id());
    host.copy(system);
    let mut deployment =
        Deployment::start(host, system, &json!({ "dwell": 4, "confirmation": 10 }));
    deployment.until("confirmed 1 of 2");
    // It runs the new system, which is good. Nobody outside can know.
    assert_eq!(host.current_system(), *system);
    host.cut();
    eventually("the host is back on its old system", || host.current_system() == old);
    host.heal();
    deployment.ends().with(NOT_CONFIRMED);
    host.runs_and_boots(&old);
    assert_eq!(host.boot_id(), boot, "a client that is gone makes no host reboot");

    // And nothing of it stands in the way of the next one.
    Deployment::start(host, system, &json!({})).ends().with("outcome Activated");
    host.runs_and_boots(system);
}

#[test]
fn a_host_that_is_not_there_is_an_error_soon() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), 1);
    let system = &fleet.build()["node1"];
    let bed = Bed::up(1);
    let host = bed.host(1);
    let old = host.current_system();
    host.copy(system);
    host.cut();
    Deployment::start(host, system, &json!({})).ends().with("error ");
    host.heal();
    host.kill_sshd();
    Deployment::start(host, system, &json!({})).ends().with("error ");
    host.start_sshd();
    host.wait();
    host.runs_and_boots(&old);
    assert_eq!(host.sh("ls /var/lib/nixmox 2>/dev/null || true"), "", "nothing was touched");
}

#[tokio::test]
async fn a_connection_that_ended_while_nothing_was_asked_is_made_anew() {
    let bed = Bed::up(1);
    let there = bed.host(1);
    let node = NodeName::parse(&there.name()).unwrap();
    let mut target = Target::new(node, Address::parse(&there.address()).unwrap());
    target.host_keys.push(HostPublicKey::parse(&there.host_key()).unwrap());
    let include = vec![bed.ssh_config()];
    let settings = SshSettings { include, ..SshSettings::default() };
    let files = SshFiles::write(slice::from_ref(&target), &settings).unwrap();
    let host = Host::ssh(&target, Arc::new(files));
    let command = RemoteCommand::new(["true"]).unwrap();
    assert!(host.run(&command).await.unwrap().success());
    there.kill_sessions();
    there.start_sshd();
    there.wait();
    assert!(host.run(&command).await.unwrap().success());
}
