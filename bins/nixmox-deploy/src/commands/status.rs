//! What hosts run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use nixmox_cli::terminal::{Table, escape, width};
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{GuardError, Last, Probe, StorePath, each, probe};
use nixmox_topology::NodeName;
use serde_json::json;

use crate::args::{Args, Status};
use crate::{evaluated, which};
use nixmox_fleet::Fleet;

/// What each host answers.
pub(crate) type Probes = BTreeMap<NodeName, Result<Probe, GuardError>>;

/// Asks hosts what they run, all at once.
pub(crate) fn ask(
    args: &Args,
    fleet: &Fleet,
    nodes: &BTreeSet<NodeName>,
) -> Result<Probes, Failure> {
    let hosts = which::hosts(args, fleet, nodes)?;
    let at_once = args.connect.probe_jobs;
    let asked = nixmox_fleet::runtime()?.block_on(each(hosts, at_once, |host| async move {
        let answer = probe(&host).await;
        host.close().await;
        answer
    }));
    Ok(asked.into_iter().collect())
}

/// Shows what hosts run, and whether they boot it too.
pub(crate) fn status(args: &Args, status: &Status) -> Result<Exit, Failure> {
    let listed = evaluated::paths(&status.from)?.unwrap_or_default();
    let listed = listed.into_keys().collect();
    let fleet = match status.from.flake {
        Some(_) => which::opened(args, &status.from, &listed)?,
        None => which::known(args, listed)?,
    };
    let nodes = which::nodes(args, &fleet, &status.which)?;
    let from = &status.from;
    let compare = status.drift || from.is_given();
    let wanted: BTreeMap<NodeName, StorePath> = if compare {
        let systems =
            nixmox_fleet::runtime()?.block_on(evaluated::systems(&fleet, from, &nodes))?;
        systems.systems.into_iter().map(|(node, system)| (node, system.toplevel)).collect()
    } else {
        BTreeMap::new()
    };
    let probes = ask(args, &fleet, &nodes)?;
    if args.switches.json {
        let one = |(node, probe): (&NodeName, &Result<Probe, GuardError>)| {
            (node.to_string(), as_json(probe, wanted.get(node)))
        };
        let all: serde_json::Map<_, _> = probes.iter().map(one).collect();
        super::print(format!("{}\n", serde_json::Value::Object(all)).as_bytes())?;
    } else {
        table(&probes, &wanted)?;
    }
    let failed = probes.values().any(Result::is_err);
    Ok(if failed { Exit::HostFailed } else { Exit::Ok })
}

fn table(probes: &Probes, wanted: &BTreeMap<NodeName, StorePath>) -> Result<(), Failure> {
    let mut whole = Table::new(["HOST", "RUNS", "GENERATION", "UP", "BOOT", "REMARKS"]);
    let mut narrow = Table::new(["HOST", "RUNS", "GENERATION", "UP", "BOOT"]);
    let mut below = Vec::new();
    for (node, probe) in probes {
        let said = match probe {
            Ok(probe) => remarks(probe, wanted.get(node)).join("; "),
            Err(error) => format!("cannot be asked: {error}"),
        };
        let [runs, generation, up, boot] = probe.as_ref().map(state).unwrap_or_default();
        let node = node.to_string();
        whole.row([&*node, &*runs, &*generation, &*up, &*boot, &*said]);
        narrow.row([&*node, &*runs, &*generation, &*up, &*boot]);
        below.extend((!said.is_empty()).then(|| format!("{node}: {said}")));
    }
    let columns = width(std::io::stdout());
    super::print_with(|out| {
        if whole.fits(columns) {
            return whole.write(out, columns);
        }
        // Remarks are what one looks for, and are not cut.
        narrow.write(out, columns)?;
        below.iter().try_for_each(|line| writeln!(out, "{}", escape(line)))
    })
}

/// What a host runs, its generation, for how long, and in which boot.
fn state(probe: &Probe) -> [String; 4] {
    [
        probe.current.name().to_owned(),
        probe.generation.map(|n| n.to_string()).unwrap_or_default(),
        uptime(probe.uptime),
        probe.boot_id.chars().take(8).collect(),
    ]
}

/// The name of a system, with its hash where another one has the same name.
fn named(path: &StorePath, other: &StorePath) -> String {
    if path.name() != other.name() {
        return path.name().to_owned();
    }
    path.as_str().trim_start_matches("/nix/store/").to_owned()
}

/// What is not as usual on a host, and not as it should be.
fn remarks(probe: &Probe, wanted: Option<&StorePath>) -> Vec<String> {
    let mut remarks = Vec::new();
    if let Some(wanted) = wanted.filter(|wanted| **wanted != probe.current) {
        remarks.push(format!("should run {}", named(wanted, &probe.current)));
    }
    if probe.profile.as_ref().is_some_and(|profile| *profile != probe.current) {
        remarks.push("boots another system than it runs".to_owned());
    }
    if let Some(deployed) = probe.deployed.as_ref().filter(|deployed| **deployed != probe.current) {
        let deployed = named(deployed, &probe.current);
        remarks.push(format!("drifted: {deployed} was deployed"));
    }
    if let Some(last) = &probe.last
        && !last.standing.phase.is_over()
    {
        remarks.push(format!("an activation is {}", under_way(last)));
    }
    remarks
}

/// Where an activation stands, and whose it is.
fn under_way(last: &Last) -> String {
    let phase = last.standing.phase.word();
    match last.order.as_ref().map(|order| order.deployer.as_str()) {
        Some(deployer) if !deployer.is_empty() => format!("{phase}, begun by {deployer}"),
        _ => phase.to_owned(),
    }
}

fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn as_json(probe: &Result<Probe, GuardError>, wanted: Option<&StorePath>) -> serde_json::Value {
    match probe {
        Err(error) => json!({ "error": error.to_string() }),
        Ok(probe) => json!({
            "current": probe.current.as_str(),
            "booted": probe.booted.as_ref().map(|path| path.as_str()),
            "profile": probe.profile.as_ref().map(|path| path.as_str()),
            "generation": probe.generation,
            "bootId": probe.boot_id,
            "uptime": probe.uptime,
            "deployed": probe.deployed.as_ref().map(|path| path.as_str()),
            "deployedRevision": probe.deployed_revision,
            "wanted": wanted.map(|path| path.as_str()),
            "activation": probe.last.as_ref().map(|last| json!({
                "transaction": last.transaction.as_str(),
                "phase": last.standing.phase.word(),
                "system": last.order.as_ref().map(|order| order.system.as_str()),
                "deployer": last.order.as_ref().map(|order| order.deployer.as_str()),
            })),
        }),
    }
}
