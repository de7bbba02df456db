use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::{Bed, eventually, nix};
use crate::env::Ran;

/// One host of a bed.
#[derive(Clone, Copy)]
pub struct BedHost<'a> {
    pub(super) bed: &'a Bed,
    pub(super) number: usize,
}

/// Who and where it is.
impl BedHost<'_> {
    /// Returns its name: `node1`.
    pub fn name(self) -> String {
        format!("node{}", self.number)
    }

    /// Returns its IPv4 address.
    ///
    /// # Panics
    ///
    /// When the bed is broken.
    pub fn address(self) -> String {
        let number = fs::read_to_string(self.bed.state.path().join("number")).unwrap();
        format!("10.77.{}.{}", number.trim(), self.number)
    }

    /// Returns its public ed25519 key, `ssh-ed25519 AAAA…`.
    ///
    /// # Panics
    ///
    /// When the bed is broken.
    pub fn host_key(self) -> String {
        let key = fs::read_to_string(self.file("host_key.pub")).unwrap();
        key.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Returns the settings of an ssh client that knows the bed's hosts.
    pub fn ssh_config(self) -> PathBuf {
        self.bed.ssh_config()
    }

    fn file(self, name: &str) -> PathBuf {
        self.bed.state.path().join("hosts").join(self.number.to_string()).join(name)
    }
}

/// Its network.
impl BedHost<'_> {
    /// Makes packets to it and from it vanish.
    pub fn cut(self) {
        self.knob(&["cut"], &[]);
    }

    /// Pulls its cable out, which it notices.
    pub fn unplug(self) {
        self.knob(&["cut"], &["--unplug"]);
    }

    /// Adds `delay` (`200ms`) to round trips, loses `to` per cent of the packets to it, and `from` per cent of its own.
    pub fn slow(self, delay: &str, to: u8, from: u8) {
        self.knob(&["slow"], &[delay, &to.to_string(), &from.to_string()]);
    }

    /// Lets no more than `rate` (`1mbit`) pass to it.
    pub fn rate(self, rate: &str) {
        self.knob(&["rate"], &[rate]);
    }

    /// Undoes whatever was done to its network from outside.
    pub fn heal(self) {
        self.knob(&["heal"], &[]);
    }

    /// Stops its sshd; sessions go on.
    pub fn kill_sshd(self) {
        self.knob(&["kill-sshd"], &[]);
    }

    /// Stops its sshd and ends all sessions.
    pub fn kill_sessions(self) {
        self.knob(&["kill-sshd"], &["--sessions"]);
    }

    /// Starts its sshd.
    pub fn start_sshd(self) {
        self.knob(&["start-sshd"], &[]);
    }

    /// Tells whether a new connection can be made and used now, within some seconds.
    pub fn reaches(self) -> bool {
        let fast = ["-o", "ConnectTimeout=4", "-o", "ControlPath=none"];
        self.ssh_limited(10, &fast, "true").code == Some(0)
    }

    /// Demands that it can be logged in to, however busy the machine is.
    ///
    /// # Panics
    ///
    /// When it cannot in a minute.
    #[track_caller]
    pub fn is_reached(self) {
        eventually("the host is reached", || self.reaches());
    }

    /// Runs a shell command over the network with the real `ssh`, for 30 seconds at most.
    pub fn ssh(self, command: &str) -> Ran {
        self.ssh_limited(60, &[], command)
    }

    fn ssh_limited(self, seconds: u32, options: &[&str], command: &str) -> Ran {
        let mut ssh = Command::new("timeout");
        ssh.arg(seconds.to_string()).args(["ssh", "-F"]).arg(self.bed.ssh_config());
        ssh.args(options).arg(self.name()).arg(command).stdin(Stdio::null());
        Ran::new(&ssh.output().expect("timeout cannot be run"))
    }

    /// Copies a closure to it with `nix copy`.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn copy(self, path: &str) {
        let mut copy = nix("nix");
        let options = format!("-F {}", self.bed.ssh_config().display());
        copy.env("NIX_SSHOPTS", options).args(["copy", "--no-check-sigs", "--to"]);
        copy.arg(format!("ssh://{}", self.name())).arg(path);
        Ran::new(&copy.output().expect("nix cannot be run")).ends(0);
    }

    #[track_caller]
    fn knob(self, before: &[&str], after: &[&str]) {
        let name = self.name();
        self.bed.knob(&[before, &[&name], after].concat());
    }
}

