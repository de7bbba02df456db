//! The ways in which a deployment goes wrong, as `docs/testbed.md` lists them: each variant of a system does what it is
//! for, and going back repairs the host.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::thread;

use nixmox_tests::{Bed, BedHost, Fleet, eventually};
use tempfile::TempDir;

/// What a switch to a variant ends with; which system is current then; whether the host can be logged in to.
const SWITCHED: [(&str, u8, Current, bool); 12] = [
    ("ok", 0, Current::New, true),
    ("slow", 0, Current::New, true),
    ("bootloader-fails", 1, Current::Old, true),
    ("activate-fails", 2, Current::New, true),
    ("unit-fails", 4, Current::New, true),
    ("net-down", 0, Current::New, false),
    ("net-wrong-ip", 0, Current::New, false),
    ("net-blackhole", 0, Current::New, false),
    ("no-keys", 0, Current::New, false),
    ("sshd-off", 0, Current::New, false),
    ("sshd-broken", 4, Current::New, false),
    ("sshd-port", 0, Current::New, false),
];

/// The variants with tests of their own.
const OTHERS: [&str; 6] =
    ["hang", "hang-unit", "kills-sessions", "reboot", "reboot-loop", "boot-fails"];

#[derive(PartialEq, Clone, Copy)]
enum Current {
    Old,
    New,
}

#[test]
fn each_variant_goes_wrong_in_its_way_and_going_back_repairs_the_host() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), 0);
    let names: Vec<_> = SWITCHED.iter().map(|case| case.0).chain(OTHERS).collect();
    for name in &names {
        fleet.set(name, "variant", *name).set(name, "hostName", "");
    }
    let systems = fleet.build();
    let bed = Bed::up(names.len());
    thread::scope(|scope| {
        for (host, name) in bed.hosts().zip(names) {
            let system = systems[name].as_str();
            scope.spawn(move || check(host, name, system));
        }
    });
}

fn check(host: BedHost<'_>, name: &str, system: &str) {
    let old = host.current_system();
    host.copy(system);
    match name {
        "hang" => hangs(host, system),
        "hang-unit" => waits_for_a_unit(host, system),
        "kills-sessions" => kills_sessions(host, system),
        "reboot" => reboots(host, system),
        "reboot-loop" | "boot-fails" => return never_boots(host, name, system),
        _ => switches(host, name, system),
    }
    host.sh("systemctl stop switch 2>/dev/null || true");
    host.exec(&[
        "systemd-run",
        "--quiet",
        "--wait",
        "--pipe",
        &format!("{old}/bin/switch-to-configuration"),
        "switch",
    ]);
    host.is_reached();
    assert_eq!(host.current_system(), old, "{name}");
}

/// Starts a switch as a unit of its own.
fn switch(host: BedHost<'_>, system: &str, action: &str) {
    let program = format!("{system}/bin/switch-to-configuration");
    host.exec(&["systemd-run", "--quiet", "--collect", "--unit=switch", &program, action]);
}

fn ended(host: BedHost<'_>, system: &str, action: &str, status: u8) {
    let line = format!("switch-to-configuration {action} {system} exit=");
    let said = || host.log().lines().find_map(|said| Some(said.split_once(&line)?.1.to_owned()));
    eventually("the switch has ended", || said().is_some());
    assert_eq!(said(), Some(status.to_string()), "{system}");
}

fn switches(host: BedHost<'_>, name: &str, system: &str) {
    let (_, status, current, reached) = SWITCHED.into_iter().find(|case| case.0 == name).unwrap();
    let old = host.current_system();
    switch(host, system, "switch");
    if status == 1 {
        // It refuses, and writes nothing down.
        eventually("the switch has ended", || {
            host.try_exec(&["systemctl", "is-active", "switch"]).code != Some(0)
        });
    } else {
        ended(host, system, "switch", status);
    }
    let expected = if current == Current::New { system } else { &old };
    assert_eq!(host.current_system(), expected, "{name}");
    if reached {
        host.is_reached();
    } else {
        assert!(!host.reaches(), "{name}");
    }
}

fn hangs(host: BedHost<'_>, system: &str) {
    let old = host.current_system();
    switch(host, system, "switch");
    // Units of every host sleep longer.
    eventually("it hangs", || host.try_exec(&["pgrep", "-f", "[s]leep 100000$"]).code == Some(0));
    let again = host.try_exec(&[&format!("{old}/bin/switch-to-configuration"), "switch"]);
    assert_eq!(again.ends(1).err.trim(), "Could not acquire lock");
    assert_eq!(host.current_system(), old);
    host.is_reached();
}

fn waits_for_a_unit(host: BedHost<'_>, system: &str) {
    switch(host, system, "switch");
    eventually("it waits", || {
        host.try_exec(&["systemctl", "is-active", "hanging"]).out == "activating\n"
    });
    assert_eq!(host.current_system(), system);
    host.is_reached();
}

fn kills_sessions(host: BedHost<'_>, system: &str) {
    thread::scope(|scope| {
        let session = scope.spawn(|| host.ssh("touch /run/in; sleep 1000"));
        eventually("the session has begun", || host.has("/run/in"));
        switch(host, system, "switch");
        assert_eq!(session.join().unwrap().code, Some(255));
    });
    ended(host, system, "switch", 0);
    assert_eq!(host.current_system(), system);
    host.is_reached();
}

fn reboots(host: BedHost<'_>, system: &str) {
    let before = host.boot_id();
    switch(host, system, "switch");
    eventually("it has rebooted", || host.boot_id() != before);
    host.wait();
    assert_eq!(host.current_system(), system);
}

fn never_boots(host: BedHost<'_>, name: &str, system: &str) {
    let old = host.current_system();
    host.exec(&["nix-env", "-p", "/nix/var/nix/profiles/system", "--set", system]);
    switch(host, system, "boot");
    eventually("it would boot", || host.boot_default() == system);
    assert_eq!(host.current_system(), old);
    let before = host.boot_id();
    host.reset();
    eventually("it boots", || host.boot_id() != before);
    if name == "boot-fails" {
        eventually("it panics", || !host.is_on());
        assert!(host.console().contains("this generation does not boot"));
        assert!(host.console().contains("panic: the first process ended"));
    } else {
        let second = host.boot_id();
        eventually("it boots again", || host.boot_id() != second);
    }
    assert!(!host.reaches());
    host.boot(1);
    assert_eq!(host.current_system(), old);
    host.is_reached();
}
