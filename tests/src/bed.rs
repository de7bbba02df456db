//! Beds of hosts that look like NixOS to whoever deploys to them.

mod fleet;
mod host;

use std::fs;
use std::io::{BufRead, BufReader, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::env::Ran;

pub use fleet::Fleet;
pub use host::BedHost;

/// Hosts in namespaces with a systemd, an sshd and a Nix store each: `node1`, `node2` and so on.
///
/// They end when this is dropped, and also when the test is killed: their keeper waits for the end of its standard
/// input. Beds of several tests stand side by side. See `docs/testbed.md`.
pub struct Bed {
    state: TempDir,
    keeper: Child,
    count: usize,
}

impl Bed {
    /// Starts hosts and waits until each one's sshd answers. They run the variant `ok` in revision 0, as generation 1.
    ///
    /// # Panics
    ///
    /// When they do not come up: without root, or without what `cargo xtask test` installs.
    pub fn up(count: usize) -> Self {
        base();
        let state = tempfile::Builder::new().prefix("bed-").tempdir_in("/dev/shm");
        let state = state.expect("no /dev/shm to work in");
        let said = state.path().join("keeper.log");
        let mut keeper = Command::new("setsid");
        // A session of its own: who kills the test does not kill the keeper.
        keeper.arg(scripts().join("hosts.sh")).args(["serve", &count.to_string()]);
        keeper.env("BED_STATE", state.path()).env("BED_CACHE", cache());
        keeper.stdin(Stdio::piped()).stdout(Stdio::piped());
        keeper.stderr(fs::File::create(&said).unwrap());
        let mut keeper = keeper.spawn().expect("setsid cannot be run");
        let mut line = String::new();
        BufReader::new(keeper.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "up\n" {
            let _ = keeper.wait();
            panic!("the bed does not come up: {}", fs::read_to_string(&said).unwrap());
        }
        Self { state, keeper, count }
    }

    /// Returns a host by its number, from 1.
    ///
    /// # Panics
    ///
    /// When there are fewer.
    pub fn host(&self, number: usize) -> BedHost<'_> {
        assert!((1..=self.count).contains(&number), "there is no host {number}");
        BedHost { bed: self, number }
    }

    /// Returns all hosts.
    pub fn hosts(&self) -> impl Iterator<Item = BedHost<'_>> {
        (1..=self.count).map(|number| self.host(number))
    }

    /// Returns the settings of an ssh client that knows the hosts by name, has their keys and the client's.
    pub fn ssh_config(&self) -> PathBuf {
        self.state.path().join("ssh_config")
    }

    /// Returns the hosts' keys, as ssh reads them.
    pub fn known_hosts(&self) -> PathBuf {
        self.state.path().join("known_hosts")
    }

    /// Returns the private key that logs in as `root`, `deploy` (may use sudo) and `guest` (may not).
    pub fn client_key(&self) -> PathBuf {
        cache().join("client_ed25519")
    }

    /// Returns how long the processors of this machine have worked for the hosts.
    ///
    /// # Panics
    ///
    /// When the bed's control group cannot be read.
    pub fn processor_time(&self) -> Duration {
        let hardware = fs::read_to_string(self.state.path().join("hosts/1/hw.conf")).unwrap();
        let group = hardware.lines().find_map(|line| line.strip_prefix("cgroup=")).unwrap();
        let all = Path::new(group).parent().unwrap();
        let stat = fs::read_to_string(all.join("cpu.stat")).unwrap();
        let used = stat.lines().find_map(|line| line.strip_prefix("usage_usec ")).unwrap();
        Duration::from_micros(used.parse().unwrap())
    }

    /// Prepares a command of `hosts.sh` for this bed.
    pub(crate) fn script(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(scripts().join("hosts.sh"));
        command.args(arguments).env("BED_STATE", self.state.path()).env("BED_CACHE", cache());
        command.stdin(Stdio::null());
        command
    }

    /// Turns a knob of `hosts.sh`.
    #[track_caller]
    pub(crate) fn knob(&self, arguments: &[&str]) -> Ran {
        Ran::new(&self.script(arguments).output().expect("hosts.sh cannot be run")).ends(0)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if thread::panicking() {
            for host in self.hosts() {
                let name = host.name();
                let log = self.script(&["log", &name]).output().map(|output| output.stdout);
                let log = log.unwrap_or_default();
                let _ = writeln!(stderr(), "--- {name}\n{}", String::from_utf8_lossy(&log));
            }
        }
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// Waits until something is so.
///
/// # Panics
///
/// When it is not so within a minute.
#[track_caller]
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(120);
    while !is_so() {
        assert!(Instant::now() < end, "in two minutes it was not so that {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Prepares one of Nix's programs as beds use them: flakes, no sandbox, no cache.
pub fn nix(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env("NIX_CONFIG", NIX_CONFIG).stdin(Stdio::null());
    command
}

/// The settings that Nix needs on the machine of the tests, as the variable of this name has them.
pub const NIX_CONFIG: &str = "\
experimental-features = nix-command flakes
sandbox = false
substitute = false
build-users-group =
warn-dirty = false";

/// Builds what beds are made of, unless it is there and current; `cargo xtask test` has done it before.
pub(crate) fn base() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut build = Command::new(scripts().join("build.sh"));
        let output = build.env("BED_CACHE", cache()).stdin(Stdio::null()).output();
        let output = output.expect("build.sh cannot be run");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
}

pub(crate) fn scripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/bed"))
}

pub(crate) fn cache() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bed")
}
