//! `recipients`: who opens the secrets of a fleet, by its signed roster.

use std::collections::BTreeSet;
use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};
use jiff::Timestamp;
use nixmox_cli::{Exit, Failure};
use nixmox_keyring::pins;
use nixmox_secrets::trust::{Rostered, TrustError, change_roster};
use nixmox_secrets::{Error, Fleet, Options};
use nixmox_signing::{FleetId, PublicKey, Roster};
use nixmox_sops::Recipient;
use rand_core::OsRng;
use serde_json::json;

use super::change::tell;
use super::{print, print_json};
use crate::args::Write;
use crate::context::Context;
use crate::report::{self, Tense};
use crate::{git, signer};

mod knowledge;
mod list;
mod start;

pub(super) use start::{begin, roster_of};

/// What to do with the recipients.
#[derive(Subcommand, Debug)]
pub(crate) enum Recipients {
    /// List the admins, their keys, and what each opens
    List,
    /// Make a signed roster of the recipients of `.sops.yaml`, with you as its first admin
    ///
    /// From then on only the roster decides who opens what, `.sops.yaml` is written from it, and every change of it
    /// must be signed by an admin.
    Start(Start),
    /// Accept the roster of a fleet on this machine, after its id was compared with what an admin says
    Accept {
        /// The fleet's id: 32 hexadecimal digits.
        fleet: FleetId,
    },
    /// Forget what this machine knows of a fleet's roster
    Forget {
        /// The fleet's id.
        fleet: FleetId,
    },
    /// Add an admin, or more keys of one, and seal everything to them
    Add(Add),
    /// Remove an admin, seal everything with new data keys, and list what he knows
    Remove {
        /// The admin.
        name: String,
        #[command(flatten)]
        write: Write,
    },
    /// Make, change or remove a group of admins, who open the keys of some hosts and nothing else
    Group(GroupArgs),
}

/// Arguments of `recipients start`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Start {
    /// Your name as an admin.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) key: SigningKey,
    /// The name of another recipient of `.sops.yaml`; may be given several times.
    #[arg(long = "admin", value_name = "NAME=AGE")]
    pub(crate) admins: Vec<String>,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Which key signs.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct SigningKey {
    /// Sign with this SSH key, a private or a public one; without it with a customary one of ~/.ssh.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key: Option<PathBuf>,
    /// Sign with the first key of your agent.
    #[arg(long, conflicts_with = "key")]
    pub(crate) agent: bool,
}

