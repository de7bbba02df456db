//! From a plan to what is asked of each host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{
    Goal, HealthCheck, HealthProbe, Host, Job, Plan, PlannedNode, Provenance, Request, SshFiles,
    Target,
};
use nixmox_sops::Identities;
use nixmox_topology::NodeName;

use crate::args::{Args, How};
use crate::checks;
use nixmox_fleet::Fleet;

/// What a run works with.
pub(crate) struct Work {
    pub(crate) jobs: Vec<Job>,
    /// Kept as long as connections are made.
    _ssh: Arc<SshFiles>,
}

/// Says how each node is reached.
pub(crate) fn targets(
    fleet: &Fleet,
    nodes: &BTreeSet<NodeName>,
) -> Result<BTreeMap<NodeName, Target>, Failure> {
    nodes.iter().map(|node| Ok((node.clone(), fleet.target(node)?))).collect()
}

/// Makes the jobs of a plan, for the nodes that `chosen` has.
pub(crate) fn jobs(
    args: &Args,
    fleet: &Fleet,
    plan: &Plan,
    how: &How,
    chosen: &BTreeSet<NodeName>,
) -> Result<Work, Failure> {
    let mut requests = BTreeMap::new();
    let keys = keys(fleet, plan.goal);
    for node in chosen {
        let Some(planned) = plan.nodes.get(node) else { continue };
        let request = request(fleet, plan, how, (node, planned), keys.as_ref())?;
        if fleet.settings.get(node).is_some_and(|own| own.darwin) {
            macs_can(node, &request)?;
        }
        requests.insert(node.clone(), request);
    }
    let lookouts = lookouts(fleet, requests.values())?;
    let targets = targets(fleet, &chosen.union(&lookouts).cloned().collect())?;
    let listed: Vec<Target> = targets.values().cloned().collect();
    let files = args.connect.files(&listed)?;
    let host = |target: &Target| Host::ssh(target, Arc::clone(&files));
    let lookouts: BTreeMap<NodeName, Arc<Host>> = lookouts
        .iter()
        .filter_map(|node| Some((node.clone(), Arc::new(host(targets.get(node)?)))))
        .collect();
    let mut jobs = Vec::new();
    for (node, mut request) in requests {
        let (Some(planned), Some(target)) = (plan.nodes.get(&node), targets.get(&node)) else {
            continue;
        };
        let peers = checks::peers(&request.checks);
        request.peers = lookouts.clone();
        request.peers.retain(|node, _| peers.contains(node));
        jobs.push(Job {
            host: host(target),
            build_on_remote: target.build_on_remote,
            there: plan.there,
            system: planned.system.clone(),
            request,
            place: planned.place.clone(),
        });
    }
    Ok(Work { jobs, _ssh: files })
}

/// Refuses what is not done on Macs, before anything is touched.
fn macs_can(node: &NodeName, request: &Request) -> Result<(), Failure> {
    let unit = |check: &HealthCheck| matches!(check.probe, HealthProbe::UnitActive(_));
    let what = match request.goal {
        Goal::Boot => "cannot be told what to boot, but for what it runs",
        // Its activation has no mode in which it only says what it would do.
        Goal::DryActivate => "does not say what would change",
        _ if request.patience.trial.is_some() => "is not rebooted",
        _ if request.secrets.is_some() => "gets no sealed file and no host key",
        _ if request.checks.iter().any(unit) => "has no units",
        _ => return Ok(()),
    };
    let message = format!("{node} runs darwin, and {what}");
    Err(Failure::new(Exit::Config, message)
        .hint("such nodes can be left out of a selection: '* & !NAME'"))
}

/// Lists the nodes that checks look from, all of which the fleet has.
fn lookouts<'a>(
    fleet: &Fleet,
    requests: impl Iterator<Item = &'a Request>,
) -> Result<BTreeSet<NodeName>, Failure> {
    let mut lookouts = BTreeSet::new();
    for request in requests {
        checks::can_be_made(&request.checks)?;
        lookouts.extend(checks::peers(&request.checks));
    }
    match lookouts.iter().find(|node| !fleet.labels.contains_key(*node)) {
        Some(unknown) => {
            let message = format!("a check looks from {unknown}, which is no host of this fleet");
            Err(Failure::new(Exit::Config, message))
        }
        None => Ok(lookouts),
    }
}

/// Loads the person's keys where a host's key is being replaced; for nothing else are they needed.
fn keys(fleet: &Fleet, goal: Goal) -> Option<Identities> {
    let repository = fleet.repository.as_ref()?;
    let activates = matches!(goal, Goal::Switch | Goal::Boot | Goal::Test);
    let replaced = |node: &NodeName| {
        nixmox_secrets::host_public_keys(repository, node).is_ok_and(|keys| keys.len() > 1)
    };
    let any = activates && fleet.labels.keys().any(replaced);
    any.then(|| nixmox_keyring::load().identities)
}

fn request(
    fleet: &Fleet,
    plan: &Plan,
    how: &How,
    (node, planned): (&NodeName, &PlannedNode),
    keys: Option<&Identities>,
) -> Result<Request, Failure> {
    let mut list = checks::parse(&how.check)?;
    if let Some(own) = fleet.settings.get(node) {
        list.extend(checks::parse(&own.checks)?);
    }
    list.extend(fleet.check(node));
    let mut notes = BTreeMap::from([("deployer".to_owned(), nixmox_fleet::deployer())]);
    if let Some(revision) = &plan.revision {
        notes.insert("revision".to_owned(), revision.clone());
    }
    let none = Identities::new();
    let activates = matches!(plan.goal, Goal::Switch | Goal::Boot | Goal::Test);
    let secrets = if activates {
        nixmox_fleet::secret_files(fleet, node, keys.unwrap_or(&none))?
    } else {
        None
    };
    Ok(Request {
        toplevel: planned.system.toplevel.clone(),
        goal: plan.goal,
        expected: planned.running.clone(),
        patience: checks::patience(how, &list),
        checks: list,
        peers: BTreeMap::new(),
        secrets,
        provenance: Provenance(notes),
    })
}
