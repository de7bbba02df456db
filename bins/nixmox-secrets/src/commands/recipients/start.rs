//! The first roster: of the recipients that the fleet has now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use jiff::Timestamp;
use nixmox_cli::{Exit, Failure};
use nixmox_keyring::pins;
use nixmox_secrets::trust::{Rostered, start_roster};
use nixmox_secrets::{Fleet, Options};
use nixmox_signing::{Admin, PublicKey, Roster, Signer};
use rand_core::{OsRng, RngCore};

use super::super::print;
use super::{Carried, SigningKey, Start, told};
use crate::args::Write;
use crate::context::Context;
use crate::signer;

/// Returns the key that was named, or a customary one.
fn signing_key(key: &SigningKey) -> Result<Box<dyn Signer>, Failure> {
    let everybody = BTreeMap::new();
    if key.agent {
        return signer::agent(&everybody).ok_or_else(|| {
            Failure::new(Exit::NoIdentity, "no agent has a key that signs")
                .hint("`ssh-add -L` lists what your agent has")
        });
    }
    let own = || std::env::home_dir().map(|home| home.join(".ssh/id_ed25519"));
    let path = key.key.clone().or_else(own).unwrap_or_default();
    signer::load(&path).map_err(|error| {
        Failure::new(Exit::NoIdentity, format!("{} does not sign", path.display()))
            .because(error)
            .hint("name an SSH key with --key FILE, or use your agent with --agent; `ssh-keygen -t ed25519` makes a key")
    })
}

/// Makes the first roster, and pins it here.
pub(in crate::commands) fn begin(
    context: &Context,
    (key, write): (&SigningKey, Write),
    first: &dyn Fn(&Fleet, &PublicKey) -> Result<Roster, Failure>,
) -> Result<Exit, Failure> {
    let signer = signing_key(key)?;
    let options = context.options(write.trust, write.evaluate);
    let options = Options { signer: Some(&*signer), ..options };
    let mut carried = Carried::default();
    let made = start_roster(
        &context.root,
        (options, write.dry_run),
        &mut |fleet| carried.keep(first(fleet, signer.public())),
        &mut OsRng,
        Timestamp::now(),
    );
    let made = made.map_err(|error| carried.explain(context, error))?;
    if !write.dry_run {
        let named = key.key.as_deref().and_then(|path| std::path::absolute(path).ok());
        pin(context, &made, named.as_deref())?;
    }
    told(context, &made, (write.dry_run, None))?;
    if !context.json && !write.dry_run {
        let fleet = made.chain.fleet();
        print(|out| writeln!(out, "the fleet's id is {fleet}; tell it to the other admins"))?;
    }
    Ok(Exit::Ok)
}

fn pin(context: &Context, made: &Rostered, key: Option<&Path>) -> Result<(), Failure> {
    pins::remember(&context.root, &made.chain, key).map_err(|error| {
        Failure::new(Exit::Write, "the roster was made and could not be noted down here")
            .because(error)
            .hint(format!("repeat with: nixmox-secrets recipients accept {}", made.chain.fleet()))
    })
}

/// Makes a roster of the recipients of `.sops.yaml`: the user under his name, others under the names that were given.
pub(super) fn first(
    context: &Context,
    start: &Start,
    fleet: &Fleet,
    key: &PublicKey,
) -> Result<Roster, Failure> {
    let mut names = BTreeMap::new();
    for given in &start.admins {
        let wrong = || Failure::new(Exit::Usage, format!("`{given}` is not NAME=AGE"));
        let (name, age) = given.split_once('=').ok_or_else(wrong)?;
        names.insert(age.to_owned(), name.to_owned());
    }
    roster_of(context, (&start.name, names), fleet, key)
}

/// Makes a roster of the recipients that the fleet has now.
pub(in crate::commands) fn roster_of(
    context: &Context,
    (own, names): (&str, BTreeMap<String, String>),
    fleet: &Fleet,
    key: &PublicKey,
) -> Result<Roster, Failure> {
    let recipients = fleet.recipients().map_err(|error| context.explain(error))?;
    let recipients: BTreeSet<String> = recipients.iter().map(ToString::to_string).collect();
    if let Some(age) = names.keys().find(|age| !recipients.contains(*age)) {
        return Err(Failure::new(Exit::Usage, format!("`{age}` is no recipient of .sops.yaml")));
    }
    let mine = context.loaded().identities.recipients();
    let mine: BTreeSet<String> = mine.iter().map(ToString::to_string).collect();
    let own_by_key = recipients.iter().any(|age| mine.contains(age));
    if !own_by_key && recipients.len() > names.len().saturating_add(1) {
        return Err(Failure::new(Exit::Usage, "none of the recipients is known to be yours")
            .hint("name all others with --admin NAME=AGE"));
    }
    let mut admins: BTreeMap<String, Admin> = BTreeMap::new();
    for age in recipients {
        let name = match names.get(&age) {
            Some(name) => name.clone(),
            None if mine.contains(&age) || !own_by_key => own.to_owned(),
            None => format!("admin-{}", age.get(age.len().saturating_sub(6)..).unwrap_or("x")),
        };
        admins.entry(name).or_default().age.insert(age);
    }
    admins.entry(own.to_owned()).or_default().ssh.insert(key.as_str().to_owned());
    let mut seed = [0; 32];
    OsRng.fill_bytes(&mut seed);
    Ok(Roster::first(seed, admins))
}
