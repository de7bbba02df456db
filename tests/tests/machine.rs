//! The emulated machines themselves: they do what tests of installations and boot loaders take for granted.

use std::fs::File;
use std::process::{Command, Stdio};

use nixmox_tests::{Fleet, Machine, kexec_archive};
use tempfile::TempDir;

#[test]
fn a_blank_machine_boots_the_installer_and_an_installed_one_its_disk() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), 0);
    fleet.set("machine", "bootable", true);
    let first = fleet.build()["machine"].clone();
    let script = fleet.build_part("machine", "diskoScript");

    let machine = Machine::up("machine");
    assert!(machine.sh("cat /etc/os-release").contains("VARIANT_ID=installer"));
    assert!(machine.sh("ls /dev/disk/by-id").contains("virtio-disk0"));
    let shown = machine.sh("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub");
    assert!(shown.contains(&machine.installer_key()), "{shown}");

    machine.install(&first, &script);
    assert_eq!(machine.current_system(), first);
    assert_eq!(machine.booted_system(), first);
    assert_eq!(machine.boot_default(), first);
    assert_eq!(machine.sh("systemctl is-system-running --wait"), "running");

    // A generation whose initrd gives up: it panics, and boots what it booted before.
    fleet.set("machine", "variant", "initrd-panics");
    let broken = fleet.build()["machine"].clone();
    machine.copy(&broken);
    machine.sh(&format!("nix-env -p /nix/var/nix/profiles/system --set {broken}"));
    machine.sh(&format!("{first}/bin/switch-to-configuration boot"));
    assert_eq!(machine.boot_default(), first);
    machine.boot_once(2);
    machine.boots_again(|| drop(machine.ssh("systemctl reboot")));
    assert!(machine.console().contains("this initrd gives up"));
    assert_eq!(machine.booted_system(), first);

    machine.cut();
    assert_ne!(machine.ssh("true").code, Some(0));
    machine.heal();
    machine.wait();
    machine.boots_again(|| {
        machine.off();
        machine.on_without_medium();
    });
    assert_eq!(machine.booted_system(), first);
}

#[test]
fn a_machine_with_some_debian_becomes_an_installer_by_kexec() {
    let machine = Machine::debian("rented");
    let about = machine.sh(". /etc/os-release; echo $ID; command -v nix || echo no nix");
    assert_eq!(about, "debian\nno nix");
    let key = machine.installer_key();

    let mut unpack = Command::new("ssh");
    unpack.arg("-F").arg(machine.careless_ssh_config()).args(["rented", "tar -x -C /root"]);
    let archive = File::open(kexec_archive()).unwrap();
    assert!(unpack.stdin(Stdio::from(archive)).status().unwrap().success());
    machine.boots_again(|| drop(machine.ssh("/root/kexec/run").ends(0)));
    let about = machine.sh(". /etc/os-release; echo $ID $VARIANT_ID; command -v nix");
    assert_eq!(about, "nixos installer\n/usr/bin/nix");
    assert_eq!(machine.installer_key(), key, "the archive's `run` keeps the host's key");
}
