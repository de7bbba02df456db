//! Runs from here, and generations on hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Host, HostError, RemoteCommand, StorePath, Verdict, each};
use nixmox_topology::NodeName;
use serde_json::json;

use crate::args::{Args, Which};
use crate::{advice, run, which};
use nixmox_fleet::Fleet;

/// What a host has: generations by number, and the current one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Generations {
    pub(crate) current: Option<u64>,
    pub(crate) all: BTreeMap<u64, StorePath>,
}

/// The part on the host: a line for each generation, and one for the current one.
const LIST: &str = "cd /nix/var/nix/profiles || exit 1\n\
    echo \"current $(readlink system)\"\n\
    for link in system-*-link; do [ -e \"$link\" ] && echo \"$link $(readlink -f \"$link\")\"; done\n\
    true\n";

/// Asks a host for its generations.
pub(crate) async fn generations(host: &Host) -> Result<Generations, HostError> {
    let output = host.run(&RemoteCommand::script(LIST, [])?).await?;
    let mut found = Generations::default();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Some((name, path)) = line.split_once(' ') else { continue };
        if name == "current" {
            found.current = number(path);
        } else if let (Some(number), Ok(path)) = (number(name), StorePath::parse(path)) {
            found.all.insert(number, path);
        }
    }
    Ok(found)
}

fn number(link: &str) -> Option<u64> {
    link.strip_prefix("system-")?.strip_suffix("-link")?.parse().ok()
}

/// Lists the runs from here, or with hosts named, their generations.
pub(crate) fn history(args: &Args, which: &Which) -> Result<Exit, Failure> {
    let named = which.all || !which.selectors.is_empty();
    if !named {
        return list_runs(args);
    }
    let fleet = which::known(args, BTreeSet::new())?;
    let nodes = which::nodes(args, &fleet, which)?;
    let found = ask(args, &fleet, &nodes)?;
    let mut worst = Exit::Ok;
    for (node, generations) in &found {
        match generations {
            Ok(generations) => show(args, node, generations)?,
            Err(error) => {
                worst = Exit::HostFailed;
                super::print(format!("{node}: {}\n", escape(&error.to_string())).as_bytes())?;
            }
        }
    }
    Ok(worst)
}

/// Asks hosts for their generations, all at once.
pub(crate) fn ask(
    args: &Args,
    fleet: &Fleet,
    nodes: &BTreeSet<NodeName>,
) -> Result<BTreeMap<NodeName, Result<Generations, HostError>>, Failure> {
    let hosts = which::hosts(args, fleet, nodes)?;
    let answers = nixmox_fleet::runtime()?.block_on(each(
        hosts,
        args.connect.probe_jobs,
        |host| async move {
            let answer = generations(&host).await;
            host.close().await;
            answer
        },
    ));
    Ok(answers.into_iter().collect())
}

fn show(args: &Args, node: &NodeName, generations: &Generations) -> Result<(), Failure> {
    super::print_with(|out| {
        if args.switches.json {
            let all: serde_json::Map<_, _> = generations
                .all
                .iter()
                .map(|(n, path)| (n.to_string(), json!(path.as_str())))
                .collect();
            return writeln!(
                out,
                "{}",
                json!({ "node": node.as_str(), "current": generations.current, "generations": all })
            );
        }
        for (number, path) in &generations.all {
            let mark = if generations.current == Some(*number) { " (current)" } else { "" };
            writeln!(out, "{node}  {number}  {}{mark}", path.name())?;
        }
        Ok(())
    })
}

fn list_runs(args: &Args) -> Result<Exit, Failure> {
    let runs = run::runs(args, &run::root(args))?;
    let list = runs.list().map_err(advice::run)?;
    if list.is_empty() && !args.switches.json {
        super::print(b"nothing was deployed from here yet\n")?;
    }
    for id in list {
        let Ok(plan) = runs.plan(&id) else { continue };
        let verdicts = runs.verdicts(&id).map_err(advice::run)?;
        let mut by: BTreeMap<Verdict, usize> = BTreeMap::new();
        verdicts.values().for_each(|verdict| *by.entry(*verdict).or_default() += 1);
        let mut counts: Vec<_> =
            by.iter().map(|(verdict, n)| format!("{n} {}", verdict.word())).collect();
        let open = plan.nodes.keys().filter(|node| !verdicts.contains_key(*node)).count();
        if open > 0 {
            let how = if runs.is_running(&id) { "going on" } else { "cut short" };
            counts.push(format!("{open} {how}"));
        }
        let line = format!(
            "{}  {}  {}  {}",
            id.as_str(),
            plan.goal.word(),
            counts.join(", "),
            plan.source
        );
        if args.switches.json {
            let done: serde_json::Map<_, _> =
                by.iter().map(|(verdict, n)| (verdict.word().to_owned(), json!(n))).collect();
            let run = json!({ "run": id.as_str(), "goal": plan.goal.word(), "source": plan.source, "done": done, "open": open });
            super::print(format!("{run}\n").as_bytes())?;
        } else {
            super::print(format!("{}\n", escape(&line)).as_bytes())?;
        }
    }
    Ok(Exit::Ok)
}
