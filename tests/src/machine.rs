//! Emulated machines, for what namespaces cannot show: disks, boot loaders, kernels that do not boot.

use std::fs;
use std::io::{BufRead, BufReader, Write, stderr};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::bed::{base, cache, scripts};
use crate::env::Ran;
use crate::nix;

/// How long an emulated machine may take to boot, where others want the processor, too.
const PATIENCE: Duration = Duration::from_secs(300);

/// A machine with a BIOS, blank disks and an installer that boots from a CD.
///
/// It ends when this is dropped, and also when the test is killed: its keeper waits for the end of its standard input.
/// A machine whose disk is blank boots the installer, an installed one its disk. See `docs/testbed.md`.
pub struct Machine {
    name: String,
    state: TempDir,
    keeper: Child,
    port: u16,
}

/// Turning it on.
impl Machine {
    /// Starts a machine with a blank disk of the serial number `disk0`, and waits until its installer's sshd answers.
    ///
    /// # Panics
    ///
    /// When it does not come up: without root, or without what `cargo xtask test` installs.
    pub fn up(name: &str) -> Self {
        Self::with(name, &[])
    }

    /// Starts a machine that boots some Debian from the CD, which knows nothing of Nix.
    ///
    /// # Panics
    ///
    /// As [`Machine::up`].
    pub fn debian(name: &str) -> Self {
        Self::with(name, &["--as", "debian"])
    }

    /// Starts a machine with more options of `vm.sh`.
    ///
    /// # Panics
    ///
    /// As [`Machine::up`].
    pub fn with(name: &str, options: &[&str]) -> Self {
        base();
        let state = tempfile::Builder::new().prefix("machine-").tempdir_in(cache()).unwrap();
        let said = state.path().join("keeper.log");
        // The kernel gives a free one; it is free again for QEMU at once.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut keeper = Command::new("setsid");
        // A session of its own: who kills the test does not kill the keeper.
        keeper.arg(scripts().join("vm.sh")).args(["serve", name, "--port", &port.to_string()]);
        keeper.args(options).env("BED_STATE", state.path()).env("BED_CACHE", cache());
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        keeper.stderr(fs::File::create(&said).unwrap());
        let mut keeper = keeper.spawn().expect("setsid cannot be run");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "up\n" {
            let _ = keeper.wait();
            panic!("{name} does not come up: {}", fs::read_to_string(&said).unwrap());
        }
        Self { name: name.to_owned(), state, keeper, port }
    }
}

/// Who and where it is.
impl Machine {
    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port of 127.0.0.1 behind which its sshd listens, whatever it runs.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the private key that logs in as `root`.
    pub fn client_key(&self) -> PathBuf {
        Self::any_client_key()
    }

    /// Returns the private key that logs in to every machine; `.pub` beside it is the public one.
    pub fn any_client_key() -> PathBuf {
        base();
        cache().join("client_ed25519")
    }

    /// Returns the fingerprint of the installer that booted last, as its console shows it: `SHA256:…`.
    ///
    /// # Panics
    ///
    /// When it has shown none.
    pub fn installer_key(&self) -> String {
        let console = self.console();
        let line = console.lines().rev().find_map(|line| line.split_once("host key: "));
        let (_, shown) = line.expect("the console shows no fingerprint");
        shown.split_whitespace().nth(1).unwrap().to_owned()
    }

    /// Returns the settings of an ssh client that reaches it by its name, and takes whatever key it has.
    pub fn careless_ssh_config(&self) -> PathBuf {
        self.state.path().join("machines/ssh_config")
    }
}

