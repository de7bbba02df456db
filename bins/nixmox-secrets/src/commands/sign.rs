//! `sign`: turns signing of what hosts are delivered on and off.

use std::collections::BTreeMap;

use clap::Subcommand;
use nixmox_cli::terminal::plural;
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::trust::{TrustError, verify_fleet};
use nixmox_secrets::{Error, Fleet};
use nixmox_signing::{AllowedSigners, PublicKey};
use serde_json::json;

use super::change::tell;
use super::recipients::{SigningKey, amended, begin, roster_of};
use super::{print, print_json};
use crate::args::{Evaluate, Trust, Write};
use crate::context::Context;
use crate::report::Tense;

/// What to do with signatures.
#[derive(Subcommand, Debug)]
pub(crate) enum Sign {
    /// Sign what every host is delivered, from now on; makes a roster when there is none
    Enable {
        #[command(flatten)]
        key: SigningKey,
        /// Your name as an admin, when a roster has to be made; without it your user name.
        #[arg(long)]
        name: Option<String>,
        #[command(flatten)]
        write: Write,
    },
    /// Show whether the fleet signs, with what you would sign, and which hosts' files are signed
    Status,
    /// Stop signing, and remove the signatures
    Disable {
        #[command(flatten)]
        write: Write,
    },
    /// Print the admins' keys as OpenSSH's `allowed_signers`, for CI and for machines
    Signers,
}

/// Does it.
pub(crate) fn run(context: &Context, what: &Sign) -> Result<Exit, Failure> {
    match what {
        Sign::Enable { key, name, write } => enable(context, (key, name.as_deref()), *write),
        Sign::Disable { write } => set(context, *write, false),
        Sign::Status => status(context),
        Sign::Signers => signers(context),
    }
}

fn enable(
    context: &Context,
    (key, name): (&SigningKey, Option<&str>),
    write: Write,
) -> Result<Exit, Failure> {
    if context.trusted().chain.is_some() {
        return set(context, write, true);
    }
    let user = std::env::var("USER").unwrap_or_default();
    let name = name.unwrap_or(if nixmox_signing::is_name(&user) { &user } else { "admin" });
    let first = |fleet: &Fleet, key: &PublicKey| {
        let mut roster = roster_of(context, (name, BTreeMap::new()), fleet, key)?;
        roster.delivery = true;
        Ok(roster)
    };
    begin(context, (key, write), &first)
}

fn set(context: &Context, write: Write, delivery: bool) -> Result<Exit, Failure> {
    let signs = |chain: &nixmox_signing::Chain| chain.current().delivery;
    if context.trusted().chain.as_ref().is_some_and(|chain| signs(chain) == delivery) {
        let word = if delivery { "signs" } else { "does not sign" };
        print(|out| writeln!(out, "this fleet {word} what it delivers already"))?;
        return Ok(Exit::Ok);
    }
    let made = amended(context, write, &mut |_, roster| {
        roster.delivery = delivery;
        Ok(())
    })?;
    let tense = if write.dry_run { Tense::Would } else { Tense::Done };
    made.outcome.report.map_or(Ok(()), |report| tell(context, &report, tense))?;
    Ok(Exit::Ok)
}

fn status(context: &Context) -> Result<Exit, Failure> {
    let options = context.options(Trust::default(), Evaluate::default());
    let fleet =
        Fleet::open(&context.root, options.ask_nix).map_err(|error| context.explain(error))?;
    let Some(chain) = fleet.roster().filter(|chain| chain.current().delivery) else {
        if context.json {
            print_json(&json!({ "signs": false }))?;
        } else {
            print(|out| {
                writeln!(
                    out,
                    "this fleet does not sign what it delivers; to turn it on: nixmox-secrets sign enable"
                )
            })?;
        }
        return Ok(Exit::Ok);
    };
    let judged = verify_fleet(&fleet, None, options.accept.roster);
    let judged = judged.map_err(|error| context.explain(error))?;
    let signed = judged.files.values().filter(|(_, found)| found.is_ok()).count();
    let own = options.signer.map(|signer| signer.public());
    let name = own.and_then(|key| chain.current().signers().get(key).cloned());
    let print_of = own.map(PublicKey::fingerprint);
    if context.json {
        print_json(&json!({
            "signs": true, "as": name, "key": print_of,
            "signed": signed, "files": judged.files.len(),
        }))?;
        return Ok(Exit::Ok);
    }
    print(|out| {
        match (name, print_of) {
            (Some(name), Some(print)) => writeln!(out, "you sign as {name} with {print}")?,
            _ => writeln!(out, "you have no key that signs here")?,
        }
        let files = plural(judged.files.len(), "file");
        writeln!(out, "{signed} of {files} signed as they are")
    })?;
    Ok(Exit::Ok)
}

fn signers(context: &Context) -> Result<Exit, Failure> {
    let trusted = context.trusted();
    let Some(chain) = &trusted.chain else {
        return Err(context.explain(Error::Trust(TrustError::NoRoster)));
    };
    if let Some(pin) = &trusted.pin {
        nixmox_secrets::trust::admit(Some(chain), pin.pinned)
            .map_err(|error| context.explain(Error::Trust(error)))?;
    } else {
        return Err(context.explain(Error::Trust(TrustError::unpinned(chain))));
    }
    let list = AllowedSigners::new(&chain.current().signers());
    print(|out| write!(out, "{list}"))?;
    Ok(Exit::Ok)
}
