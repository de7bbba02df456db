//! When going back fails as well; and who is let in at all.

use std::thread;
use std::time::{Duration, Instant};

use nixmox_deploy::{
    ActivationError, GuardError, GuardPhase, HostError, Outcome, Request, RollbackReason, resume,
};
use nixmox_hostkey::HostPublicKey;
use nixmox_tests::{
    Bed, BedHost, Deployer, Deployment, Fleet, eventually, is_settled, phase, switch, until,
};
use serde_json::json;
use tempfile::TempDir;

/// A unit that breaks the network a while after it was started.
fn late(repaired: bool) -> serde_json::Value {
    let stop = if repaired { "ExecStop=/usr/sbin/ip link set eth0 up\n" } else { "" };
    let text = format!(
        "[Unit]\nDescription=Breaks the network\n[Service]\nExecStart=/bin/sh -c 'sleep 3; \
         /usr/sbin/ip link set eth0 down; exec sleep 100000'\n{stop}"
    );
    json!({ "late.service": { "enable": true, "text": text } })
}

#[test]
fn a_host_whose_old_system_does_not_repair_it_reboots_if_it_may() {
    let bed = Bed::up(3);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 3);
    fleet.set("node1", "units", late(true));
    fleet.set("node2", "units", late(false));
    fleet.set("node3", "units", late(false));
    let boots: Vec<_> = bed.hosts().map(BedHost::boot_id).collect();
    let before = bed.host(1).current_system();
    let deployer = Deployer::new(&bed);
    let systems = fleet.build();
    let change = |number: usize, request: &mut Request| {
        request.patience.dwell = Duration::from_secs(5);
        request.patience.reboot_on_failed_rollback = number == 2;
        request.patience.rollback = Duration::from_secs(10);
    };
    let outcomes = thread::scope(|scope| {
        let running = scope.spawn(|| deployer.activate_all(&systems, change));
        // The third may not reboot by itself, so somebody has to go there.
        until(bed.host(3), "awaiting");
        until(bed.host(3), "rolling-back");
        until(bed.host(3), "rollback-failed");
        assert_eq!(bed.host(3).boot_id(), boots[2]);
        assert_eq!(bed.host(3).boot_default(), before);
        bed.host(3).reset();
        running.join().unwrap()
    });
    let rolled_back = |outcome: &Result<Outcome, ActivationError>| {
        matches!(outcome, Ok(Outcome::RolledBack { why: RollbackReason::NotConfirmed, .. }))
    };

    // What the new system broke, the old one repairs.
    assert!(rolled_back(&outcomes[0]), "{:?}", outcomes[0]);
    is_settled(bed.host(1), &before);
    assert_eq!(bed.host(1).boot_id(), boots[0]);

    // It does not, and the host may reboot: it sees itself that it is cut off, and its old system is what boots.
    assert!(rolled_back(&outcomes[1]), "{:?}", outcomes[1]);
    is_settled(bed.host(2), &before);
    assert_ne!(bed.host(2).boot_id(), boots[1]);

    // Who deploys is told that it could not, and the next deployment goes through.
    assert!(
        matches!(&outcomes[2], Err(ActivationError::RollbackFailed { .. })),
        "{:?}",
        outcomes[2]
    );
    assert_eq!(bed.host(3).current_system(), before);
    fleet.set("node3", "units", json!({}));
    let system = fleet.build().remove("node3").unwrap();
    let outcome = deployer.activate(3, &switch(&system)).unwrap();
    assert!(matches!(outcome, Outcome::Activated { .. }), "{outcome:?}");
    is_settled(bed.host(3), &system);
}

#[test]
fn a_host_that_is_not_there_or_is_another_one_is_left_alone() {
    let bed = Bed::up(3);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 3);
    let systems = fleet.build();
    let before = bed.host(1).current_system();
    let wrong = HostPublicKey::parse(&bed.host(1).host_key()).unwrap();
    let deployer = Deployer::with(&bed, "", |target| {
        if target.node == "node2" {
            target.host_keys = vec![wrong];
        } else if target.node == "node3" {
            target.user = Some(nixmox_deploy::UserName::parse("nobody").unwrap());
        }
    });
    let refused = |number: usize| {
        let system = &systems[&bed.host(number).name()];
        match deployer.activate_there(number, &switch(system)) {
            Err(ActivationError::Guard(GuardError::Host(error))) => error,
            other => panic!("node{number}: {other:?}"),
        }
    };
    assert!(matches!(refused(2), HostError::HostKey { .. }));
    assert!(matches!(refused(3), HostError::Denied { .. }));
    bed.host(1).cut();
    let begun = Instant::now();
    assert!(matches!(refused(1), HostError::Unreachable { .. } | HostError::TimedOut { .. }));
    assert!(begun.elapsed() < Duration::from_secs(60), "nothing waits for ever");
    bed.host(1).heal();
    for host in bed.hosts() {
        assert_eq!(host.current_system(), before);
        assert_eq!(phase(host), "", "nothing was begun on {}", host.name());
    }
}

