//! `recipients list`.

use std::collections::BTreeSet;

use nixmox_cli::terminal::{Table, escape};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::Fleet;
use nixmox_signing::{PublicKey, Roster};
use serde_json::json;

use super::super::{print, print_json};
use crate::args::{Evaluate, Trust};
use crate::context::Context;

/// Lists the admins, their keys, and what each opens.
pub(super) fn list(context: &Context) -> Result<Exit, Failure> {
    let options = context.options(Trust::default(), Evaluate::default());
    let fleet =
        Fleet::open(&context.root, options.ask_nix).map_err(|error| context.explain(error))?;
    let Some(chain) = fleet.roster() else { return list_rules(context, &fleet) };
    let roster = chain.current();
    if context.json {
        let trusted = options.accept.roster.is_some();
        let roster: serde_json::Value =
            serde_json::from_slice(&roster.to_bytes()).unwrap_or_default();
        let fleet = chain.fleet().to_string();
        print_json(&json!({ "fleet": fleet, "accepted": trusted, "roster": roster }))?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["NAME", "OPENS", "AGE", "SIGNS WITH"]);
    for (name, admin) in &roster.admins {
        let keys = admin.ssh.iter().filter_map(|key| PublicKey::parse(key).ok());
        let prints: Vec<String> = keys.map(|key| key.fingerprint()).collect();
        let ages: Vec<&str> = admin.age.iter().map(String::as_str).collect();
        table.row([name.as_str(), &opens(roster, name), &ages.join(" "), &prints.join(" ")]);
    }
    print(|out| {
        table.write(out, None)?;
        let signs = if roster.delivery { "signs" } else { "does not sign" };
        let generation = roster.generation();
        writeln!(out, "\nfleet {}, roster {generation}; it {signs} what it delivers", chain.fleet())
    })?;
    Ok(Exit::Ok)
}

/// Says what an admin opens.
fn opens(roster: &Roster, name: &str) -> String {
    if roster.opens_all(name) {
        return "everything".to_owned();
    }
    let groups = roster.groups.values().filter(|group| group.members.contains(name));
    let opened: BTreeSet<&str> =
        groups.flat_map(|group| &group.opens).map(String::as_str).collect();
    if opened.is_empty() {
        return "nothing".to_owned();
    }
    format!("keys of {}", opened.into_iter().collect::<Vec<_>>().join(", "))
}

fn list_rules(context: &Context, fleet: &Fleet) -> Result<Exit, Failure> {
    let names = fleet.recipients().map_err(|error| context.explain(error))?;
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    if context.json {
        print_json(&json!({ "fleet": null, "recipients": names }))?;
        return Ok(Exit::Ok);
    }
    print(|out| {
        names.iter().try_for_each(|name| writeln!(out, "{}", escape(name)))?;
        writeln!(
            out,
            "\nby .sops.yaml, which anybody can change who can commit; to have a signed roster instead:"
        )?;
        writeln!(out, "  nixmox-secrets recipients start NAME")
    })?;
    Ok(Exit::Ok)
}
