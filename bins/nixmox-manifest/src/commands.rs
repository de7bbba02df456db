//! One module a family of commands; each is: arguments, a library call, a report.

mod certificate;
mod check;
mod diff;
mod graph;
mod outputs;
mod plan;

use std::path::Path;

use clap::CommandFactory;
use nixmox_cli::terminal::plural;
use nixmox_cli::{Exit, Failure, pages};
use nixmox_manifest::{Facts, Loaded, Manifest, Severity, render, schema};

use crate::args::{Args, Command};
use crate::files::Found;
use crate::print::{print, print_json};

/// A complete manifest without a finding.
const EXAMPLE: &str = include_str!("../../../fixtures/manifest/example.nix");

/// Runs the command that the arguments name.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Example => print(EXAMPLE)?,
        Command::Check(check) => return check::check(args, check),
        Command::Rules { code, markdown } => check::rules(args, code.as_deref(), *markdown)?,
        Command::Graph { format, .. } => graph::draw(args, *format)?,
        Command::Why { from, to, .. } => return graph::why(args, from, to),
        Command::Plan { .. } => plan::show(args)?,
        Command::Diff { old, new } => diff::show(args, old, new.as_deref())?,
        Command::Outputs { host, .. } => outputs::json(args, host.as_deref())?,
        Command::Secrets { .. } => outputs::secrets(args)?,
        Command::Inventory { .. } => outputs::inventory(args)?,
        Command::Schema { outputs: true } => print_json(&schema::outputs_schema())?,
        Command::Schema { outputs: false } => print_json(&schema::manifest_schema())?,
        Command::Completions { shell } => {
            let script = pages::completions(*shell, Args::command());
            print(&String::from_utf8_lossy(&script))?;
        }
        Command::Man { dir } => man(dir.as_deref())?,
    }
    Ok(Exit::Ok)
}

fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let fail = |e| Failure::new(Exit::Write, "cannot write manual pages").because(e);
    match dir {
        Some(dir) => pages::write(dir, Args::command()).map_err(fail),
        None => print(&String::from_utf8_lossy(&pages::manual(Args::command()).map_err(fail)?)),
    }
}

/// Loads the manifest that the arguments name.
fn load(args: &Args) -> Result<Loaded, Failure> {
    Found::new(args)?.load(args.nix)
}

/// Returns the manifest of what was loaded, if nothing in it is an error: what is made of a wrong one is wrong.
fn sound(loaded: &Loaded) -> Result<&Manifest, Failure> {
    let report = nixmox_manifest::check(loaded, &Facts::default());
    let errors = report.count(Severity::Error);
    match loaded.manifest() {
        Some(manifest) if errors == 0 => Ok(manifest),
        _ => {
            let first = report.findings.iter().take(5).filter(|f| f.severity == Severity::Error);
            let message = format!("the manifest has {}", plural(errors, "error"));
            let failure = Failure::new(Exit::Usage, message);
            let only = |finding: &nixmox_manifest::Finding| {
                let report = nixmox_manifest::Report { findings: vec![finding.clone()] };
                render::short(&report, loaded.sources()).trim_end().to_owned()
            };
            let failure = first.fold(failure, |failure, finding| failure.hint(only(finding)));
            Err(failure.hint("see all of it: nixmox-manifest check"))
        }
    }
}