/// How a person reaches it.
impl Machine {
    /// Writes settings of an ssh client that knows it by its name and accepts one public key, or none.
    ///
    /// # Panics
    ///
    /// When they cannot be written.
    pub fn ssh_config(&self, key: Option<&str>) -> PathBuf {
        let known = self.state.path().join("known_hosts");
        let line = key.map(|key| format!("[127.0.0.1]:{} {key}\n", self.port));
        fs::write(&known, line.unwrap_or_default()).unwrap();
        let config = self.state.path().join("strict_ssh_config");
        let text = format!(
            "Host {}\n    HostName 127.0.0.1\n    Port {}\nHost *\n    User root\n    IdentityFile {}\n    \
             IdentitiesOnly yes\n    UserKnownHostsFile {}\n    GlobalKnownHostsFile /dev/null\n    \
             StrictHostKeyChecking yes\n    BatchMode yes\n    LogLevel ERROR\n",
            self.name,
            self.port,
            self.client_key().display(),
            known.display(),
        );
        fs::write(&config, text).unwrap();
        config
    }

    /// Returns the public key that its sshd has in its file now, `ssh-ed25519 AAAA…`.
    #[track_caller]
    pub fn host_key(&self) -> String {
        self.sh("cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub")
    }
}

/// What can be done to it.
impl Machine {
    /// Pushes the reset button. Returns at once; see [`Machine::wait`].
    pub fn reset(&self) {
        self.knob(&["reset"], &[]);
    }

    /// Pulls the plug.
    pub fn off(&self) {
        self.knob(&["off"], &[]);
    }

    /// Turns it on. Returns at once; see [`Machine::wait`].
    pub fn on(&self) {
        self.knob(&["on"], &[]);
    }

    /// Turns it on with nothing to boot from but the disk. Returns at once.
    pub fn on_without_medium(&self) {
        self.knob(&["on"], &["--no-medium"]);
    }

    /// Pulls its network cable out: packets vanish.
    pub fn cut(&self) {
        self.knob(&["cut"], &[]);
    }

    /// Plugs its network cable in.
    pub fn heal(&self) {
        self.knob(&["heal"], &[]);
    }

    /// Waits until its sshd answers.
    pub fn wait(&self) {
        self.knob(&["wait"], &["300"]);
    }

    /// Does something that ends with another boot, and waits until that answers.
    ///
    /// # Panics
    ///
    /// When it does not in time.
    #[track_caller]
    pub fn boots_again(&self, how: impl FnOnce()) {
        let before = self.boot_id();
        how();
        let end = Instant::now() + PATIENCE;
        while self.try_boot_id().is_none_or(|now| now == before) {
            assert!(Instant::now() < end, "it did not boot again: {}", self.console());
            thread::sleep(Duration::from_millis(200));
        }
    }

    #[track_caller]
    fn knob(&self, before: &[&str], after: &[&str]) {
        let mut script = Command::new(scripts().join("vm.sh"));
        script.args(before).arg(&self.name).args(after).stdin(Stdio::null());
        script.env("BED_STATE", self.state.path()).env("BED_CACHE", cache());
        Ran::new(&script.output().expect("vm.sh cannot be run")).ends(0);
    }
}

/// Installing it, in plain commands.
impl Machine {
    /// Partitions its disk, copies a system there, and makes it boot that, by hand; reboots into it.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[track_caller]
    pub fn install(&self, toplevel: &str, disk_script: &str) {
        self.copy(disk_script);
        self.sh(disk_script);
        self.copy_to_mnt(toplevel);
        self.sh(&format!("system={toplevel}\n{INSTALL}"));
        self.boots_again(|| self.reset());
    }
}

/// What an installer does once the file systems are at `/mnt` and the closure of `$system` is there.
const INSTALL: &str = r"set -e
nix-env --store /mnt -p /mnt/nix/var/nix/profiles/system --set $system
mkdir -p /mnt/etc /mnt/dev /mnt/proc /mnt/sys /mnt/run
touch /mnt/etc/NIXOS
for directory in dev proc sys; do mount --rbind /$directory /mnt/$directory; done
mount -t tmpfs tmpfs /mnt/run
NIXOS_ENTER=1 chroot /mnt $system/activate
NIXOS_INSTALL_BOOTLOADER=1 chroot /mnt $system/bin/switch-to-configuration boot
sync
umount -lR /mnt
sync
";

