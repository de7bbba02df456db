//! Whoever deploys is killed, or what runs on the host is, or somebody else deploys at the same time.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests fail by panicking")]

use std::thread;

use nixmox_tests::{Bed, BedHost, Deployment, Ended, Fleet, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A setting of a fleet: activation takes some seconds.
fn slow_system(seconds: u32) -> Value {
    json!({ "slow": format!("[ -z \"${{NIXOS_ACTION:-}}\" ] || {{ touch /run/began; sleep {seconds}; }}") })
}

/// Hosts and, for each, a system that is in its store and takes five seconds to activate.
fn beds(count: usize) -> (Bed, Vec<String>) {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), count);
    fleet.set_all("activationScripts", slow_system(5));
    let systems = fleet.build();
    let bed = Bed::up(count);
    for host in bed.hosts() {
        host.copy(&systems[&host.name()]);
    }
    let of = |host: BedHost<'_>| systems[&host.name()].clone();
    let systems = bed.hosts().map(of).collect();
    (bed, systems)
}

#[test]
fn a_deployer_that_is_killed_leaves_a_good_system_and_no_reboot() {
    // After what it said it does nothing more.
    let rows =
        ["phase Activate", "log activating", "phase Confirm", "confirmed 1 of 2", "phase Commit"];
    let (bed, systems) = beds(rows.len());
    thread::scope(|scope| {
        for ((host, system), at) in bed.hosts().zip(&systems).zip(rows) {
            scope.spawn(move || killed(host, system, at));
        }
    });
}

fn killed(host: BedHost<'_>, system: &str, at: &str) {
    let (old, boot) = (host.current_system(), host.boot_id());
    let mut deployment = Deployment::start(host, system, &json!({ "stop_at": at }));
    deployment.until(at);
    deployment.kill();
    if at == "phase Activate" {
        // Nothing has begun. Who comes next is told who was there, and may end it.
        let next = Deployment::start(host, system, &json!({})).ends();
        assert!(said(&next).starts_with("error "), "{next:?}");
        let abort = Deployment::start(host, system, &json!({ "abort": true }));
        abort.ends().with("outcome RolledBack");
    }
    eventually("the host has gone back by itself", || host.phase() == "rolled-back");
    host.runs_and_boots(&old);
    assert_eq!(host.boot_id(), boot, "a client that is gone makes no host reboot");
    Deployment::start(host, system, &json!({})).ends().with("outcome Activated");
    host.runs_and_boots(system);
}

#[test]
fn a_commit_ends_without_whoever_asked_for_it() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), 1);
    fleet.set("node1", "installBootLoader", "touch /run/committing; sleep 4");
    let system = &fleet.build()["node1"];
    let bed = Bed::up(1);
    let host = bed.host(1);
    host.copy(system);
    let deployment = Deployment::start(host, system, &json!({}));
    eventually("it commits", || host.has("/run/committing"));
    deployment.kill();
    eventually("it is over", || host.phase() == "committed");
    host.runs_and_boots(system);
}

#[test]
fn an_activation_that_is_killed_is_undone() {
    let (bed, systems) = beds(1);
    let (host, system) = (bed.host(1), &systems[0]);
    let old = host.current_system();
    let deployment = Deployment::start(host, system, &json!({}));
    began(host);
    host.exec(&["pkill", "-KILL", "-f", "switch-to-configuration test"]);
    deployment.ends().with("outcome RolledBack { why: ActivationKilled");
    host.runs_and_boots(&old);
}

#[test]
fn of_two_deployers_one_is_told_about_the_other() {
    let (bed, systems) = beds(1);
    let (host, system) = (bed.host(1), &systems[0]);
    let first = Deployment::start(host, system, &json!({}));
    began(host);
    let second = Deployment::start(host, system, &json!({})).ends();
    assert!(said(&second).starts_with("error ") && said(&second).contains("deploy"), "{second:?}");
    first.ends().with("outcome Activated");
    host.runs_and_boots(system);
}

#[test]
fn a_host_that_changed_since_the_plan_is_left_alone() {
    let (bed, systems) = beds(1);
    let (host, system) = (bed.host(1), &systems[0]);
    let old = host.current_system();
    Deployment::start(host, system, &json!({ "expected": system })).ends().with("error ");
    host.runs_and_boots(&old);
    Deployment::start(host, system, &json!({ "expected": old })).ends().with("outcome Activated");
}

fn began(host: BedHost<'_>) {
    eventually("the activation has begun", || host.has("/run/began"));
}

fn said(ended: &Ended) -> &str {
    ended.lines().last().unwrap()
}