#[test]
fn a_user_without_a_login_of_root_goes_through_sudo() {
    let bed = Bed::up(1);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 1);
    let system = fleet.build().remove("node1").unwrap();
    let deployer = Deployer::with(&bed, "", |target| {
        target.user = Some(nixmox_deploy::UserName::parse("deploy").unwrap());
        target.use_remote_sudo = true;
    });
    let outcome = deployer.activate(1, &switch(&system)).unwrap();
    assert!(matches!(outcome, Outcome::Activated { .. }), "{outcome:?}");
    is_settled(bed.host(1), &system);
    // Also behind sudo the host knows from where it was reached.
    let peer = bed.host(1).sh("sed -n s/^peer=//p /var/lib/nixmox/last/facts");
    assert!(peer.starts_with("10."), "{peer}");
}

/// A snippet that makes an activation take a while, but not that of a boot.
fn slow() -> serde_json::Value {
    json!({ "slow": "[ -z \"${NIXOS_ACTION:-}\" ] || { touch /run/began; sleep 8; }" })
}

#[test]
fn what_runs_on_the_host_may_be_killed_at_any_time() {
    let bed = Bed::up(2);
    let directory = TempDir::new().unwrap();
    let fleet = Fleet::new(directory.path(), 2);
    fleet.set_all("activationScripts", slow());
    let slow = fleet.build();
    fleet.set("node1", "variant", "unit-fails");
    let failing = fleet.build();
    let deployer = Deployer::new(&bed);
    let (first, second) = (bed.host(1), bed.host(2));
    let before = second.current_system();

    // Going back is killed, and begins again.
    deployer.activate(1, &switch(&slow["node1"])).unwrap();
    first.copy(&failing["node1"]);
    let request = switch(&failing["node1"]);
    let outcome = thread::scope(|scope| {
        let running = scope.spawn(|| deployer.activate_there(1, &request));
        let unit =
            "systemctl list-units --no-legend 'nixmox-rollback-*.service' | grep running || true";
        eventually("it goes back", || !first.sh(unit).is_empty());
        first.sh("systemctl kill --signal=KILL 'nixmox-rollback-*.service'");
        running.join().unwrap()
    });
    let Ok(Outcome::RolledBack { why, log }) = outcome else { panic!("{outcome:?}") };
    assert_eq!(why, RollbackReason::ActivationFailed { status: 4 });
    assert!(log.iter().any(|line| line.contains("going back was interrupted")), "{log:#?}");
    is_settled(first, &slow["node1"]);

    // The activation is killed, and so is what would have noticed: the timer is left.
    second.copy(&slow["node2"]);
    let mut request = switch(&slow["node2"]);
    request.patience.confirmation = Duration::from_secs(3);
    request.patience.activation = Duration::from_secs(12);
    let outcome = thread::scope(|scope| {
        let running = scope.spawn(|| deployer.activate_there(2, &request));
        eventually("it has begun", || {
            second.try_exec(&["test", "-e", "/run/began"]).code == Some(0)
        });
        second.sh("cd /run/nixmox; for g in guard-*; do mv $g away; break; done; \
             systemctl kill --signal=KILL 'nixmox-activate-*.service'; sleep 3; mv away $g");
        assert_eq!(phase(second), "activating", "nothing has noticed");
        running.join().unwrap()
    });
    assert!(matches!(outcome, Ok(Outcome::RolledBack { .. })), "{outcome:?}");
    is_settled(second, &before);
}

#[test]
fn another_deployer_goes_on_where_one_was_killed() {
    let bed = Bed::up(1);
    let directory = TempDir::new().unwrap();
    let system = Fleet::new(directory.path(), 1).build().remove("node1").unwrap();
    let host = bed.host(1);
    host.copy(&system);
    let order = json!({ "stop_at": "phase Confirm", "confirmation": 60 });
    let mut killed = Deployment::start(host, &system, &order);
    killed.until("phase Confirm");
    killed.kill();
    let deployer = Deployer::new(&bed);
    let last = deployer.last(1);
    assert_eq!(last.standing.phase, GuardPhase::Awaiting);
    let mut request = switch(&system);
    request.patience.confirmation = Duration::from_secs(60);
    let other = deployer.host(1);
    let sink = deployer.sink();
    let resumed = resume(&other, &last, &request, &sink);
    let outcome = deployer.block_on(resumed).unwrap();
    assert!(matches!(outcome, Outcome::Activated { .. }), "{outcome:?}");
    is_settled(host, &system);
}