/// Arguments of `recipients add`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Add {
    /// The admin's name.
    pub(crate) name: String,
    /// His age recipients.
    #[arg(required_unless_present = "ssh")]
    pub(crate) age: Vec<String>,
    /// An SSH key that he signs with: a public key file, or the key itself; may be given several times.
    #[arg(long, value_name = "KEY")]
    pub(crate) ssh: Vec<String>,
    /// A group that he belongs to, so that he opens what it names and nothing else; may be given several times.
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Arguments of `recipients group`.
#[derive(ClapArgs, Debug)]
pub(crate) struct GroupArgs {
    /// The group of admins.
    pub(crate) name: String,
    /// The hosts, or groups of hosts, whose private keys its members open: all of them, those before are dropped.
    #[arg(long, value_name = "HOST-OR-GROUP", value_delimiter = ',')]
    pub(crate) opens: Vec<String>,
    /// A member; may be given several times: all of them, those before are dropped.
    #[arg(long, value_name = "NAME")]
    pub(crate) member: Vec<String>,
    /// Remove the group: its members open everything again.
    #[arg(long, conflicts_with_all = ["opens", "member"])]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Does it.
pub(crate) fn run(context: &Context, what: &Recipients) -> Result<Exit, Failure> {
    match what {
        Recipients::List => list::list(context),
        Recipients::Start(start) => {
            let first = |fleet: &Fleet, key: &PublicKey| start::first(context, start, fleet, key);
            begin(context, (&start.key, start.write), &first)
        }
        Recipients::Accept { fleet } => accept(context, *fleet),
        Recipients::Forget { fleet } => forget(*fleet),
        Recipients::Add(args) => {
            let (age, ssh) = (ages(&args.age)?, ssh_keys(&args.ssh)?);
            amend(context, args.write, &mut |_, roster| {
                add(roster, args, (&age, &ssh));
                Ok(())
            })
        }
        Recipients::Remove { name, write } => remove(context, name, *write),
        Recipients::Group(args) => {
            amend(context, args.write, &mut |fleet, roster| group(fleet, roster, args))
        }
    }
}

/// Changes the roster, seals everything to it, and reports.
fn amend(
    context: &Context,
    write: Write,
    change: &mut dyn FnMut(&Fleet, &mut Roster) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let made = amended(context, write, change)?;
    told(context, &made, (write.dry_run, None))?;
    Ok(Exit::Ok)
}

/// Changes the roster and seals everything to it.
pub(super) fn amended(
    context: &Context,
    write: Write,
    change: &mut dyn FnMut(&Fleet, &mut Roster) -> Result<(), Failure>,
) -> Result<Rostered, Failure> {
    let trusted = context.trusted();
    let signers = trusted.chain.as_ref().map(|chain| chain.current().signers());
    let named = trusted.pin.as_ref().and_then(|pin| pin.signing_key.as_deref());
    let signer = signers.and_then(|signers| signer::find(&signers, named));
    let options = context.options(write.trust, write.evaluate);
    let options = Options { signer: signer.as_deref(), ..options };
    let mut carried = Carried::default();
    let made = change_roster(
        &context.root,
        (options, write.dry_run),
        &mut |fleet, roster| carried.keep(change(fleet, roster)),
        &mut OsRng,
        Timestamp::now(),
    );
    let made = made.map_err(|error| carried.explain(context, error))?;
    if !write.dry_run {
        git::intent_to_add(&context.root, &made.outcome.written);
        context.remember(Some(&made.chain));
    }
    Ok(made)
}

/// A failure of this program on its way through the library, which knows only its own errors.
#[derive(Default)]
struct Carried(Option<Failure>);

impl Carried {
    /// Keeps the failure, and says to the library that there is no roster.
    fn keep<T>(&mut self, done: Result<T, Failure>) -> Result<T, Error> {
        done.map_err(|failure| {
            self.0 = Some(failure);
            Error::Trust(TrustError::NoRoster)
        })
    }

