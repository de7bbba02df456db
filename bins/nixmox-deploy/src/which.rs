//! Which hosts are meant.

use std::collections::BTreeSet;
use std::sync::Arc;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::Host;
use nixmox_fleet::Fleet;
use nixmox_topology::NodeName;

use crate::args::{Args, From, Which};
use crate::{jobs, run};

/// Runs whose hosts are known where nothing else names any.
const REMEMBERED: usize = 50;

/// Reads the fleet for questions to hosts: when neither the repository nor `extra` names any, those of the last runs
/// are known.
pub(crate) fn known(args: &Args, mut extra: BTreeSet<NodeName>) -> Result<Fleet, Failure> {
    let found = Fleet::open(args.repo.as_deref(), &extra);
    if found.as_ref().is_ok_and(|fleet| !fleet.labels.is_empty()) {
        return found;
    }
    let runs = run::runs(args, &run::root(args))?;
    let last = runs.list().unwrap_or_default().into_iter().take(REMEMBERED);
    extra.extend(last.filter_map(|id| runs.plan(&id).ok()).flat_map(|plan| plan.nodes.into_keys()));
    if extra.is_empty() { found } else { Fleet::open(args.repo.as_deref(), &extra) }
}

/// Reads the fleet for somebody who says where systems come from; `extra` nodes are known as well.
pub(crate) fn opened(
    args: &Args,
    from: &From,
    extra: &BTreeSet<NodeName>,
) -> Result<Fleet, Failure> {
    Fleet::open_for(args.repo.as_deref(), extra, from.named_flake())
}

/// Picks the nodes that are meant.
pub(crate) fn nodes(
    args: &Args,
    fleet: &Fleet,
    which: &Which,
) -> Result<BTreeSet<NodeName>, Failure> {
    if which.selectors.is_empty() && !which.all && !which.failed {
        return Err(Failure::new(Exit::Usage, "it is not said which hosts are meant")
            .hint("name nodes, groups or selectors, or say --all"));
    }
    let mut chosen = fleet.select(&which.selectors).map_err(|failure| match &args.meant {
        Some(command) => failure.hint(format!("did you mean the command `{command}`?")),
        None => failure,
    })?;
    if which.failed {
        let failed = run::failed_nodes(&run::runs(args, &run::root(args))?)?;
        chosen.retain(|node| failed.contains(node));
    }
    Ok(chosen)
}

/// Makes the hosts of nodes, to be asked over ssh.
pub(crate) fn hosts(
    args: &Args,
    fleet: &Fleet,
    nodes: &BTreeSet<NodeName>,
) -> Result<Vec<Arc<Host>>, Failure> {
    let targets = jobs::targets(fleet, nodes)?;
    let listed: Vec<_> = targets.values().cloned().collect();
    Ok(nixmox_fleet::hosts(&targets, &args.connect.files(&listed)?))
}
