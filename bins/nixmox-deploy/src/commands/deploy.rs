//! Deployments: at once, as a plan, from a plan, and gone on with.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Goal, Nix, Plan, PlannedNode, Probe, StorePath};
use nixmox_topology::NodeName;

use super::print_with;
use super::status::ask;
use crate::args::{Apply, Args, Command, Deploy, GoalArg, How, MakePlan, Meant, Resume};
use crate::evaluated::{self, Systems};
use crate::run::{self, Mode};
use crate::{advice, jobs, summary, which};
use nixmox_fleet::Fleet;

/// Brings hosts to their systems.
pub(crate) fn deploy(args: &Args, deploy: &Deploy) -> Result<Exit, Failure> {
    bring(args, deploy, Mode::default())
}

fn bring(args: &Args, deploy: &Deploy, mode: Mode) -> Result<Exit, Failure> {
    let listed = evaluated::paths(&deploy.from)?.unwrap_or_default();
    let fleet = which::opened(args, &deploy.from, &listed.into_keys().collect())?;
    let chosen = which::nodes(args, &fleet, &deploy.which)?;
    if chosen.is_empty() {
        return none();
    }
    if !deploy.how.danger_skip_check {
        nixmox_fleet::check_sealed(&fleet, deploy.how.nix)?;
    }
    let systems =
        nixmox_fleet::runtime()?.block_on(evaluated::systems(&fleet, &deploy.from, &chosen))?;
    let goal = goal(deploy.goal, &deploy.how);
    let mut plan = plan_of(&fleet, systems, goal.unwrap_or(Goal::Push), &BTreeMap::new());
    if deploy.changed {
        let probes = ask(args, &fleet, &chosen)?;
        let wanted = |node: &NodeName| plan.nodes.get(node).map(|planned| &planned.system.toplevel);
        let differs = |(node, probe): (&NodeName, &Result<Probe, _>)| match (probe, wanted(node)) {
            (Ok(probe), Some(wanted)) => (!probe.is_settled_on(wanted)).then(|| node.clone()),
            _ => Some(node.clone()),
        };
        let changed: BTreeSet<NodeName> = probes.iter().filter_map(differs).collect();
        plan.nodes.retain(|node, _| changed.contains(node));
        if plan.nodes.is_empty() {
            return none();
        }
    }
    let mode = Mode { build_only: goal.is_none(), ..mode };
    begin(args, &fleet, plan, &deploy.how, (mode, nixmox_fleet::nix(&deploy.from.nix.option)))
}

/// Shows what a deployment would do, and writes it to a file.
pub(crate) fn plan(args: &Args, make: &MakePlan) -> Result<Exit, Failure> {
    let listed = evaluated::paths(&make.from)?.unwrap_or_default();
    let fleet = which::opened(args, &make.from, &listed.into_keys().collect())?;
    let chosen = which::nodes(args, &fleet, &make.which)?;
    if chosen.is_empty() {
        return none();
    }
    let systems =
        nixmox_fleet::runtime()?.block_on(evaluated::systems(&fleet, &make.from, &chosen))?;
    let probes = ask(args, &fleet, &chosen)?;
    let goal = word(make.goal)
        .ok_or_else(|| Failure::new(Exit::Usage, "a plan is for hosts; a build needs none"))?;
    let plan = plan_of(&fleet, systems, goal, &probes);
    if let Some(file) = &make.out {
        std::fs::write(file, plan.to_json()).map_err(|e| {
            Failure::new(Exit::Write, format!("cannot write {}", file.display())).because(e)
        })?;
    }
    if args.switches.json {
        super::print(format!("{}\n", plan.to_json()).as_bytes())?;
    } else {
        show(&plan, &probes)?;
    }
    let unreached = probes.values().filter(|probe| probe.is_err()).count();
    Ok(if unreached == 0 { Exit::Ok } else { Exit::HostFailed })
}

fn show(
    plan: &Plan,
    probes: &BTreeMap<NodeName, Result<Probe, nixmox_deploy::GuardError>>,
) -> Result<(), Failure> {
    let mut nodes: Vec<_> = plan.nodes.iter().collect();
    nodes.sort_by_key(|(node, planned)| (planned.place.wave, (*node).clone()));
    print_with(|out| {
        let mut changing = 0;
        for (node, planned) in nodes {
            let wanted = &planned.system.toplevel;
            let line = match probes.get(node) {
                Some(Ok(probe)) if probe.is_settled_on(wanted) => "as it should be".to_owned(),
                Some(Ok(probe)) => {
                    changing += 1;
                    summary::arrow(&probe.current, wanted)
                }
                Some(Err(error)) => format!("cannot be asked: {error}"),
                None => wanted.name().to_owned(),
            };
            writeln!(out, "wave {}  {node}  {}", planned.place.wave, escape(&line))?;
        }
        writeln!(out, "{} would {}", plural(changing, "host"), verb(plan.goal))
    })
}

fn verb(goal: Goal) -> &'static str {
    match goal {
        Goal::Switch => "switch",
        Goal::Boot => "boot the new system next time",
        Goal::Test => "run the new system until the next boot",
        Goal::DryActivate => "say what would change",
        Goal::Push => "get the new system into the store",
    }
}

