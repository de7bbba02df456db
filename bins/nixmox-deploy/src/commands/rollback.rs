//! Back to earlier generations, and out of activations that are not over.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{
    EventSink, Goal, Outcome, Plan, PlannedNode, Request, StorePath, System, each, probe,
};
use nixmox_topology::NodeName;

use super::history::{self, Generations};
use crate::args::{Args, Rollback, Which};
use crate::run::{self, Mode};
use crate::{advice, jobs, which};

/// Brings hosts back to an earlier generation, guarded as every other activation is.
pub(crate) fn rollback(args: &Args, rollback: &Rollback) -> Result<Exit, Failure> {
    let fleet = which::known(args, BTreeSet::new())?;
    let nodes = which::nodes(args, &fleet, &rollback.which)?;
    let places = fleet.places(&nodes);
    let mut planned = BTreeMap::new();
    for (node, generations) in history::ask(args, &fleet, &nodes)? {
        let generations = generations.map_err(|error| {
            Failure::new(Exit::HostFailed, format!("{node} cannot be asked")).because(error)
        })?;
        let toplevel = earlier(&node, &generations, rollback.to)?;
        let system = System { toplevel, derivation: None };
        let place = places.get(&node).cloned().unwrap_or_default();
        planned.insert(node, PlannedNode { system, running: None, place });
    }
    let plan = Plan {
        goal: Goal::Switch,
        source: "earlier generations".to_owned(),
        revision: None,
        source_path: None,
        there: true,
        build_only: false,
        switches: args.given.clone(),
        nodes: planned,
    };
    let work = jobs::jobs(args, &fleet, &plan, &rollback.how, &nodes)?;
    let runs = run::runs(args, &run::root(args))?;
    let journal = runs.begin(&nixmox_fleet::new_run()?, &plan).map_err(advice::run)?;
    let source = (nixmox_fleet::nix(&[]), None);
    run::execute(args, work, (&rollback.how, Mode::default()), journal, source)
}

fn earlier(
    node: &NodeName,
    generations: &Generations,
    to: Option<u64>,
) -> Result<StorePath, Failure> {
    let current = generations.current.unwrap_or(u64::MAX);
    let found = match to {
        Some(number) => generations.all.get(&number),
        None => generations.all.range(..current).next_back().map(|(_, path)| path),
    };
    found.cloned().ok_or_else(|| {
        Failure::new(Exit::BadPath, format!("{node} has no such generation"))
            .hint(format!("list them: nixmox-deploy history {node}"))
    })
}

/// Has hosts go back whose activation is not over.
pub(crate) fn abort(args: &Args, which: &Which) -> Result<Exit, Failure> {
    let fleet = which::known(args, BTreeSet::new())?;
    let nodes = which::nodes(args, &fleet, which)?;
    let hosts = which::hosts(args, &fleet, &nodes)?;
    let answers = nixmox_fleet::runtime()?.block_on(each(
        hosts,
        args.connect.probe_jobs,
        |host| async move {
            let now = probe(&host).await.map_err(|error| error.to_string())?;
            let last = now.last.filter(|last| !last.standing.phase.is_over());
            let Some(last) = last else { return Ok(None) };
            let request = Request::switch(now.current);
            let aborted =
                nixmox_deploy::abort(&host, &last.transaction, &request, &EventSink::none()).await;
            aborted.map(Some).map_err(|error| error.to_string())
        },
    ));
    let mut worst = Exit::Ok;
    for (node, answer) in answers {
        let words = match answer {
            Ok(None) => "no activation goes on".to_owned(),
            Ok(Some(Outcome::RolledBack { .. })) => "back on its old system".to_owned(),
            Ok(Some(_)) => {
                worst = Exit::Failure;
                "it was too late: the activation is over".to_owned()
            }
            Err(error) => {
                worst = Exit::HostFailed;
                error
            }
        };
        super::print(format!("{node}: {}\n", escape(&words)).as_bytes())?;
    }
    Ok(worst)
}
