//! In which order hosts are activated.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::Place;
use nixmox_topology::NodeName;
use serde_json::json;

use crate::args::{Args, Graph};
use crate::which;
use nixmox_fleet::Fleet;

/// Shows waves, or draws who waits for whom.
pub(crate) fn graph(args: &Args, graph: &Graph) -> Result<Exit, Failure> {
    let fleet = Fleet::open(args.repo.as_deref(), &BTreeSet::new())?;
    let nodes = which::nodes(args, &fleet, &graph.which)?;
    let places = fleet.places(&nodes);
    if graph.dot {
        dot(&places)?;
    } else if args.switches.json {
        let all: serde_json::Map<_, _> =
            places.iter().map(|(node, place)| (node.to_string(), as_json(place))).collect();
        super::print(format!("{}\n", serde_json::Value::Object(all)).as_bytes())?;
    } else {
        waves(&places)?;
    }
    Ok(Exit::Ok)
}

fn waves(places: &BTreeMap<NodeName, Place>) -> Result<(), Failure> {
    let mut order: Vec<_> = places.iter().collect();
    order.sort_by_key(|(node, place)| (place.wave, (*node).clone()));
    super::print_with(|out| {
        for (node, place) in order {
            let needs: Vec<_> = place.needs.iter().map(NodeName::as_str).collect();
            let after = if needs.is_empty() {
                String::new()
            } else {
                format!("  after {}", needs.join(", "))
            };
            let gate = if place.gate { "  nothing follows when it fails" } else { "" };
            writeln!(out, "wave {}  {node}{after}{gate}", place.wave)?;
        }
        Ok(())
    })
}

fn dot(places: &BTreeMap<NodeName, Place>) -> Result<(), Failure> {
    super::print_with(|out| {
        writeln!(out, "digraph deployment {{\n  rankdir = LR;")?;
        for (node, place) in places {
            let shape = if place.gate { "box" } else { "ellipse" };
            writeln!(out, "  \"{node}\" [shape = {shape}];")?;
            for need in place.needs.iter().filter(|need| places.contains_key(*need)) {
                writeln!(out, "  \"{need}\" -> \"{node}\";")?;
            }
        }
        writeln!(out, "}}")
    })
}

fn as_json(place: &Place) -> serde_json::Value {
    let needs: Vec<_> = place.needs.iter().map(NodeName::as_str).collect();
    json!({ "wave": place.wave, "needs": needs, "gate": place.gate })
}
