//! What can go wrong: each fault ends with a number of its own, leaks nothing, and leaves something that can be done.

use nixmox_tests::{BedHost, Ran, eventually};
use serde_json::{Value, json};

use crate::installer::{Installer, Then, Told, WHOLE, drop_connections};

/// Demands how a run ended, that it names the way on, and that nothing was leaked.
#[track_caller]
pub(crate) fn fails(installer: &Installer, ran: Ran, code: i32, because: &str) {
    let ran = ran.ends(code);
    assert!(ran.out.contains(because), "{ran:#?}");
    assert!(ran.out.contains("hint: "), "{ran:#?}");
    installer.leaks_nothing();
}

#[test]
fn what_fails_before_the_reboot_is_repaired_and_gone_on_with() {
    let gate = "[ ! -e /var/lib/broken-disk ] || { echo 'the disk is broken' >&2; exit 1; }";
    let installer = Installer::with(&format!("{gate}\n{WHOLE}"));
    let host = installer.host();
    let boot = host.boot_id();
    let told = Told::of(&installer);

    host.sh("touch /var/lib/broken-disk");
    fails(&installer, installer.run(&told.agreed()), 13, "the disk is broken");
    host.sh("rm /var/lib/broken-disk");

    installer.set("variant", "activate-fails");
    fails(&installer, installer.run(&told.resume()), 16, "the activation ended with 1");
    installer.set("variant", "bootloader-fails");
    let said = installer.run(&told.resume());
    fails(&installer, said, 16, "installing the boot loader fails");
    assert_eq!(host.boot_id(), boot, "it was rebooted into nothing");

    installer.systems.set("web", "variant", "ok");
    let system = installer.builds();
    installer.run(&told.resume()).ends(0);
    installer.is_installed(&system);
    assert_eq!(installer.formatted(), 1);
}

#[test]
fn a_disk_that_is_too_small_or_becomes_full_is_told() {
    // 60 MB of a disk: a system of 140 is refused before it is copied.
    let small = "m=/var/lib/small; mkdir -p $m /mnt; mountpoint -q $m || mount -t tmpfs -o size=60m small $m\n\
        mkdir -p $m/u $m/w $m/l; mount -t overlay -o lowerdir=$m/l,upperdir=$m/u,workdir=$m/w overlay /mnt";
    let installer = Installer::with(small);
    let told = Told::of(&installer);
    fails(&installer, installer.run(&told.agreed()), 14, "MiB are free");

    // There seems to be room, but somebody else takes it while it is copied.
    let host = installer.host();
    host.sh("mount -o remount,size=400m /var/lib/small");
    let ran = installer.watched(&told.resume(), |phase| {
        if phase == "copy" {
            host.sh("mount -o remount,size=60m /var/lib/small");
        }
        Then::GoesOn
    });
    fails_or_room(&installer, ran);
    host.sh("mount -o remount,size=400m /var/lib/small");
    installer.run(&[&told.resume()[..], &["--until", "place"]].concat()).ends(0);
}

#[track_caller]
fn fails_or_room(installer: &Installer, ran: Ran) {
    let ran = ran.ends(14);
    let full = ran.out.contains("No space left on device") || ran.out.contains("MiB are free");
    assert!(full, "{ran:#?}");
    installer.leaks_nothing();
}

/// Somebody takes the machine's place between two phases: nothing more is sent, and no secret at all.
#[test]
fn a_host_key_that_changes_ends_it() {
    let installer = Installer::whole();
    let host = installer.host();
    let told = Told::of(&installer);
    let ran = installer.watched(&told.agreed(), |phase| {
        if phase == "copy" {
            is_somebody_else(host);
        }
        Then::GoesOn
    });
    let ran = ran.ends(11);
    assert!(ran.out.contains("a key that is none of this machine's"), "{ran:#?}");
    assert!(!host.has("/var/lib/secrets.yaml"));
    installer.run(&told.resume()).ends(11);
    host.sh("cp -p /etc/ssh/ssh_host_ed25519_key /run/before/ && systemctl restart sshd");
    let system = installer.builds();
    installer.run(&told.resume()).ends(0);
    installer.is_installed(&system);
    installer.leaks_nothing();
}

fn is_somebody_else(host: BedHost<'_>) {
    let other = "cd /run/before && rm ssh_host_ed25519_key* && \
        ssh-keygen -q -t ed25519 -N '' -f ssh_host_ed25519_key";
    host.sh(&format!("{other} && systemctl restart sshd"));
    drop_connections(host);
}

/// After the reboot somebody else is there, with another key: it is not the node, whatever it runs.
#[test]
fn whoever_comes_back_with_another_key_is_nobody() {
    let installer = Installer::whole();
    let told = Told::of(&installer);
    let forget = "rm -f /etc/ssh/ssh_host_*; ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key";
    installer.set("units", unit(forget));
    let ran = installer.run(&told.agreed()).ends(11);
    assert!(ran.out.contains("a key that is none of this machine's"), "{ran:#?}");
    installer.run(&told.resume()).ends(11);
}

/// A unit that runs once before sshd.
fn unit(script: &str) -> Value {
    let text = format!(
        "[Unit]\nBefore=sshd.service\nDefaultDependencies=no\n[Service]\nType=oneshot\n\
         Environment=PATH=/run/current-system/sw/bin\nExecStart=/bin/sh -c \"{script}\"\n"
    );
    json!({ "another-key.service": { "enable": true, "text": text } })
}

#[test]
fn a_machine_that_comes_back_as_it_was_or_not_at_all_is_told() {
    // The boot loader says that it is there, and boots what was there before.
    let installer = Installer::whole();
    let told = Told::of(&installer);
    installer.set("installBootLoader", "exit 0");
    let ran = installer.run(&told.agreed());
    fails(&installer, ran, 18, "it runs /nix/store/");

    // The new system does not come up.
    let installer = Installer::whole();
    let host = installer.host();
    let told = Told::of(&installer);
    installer.set("variant", "boot-fails");
    let ran = installer.run(&[&told.agreed()[..], &["--boot-timeout", "20"]].concat()).ends(17);
    assert!(ran.out.contains("nobody has answered in 20 s"), "{ran:#?}");
    assert!(ran.out.contains("look at its console"), "{ran:#?}");
    eventually("it has panicked", || !host.is_on());
    // Whoever goes on waits for it as long again.
    let again = installer.run(&[&told.resume()[..], &["--connect-timeout", "5"]].concat());
    again.ends(10);
}
