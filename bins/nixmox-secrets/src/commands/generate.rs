//! `generate`: what is declared, and making it anew.

pub(crate) mod needed;

use std::collections::BTreeSet;

use clap::Args;
use jiff::Timestamp;
use nixmox_cli::terminal::{Table, escape};
use nixmox_cli::{Exit, Failure};
use nixmox_generate::{DeclareError, GenerateError, SandboxError};
use nixmox_secrets::{Generation, Listed, Options, Plan, Regenerate, Request, master, open, view};
use rand_core::OsRng;
use serde_json::json;

use super::change::tell;
use super::{print, print_json};
use crate::args;
use crate::context::Context;
use crate::git;
use crate::report::Tense;

/// Arguments of `generate`.
#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// Make these anew: HOST-OR-GROUP.NAME, or a host or group for all that it declares.
    #[arg(long, value_name = "PATH", num_args = 1.., conflicts_with = "due")]
    pub(crate) regenerate: Vec<String>,
    /// Make everything anew that is older than its declaration allows, and certificates that end soon.
    #[arg(long)]
    pub(crate) due: bool,
    /// Make what is declared and not there yet; every command that seals does so too.
    #[arg(long, conflicts_with_all = ["due", "regenerate"])]
    pub(crate) missing: bool,
    /// Declare what the service manifest implies and nothing supplies yet (passwords of databases, secrets of OIDC
    /// clients, …), and make it.
    #[arg(long, conflicts_with_all = ["due", "regenerate", "missing", "accept_generated"])]
    pub(crate) from_manifest: bool,
    /// Take the generated secrets as they lie in the repository, though nothing vouches for them.
    #[arg(long)]
    pub(crate) accept_generated: bool,
    #[command(flatten)]
    pub(crate) write: args::Write,
}

/// Lists what is declared, or makes what is asked for anew.
pub(crate) fn run(context: &Context, args: &Generate) -> Result<Exit, Failure> {
    if args.from_manifest {
        return needed::run(context, args.write);
    }
    let again = match args.regenerate.as_slice() {
        [] if args.due => Regenerate::Due,
        [] => Regenerate::Nothing,
        paths => Regenerate::Paths(paths.iter().cloned().collect::<BTreeSet<_>>()),
    };
    let options = context.options(args.write.trust, args.write.evaluate);
    let generation =
        Generation { again: &again, accept: args.accept_generated, ..options.generation };
    let options = Options { generation, ..options };
    let acts = args.missing || args.accept_generated || again != Regenerate::Nothing;
    match (acts, args.write.dry_run) {
        (false, _) => list(context, &options),
        (true, true) => preview(context, &options),
        (true, false) => make(context, options),
    }
}

fn make(context: &Context, options: Options<'_>) -> Result<Exit, Failure> {
    let outcome = nixmox_secrets::regenerate(&context.root, options, &mut OsRng, Timestamp::now())
        .map_err(|error| context.explain(error))?;
    super::change::tell_recovery(&outcome);
    git::intent_to_add(&context.root, &outcome.written);
    if let Some(report) = &outcome.report {
        tell(context, report, Tense::Done)?;
    }
    Ok(Exit::Ok)
}

fn preview(context: &Context, options: &Options<'_>) -> Result<Exit, Failure> {
    let (fleet, master) = open(&context.root, options).map_err(|error| context.explain(error))?;
    let request = Request {
        fleet: &fleet,
        master: &master,
        text: master.text(),
        identities: options.identities,
        accept: options.accept,
        real_nix: options.real_nix,
        signer: None,
        interaction: options.interaction,
        renewal: None,
        generation: options.generation,
    };
    let plan =
        Plan::new(request, &mut OsRng, Timestamp::now()).map_err(|error| context.explain(error))?;
    tell(context, plan.report(), Tense::Would)?;
    Ok(Exit::Ok)
}

fn list(context: &Context, options: &Options<'_>) -> Result<Exit, Failure> {
    let explain = |error| context.explain(error);
    let (fleet, file) = open(&context.root, options).map_err(explain)?;
    let tree = master::evaluate(file.form(), file.text(), options.real_nix).map_err(explain)?;
    let nodes = master::nodes(&tree).map_err(explain)?;
    let listed = view(&fleet, &file, nodes, options).map_err(explain)?.list();
    let now = Timestamp::now();
    if context.json {
        print_json(&json!(listed.iter().map(|one| as_json(one, now)).collect::<Vec<_>>()))?;
        return Ok(Exit::Ok);
    }
    if listed.is_empty() {
        print(|out| writeln!(out, "nothing is declared; see `_generate` in docs/generators.md"))?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["SECRET", "TYPE", "FOR", "MADE", "DUE"]);
    for one in &listed {
        let for_whom = one.item.host.as_deref().unwrap_or("all");
        let made = one.made.map_or_else(|| "not yet".to_owned(), day);
        let due = match one.due {
            Some(due) if due <= now => "now".to_owned(),
            Some(due) => day(due),
            None => "-".to_owned(),
        };
        let name = one.item.place.to_string();
        table.row([&*escape(&name), one.kind, for_whom, &made, &due]);
    }
    print(|out| table.write(out, None))?;
    Ok(Exit::Ok)
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

fn as_json(one: &Listed, now: Timestamp) -> serde_json::Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "secret": one.item.place.to_string(),
        "host": one.item.host,
        "type": one.kind,
        "made": time(one.made),
        "due": time(one.due),
        "is_due": one.due.is_some_and(|due| due <= now),
        "expires": time(one.expires),
        "public": one.public,
    })
}

/// Turns what is wrong with declarations into what a person is told.
pub(crate) fn undeclared(error: DeclareError) -> Failure {
    let hint = match &error {
        DeclareError::Company { .. } => {
            "write a = { _generate = { type = \"password\"; }; }; and nothing beside it"
        }
        DeclareError::InAList { .. } => "give it a name of its own instead",
        _ => "docs/generators.md has a table of the types and their parameters",
    };
    Failure::from_error(Exit::Usage, error).hint(hint)
}

/// Turns what kept a value from being made into what a person is told.
pub(crate) fn unmade(error: GenerateError) -> Failure {
    let hint = match &error {
        GenerateError::Cycle { .. } => "one of them has to be drawn instead of made from the next",
        GenerateError::NoSuchSecret { .. } => {
            "references begin with the host or group where the secret is written or declared: servers.dbPassword"
        }
        GenerateError::ForEachHost { .. } => {
            "name the host: w1.token; or set perHost = true here too"
        }
        GenerateError::Sandbox { source: SandboxError::Missing, .. } => {
            "install bubblewrap (`bwrap`): commands run in it and nowhere else"
        }
        GenerateError::Sandbox { .. } | GenerateError::Output { .. } => {
            "it sees /usr, /nix/store and its input on standard input, and no network"
        }
        GenerateError::NotText { .. } => "name one part of it: web.wg.public",
        _ => return Failure::from_error(Exit::Usage, error),
    };
    Failure::from_error(Exit::Usage, error).hint(hint)
}
