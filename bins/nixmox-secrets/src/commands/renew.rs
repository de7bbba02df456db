//! Commands that seal anew what the master says already: `seal`, `updatekeys`, `rotate`.

use std::io::Write as _;

use clap::Args;
use jiff::Timestamp;
use nixmox_cli::prompt::{self, PromptError};
use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::{Error, KeyStep, Options, Renewal, Renewed, preview, renew};
use rand_core::OsRng;

use super::change::{tell, tell_recovery};
use crate::args::{Evaluate, Trust, Write};
use crate::context::Context;
use crate::git;
use crate::report::Tense;

/// Arguments of `seal`.
#[derive(Args, Debug)]
pub(crate) struct Seal {
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Arguments of `updatekeys`.
#[derive(Args, Debug)]
pub(crate) struct UpdateKeys {
    /// Do not ask; for scripts that know who is in `.sops.yaml`.
    #[arg(long, short)]
    pub(crate) yes: bool,
    /// Show what would change, and write nothing.
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
}

/// Arguments of `rotate`.
#[derive(Args, Debug)]
pub(crate) struct Rotate {
    /// Only the files of these hosts; without any, everything.
    pub(crate) host: Vec<String>,
    /// The master, alone or beside the hosts that are named.
    #[arg(long)]
    pub(crate) master: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Arguments of `rotate-host`.
#[derive(Args, Debug)]
pub(crate) struct RotateHost {
    /// The host.
    pub(crate) host: String,
    /// The machine has its new key: seal to that alone.
    #[arg(long, conflicts_with = "abort")]
    pub(crate) finish: bool,
    /// Keep the old key and drop the new one.
    #[arg(long)]
    pub(crate) abort: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Carries out what `status` shows.
pub(crate) fn seal(context: &Context, args: &Seal) -> Result<Exit, Failure> {
    let options = context.options(args.write.trust, args.write.evaluate);
    carry_out(context, options, &Renewal::default(), args.write.dry_run)
}

/// Gives new data keys.
pub(crate) fn rotate(context: &Context, args: &Rotate) -> Result<Exit, Failure> {
    let renewal = match (args.host.is_empty(), args.master) {
        (true, false) => Renewal::everything(),
        (true, true) => Renewal { master: true, ..Renewal::default() },
        (false, master) => {
            let hosts = Renewed::Named(args.host.iter().cloned().collect());
            Renewal { master, hosts, ..Renewal::default() }
        }
    };
    let options = context.options(args.write.trust, args.write.evaluate);
    carry_out(context, options, &renewal, args.write.dry_run)
}

/// Takes a step on the way from a host's key to another.
pub(crate) fn rotate_host(context: &Context, args: &RotateHost) -> Result<Exit, Failure> {
    let step = match (args.finish, args.abort) {
        (true, _) => KeyStep::Finish,
        (_, true) => KeyStep::Abort,
        _ => KeyStep::Begin,
    };
    let keys = [(args.host.clone(), step)].into();
    let renewal = Renewal { keys, ..Renewal::default() };
    let options = context.options(args.write.trust, args.write.evaluate);
    carry_out(context, options, &renewal, args.write.dry_run)
}

/// Brings everything to the recipients of `.sops.yaml`, which a person confirms when they are others than before.
pub(crate) fn updatekeys(context: &Context, args: &UpdateKeys) -> Result<Exit, Failure> {
    let trust = Trust { accept_admins: args.yes, ..Trust::default() };
    let accepted = context.options(Trust { accept_admins: true, ..trust }, args.evaluate);
    if args.dry_run || args.yes {
        return carry_out(context, accepted, &Renewal::default(), args.dry_run);
    }
    let options = context.options(trust, args.evaluate);
    let nothing = Renewal::default();
    match renew(&context.root, options, &nothing, &mut OsRng, Timestamp::now()) {
        Err(Error::AdminsChanged { added, removed }) => {
            let mut err = anstream::stderr();
            let gain = added.iter().map(|admin| format!("gains access: {}", escape(admin)));
            let lose = removed.iter().map(|admin| format!("loses access: {}", escape(admin)));
            // There is nobody left to tell when standard error is gone.
            gain.chain(lose).try_for_each(|line| writeln!(err, "{line}")).ok();
            confirmed()?;
            carry_out(context, accepted, &nothing, false)
        }
        Err(error) => Err(context.explain(error)),
        Ok(outcome) => done(context, &outcome),
    }
}

/// Asks the person at the terminal; without one the answer is no.
fn confirmed() -> Result<(), Failure> {
    match prompt::confirm("Seal everything anew, for exactly these admins?") {
        Ok(true) => Ok(()),
        Ok(false) => Err(Failure::new(Exit::Failure, "nothing was changed")),
        Err(error @ PromptError::Ended) => Err(Failure::from_error(Exit::Interrupted, error)),
        Err(error) => {
            Err(Failure::new(Exit::Failure, "nobody vouches for the recipients in .sops.yaml")
                .because(error)
                .hint("without a terminal, repeat with --yes when that is what you want"))
        }
    }
}

/// Does what was asked for and reports it; or, in a dry run, says what it would do.
pub(crate) fn carry_out(
    context: &Context,
    options: Options<'_>,
    renewal: &Renewal,
    dry_run: bool,
) -> Result<Exit, Failure> {
    let now = Timestamp::now();
    let explain = |error| context.explain(error);
    if dry_run {
        let plan = preview(&context.root, options, renewal, &mut OsRng, now).map_err(explain)?;
        tell(context, plan.report(), Tense::Would)?;
        return Ok(Exit::Ok);
    }
    let outcome = renew(&context.root, options, renewal, &mut OsRng, now).map_err(explain)?;
    done(context, &outcome)
}

/// Tells git and the person what was done.
fn done(context: &Context, outcome: &nixmox_secrets::Outcome) -> Result<Exit, Failure> {
    tell_recovery(outcome);
    git::intent_to_add(&context.root, &outcome.written);
    if let Some(report) = &outcome.report {
        tell(context, report, Tense::Done)?;
    }
    Ok(Exit::Ok)
}
