//! The emulated machines themselves.

use std::fs::File;
use std::process::{Command, Stdio};

use nixmox_tests::{Machine, kexec_archive};

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
