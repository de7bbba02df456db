//! What a host can learn from what it is given.

use std::collections::BTreeSet;

use crate::error::GenerateError;
use crate::kind::Kind;
use crate::place::{Item, Place};
use crate::resolve::{Scene, Target};
use crate::settle::Request;

/// What a host can learn beyond what is written for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exposed {
    /// Values that are made: those that it is given, and those that can be read out of them.
    pub items: BTreeSet<Item>,
    /// Values that are written in the master and stand in texts that are made, by the path that names them.
    pub written: BTreeSet<Place>,
}

/// Finds what a host can learn from the made values that it is given.
///
/// A text shows what was put into it, and a command may print what it read; a hash or a certificate does not show
/// what it was made from.
///
/// # Errors
///
/// [`GenerateError`] when a reference leads nowhere.
pub fn exposed(request: Request<'_>, host: &str) -> Result<Exposed, GenerateError> {
    let Request { nodes, declared, origins, .. } = request;
    let scene = Scene { nodes, declared, origins };
    let mut found = Exposed::default();
    let delivered = |path: &[String]| !path.iter().any(|name| name.starts_with('_'));
    let given = origins
        .parts(declared, host)
        .filter(|(path, item, part)| delivered(path) && !is_public(request, item, part));
    let mut open: Vec<Item> = given.map(|(_, item, _)| item).collect();
    while let Some(item) = open.pop() {
        let Some(declaration) = declared.get(&item.place) else { continue };
        if !found.items.insert(item.clone()) {
            continue;
        }
        if !matches!(declaration.kind, Kind::Template { .. } | Kind::Command(_)) {
            continue;
        }
        let targets = scene.targets(&item, &declaration.kind)?;
        for (target, (_, reference)) in targets.into_iter().zip(declaration.kind.references()) {
            match target {
                Target::Made(made, below) => {
                    let part = below.first().map(String::as_str).unwrap_or_default();
                    if !is_public(request, &made, part) {
                        open.push(made);
                    }
                }
                Target::Written(_) => {
                    let (level, path) = (reference.level.clone(), reference.path.clone());
                    found.written.insert(Place { level, path });
                }
            }
        }
    }
    Ok(found)
}

fn is_public(request: Request<'_>, item: &Item, part: &str) -> bool {
    let declaration = request.declared.get(&item.place);
    declaration.is_some_and(|declaration| declaration.parts().contains(&(part, true)))
}
