//! `generate --from-manifest`, and what `consumers --manifest` compares with.

use std::io::Write as _;

use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_manifest::secret::{Secret, implied};
use nixmox_manifest::{Facts, Loaded, Severity, check, render};
use nixmox_secrets::needed::{Needed, manifest, needed};
use nixmox_secrets::{Fleet, master};

use crate::args::Write;
use crate::commands::change::once;
use crate::context::Context;

/// Declares what the manifest implies and nothing supplies; what cannot be made is told.
pub(crate) fn run(context: &Context, write: Write) -> Result<Exit, Failure> {
    let mut rest = Vec::new();
    let exit = once(context, write, &mut |draft| {
        let explain = |error| context.explain(error);
        let implied = of_manifest(context, draft.fleet)?;
        let real_nix = context.options(write.trust, write.evaluate).real_nix;
        let tree = master::evaluate(draft.form, draft.text, real_nix).map_err(explain)?;
        let nodes = master::nodes(&tree).map_err(explain)?;
        let found = needed(draft.fleet.topology(), &nodes, &implied).map_err(explain)?;
        rest.clone_from(&found.by_hand);
        found.write(draft.form, draft.text).map_err(explain)
    })?;
    tell_rest(&Needed { by_hand: rest, ..Needed::default() });
    Ok(exit)
}

/// Says which secrets somebody has to set.
fn tell_rest(needed: &Needed) {
    let mut err = anstream::stderr();
    for (host, path) in &needed.by_hand {
        let (name, path) = (path.join("/"), format!("{host}.{}", path.join(".")));
        // There is nobody left to tell when standard error is gone.
        let _ = writeln!(
            err,
            "note: {} comes from elsewhere; set it with: nixmox-secrets set {}",
            escape(&name),
            escape(&path)
        );
    }
}

/// Lists the secrets that the fleet's manifest implies; a manifest with errors implies nothing reliable.
pub(crate) fn of_manifest(context: &Context, fleet: &Fleet) -> Result<Vec<Secret>, Failure> {
    let found = manifest(fleet).map_err(|error| context.explain(error))?;
    let (path, loaded) = found.ok_or_else(|| {
        Failure::new(Exit::NoFile, "this fleet has no service manifest")
            .hint("it is called service-manifest.nix, .toml, .yaml or .json, here or in nixos/")
    })?;
    let asked =
        loaded.needs_nix().then(|| nixmox_instantiate::manifest(&context.root, &path)).flatten();
    let loaded = asked.as_ref().unwrap_or(&loaded);
    let report = check(loaded, &Facts::default());
    match loaded.manifest() {
        Some(manifest) if report.passes(false) => Ok(implied(manifest)),
        _ => Err(wrong(loaded, path.as_str())),
    }
}

fn wrong(loaded: &Loaded, path: &str) -> Failure {
    let mut report = check(loaded, &Facts::default());
    let message = format!("{path} has {}", plural(report.count(Severity::Error), "error"));
    report.findings.retain(|finding| finding.severity == Severity::Error);
    report.findings.truncate(5);
    let lines = render::short(&report, loaded.sources());
    let failure = Failure::new(Exit::Usage, message);
    let failure = lines.lines().fold(failure, |failure, line| failure.hint(line));
    failure.hint("see all of it: nixmox-manifest check")
}