/// What it is and does.
impl Machine {
    /// Runs a shell command on it, for two minutes at most, whoever it is.
    pub fn ssh(&self, command: &str) -> Ran {
        self.ssh_limited(120, command)
    }

    /// Runs a shell command on it and returns what it printed.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn sh(&self, command: &str) -> String {
        self.ssh(command).ends(0).out.trim().to_owned()
    }

    /// Copies a closure into the store of what runs on it.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn copy(&self, path: &str) {
        self.copy_to(&format!("ssh://{}", self.name), path);
    }

    /// Copies a closure into the store below `/mnt`.
    ///
    /// # Panics
    ///
    /// When it fails.
    #[track_caller]
    pub fn copy_to_mnt(&self, path: &str) {
        self.copy_to(&format!("ssh://{}?remote-store=local%3Froot=/mnt", self.name), path);
    }

    #[track_caller]
    fn copy_to(&self, store: &str, path: &str) {
        let mut copy = nix("nix");
        let options = format!("-F {}", self.careless_ssh_config().display());
        copy.env("NIX_SSHOPTS", options).args(["copy", "--no-check-sigs", "--to", store, path]);
        Ran::new(&copy.output().expect("nix cannot be run")).ends(0);
    }

    /// Returns the id that each boot has for itself.
    ///
    /// # Panics
    ///
    /// When it does not answer.
    #[track_caller]
    pub fn boot_id(&self) -> String {
        self.sh("cat /proc/sys/kernel/random/boot_id")
    }

    fn try_boot_id(&self) -> Option<String> {
        let said = self.ssh_limited(20, "cat /proc/sys/kernel/random/boot_id");
        (said.code == Some(0)).then(|| said.out.trim().to_owned())
    }

    /// Returns the system that runs: the target of `/run/current-system`.
    #[track_caller]
    pub fn current_system(&self) -> String {
        self.sh("readlink -f /run/current-system")
    }

    /// Returns the system with whose kernel it was booted.
    #[track_caller]
    pub fn booted_system(&self) -> String {
        self.sh("readlink -f /run/booted-system")
    }

    /// Returns the system that the profile names.
    #[track_caller]
    pub fn profile(&self) -> String {
        self.sh("readlink -f /nix/var/nix/profiles/system")
    }

    /// Returns the system that boots when nobody chooses: the first in GRUB's menu.
    #[track_caller]
    pub fn boot_default(&self) -> String {
        self.sh("sed -n 's|.* init=\\(.*\\)/init .*|\\1|p' /boot/grub/grub.cfg | head -n 1")
    }

    /// Returns what its console said since it was first turned on.
    ///
    /// # Panics
    ///
    /// When it has none.
    pub fn console(&self) -> String {
        let said = fs::read(self.directory().join("console.log")).unwrap();
        String::from_utf8_lossy(&said).into_owned()
    }

    /// Returns its first disk, as a file.
    pub fn disk(&self) -> PathBuf {
        self.directory().join("disk0.raw")
    }

    fn directory(&self) -> PathBuf {
        self.state.path().join("machines").join(&self.name)
    }

    fn ssh_limited(&self, seconds: u32, command: &str) -> Ran {
        let mut ssh = Command::new("timeout");
        ssh.arg(seconds.to_string()).args(["ssh", "-F"]).arg(self.careless_ssh_config());
        ssh.arg(&self.name).arg(command).stdin(Stdio::null());
        Ran::new(&ssh.output().expect("timeout cannot be run"))
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if thread::panicking() && self.directory().exists() {
            let _ = writeln!(stderr(), "--- {}\n{}", self.name, self.console());
        }
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Returns the archive with which some Linux starts the installer by kexec, laid out as that of nixos-images.
pub fn kexec_archive() -> PathBuf {
    base();
    medium().join("kexec.tar")
}

fn medium() -> PathBuf {
    cache().join("medium")
}
