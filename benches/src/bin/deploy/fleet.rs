use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nixmox_tests::{Bed, BedHost, Fleet, NIX_CONFIG};
use tempfile::TempDir;

use crate::Failure;

/// How long all processors worked, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// For the hosts.
    pub(crate) hosts: f64,
    /// For everything else: the deployer, and whatever else this machine does meanwhile.
    pub(crate) here: f64,
}

/// Hosts, and the fleet that they are deployed from.
pub(crate) struct Deployed {
    pub(crate) bed: Bed,
    here: TempDir,
    fleet: Fleet,
    tool: PathBuf,
    revision: Cell<u32>,
    touched: Cell<u32>,
}

impl Deployed {
    /// Starts hosts and deploys to them for the first time.
    pub(crate) fn up(tool: &Path, hosts: usize) -> Result<Self, Failure> {
        let here = tempfile::Builder::new().prefix("bench-").tempdir_in("/dev/shm")?;
        let fleet = Fleet::new(&here.path().join("fleet"), hosts);
        let bed = Bed::up(hosts);
        for host in bed.hosts() {
            let node = fleet.path().join("nodes").join(host.name());
            fs::create_dir_all(&node)?;
            let address = host.address();
            fs::write(
                node.join("node.nix"),
                format!("{{ deploy.targetHost = \"{address}\"; }}\n"),
            )?;
        }
        for name in ["home", "tmp"] {
            fs::create_dir(here.path().join(name))?;
        }
        let (revision, touched) = (Cell::new(1), Cell::new(0));
        let deployed = Self { bed, here, fleet, tool: tool.to_owned(), revision, touched };
        deployed.next_revision();
        deployed.deploy()?;
        Ok(deployed)
    }

    /// Makes the network to every host slow.
    pub(crate) fn slow(&self, delay: &str) {
        for host in self.bed.hosts() {
            host.slow(delay, 0, 0);
        }
        // What delays packets takes a moment to begin, and until then nothing comes through.
        self.bed.hosts().for_each(BedHost::wait);
    }

    /// Has the fleet say that every host runs another system.
    pub(crate) fn next_revision(&self) {
        self.revision.set(self.revision.get() + 1);
        self.fleet.set_all("revision", self.revision.get());
    }

    /// Has every activation wait so many seconds from now on.
    pub(crate) fn wait_in_activation(&self, seconds: u32) {
        let wait = serde_json::json!({ "wait": format!("sleep {seconds}") });
        self.fleet.set_all("activationScripts", wait);
    }

    /// Changes the flake, but no system.
    pub(crate) fn touch(&self) -> Result<(), Failure> {
        self.touched.set(self.touched.get() + 1);
        Ok(fs::write(self.fleet.path().join("README"), self.touched.get().to_string())?)
    }

    /// Builds the systems of all hosts.
    pub(crate) fn systems(&self) -> BTreeMap<String, String> {
        self.fleet.build()
    }

    /// Returns the reference of the flake.
    pub(crate) fn flake(&self) -> String {
        format!("path:{}", self.fleet.path().display())
    }

    /// Deploys to all hosts with the program; returns how long that took.
    pub(crate) fn deploy(&self) -> Result<Duration, Failure> {
        let mut tool = self.command(&self.tool);
        self.finish(tool.arg("--all").args(self.usual()))
    }

    /// Deploys to the first host alone.
    pub(crate) fn deploy_one(&self) -> Result<Duration, Failure> {
        let mut tool = self.command(&self.tool);
        self.finish(tool.arg("node1").args(self.usual()))
    }

    /// Counts the programs that a deployment without changes starts, itself left out.
    pub(crate) fn processes(&self) -> Result<BTreeMap<String, usize>, Failure> {
        // A file for each process, so that no line is cut in two.
        let traces = TempDir::new_in(self.here.path())?;
        let mut strace = self.command(Path::new("strace"));
        strace.args(["-ff", "-qq", "-e", "trace=execve", "-o"]);
        strace.arg(traces.path().join("trace")).arg(&self.tool);
        self.finish(strace.arg("--all").args(self.usual()))?;
        let mut counts = BTreeMap::new();
        for trace in fs::read_dir(traces.path())? {
            let text = fs::read_to_string(trace?.path())?;
            for line in text.lines().filter(|line| line.ends_with("= 0")) {
                let path = line.split('"').nth(1).unwrap_or_default();
                let name = Path::new(path).file_name().unwrap_or_default().to_string_lossy();
                if name != "nixmox-deploy" {
                    *counts.entry(name.into_owned()).or_default() += 1;
                }
            }
        }
        Ok(counts)
    }

    /// Counts the logins that the hosts' sshd wrote down meanwhile.
    pub(crate) fn connections(
        &self,
        job: impl FnOnce() -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let before = self.logins()?;
        job()?;
        Ok(self.logins()?.saturating_sub(before))
    }

    /// Measures the work that a job is, here and on the hosts.
    pub(crate) fn work(
        &self,
        job: impl FnOnce() -> Result<Duration, Failure>,
    ) -> Result<(Duration, Work), Failure> {
        let (all, hosts) = (busy()?, self.bed.processor_time());
        let took = job()?;
        let hosts = self.bed.processor_time().saturating_sub(hosts).as_secs_f64();
        Ok((took, Work { hosts, here: busy()? - all - hosts }))
    }

    fn logins(&self) -> Result<usize, Failure> {
        let mut all = 0;
        for host in self.bed.hosts() {
            let count = "journalctl --sync; journalctl -u sshd -o cat | grep -c ^Accepted || true";
            all += host.sh(count).parse::<usize>()?;
        }
        Ok(all)
    }

    fn usual(&self) -> [String; 2] {
        ["--ssh-config".to_owned(), self.bed.ssh_config().display().to_string()]
    }

    /// Prepares a program in an environment of its own.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.fleet.path());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.here.path().join("home"));
        command.env("TMPDIR", self.here.path().join("tmp"));
        command.env("NIX_CONFIG", NIX_CONFIG);
        command.env("NIX_SSHOPTS", format!("-F {}", self.bed.ssh_config().display()));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its good end; returns how long it took.
    pub(crate) fn finish(&self, command: &mut Command) -> Result<Duration, Failure> {
        let start = Instant::now();
        let output = command.output()?;
        let took = start.elapsed();
        if !output.status.success() {
            let (out, err) =
                (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            return Err(format!("{command:?}: {}\n{out}{err}", output.status).into());
        }
        Ok(took)
    }
}

/// Returns how long the processors of this machine were not idle, in seconds.
fn busy() -> Result<f64, Failure> {
    let stat = fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    let ticks: Vec<f64> = line.split_whitespace().filter_map(|n| n.parse().ok()).collect();
    // user, nice, system, idle, waiting for a disk, interrupts, soft interrupts; in hundredths of a second.
    match ticks.as_slice() {
        [user, nice, system, _, _, hard, soft, ..] => {
            Ok((user + nice + system + hard + soft) / 100.0)
        }
        _ => Err("/proc/stat has another form".into()),
    }
}
