use nixmox_cli::{Exit, Failure};
use nixmox_manifest::{Graph, Loaded};
use serde_json::{Value, json};

use super::load;
use crate::args::{Args, GraphFormat};
use crate::print::{print, print_escaped, print_json};

/// A graph can be drawn of a manifest with errors, too: it may be what shows them.
fn graph(loaded: &Loaded) -> Result<Graph, Failure> {
    let manifest = loaded.manifest().ok_or_else(|| {
        Failure::new(Exit::Usage, "the manifest cannot be read")
            .hint("see why: nixmox-manifest check")
    })?;
    Ok(Graph::new(manifest))
}

/// Draws who needs whom.
pub(crate) fn draw(args: &Args, format: GraphFormat) -> Result<(), Failure> {
    let loaded = load(args)?;
    let graph = graph(&loaded)?;
    if args.switches.json {
        return print_json(&as_json(&graph));
    }
    match format {
        GraphFormat::Dot => print_escaped(&graph.dot()),
        GraphFormat::Mermaid => print_escaped(&graph.mermaid()),
        GraphFormat::Text => print_escaped(&graph.text()),
        GraphFormat::Svg => {
            let svg = graph.svg().ok_or_else(|| {
                Failure::new(Exit::Usage, "nobody could read a picture of so many services").hint(
                    "Graphviz draws large ones: nixmox-manifest graph --format dot | sfdp -Tsvg",
                )
            })?;
            print(&svg)
        }
    }
}

fn as_json(graph: &Graph) -> Value {
    let services = graph.vertices().iter().map(|(name, vertex)| {
        json!({ "name": name, "section": vertex.section.name(), "enabled": vertex.enabled })
    });
    let edges = graph.edges().iter().map(|edge| {
        json!({ "from": edge.from, "to": edge.to, "reason": edge.reason, "orders": edge.orders })
    });
    let names = |cycle: &Vec<&nixmox_manifest::Edge>| -> Vec<String> {
        cycle.iter().map(|edge| edge.from.clone()).collect()
    };
    json!({
        "services": services.collect::<Vec<_>>(),
        "edges": edges.collect::<Vec<_>>(),
        "cycles": graph.cycles().iter().map(names).collect::<Vec<_>>(),
    })
}

/// Says why one service needs another.
pub(crate) fn why(args: &Args, from: &str, to: &str) -> Result<Exit, Failure> {
    let loaded = load(args)?;
    let graph = graph(&loaded)?;
    for name in [from, to] {
        if !graph.vertices().contains_key(name) {
            let near = graph.closest(name).map(|near| format!("did you mean {near}?"));
            let failure = Failure::new(Exit::Usage, format!("there is no service `{name}`"));
            return Err(near.into_iter().fold(failure, Failure::hint));
        }
    }
    let path = graph.why(from, to);
    if args.switches.json {
        let edges = path.as_ref().map(|path| {
            let edge = |edge: &&nixmox_manifest::Edge| {
                json!({ "from": edge.from, "to": edge.to, "reason": edge.reason })
            };
            path.iter().map(edge).collect::<Vec<_>>()
        });
        print_json(&json!({ "needs": path.is_some(), "path": edges }))?;
    } else {
        let sources = loaded.sources();
        let lines = path.iter().flatten().map(|edge| {
            let (line, column) = sources.line_col(edge.place);
            let file = sources.file(edge.place).map_or("", |file| file.name.as_str());
            let why = edge.reason.words();
            format!("{} needs {}: {why} ({file}:{line}:{column})\n", edge.from, edge.to)
        });
        match path {
            Some(_) => print_escaped(&lines.collect::<String>())?,
            None => print(&format!("{from} does not need {to}\n"))?,
        }
    }
    Ok(if path.is_some() { Exit::Ok } else { Exit::Failure })
}
