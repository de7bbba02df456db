//! What a person is told when the repository is not as it should be.

use std::error::Error;
use std::path::Path;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::SelectorError;
use nixmox_topology::NodeName;

use crate::Fleet;

/// So many hosts are named where somebody has mistyped one.
const MANY: usize = 8;

/// Explains that no fleet was found.
pub(crate) fn no_fleet(start: &Path) -> Failure {
    let message = format!("no fleet here or above: {}", start.display());
    Failure::new(Exit::NoFile, message)
        .hint("a fleet is a directory with `nodes/`, a service manifest, `flake.nix` or `.sops.yaml`; name one with --repo DIR")
        .hint("without one, --flake REF or --paths FILE says which hosts there are")
}

/// Explains what is wrong with the repository.
pub(crate) fn repository(error: nixmox_secrets::Error) -> Failure {
    Failure::from_error(Exit::Config, error)
}

/// Explains what is wrong with a selector.
pub(crate) fn selector(error: SelectorError, fleet: &Fleet) -> Failure {
    let name = match &error {
        SelectorError::Unknown { name } => Some(name.clone()),
        _ => None,
    };
    let failure = Failure::from_error(Exit::Usage, error);
    let topology = fleet.repository.as_ref().map(nixmox_secrets::Fleet::topology);
    let Some(name) = name else { return failure };
    let near = topology.map(|topology| topology.closest(&name)).unwrap_or_default();
    let near: Vec<String> = near.iter().map(ToString::to_string).collect();
    if !near.is_empty() {
        return failure.hint(format!("did you mean {}?", near.join(" or ")));
    }
    let known: Vec<&str> = fleet.labels.keys().map(NodeName::as_str).collect();
    match known.split_at_checked(MANY) {
        Some((_, more @ [_, ..])) => {
            let first: Vec<&str> = known.iter().copied().take(MANY).collect();
            failure.hint(format!("hosts are {} and {} more", first.join(", "), more.len()))
        }
        _ => failure.hint(format!("hosts are {}", known.join(", "))),
    }
}

/// Returns an error and what caused it, without what is said twice.
pub fn causes(error: &dyn Error) -> Vec<String> {
    let mut said = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if said.last() != Some(&text) {
            said.push(text);
        }
        next = error.source();
    }
    said
}
