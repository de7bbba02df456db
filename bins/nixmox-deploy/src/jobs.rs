//! From a plan to what is asked of each host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nixmox_cli::Failure;
use nixmox_deploy::{Goal, Host, Job, Plan, PlannedNode, Provenance, Request, SshFiles, Target};
use nixmox_sops::Identities;
use nixmox_topology::NodeName;

use crate::args::{Args, How};
use crate::fleet::Fleet;
use crate::{checks, sealed, ssh};

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
    let targets = targets(fleet, chosen)?;
    let listed: Vec<Target> = targets.values().cloned().collect();
    let files = ssh::files(&args.connect, &listed)?;
    let keys = keys(fleet, plan.goal);
    let mut jobs = Vec::new();
    for (node, target) in &targets {
        let Some(planned) = plan.nodes.get(node) else { continue };
        let request = request(fleet, plan, how, (node, planned), keys.as_ref())?;
        jobs.push(Job {
            host: Host::ssh(target, Arc::clone(&files)),
            build_on_remote: target.build_on_remote,
            there: false,
            system: planned.system.clone(),
            request,
            place: planned.place.clone(),
        });
    }
    Ok(Work { jobs, _ssh: files })
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
    list.extend(fleet.services.as_ref().and_then(|services| services.check(node)));
    let mut notes = BTreeMap::new();
    if let Some(revision) = &plan.revision {
        notes.insert("revision".to_owned(), revision.clone());
    }
    let none = Identities::new();
    let activates = matches!(plan.goal, Goal::Switch | Goal::Boot | Goal::Test);
    let secrets = if activates { sealed::files(fleet, node, keys.unwrap_or(&none))? } else { None };
    Ok(Request {
        toplevel: planned.system.toplevel.clone(),
        goal: plan.goal,
        expected: planned.running.clone(),
        patience: checks::patience(how, &list),
        checks: list,
        secrets,
        provenance: Provenance(notes),
    })
}
