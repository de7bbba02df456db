//! What an admin could read, and so knows when he leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::readers::{Opened, Readable};
use nixmox_secrets::{Fleet, Master};
use nixmox_signing::Roster;
use nixmox_topology::NodeName;
use serde_json::{Value as Json, json};

use super::super::access::evaluated;
use crate::args::{Evaluate, Trust};
use crate::context::Context;
use crate::paths;

/// What an admin could read.
pub(super) struct Knowledge {
    name: String,
    /// Names of values by the level that they are written or declared for.
    values: BTreeMap<String, BTreeSet<String>>,
    /// Those among them that are generated.
    generated: BTreeMap<String, BTreeSet<String>>,
    /// Hosts whose private keys he could open.
    hosts: Vec<String>,
}

impl Knowledge {
    /// Works out what an admin could read by the roster that still has him.
    pub(super) fn of(
        context: &Context,
        (fleet, evaluate): (&Fleet, Evaluate),
        (roster, name): (&Roster, &str),
    ) -> Result<Self, Failure> {
        if !roster.admins.contains_key(name) {
            let names: Vec<&str> = roster.admins.keys().map(String::as_str).collect();
            let failure =
                Failure::new(Exit::BadPath, format!("`{name}` is no admin of the roster"));
            return Err(failure.hint(format!("these are: {}", names.join(", "))));
        }
        let explain = |error| context.explain(error);
        let options = context.options(Trust::default(), evaluate);
        let opened = Opened::new(&context.root, &options).map_err(explain)?;
        let access = opened.access(options.identities).map_err(explain)?;
        let file = Master::open(fleet, options.identities).map_err(explain)?;
        let (tree, view) = evaluated(context, evaluate, (fleet, &file))?;
        // What the roster gives him, and what names him in the files, whether or not that is the same.
        let hosts = fleet.topology().hosts().filter(|host| opens(fleet, (roster, name), host));
        let given = (roster.opens_all(name), hosts.cloned().collect());
        let mut known = Readable::of(fleet, &tree, given).map_err(explain)?;
        for recipient in roster.admins.get(name).iter().flat_map(|admin| &admin.age) {
            let named = Readable::by(fleet, &tree, &access, recipient).map_err(explain)?;
            known.hosts.extend(named.hosts);
            known.secrets.extend(named.secrets);
        }
        let (mut values, mut generated) = (BTreeMap::new(), BTreeMap::new());
        for path in &known.secrets {
            let (level, below) = match path.as_slice() {
                [nodes, level, below @ ..] if nodes == "nodes" => (level.as_str(), below),
                path => ("(beside nodes)", path),
            };
            let note = |map: &mut BTreeMap<String, BTreeSet<String>>| {
                map.entry(level.to_owned()).or_default().insert(paths::show(below));
            };
            note(&mut values);
            if view.source(level, below).is_some() {
                note(&mut generated);
            }
        }
        let hosts = known.hosts.iter().map(ToString::to_string).collect();
        Ok(Self { name: name.to_owned(), values, generated, hosts })
    }

    pub(super) fn as_json(&self) -> Json {
        json!({
            "admin": self.name,
            "values": self.values,
            "generated": self.generated,
            "hosts": self.hosts,
        })
    }

    pub(super) fn text(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let name = escape(&self.name);
        let count: usize = self.values.values().map(BTreeSet::len).sum();
        if count > 0 {
            writeln!(
                out,
                "\n{name} could read {}, which no sealing makes unread; change:",
                plural(count, "value")
            )?;
        }
        let width = self.values.keys().map(String::len).max().unwrap_or(0);
        for (level, names) in &self.values {
            let made = |name: &String| self.generated.get(level).is_some_and(|g| g.contains(name));
            let shown = |name: &String| format!("{name}{}", if made(name) { "*" } else { "" });
            let names: Vec<String> = names.iter().map(shown).collect();
            writeln!(out, "  {:<width$}  {}", escape(level), escape(&names.join(" ")))?;
        }
        if !self.generated.is_empty() {
            writeln!(out, "* is generated: nixmox-secrets generate --regenerate NODE.NAME")?;
        }
        if !self.hosts.is_empty() {
            let (hosts, word) = (self.hosts.join(" "), plural(self.hosts.len(), "host"));
            writeln!(
                out,
                "{name} could open the private keys of {word}, and with a copy reads what is sealed to them; replace:"
            )?;
            writeln!(out, "  {}", escape(&hosts))?;
            writeln!(out, "with: nixmox-secrets rotate-host HOST")?;
        }
        Ok(())
    }
}

/// Tells whether the roster lets somebody open the key of a host.
fn opens(fleet: &Fleet, (roster, name): (&Roster, &str), host: &NodeName) -> bool {
    let groups = roster.groups.values().filter(|group| group.members.contains(name));
    let above =
        |group: &String| group == host.as_ref() || fleet.topology().is_above(group, host.as_ref());
    roster.opens_all(name) || groups.flat_map(|group| &group.opens).any(above)
}
