//! Whoever installs is killed, or loses the connection, in every phase.

use std::cell::RefCell;
use std::collections::BTreeSet;

use nixmox_tests::eventually;

use crate::installer::{Installer, Then, Told, WHOLE, drop_connections};

/// The phases of an installation by what runs on the machine.
const PHASES: [&str; 8] =
    ["connect", "disks", "copy", "place", "activate", "finish", "reboot", "verify"];

#[test]
fn killed_in_every_phase_it_is_gone_on_with_to_the_end() {
    let installer = Installer::whole();
    let system = installer.builds();
    let told = Told::of(&installer);
    installer.is_killed_at(&told.agreed(), "connect");
    installer.is_killed_at(&told.agreed(), "disks");
    // Whoever goes on says the same words again.
    for phase in PHASES.iter().skip(2) {
        installer.is_killed_at(&told.resume(), phase);
        if *phase == "place" {
            installer.leaks_nothing();
        }
    }
    installer.run(&told.resume()).ends(0);
    installer.is_installed(&system);
    assert_eq!(installer.formatted(), 1);
    installer.leaks_nothing();
    // It is the node now, and is not installed again by mistake.
    let said = installer.run(&told.agreed()).ends(4);
    assert!(said.out.contains("it is this node already"), "{said:#?}");
    assert!(installer.stands().starts_with("web  is installed; "), "{}", installer.stands());
}

#[test]
fn a_lost_connection_ends_nothing_that_goes_on_there() {
    let installer = Installer::whole();
    let system = installer.builds();
    let told = Told::of(&installer);
    let (seen, last) = (RefCell::new(BTreeSet::new()), RefCell::new(String::new()));
    let loses = |phase: &str| {
        phase.clone_into(&mut last.borrow_mut());
        if seen.borrow_mut().insert(phase.to_owned()) {
            drop_connections(installer.host());
        }
        Then::GoesOn
    };
    let mut ran = installer.watched(&told.agreed(), loses);
    // Each phase is disturbed once; where that is too much, it says where, and is gone on with.
    for _ in PHASES {
        let code = match last.borrow().as_str() {
            _ if ran.code == Some(0) => break,
            "connect" => 10,
            "disks" => 13,
            "copy" => 14,
            "place" => 15,
            "activate" | "finish" => 16,
            "reboot" => 17,
            _ => 18,
        };
        ran.ends(code);
        installer.leaks_nothing();
        ran = installer.watched(&told.resume(), loses);
    }
    ran.ends(0);
    installer.is_installed(&system);
    assert_eq!(installer.formatted(), 1);
    let disturbed = seen.borrow();
    assert!(PHASES.iter().all(|phase| disturbed.contains(*phase)), "{disturbed:?}");
}

#[test]
fn a_job_goes_on_while_nobody_can_look() {
    let wait = "until [ -e /var/lib/go ]; do sleep 0.1; done";
    let installer = Installer::with(&format!("{WHOLE}\n{wait}\necho done >/var/lib/went-on"));
    let system = installer.builds();
    let told = Told::of(&installer);
    let host = installer.host();
    let ran = installer.watched(&told.agreed(), |phase| {
        if phase == "disks" {
            eventually("the disks are being made", || host.has("/var/lib/formatted"));
            host.cut();
            host.sh("touch /var/lib/go");
            eventually("the disks are made", || host.has("/var/lib/went-on"));
            host.heal();
        }
        Then::GoesOn
    });
    ran.ends(0);
    installer.is_installed(&system);
    assert_eq!(installer.formatted(), 1);
}

/// A power cut may leave files of the new store half written: they are found, thrown away, and copied again.
#[test]
fn after_a_power_cut_the_store_is_looked_at() {
    let installer = Installer::whole();
    let system = installer.builds();
    let told = Told::of(&installer);
    let host = installer.host();
    installer.run(&[&told.agreed()[..], &["--until", "copy"]].concat()).ends(0);
    // A file of the system, and one that is known to nobody.
    let broken = host.sh(&format!("readlink -f {system}/etc"));
    host.sh(&format!("f={broken}/testbed/revision; chmod u+w $f; echo broken >$f; touch -d @1 $f"));
    host.reset();
    host.wait();
    installer.is_a_machine();
    // What is formatted needs no consent any more.
    let ran = installer.watched(&told.resume()[..3], |_| Then::GoesOn).ends(0);
    assert!(ran.out.contains(&format!("path '{broken}' was modified")), "{ran:#?}");
    installer.is_installed(&system);
    assert_eq!(host.sh("cat /etc/testbed/revision"), "1");
    assert_eq!(installer.formatted(), 1);
}
