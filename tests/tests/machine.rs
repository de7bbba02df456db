//! The emulated machines themselves, and what only they can show of a deployment: a new kernel that does not boot.

use std::fs::File;
use std::process::{Command, Stdio};

use nixmox_tests::{
    Fleet, Machine, NIX_CONFIG, Ran, TestEnv, deploy_program, eventually, kexec_archive,
};
use tempfile::TempDir;

#[test]
fn a_blank_machine_is_installed_and_survives_a_kernel_that_does_not_boot() {
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

    // It reboots into another system, which is kept.
    let somebody = Somebody::new(&machine);
    fleet.set("machine", "revision", 2);
    let second = fleet.build()["machine"].clone();
    let boot = machine.boot_id();
    somebody.deploys(&second).ends(0);
    assert_ne!(machine.boot_id(), boot);
    let systems = [machine.booted_system(), machine.profile(), machine.boot_default()];
    assert_eq!(systems, [&*second; 3]);

    // Its initrd gives up, the kernel panics: it boots what it booted before, and who deploys is told.
    fleet.set("machine", "variant", "initrd-panics");
    let broken = fleet.build()["machine"].clone();
    let said = somebody.deploys(&broken).ends(70);
    let said = format!("{}{}", said.out, said.err);
    assert!(said.contains("its new system did not boot, so it booted the old one"), "{said}");
    assert!(machine.console().contains("this initrd gives up"));
    let systems = [machine.booted_system(), machine.profile(), machine.boot_default()];
    assert_eq!(systems, [&*second; 3]);
    assert!(!machine.sh("cat /boot/grub/grub.cfg").contains(&broken), "it is in no menu any more");

    // It hangs: that is all that who deploys can know. It boots the old system when it is reset.
    fleet.set("machine", "variant", "initrd-hangs");
    let hanging = fleet.build()["machine"].clone();
    let said = somebody.deploys_within(&hanging, 60).ends(71);
    let said = format!("{}{}", said.out, said.err);
    assert!(said.contains("was lost while it rebooted into the new system"), "{said}");
    eventually("it hangs", || machine.console().contains("this initrd hangs"));
    machine.reset();
    machine.wait();
    assert_eq!(machine.booted_system(), second);

    machine.cut();
    assert_ne!(machine.ssh("true").code, Some(0));
    machine.heal();
    machine.wait();
    machine.boots_again(|| {
        machine.off();
        machine.on_without_medium();
    });
    assert_eq!(machine.booted_system(), second);
}

/// Who deploys to a machine, with the real program.
struct Somebody {
    env: TestEnv,
    ssh_config: String,
}

impl Somebody {
    fn new(machine: &Machine) -> Self {
        let mut env = TestEnv::of(deploy_program());
        env.var("NIX_CONFIG", NIX_CONFIG);
        let config = machine.ssh_config(Some(&machine.host_key()));
        Self { env, ssh_config: config.display().to_string() }
    }

    fn deploys(&self, system: &str) -> Ran {
        self.deploys_within(system, 600)
    }

    fn deploys_within(&self, system: &str, seconds: u32) -> Ran {
        let paths = self.env.give("paths", format!("machine {system}\n"));
        let limit = seconds.to_string();
        self.env.run(&[
            "deploy",
            "machine",
            "--paths",
            &paths,
            "--ssh-config",
            &self.ssh_config,
            "--dwell",
            "1",
            "--reboot",
            "--confirm-timeout",
            "600",
            "--activation-timeout",
            "600",
            "--reboot-timeout",
            &limit,
        ])
    }
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
