//! The bed itself: its hosts do what tests of deployments take for granted.

use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nixmox_tests::{Bed, BedHost, Fleet, eventually, files, nix};
use tempfile::{NamedTempFile, TempDir};

#[test]
fn a_host_can_be_cut_off_slowed_down_and_healed() {
    let bed = Bed::up(2);
    let (host, other) = (bed.host(1), bed.host(2));
    host.is_reached();

    host.cut();
    let said = host.ssh("true").err;
    assert!(said.contains("timed out"), "packets vanish, nobody is told: {said}");
    other.is_reached();
    host.heal();
    host.is_reached();

    host.unplug();
    assert!(!host.reaches());
    host.heal();
    host.is_reached();

    host.slow("200ms", 0, 0);
    let start = Instant::now();
    host.ssh("true").ends(0);
    assert!(start.elapsed() > Duration::from_millis(800), "ssh takes more than four round trips");
    host.cut();
    assert!(!host.reaches(), "a slow host can be cut off, too");
    host.slow("0ms", 0, 100);
    assert!(!host.reaches(), "it hears, but is not heard");
    host.heal();

    host.rate("1mbit");
    let start = Instant::now();
    host.ssh("head -c 500000 /dev/zero | tr '\\0' x").ends(0);
    // The limit is on the way to the host: what comes back is not slowed down.
    let back = start.elapsed();
    let mut send = Command::new("ssh");
    send.arg("-F").arg(bed.ssh_config()).args([&host.name(), "cat >/dev/null"]);
    let big = NamedTempFile::new().unwrap();
    std::fs::write(big.path(), vec![b'x'; 500_000]).unwrap();
    let start = Instant::now();
    assert!(send.stdin(big.reopen().unwrap()).status().unwrap().success());
    assert!(start.elapsed() > Duration::from_secs(3), "four seconds, for 500 kB ({back:?} back)");
    host.heal();
    host.is_reached();
}

#[test]
fn sshd_stops_with_and_without_its_sessions() {
    let bed = Bed::up(1);
    let host = bed.host(1);
    thread::scope(|scope| {
        let session = scope.spawn(|| host.ssh("touch /run/in; sleep 2; echo still here"));
        eventually("the session has begun", || host.has("/run/in"));
        host.kill_sshd();
        let said = host.ssh("true").err;
        assert!(said.contains("refused"), "{said}");
        assert_eq!(session.join().unwrap().ends(0).out, "still here\n");
    });
    host.start_sshd();
    host.wait();
    thread::scope(|scope| {
        let session = scope.spawn(|| host.ssh("touch /run/in2; sleep 1000"));
        eventually("the session has begun", || host.has("/run/in2"));
        host.kill_sessions();
        assert_eq!(session.join().unwrap().code, Some(255));
    });
    host.start_sshd();
    host.wait();
    host.is_reached();
}

#[test]
fn a_boot_is_a_boot() {
    let bed = Bed::up(2);
    let host = bed.host(1);
    let first = host.boot_id();
    assert_ne!(bed.host(2).boot_id(), first);
    assert_eq!(host.exec(&["cat", "/proc/sys/kernel/random/boot_id"]), first);
    assert_eq!(host.sh("systemctl is-system-running --wait"), "running");
    host.sh("echo kept >/root/kept; echo gone >/run/gone");

    for (how, again) in [
        way("reboot", |host| host.reboot()),
        way("reset", |host| host.reset()),
        way("by itself", |host| drop(host.ssh("systemctl reboot"))),
        way("by force", |host| drop(host.try_exec(&["reboot", "-ff"]))),
        way("power", |host| {
            host.power_off();
            assert!(!host.reaches());
            host.power_on();
        }),
    ] {
        let before = host.boot_id();
        again(host);
        eventually(how, || host.is_on() && host.boot_id() != before);
        host.wait();
        assert_eq!(host.sh("cat /root/kept; cat /run/gone 2>/dev/null || true"), "kept", "{how}");
    }
    let _ = host.ssh("systemctl poweroff");
    eventually("it has turned itself off", || !host.is_on());
}

#[test]
fn closures_are_copied_kept_and_collected() {
    let here = TempDir::new().unwrap();
    let fleet = Fleet::new(&here.path().join("fleet"), 2);
    let systems = fleet.build();
    let system = &systems["node1"];
    // The flake says the same.
    let attribute = "nixosConfigurations.node1.config.system.build.toplevel.outPath";
    let mut eval = nix("nix");
    eval.args(["eval", "--raw"]).arg(format!("path:{}#{attribute}", fleet.path().display()));
    eval.env("HOME", here.path());
    let said = eval.output().unwrap();
    assert_eq!(
        &String::from_utf8_lossy(&said.stdout),
        system,
        "{}",
        String::from_utf8_lossy(&said.stderr)
    );

    let bed = Bed::up(1);
    let host = bed.host(1);
    let old = host.current_system();
    assert_eq!((host.profile(), host.boot_default()), (old.clone(), old.clone()));
    host.copy(system);
    host.ssh(&format!("nix-store --check-validity {system}")).ends(0);
    host.ssh(&format!("nix-env -p /nix/var/nix/profiles/system --set {system}")).ends(0);
    host.ssh(&format!("{system}/bin/switch-to-configuration switch")).ends(0);
    assert_eq!(host.current_system(), *system);
    assert_eq!((host.profile(), host.boot_default()), (system.clone(), system.clone()));
    assert_eq!(
        host.ssh("cat /run/testbed-app").out,
        "revision 1\n",
        "its application was restarted"
    );
    assert!(host.log().contains(&format!("switch-to-configuration switch {system} exit=0")));

    host.ssh("nix-env -p /nix/var/nix/profiles/system --delete-generations old").ends(0);
    host.reset();
    host.wait();
    host.ssh("nix-collect-garbage").ends(0);
    host.ssh(&format!("nix-store --check-validity {system}")).ends(0);
    assert_ne!(host.ssh(&format!("nix-store --check-validity {old}")).code, Some(0));
    assert_eq!(host.sh("systemctl is-system-running --wait"), "running");
    assert_eq!(host.ssh("sudo -n -u deploy sudo -n id -u").out, "0\n");
}

#[test]
fn a_bed_leaves_nothing() {
    let bed = Bed::up(1);
    let state = bed.ssh_config().parent().unwrap().to_owned();
    let address = bed.host(1).address();
    let interface = format!("bed{}-br", address.split('.').nth(2).unwrap());
    let interface = Path::new("/sys/class/net").join(interface);
    assert!(state.exists() && interface.exists());
    drop(bed);
    assert!(!state.exists() && !interface.exists());
}

#[test]
fn shellcheck_is_content_with_the_scripts() {
    let bed = Path::new(env!("CARGO_MANIFEST_DIR")).join("bed");
    let is_script = |path: &Path| path.extension().is_some_and(|extension| extension == "sh");
    let scripts: Vec<_> = files(&bed).into_iter().filter(|path| is_script(path)).collect();
    assert!(scripts.len() > 8);
    let mut check = Command::new("shellcheck");
    check.arg("-x").args(scripts).current_dir(bed).stdin(Stdio::null());
    let said = check.output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
}

/// A way to boot again, and what it is called.
fn way(name: &str, boot: fn(BedHost<'_>)) -> (&str, fn(BedHost<'_>)) {
    (name, boot)
}
