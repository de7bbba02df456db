//! Where the systems of nodes come from.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::{Command, Stdio};

use nixmox_cli::{Exit, Failure, Progress};
use nixmox_deploy::{Flake, NixLine, StorePath, System};
use nixmox_topology::NodeName;

use crate::args::From;
use nixmox_fleet::Fleet;

/// The systems of nodes, and where they come from.
pub(crate) struct Systems {
    pub(crate) systems: BTreeMap<NodeName, System>,
    /// In words.
    pub(crate) source: String,
    pub(crate) revision: Option<String>,
    pub(crate) source_path: Option<StorePath>,
}

/// Reads the file of `--paths`, whose nodes need no other definition.
pub(crate) fn paths(from: &From) -> Result<Option<BTreeMap<NodeName, System>>, Failure> {
    let Some(file) = &from.paths else { return Ok(None) };
    let text = std::fs::read_to_string(file).map_err(|e| {
        Failure::new(Exit::NoFile, format!("cannot read {}", file.display())).because(e)
    })?;
    parse(&text, &file.display().to_string()).map(Some)
}

/// Learns the systems of nodes.
pub(crate) async fn systems(
    fleet: &Fleet,
    from: &From,
    nodes: &BTreeSet<NodeName>,
) -> Result<Systems, Failure> {
    if let Some(systems) = paths(from)? {
        let source = from.paths.as_deref().map(Path::display).map(|path| path.to_string());
        return listed(systems, nodes, source.unwrap_or_default());
    }
    if let Some(command) = &from.build_command {
        return listed(ask(command, fleet.root(), nodes)?, nodes, command.clone());
    }
    let darwin = |node: &&NodeName| fleet.settings.get(*node).is_some_and(|own| own.darwin);
    let flake = Flake {
        reference: from.flake.clone().unwrap_or_else(|| fleet.root().display().to_string()),
        darwin: nodes.iter().filter(darwin).cloned().collect(),
        cache: nixmox_fleet::cache(),
        jobs: from.eval_jobs.unwrap_or(NonZeroUsize::MIN),
    };
    let progress = Progress::spinner("evaluating");
    let say = |line: NixLine| {
        if let NixLine::Text(text) = line {
            progress.say(&text);
        }
    };
    let found = nixmox_fleet::nix(&from.nix.option).evaluate(&flake, nodes, &say).await;
    drop(progress);
    let found = found.map_err(nixmox_fleet::refused)?;
    Ok(Systems {
        systems: found.systems,
        source: flake.reference,
        revision: found.revision,
        source_path: Some(found.source),
    })
}

fn listed(
    mut systems: BTreeMap<NodeName, System>,
    nodes: &BTreeSet<NodeName>,
    source: String,
) -> Result<Systems, Failure> {
    let missing: Vec<_> = nodes.iter().filter(|node| !systems.contains_key(*node)).collect();
    if let [first, ..] = missing.as_slice() {
        let message = format!("there is no system for {first} in {source}");
        return Err(Failure::new(Exit::Config, message));
    }
    systems.retain(|node, _| nodes.contains(node));
    Ok(Systems { systems, source, revision: None, source_path: None })
}

/// Runs a command that builds systems and says which.
fn ask(
    command: &str,
    root: &Path,
    nodes: &BTreeSet<NodeName>,
) -> Result<BTreeMap<NodeName, System>, Failure> {
    let mut shell = nixmox_cli::scrubbed(Command::new("sh"));
    shell.args(["-c", &format!("{command} \"$@\""), "build"]).current_dir(root);
    shell.args(nodes.iter().map(NodeName::as_str)).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output =
        shell.output().map_err(|e| Failure::new(Exit::Failure, "sh cannot be run").because(e))?;
    if !output.status.success() {
        let message = format!("the build command ended with {}", output.status);
        return Err(Failure::new(Exit::Failure, message));
    }
    parse(&String::from_utf8_lossy(&output.stdout), "the build command's answer")
}

/// Reads JSON, or lines of a node and a path.
fn parse(text: &str, name: &str) -> Result<BTreeMap<NodeName, System>, Failure> {
    let json = serde_json::from_str::<BTreeMap<String, String>>(text);
    let pairs: Vec<(String, String)> = match json {
        Ok(pairs) => pairs.into_iter().collect(),
        Err(_) => text.lines().filter(|line| !line.trim().is_empty()).map(pair).collect(),
    };
    let entry = |(node, path): (String, String)| {
        let wrong = |what: String| Failure::new(Exit::Usage, format!("{name}: {what}"));
        let parsed = NodeName::parse(&node).map_err(|e| wrong(format!("`{node}`: {e}")))?;
        let toplevel = StorePath::parse(&path).map_err(|e| wrong(format!("`{path}`: {e}")))?;
        Ok((parsed, System { toplevel, derivation: None }))
    };
    pairs.into_iter().map(entry).collect()
}

fn pair(line: &str) -> (String, String) {
    let (node, path) = line.trim().split_once(char::is_whitespace).unwrap_or((line, ""));
    (node.to_owned(), path.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-web";

    #[test]
    fn both_forms_of_a_list_say_the_same() {
        for text in [
            format!("web {PATH}\n\n"),
            format!("  web\t{PATH}"),
            format!("{{\"web\": \"{PATH}\"}}"),
        ] {
            let systems = parse(&text, "x").ok();
            let found = systems.and_then(|s| Some(s.values().next()?.toplevel.to_string()));
            assert_eq!(found.as_deref(), Some(PATH), "{text}");
        }
        for bad in ["web", "web /tmp/x", "../x /nix/store/x", "{\"web\": 1}"] {
            assert!(parse(bad, "x").is_err(), "{bad}");
        }
    }
}