/// Its power, and its boot loader.
impl BedHost<'_> {
    /// Pushes the reset button; also starts what hangs after a panic. Returns when nothing of before runs any more; see
    /// [`BedHost::wait`].
    pub fn reset(self) {
        self.boots_again(|| self.knob(&["reset"], &[]));
    }

    /// Reboots it in an orderly way. Returns when nothing of before runs any more; see [`BedHost::wait`].
    pub fn reboot(self) {
        self.boots_again(|| self.knob(&["reboot"], &[]));
    }

    /// Pulls the plug.
    pub fn power_off(self) {
        self.knob(&["poweroff"], &[]);
        eventually("the host is off", || !self.is_on());
    }

    /// Turns it on. Returns before it is up; see [`BedHost::wait`].
    pub fn power_on(self) {
        self.boots_again(|| self.knob(&["poweron"], &[]));
    }

    /// Does something and waits until the next boot has begun.
    #[track_caller]
    fn boots_again(self, how: impl FnOnce()) {
        let before = self.boot_id();
        how();
        eventually("it boots again", || !["", &before].contains(&self.boot_id().as_str()));
    }

    /// Tells whether it has power: it has none after a power-off or a panic.
    pub fn is_on(self) -> bool {
        fs::read_to_string(self.file("power")).is_ok_and(|power| power.trim() == "on")
    }

    /// Waits until its sshd answers.
    pub fn wait(self) {
        self.knob(&["wait"], &["60"]);
    }

    /// Resets it and picks a generation in the boot menu, as someone at the console would.
    pub fn boot(self, generation: usize) {
        self.knob(&["boot"], &[&generation.to_string()]);
        self.wait();
    }

    /// Returns the id that each boot has for itself.
    ///
    /// # Panics
    ///
    /// When it has never booted.
    pub fn boot_id(self) -> String {
        fs::read_to_string(self.file("boot_id")).unwrap().trim().to_owned()
    }
}

/// What it is and does, seen past its network.
impl BedHost<'_> {
    /// Runs a program at the console and returns what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn exec(self, command: &[&str]) -> String {
        self.try_exec(command).ends(0).out.trim().to_owned()
    }

    /// Runs a program at the console.
    pub fn try_exec(self, command: &[&str]) -> Ran {
        let name = self.name();
        let output = self.bed.script(&[&["exec", &name], command].concat()).output();
        Ran::new(&output.expect("hosts.sh cannot be run"))
    }

    /// Runs a shell command at the console and returns what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn sh(self, command: &str) -> String {
        self.exec(&["sh", "-c", command])
    }

    /// Returns the system that runs: the target of `/run/current-system`.
    #[track_caller]
    pub fn current_system(self) -> String {
        self.exec(&["readlink", "-f", "/run/current-system"])
    }

    /// Returns the system that the profile names.
    #[track_caller]
    pub fn profile(self) -> String {
        self.exec(&["readlink", "-f", "/nix/var/nix/profiles/system"])
    }

    /// Returns the system that would boot next.
    #[track_caller]
    pub fn boot_default(self) -> String {
        let init = r"s|^ *APPEND init=\(.*\)/init.*|\1|p";
        self.sh(&format!("sed -n '{init}' /boot/extlinux/extlinux.conf | head -n 1"))
    }

    /// Demands that a system runs, is the profile, and boots next.
    ///
    /// # Panics
    ///
    /// When it is not so.
    #[track_caller]
    pub fn runs_and_boots(self, system: &str) {
        assert_eq!(self.current_system(), system, "what runs");
        assert_eq!(self.profile(), system, "the profile");
        assert_eq!(self.boot_default(), system, "what boots");
    }

    /// Returns the state of the last deployment, as the host has written it down; empty when there was none.
    pub fn phase(self) -> String {
        let state = self.try_exec(&["cat", "/var/lib/nixmox/last/state"]).out;
        let line = state.lines().find_map(|line| line.strip_prefix("phase="));
        line.unwrap_or_default().to_owned()
    }

    /// Tells whether it has a file.
    pub fn has(self, path: &str) -> bool {
        self.try_exec(&["test", "-e", path]).code == Some(0)
    }

    /// Returns its root directory, seen from here.
    ///
    /// # Panics
    ///
    /// When it is off.
    #[track_caller]
    pub fn root(self) -> PathBuf {
        let name = self.name();
        self.bed.knob(&["root", &name]).out.trim().into()
    }

    /// Returns what its console said since the bed is up.
    ///
    /// # Panics
    ///
    /// When the bed is broken.
    pub fn console(self) -> String {
        let said = fs::read(self.file("console.log")).unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Returns the activations that it wrote down, and its console.
    #[track_caller]
    pub fn log(self) -> String {
        let name = self.name();
        self.bed.knob(&["log", &name]).out
    }
}
