//! Kernels that do not boot: the real program deploys them to an emulated machine, which comes back by itself.

#![expect(clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use nixmox_tests::{Fleet, Machine, NIX_CONFIG, Ran, TestEnv, deploy_program};
use serde_json::json;

/// What a run says of a host that was tried and came back.
const BACK: &str =
    "web  back on its old system: its new system did not boot, so it booted the old one";

/// Somebody with one machine, which boots by GRUB from ext4.
struct Operator {
    env: TestEnv,
    machine: Machine,
    systems: Fleet,
    ssh: PathBuf,
}

impl Operator {
    fn new() -> Self {
        let mut env = TestEnv::of(deploy_program());
        env.var("NIX_CONFIG", NIX_CONFIG);
        let systems = Fleet::new(&env.path("systems"), 0);
        systems.set("web", "bootable", true).set("web", "bootFileSystem", "ext4");
        let machine = Machine::up("web");
        machine.install(&systems.build()["web"], &systems.build_part("web", "diskoScript"));
        let ssh = machine.ssh_config(Some(&machine.host_key()));
        Self { env, machine, systems, ssh }
    }

    /// Prepares to deploy what the systems are now, with a reboot; returns the new system, too.
    fn reboots(&self) -> (Command, String) {
        let system = self.systems.build()["web"].clone();
        let paths = self.env.give("paths", format!("web {system}\n"));
        let mut command = self.env.command(deploy_program());
        command.args(["deploy", "web", "--reboot", "--paths", &paths, "--ssh-config"]);
        command.arg(&self.ssh).args(["--dwell", "1", "--confirm-timeout", "300"]);
        command.args(["--reboot-timeout", "900"]);
        (command, system)
    }

    /// Demands that a new system was tried, did not come up, and has left nothing but the old one.
    #[track_caller]
    fn is_back_on(&self, old: &str, ran: Ran, (before, mark): (&str, &str)) {
        let ran = ran.ends(70);
        assert!(ran.out.contains(BACK), "{ran:#?}");
        assert!(ran.err.contains("web: reboot\n"), "{ran:#?}");
        let machine = &self.machine;
        assert_ne!(machine.boot_id(), before);
        // It was the new one that was booted, once.
        assert_eq!(machine.console().matches(mark).count(), 1, "{}", machine.console());
        assert_eq!([machine.booted_system(), machine.current_system()], [old; 2]);
        assert_eq!([machine.profile(), machine.boot_default()], [old; 2]);
        assert_eq!(machine.sh("cat /run/testbed-app"), "revision 1");
        let reason = machine.sh("sed -n 's/^reason=//p' /var/lib/nixmox/last/state");
        assert_eq!(reason, "not-booted");
        let next = "grub-editenv /boot/grub/grubenv list | sed -n 's/^next_entry=//p'";
        assert_eq!(machine.sh(next), "");
    }
}

/// An initrd and a kernel that panic, one that hangs until somebody pushes the reset button, and then one that boots.
#[test]
#[ignore = "takes an emulated machine five minutes: cargo xtask machines"]
fn a_kernel_that_does_not_boot_leaves_the_old_system() {
    let operator = Operator::new();
    let (machine, systems) = (&operator.machine, &operator.systems);
    let old = machine.booted_system();
    assert_eq!(machine.sh("findmnt -n -o FSTYPE /boot"), "ext4");

    let boot = machine.boot_id();
    systems.set("web", "revision", 2).set("web", "variant", "initrd-panics");
    let ran = Ran::new(&operator.reboots().0.output().unwrap());
    operator.is_back_on(&old, ran, (&boot, "this initrd gives up"));
    assert!(machine.console().contains("Attempted to kill init!"), "{}", machine.console());

    // This kernel does not find its root, and panics without any initrd's help.
    let boot = machine.boot_id();
    systems.set("web", "variant", "ok");
    let nowhere = ["console=ttyS0", "panic=1", "quiet", "rdinit=/nowhere", "root=/dev/nowhere"];
    systems.set("web", "kernelParams", json!(nowhere));
    let ran = Ran::new(&operator.reboots().0.output().unwrap());
    operator.is_back_on(
        &old,
        ran,
        (&boot, "Kernel panic - not syncing: VFS: Unable to mount root"),
    );

    let boot = machine.boot_id();
    systems.set("web", "kernelParams", json!(["console=ttyS0", "panic=1", "quiet"]));
    systems.set("web", "variant", "initrd-hangs");
    let mut run = operator.reboots().0;
    let ran = thread::scope(|scope| {
        let run = scope.spawn(|| Ran::new(&run.output().unwrap()));
        while !machine.console().contains("this initrd hangs") && !run.is_finished() {
            thread::sleep(Duration::from_millis(200));
        }
        machine.reset();
        run.join().unwrap()
    });
    operator.is_back_on(&old, ran, (&boot, "this initrd hangs"));

    // What boots is kept: by then nothing of the tries before is in its way.
    systems.set("web", "variant", "ok");
    let (mut run, new) = operator.reboots();
    let ran = Ran::new(&run.output().unwrap()).ends(0);
    assert!(ran.out.contains("web  runs its new system"), "{ran:#?}");
    assert_eq!([machine.booted_system(), machine.current_system()], [&*new; 2]);
    assert_eq!([machine.profile(), machine.boot_default()], [&*new; 2]);
    assert_eq!(machine.sh("cat /run/testbed-app"), "revision 2");
}