    fn explain(self, context: &Context, error: Error) -> Failure {
        self.0.unwrap_or_else(|| context.explain(error))
    }
}

/// Reports what was sealed, and what somebody knows who was removed.
fn told(
    context: &Context,
    made: &Rostered,
    (dry, known): (bool, Option<&knowledge::Knowledge>),
) -> Result<(), Failure> {
    let Some(report) = &made.outcome.report else { return Ok(()) };
    if context.json {
        let mut value = report::as_json(report);
        if let Some(fields) = value.as_object_mut() {
            fields.insert("fleet".to_owned(), json!(made.chain.fleet().to_string()));
            fields.insert("generation".to_owned(), json!(made.chain.current().generation()));
            if let Some(known) = known {
                fields.insert("known".to_owned(), known.as_json());
            }
        }
        return print_json(&value);
    }
    tell(context, report, if dry { Tense::Would } else { Tense::Done })?;
    known.map_or(Ok(()), |known| print(|out| known.text(out)))
}

fn accept(context: &Context, fleet: FleetId) -> Result<Exit, Failure> {
    let chain = nixmox_secrets::trust::read(&context.root).map_err(|e| context.explain(e))?;
    let Some(chain) = chain else {
        return Err(context.explain(Error::Trust(TrustError::NoRoster)));
    };
    if chain.fleet() != fleet {
        let found = format!("the roster here is that of another fleet: {}", chain.fleet());
        return Err(Failure::new(Exit::Failure, found)
            .hint("ask an admin for the id; who changed the roster here does not have it"));
    }
    if let Some(pin) = &context.trusted().pin {
        nixmox_secrets::trust::admit(Some(&chain), pin.pinned)
            .map_err(|error| context.explain(Error::Trust(error)))?;
    }
    pins::remember(&context.root, &chain, None)
        .map_err(|e| Failure::new(Exit::Write, "the roster could not be noted down").because(e))?;
    let names: Vec<String> = chain.current().admins.keys().cloned().collect();
    print(|out| {
        writeln!(
            out,
            "accepted roster {} of fleet {fleet}: {}",
            chain.current().generation(),
            names.join(", ")
        )
    })?;
    Ok(Exit::Ok)
}

fn forget(fleet: FleetId) -> Result<Exit, Failure> {
    let known = pins::forget(fleet)
        .map_err(|e| Failure::new(Exit::Write, "what is known could not be removed").because(e))?;
    if !known {
        return Err(Failure::new(Exit::NoFile, format!("fleet {fleet} is not known here")));
    }
    print(|out| writeln!(out, "forgot fleet {fleet}"))?;
    Ok(Exit::Ok)
}

fn ages(given: &[String]) -> Result<BTreeSet<String>, Failure> {
    let parse = |text: &String| {
        Recipient::parse(text).map(|recipient| recipient.to_string()).map_err(|error| {
            Failure::new(Exit::Usage, format!("`{text}` is not an age recipient")).because(error)
        })
    };
    given.iter().map(parse).collect()
}

/// Takes each key as it is, or from the file that the text names.
fn ssh_keys(given: &[String]) -> Result<BTreeSet<String>, Failure> {
    let parse = |text: &String| {
        let fail = |error: Box<dyn std::error::Error + Send + Sync>| {
            Failure::new(Exit::Usage, format!("`{text}` is not a public SSH key")).because(error)
        };
        let key = match PublicKey::parse(text) {
            Ok(key) => key,
            Err(_) => {
                let file = std::fs::read_to_string(text).map_err(|error| fail(error.into()))?;
                PublicKey::parse(&file).map_err(|error| fail(error.into()))?
            }
        };
        Ok(key.as_str().to_owned())
    };
    given.iter().map(parse).collect()
}

fn add(roster: &mut Roster, args: &Add, (age, ssh): (&BTreeSet<String>, &BTreeSet<String>)) {
    let admin = roster.admins.entry(args.name.clone()).or_default();
    admin.age.extend(age.iter().cloned());
    admin.ssh.extend(ssh.iter().cloned());
    for group in &args.group {
        roster.groups.entry(group.clone()).or_default().members.insert(args.name.clone());
    }
}

fn remove(context: &Context, name: &str, write: Write) -> Result<Exit, Failure> {
    let mut known = None;
    let made = amended(context, write, &mut |fleet, roster| {
        known = Some(knowledge::Knowledge::of(context, (fleet, write.evaluate), (roster, name))?);
        roster.admins.remove(name);
        roster.groups.values_mut().for_each(|group| {
            group.members.remove(name);
        });
        Ok(())
    })?;
    told(context, &made, (write.dry_run, known.as_ref()))?;
    Ok(Exit::Ok)
}

fn group(fleet: &Fleet, roster: &mut Roster, args: &GroupArgs) -> Result<(), Failure> {
    if args.remove {
        return match roster.groups.remove(&args.name) {
            Some(_) => Ok(()),
            None => {
                let message = format!("there is no group of admins `{}`", args.name);
                Err(Failure::new(Exit::BadPath, message))
            }
        };
    }
    if let Some(unknown) = args.opens.iter().find(|name| !fleet.topology().contains(name)) {
        let message = format!("`{unknown}` is neither a host nor a group of hosts");
        return Err(Failure::new(Exit::BadPath, message));
    }
    let group = roster.groups.entry(args.name.clone()).or_default();
    if !args.opens.is_empty() {
        group.opens = args.opens.iter().cloned().collect();
    }
    if !args.member.is_empty() {
        group.members = args.member.iter().cloned().collect();
    }
    Ok(())
}
