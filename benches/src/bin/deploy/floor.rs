use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nixmox_tests::nix;
use tempfile::NamedTempFile;

use crate::Failure;
use crate::fleet::Deployed;

/// Logs in to every host once, one after the other.
pub(crate) fn serial(deployed: &Deployed) -> Result<Duration, Failure> {
    let start = Instant::now();
    for host in deployed.bed.hosts() {
        ended(&mut ssh(deployed, &host.name(), "true").spawn()?)?;
    }
    Ok(start.elapsed())
}

/// Logs in to every host once, to all at the same time.
pub(crate) fn parallel(deployed: &Deployed) -> Result<Duration, Failure> {
    let start = Instant::now();
    let children = deployed.bed.hosts().map(|host| ssh(deployed, &host.name(), "true").spawn());
    all_ended(children.collect::<Result<_, _>>()?)?;
    Ok(start.elapsed())
}

/// Evaluates all systems with Nix alone.
pub(crate) fn evaluation(deployed: &Deployed) -> Result<Duration, Failure> {
    let mut eval = deployed.command(Path::new("nix"));
    let systems = format!("{}#nixosConfigurations", deployed.flake());
    let apply = "builtins.mapAttrs (_: node: node.config.system.build.toplevel.drvPath)";
    deployed.finish(eval.args(["eval", "--json", &systems, "--apply", apply]))
}

/// Sends every host what its new closure has and its old one had not, and nothing else.
pub(crate) fn bandwidth(
    deployed: &Deployed,
    before: &BTreeMap<String, String>,
) -> Result<Duration, Failure> {
    let mut exports = Vec::new();
    for (name, system) in deployed.systems() {
        let old: BTreeSet<String> =
            before.get(&name).map(|old| closure(old)).transpose()?.unwrap_or_default();
        let new = closure(&system)?;
        let file = NamedTempFile::new()?;
        let mut export = nix("nix-store");
        export.arg("--export").args(new.difference(&old)).stdout(file.reopen()?);
        ended(&mut export.spawn()?)?;
        exports.push((name, file));
    }
    let start = Instant::now();
    let mut children = Vec::new();
    for (name, file) in &exports {
        let mut ssh = ssh(deployed, name, "cat >/dev/null");
        children.push(ssh.stdin(File::open(file.path())?).spawn()?);
    }
    all_ended(children)?;
    Ok(start.elapsed())
}

fn closure(system: &str) -> Result<BTreeSet<String>, Failure> {
    let output = nix("nix-store").args(["--query", "--requisites", system]).output()?;
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}

/// Copies, sets the profile and switches, on all hosts at once, with nothing that could go back.
pub(crate) fn by_hand(deployed: &Deployed) -> Result<Duration, Failure> {
    let systems = deployed.systems();
    let config = deployed.bed.ssh_config();
    let start = Instant::now();
    let mut children = Vec::new();
    for (name, system) in &systems {
        let switch = format!(
            "nix-env -p /nix/var/nix/profiles/system --set {system} && {system}/bin/switch-to-configuration switch"
        );
        let script =
            "nix copy --no-check-sigs --to \"ssh://$1\" \"$2\" && exec ssh -F \"$3\" \"$1\" \"$4\"";
        let mut sh = deployed.command(Path::new("sh"));
        sh.args(["-c", script, "sh", name, system]).arg(&config).arg(switch);
        children.push(sh.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
    }
    all_ended(children)?;
    Ok(start.elapsed())
}

fn ssh(deployed: &Deployed, host: &str, command: &str) -> Command {
    let mut ssh = Command::new("ssh");
    ssh.arg("-F").arg(deployed.bed.ssh_config()).args([host, command]);
    ssh.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    ssh
}

fn all_ended(children: Vec<Child>) -> Result<(), Failure> {
    children.into_iter().try_for_each(|mut child| ended(&mut child))
}

fn ended(child: &mut Child) -> Result<(), Failure> {
    let status = child.wait()?;
    if status.success() { Ok(()) } else { Err(format!("a floor: {status}").into()) }
}

/// Names the machine that all of it runs on.
pub(crate) fn machine() -> String {
    let model = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = model.lines().find_map(|line| line.strip_prefix("model name\t: "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{cores} cores of {}", model.unwrap_or("unknown make"))
}
