//! Commands that change the secrets: `edit`, `set`, `unset`, `import`.

use std::io::Write as _;
use std::path::Path;

use jiff::Timestamp;
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::store::Recovery;
use nixmox_secrets::{Draft, Outcome, Plan, Report, Request, change, master, open};
use nixmox_tree::{SecretString, Value};
use rand_core::OsRng;

use super::input::{plain_tree, value};
use super::{print, print_json};
use crate::args::{PlainFormat, Set, Unset, Write};
use crate::context::Context;
use crate::report::{self, Tense};
use crate::{git, paths};

/// What a new master starts with.
pub(crate) const EXAMPLE: &str = "\
# The secrets of this fleet. What a group has, every host below it gets; a host's own values win.
#
#   nodes.routers.pppoePassword = \"…\";     every host of the group `routers`
#   nodes.router1.wifi.psk = \"…\";          one host
#   nodes.servers._salt = \"…\";             a leading underscore: for reference, never delivered
#
# Values may refer to each other: write `{ secrets, ... }: { … }` and use secrets.nodes.routers.pppoePassword.
{
  nodes = { };
}
";

/// Sets one secret.
pub(crate) fn set(context: &Context, args: &Set) -> Result<Exit, Failure> {
    let value = Value::String(value(args)?);
    once(context, args.write, &mut |draft| {
        let path = paths::parse(draft.fleet.topology(), &args.path)?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        master::set(draft.form, draft.text, &path, &value).map_err(|e| context.explain(e))
    })
}

/// Removes one secret.
pub(crate) fn unset(context: &Context, args: &Unset) -> Result<Exit, Failure> {
    once(context, args.write, &mut |draft| {
        let path = paths::parse(draft.fleet.topology(), &args.path)?;
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        master::unset(draft.form, draft.text, &path).map_err(|e| context.explain(e))
    })
}

/// Takes the values of a plain file into the master, each at its own path.
pub(crate) fn import(
    context: &Context,
    (file, format): (&Path, Option<PlainFormat>),
    write: Write,
) -> Result<Exit, Failure> {
    let tree = plain_tree(context, file, format)?;
    once(context, write, &mut |draft| {
        let mut text = draft.text.clone();
        let mut failed = None;
        tree.for_each_leaf(&mut |path, value| match master::set(draft.form, &text, path, value) {
            Ok(changed) => text = changed,
            Err(error) => failed = failed.take().or(Some(context.explain(error))),
        });
        failed.map_or(Ok(text), Err)
    })
}

/// Changes the text once; a problem with what came of it ends the command.
pub(crate) fn once(
    context: &Context,
    write: Write,
    author: &mut dyn FnMut(&Draft<'_>) -> Result<SecretString, Failure>,
) -> Result<Exit, Failure> {
    let mut failed = None;
    let result = apply(context, write, &mut |draft| {
        let written = match draft.problem {
            Some(problem) => Err(context.explain(problem)),
            None => author(&draft),
        };
        written.map_err(|failure| failed = Some(failure)).ok()
    });
    match (failed, result?) {
        (Some(failure), _) => Err(failure),
        // A script that sets what is set already has got what it wants.
        (None, Exit::Unchanged) => Ok(Exit::Ok),
        (None, exit) => Ok(exit),
    }
}

/// Lets `author` change the text, seals what changed, and reports it; or, in a dry run, what would.
pub(crate) fn apply(
    context: &Context,
    write: Write,
    author: &mut dyn FnMut(Draft<'_>) -> Option<SecretString>,
) -> Result<Exit, Failure> {
    if write.dry_run {
        return preview(context, write, author);
    }
    let example = SecretString::new(EXAMPLE);
    let options = context.options_with_fresh(write.trust, write.evaluate, &example);
    let outcome = change(&context.root, options, author, &mut OsRng, Timestamp::now())
        .map_err(|error| context.explain(error))?;
    tell_recovery(&outcome);
    let Some(report) = outcome.report else { return Ok(Exit::Usage) };
    git::intent_to_add(&context.root, &outcome.written);
    context.remember(None);
    tell(context, &report, Tense::Done)?;
    Ok(if report.is_unchanged() { Exit::Unchanged } else { Exit::Ok })
}

fn preview(
    context: &Context,
    write: Write,
    author: &mut dyn FnMut(Draft<'_>) -> Option<SecretString>,
) -> Result<Exit, Failure> {
    let example = SecretString::new(EXAMPLE);
    let options = context.options_with_fresh(write.trust, write.evaluate, &example);
    let (fleet, master) = open(&context.root, &options).map_err(|error| context.explain(error))?;
    let (form, text) = (master.form(), master.text());
    let Some(text) = author(Draft { fleet: &fleet, form, text, problem: None }) else {
        return Ok(Exit::Usage);
    };
    let request = Request {
        fleet: &fleet,
        master: &master,
        text: &text,
        identities: options.identities,
        accept: options.accept,
        real_nix: options.real_nix,
        interaction: options.interaction,
        renewal: None,
        generation: options.generation,
        // What is only looked at is not signed.
        signer: None,
    };
    let plan =
        Plan::new(request, &mut OsRng, Timestamp::now()).map_err(|error| context.explain(error))?;
    tell(context, plan.report(), Tense::Would)?;
    Ok(if plan.report().is_unchanged() { Exit::Unchanged } else { Exit::Ok })
}

/// Prints a report in the form that was asked for.
pub(crate) fn tell(context: &Context, report: &Report, tense: Tense) -> Result<(), Failure> {
    if context.json {
        return print_json(&report::as_json(report));
    }
    print(|out| report::text(out, report, tense))
}

/// Says on standard error what a crash of an earlier run had left.
pub(crate) fn tell_recovery(outcome: &Outcome) {
    let mut err = anstream::stderr();
    // There is nobody left to tell when standard error is gone.
    let _ = match &outcome.recovered {
        Recovery::Finished { paths } => {
            writeln!(
                err,
                "an earlier run had been interrupted; its {} files are now complete",
                paths.len()
            )
        }
        Recovery::Undone => {
            writeln!(
                err,
                "an earlier run had been interrupted before it changed anything; it was undone"
            )
        }
        Recovery::Nothing => Ok(()),
    };
}
