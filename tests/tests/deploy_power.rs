//! The power fails while a host is deployed, in each state that it can be in: it boots a system that is known to be
//! good, and the next deployment goes through.

use std::thread;

use nixmox_tests::{Bed, BedHost, Deployment, Fleet, eventually};
use serde_json::{Value, json};
use tempfile::TempDir;

/// When the power is cut, and what comes of it.
struct Row {
    /// The state that the host has written down, and a file that is there from the right moment on.
    state: &'static str,
    file: &'static str,
    /// What the system has to be so that it stays there for a while: settings of the fleet.
    settings: fn() -> Value,
    /// The system of the row is installed before, so that going back is what takes long.
    before: bool,
    /// Where the deployer stays, so that it does not go on; without it, it sees the power fail.
    stop_at: Option<&'static str>,
    ends: &'static str,
    /// Whether the new system is kept.
    kept: bool,
}

const REBOOTED: &str = "outcome RolledBack { why: Rebooted";

const ROWS: [Row; 7] = [
    Row {
        state: "prepared",
        file: "/",
        settings: || json!({}),
        before: false,
        stop_at: Some("phase Activate"),
        ends: "",
        kept: false,
    },
    // In the activation script, when the old system still is the current one.
    Row {
        state: "activating",
        file: "/run/began",
        settings: || slow_once("began"),
        before: false,
        stop_at: None,
        ends: REBOOTED,
        kept: false,
    },
    // While a unit starts, when the new system is the current one.
    Row {
        state: "activating",
        file: "/run/began",
        settings: || {
            let text = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'touch /run/began; \
                [ -e /var/once ] || { touch /var/once; sleep 15; }'\n";
            json!({ "units": { "slow.service": { "enable": true, "text": text } } })
        },
        before: false,
        stop_at: None,
        ends: REBOOTED,
        kept: false,
    },
    Row {
        state: "awaiting",
        file: "/",
        settings: || json!({}),
        before: false,
        stop_at: Some("confirmed 1 of 2"),
        ends: "",
        kept: false,
    },
    // The profile names the new system already, the boot loader does not.
    Row {
        state: "committing",
        file: "/var/once",
        settings: || json!({ "installBootLoader": slow("/var/once") }),
        before: false,
        stop_at: None,
        ends: "outcome RolledBack",
        kept: false,
    },
    // The boot loader names it, too; it is written down nowhere that this was all.
    Row {
        state: "committing",
        file: "/var/once",
        settings: || {
            let inner = format!(
                "if [ -z \"${{INNER:-}}\" ]; then INNER=1 \"$system/install-boot-loader\"; {}; exit 0; fi",
                slow("/var/once")
            );
            json!({ "installBootLoader": inner })
        },
        before: false,
        stop_at: None,
        ends: "outcome Activated",
        kept: true,
    },
    Row {
        state: "rolling-back",
        file: "/run/back",
        settings: || slow_once("back"),
        before: true,
        stop_at: None,
        ends: "outcome RolledBack",
        kept: false,
    },
];

/// A script that takes long when it is run for the first time.
fn slow(mark: &str) -> String {
    format!("[ -e {mark} ] || {{ touch {mark}; sleep 15; }}")
}

/// The same in an activation, but not in one of a boot.
fn slow_once(mark: &str) -> Value {
    let script = format!(
        "[ -z \"${{NIXOS_ACTION:-}}\" ] || [ ! -e /var/armed ] || {{ touch /run/{mark}; {}; }}",
        slow("/var/once")
    );
    json!({ "activationScripts": { "slow": script } })
}

#[test]
fn a_power_cut_in_any_state_leaves_a_good_system_and_no_lock() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), ROWS.len());
    for (number, row) in ROWS.iter().enumerate() {
        let node = format!("node{}", number + 1);
        let failing = format!("{node}-failing");
        for (name, value) in (row.settings)().as_object().unwrap() {
            fleet.set(&node, name, value.clone());
        }
        fleet.set(&failing, "variant", "unit-fails").set(&failing, "hostName", node);
    }
    let systems = fleet.build();
    let bed = Bed::up(ROWS.len());
    thread::scope(|scope| {
        for (host, row) in bed.hosts().zip(&ROWS) {
            let name = host.name();
            let (own, failing) = (&systems[&name], &systems[&format!("{name}-failing")]);
            scope.spawn(move || survives(host, row, own, failing));
        }
    });
}

fn survives(host: BedHost<'_>, row: &Row, own: &str, failing: &str) {
    host.copy(own);
    let mut new = own;
    if row.before {
        Deployment::start(host, own, &json!({})).ends().with("outcome Activated");
        host.copy(failing);
        new = failing;
    }
    host.sh("touch /var/armed");
    let old = host.current_system();
    let order = json!({ "stop_at": row.stop_at, "confirmation": 30, "commit": 30, "rollback": 30 });
    let deployment = Deployment::start(host, new, &order);
    eventually("the power can be cut", || host.phase() == row.state && host.has(row.file));
    host.reset();
    host.wait();
    if row.stop_at.is_some() {
        deployment.kill();
    } else {
        deployment.ends().with(row.ends);
    }
    let expected = if row.kept { new } else { &old };
    // Before anybody asks, the machine is what it should be, whoever cut the power.
    assert_eq!(host.current_system(), expected, "{} at {}: what runs", row.state, row.file);
    assert_eq!(host.boot_default(), expected, "{} at {}: what boots", row.state, row.file);

    let again = if row.before { own } else { new };
    let ends = if row.kept || row.before { "outcome Unchanged" } else { "outcome Activated" };
    Deployment::start(host, again, &json!({ "confirmation": 30 })).ends().with(ends);
    host.runs_and_boots(again);
}