/// Does what a plan says, if all its hosts still run what it saw.
pub(crate) fn apply(args: &Args, apply: &Apply) -> Result<Exit, Failure> {
    let bytes = std::fs::read(&apply.plan).map_err(|e| {
        Failure::new(Exit::NoFile, format!("cannot read {}", apply.plan.display())).because(e)
    })?;
    let plan = Plan::parse(&bytes).map_err(|error| {
        let message = format!("{} is no plan", apply.plan.display());
        Failure::new(Exit::Usage, message).because(error)
    })?;
    let fleet = Fleet::open(args.repo.as_deref(), &plan.nodes.keys().cloned().collect())?;
    if !apply.how.danger_skip_check {
        nixmox_fleet::check_sealed(&fleet, apply.how.nix)?;
    }
    let mode = Mode { all_as_expected: true, ..Mode::default() };
    begin(args, &fleet, plan, &apply.how, (mode, nixmox_fleet::nix(&apply.nix.option)))
}

/// Goes on with a run of this machine that was cut short; or, when hosts are named, with what another machine has left
/// there. What goes on comes from the hosts then, and what was not begun from the repository.
pub(crate) fn resume(args: &Args, resume: &Resume) -> Result<Exit, Failure> {
    match resume.what.meant() {
        Meant::Run(name) => resume_run(args, name.as_deref()),
        Meant::Hosts(which) => {
            let (from, how) = (resume.from.clone(), resume.how.clone());
            let deploy = Deploy { which, changed: false, from, goal: GoalArg::Switch, how };
            bring(args, &deploy, Mode { adopt: true, ..Mode::default() })
        }
    }
}

/// Goes on with a run that was cut short, as it was begun.
fn resume_run(args: &Args, name: Option<&str>) -> Result<Exit, Failure> {
    let runs = run::runs(args, &run::root(args))?;
    let id = run::find(&runs, name)?;
    let (journal, plan, verdicts) = runs.reopen(&id).map_err(advice::run)?;
    let args = &args.with(&plan.switches).map_err(|error| {
        let message = format!("run {} was begun with switches that are not known", id.as_str());
        Failure::new(Exit::Usage, message).because(error)
    })?;
    let Command::Resume(resume) = &args.command else { return none() };
    let fleet = which::opened(args, &resume.from, &plan.nodes.keys().cloned().collect())?;
    let open = |node: &NodeName| !verdicts.get(node).is_some_and(|verdict| verdict.is_good());
    let left: BTreeSet<NodeName> = plan.nodes.keys().filter(|node| open(node)).cloned().collect();
    if left.is_empty() {
        return none();
    }
    if !resume.how.danger_skip_check {
        nixmox_fleet::check_sealed(&fleet, resume.how.nix)?;
    }
    // What a host ran when the plan was made is no longer what it runs when it was begun; all others still have to.
    let begun = run::begun(&runs, &id)?;
    let mut rest = plan.clone();
    rest.nodes.retain(|node, _| left.contains(node));
    for (_, planned) in rest.nodes.iter_mut().filter(|(node, _)| begun.contains(node.as_str())) {
        planned.running = None;
    }
    let work = jobs::jobs(args, &fleet, &rest, &resume.how, &left)?;
    let mode = Mode { adopt: true, build_only: plan.build_only, all_as_expected: true };
    let source = (nixmox_fleet::nix(&resume.from.nix.option), plan.source_path);
    run::execute(args, work, (&resume.how, mode), journal, source)
}

fn begin(
    args: &Args,
    fleet: &Fleet,
    plan: Plan,
    how: &How,
    (mode, nix): (Mode, Nix),
) -> Result<Exit, Failure> {
    let chosen = plan.nodes.keys().cloned().collect();
    let plan = Plan { build_only: mode.build_only, switches: args.given.clone(), ..plan };
    let work = jobs::jobs(args, fleet, &plan, how, &chosen)?;
    let runs = run::runs(args, &run::root(args))?;
    let journal = runs.begin(&nixmox_fleet::new_run()?, &plan).map_err(advice::run)?;
    run::execute(args, work, (how, mode), journal, (nix, plan.source_path))
}

fn plan_of(
    fleet: &Fleet,
    systems: Systems,
    goal: Goal,
    probes: &BTreeMap<NodeName, Result<Probe, nixmox_deploy::GuardError>>,
) -> Plan {
    let mut places = fleet.places(&systems.systems.keys().cloned().collect());
    let node = |(node, system): (NodeName, _)| {
        let running: Option<StorePath> =
            probes.get(&node).and_then(|probe| Some(probe.as_ref().ok()?.current.clone()));
        let place = places.remove(&node).unwrap_or_default();
        (node, PlannedNode { system, running, place })
    };
    Plan {
        goal,
        source: systems.source,
        revision: systems.revision,
        source_path: systems.source_path,
        there: false,
        build_only: false,
        switches: BTreeMap::new(),
        nodes: systems.systems.into_iter().map(node).collect(),
    }
}

fn goal(written: GoalArg, how: &How) -> Option<Goal> {
    if how.ephemeral { Some(Goal::Test) } else { word(written) }
}

/// The goal of a word; a build is none, for it has nothing to do with hosts.
fn word(written: GoalArg) -> Option<Goal> {
    Some(match written {
        GoalArg::Switch => Goal::Switch,
        GoalArg::Boot => Goal::Boot,
        GoalArg::Test => Goal::Test,
        GoalArg::DryActivate => Goal::DryActivate,
        GoalArg::Push => Goal::Push,
        GoalArg::Build => return None,
    })
}

fn none() -> Result<Exit, Failure> {
    super::print(b"there is nothing to do\n").map(|()| Exit::Ok)
}
