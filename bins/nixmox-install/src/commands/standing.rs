//! Where installations stand, calling them off, and keys to compare.

use std::collections::BTreeSet;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_fleet::Fleet;
use nixmox_install::{Aborted, Order, Status, abort as call_off, status as ask};
use nixmox_topology::NodeName;
use serde_json::json;

use crate::args::{Args, Which};
use crate::{advice, orders, run, trust};

/// Shows where installations stand.
pub(crate) fn status(args: &Args, which: &Which) -> Result<Exit, Failure> {
    let (fleet, nodes) = chosen(args, which)?;
    let context = run::context(args, &fleet, nixmox_fleet::nix(&[]))?;
    let runtime = nixmox_fleet::runtime()?;
    let mut all = serde_json::Map::new();
    for node in &nodes {
        let order = order(args, &fleet, node)?;
        let found = runtime.block_on(ask(&order, &context));
        let found = found.map_err(|e| Failure::from_error(advice::exit(&e), e))?;
        if args.switches.json {
            all.insert(node.to_string(), as_json(&found));
        } else {
            super::print(format!("{node}  {}\n", escape(&words(&found))).as_bytes())?;
        }
    }
    if args.switches.json {
        super::print(format!("{}\n", serde_json::Value::Object(all)).as_bytes())?;
    }
    Ok(Exit::Ok)
}

fn words(status: &Status) -> String {
    let answers = match (status.who, status.stranger) {
        (_, true) => "somebody with another key answers".to_owned(),
        (Some(identity), _) => format!("{identity} answers"),
        (None, _) => "nobody answers".to_owned(),
    };
    let stands = match &status.memory {
        None => "no installation is known here".to_owned(),
        Some(memory) if memory.done => "is installed".to_owned(),
        Some(memory) => format!("installation {} came to {}", memory.run, memory.phase),
    };
    let mut words = format!("{stands}; {answers}");
    if !status.running.is_empty() {
        words.push_str(&format!("; goes on there: {}", status.running.join(", ")));
    }
    words
}

fn as_json(status: &Status) -> serde_json::Value {
    json!({
        "answers": status.who.map(|identity| identity.to_string()),
        "stranger": status.stranger,
        "bootId": status.boot_id,
        "running": status.running,
        "reached": status.reached,
        "remembered": status.memory,
    })
}

/// Calls installations off.
pub(crate) fn abort(args: &Args, which: &Which) -> Result<Exit, Failure> {
    let (fleet, nodes) = chosen(args, which)?;
    let context = run::context(args, &fleet, nixmox_fleet::nix(&[]))?;
    let runtime = nixmox_fleet::runtime()?;
    let mut worst = Exit::Ok;
    for node in &nodes {
        let order = order(args, &fleet, node)?;
        let words = match runtime.block_on(call_off(&order, &context)) {
            Ok(Aborted::Nothing) => "no installation is known here".to_owned(),
            Ok(Aborted::Released) => {
                "nothing goes on there any more; what is on its disks stays".to_owned()
            }
            Ok(Aborted::Forgotten) => "nobody answers there; it is forgotten here".to_owned(),
            Ok(Aborted::Installed) => {
                "it is the node already; the installation is forgotten".to_owned()
            }
            Err(error) => {
                worst = advice::exit(&error);
                advice::message(&error)
            }
        };
        super::print(format!("{node}  {}\n", escape(&words)).as_bytes())?;
    }
    Ok(worst)
}

/// Shows the keys that machines have now.
pub(crate) fn fingerprint(args: &Args, which: &Which) -> Result<Exit, Failure> {
    let (fleet, nodes) = chosen(args, which)?;
    let targets = nodes.iter().map(|node| orders::before(args, &fleet, node));
    let targets: Vec<_> = targets.collect::<Result<_, _>>()?;
    trust::fingerprints(&targets, &orders::ssh(args)?)
}

fn chosen(args: &Args, which: &Which) -> Result<(Fleet, BTreeSet<NodeName>), Failure> {
    let named = args.reach.target.iter().filter_map(|text| text.split_once('='));
    let extra = named.filter_map(|(name, _)| NodeName::parse(name).ok()).collect();
    let fleet = Fleet::open(args.repo.as_deref(), &extra)?;
    let nodes = fleet.select(&which.selectors)?;
    Ok((fleet, nodes))
}

/// Makes what is needed to ask a machine where it stands; no secret is opened for that.
fn order(args: &Args, fleet: &Fleet, node: &NodeName) -> Result<Order, Failure> {
    let mut order = orders::bare(args, fleet, node)?;
    let known = orders::recognised(args, fleet, &order);
    // A machine that does not answer now may still be told of.
    order.before.host_keys = known.map(|known| known.keys).unwrap_or_default();
    Ok(order)
}
