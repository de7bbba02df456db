//! What an admin could read, and so knows when he leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::{Error, Fleet, Master, master};
use nixmox_signing::Roster;
use nixmox_tree::{SecretTree, Value};
use serde_json::{Value as Json, json};

use crate::args::{Evaluate, Trust};
use crate::context::Context;
use crate::paths;

/// What an admin could read.
pub(super) struct Knowledge {
    name: String,
    /// Names of values by the level that they are written for, or by the host that they are delivered to.
    values: BTreeMap<String, BTreeSet<String>>,
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
        let options = context.options(Trust::default(), evaluate);
        let opened = Master::open(fleet, options.identities)
            .and_then(|file| master::evaluate(file.form(), file.text(), options.real_nix));
        let tree = opened.map_err(|error| context.explain(error))?;
        let topology = fleet.topology();
        let all = roster.opens_all(name);
        let groups = roster.groups.values().filter(|group| group.members.contains(name));
        let opened: BTreeSet<&str> =
            groups.flat_map(|group| &group.opens).map(String::as_str).collect();
        let opens = |host: &str| {
            all || opened.iter().any(|group| *group == host || topology.is_above(group, host))
        };
        let hosts: Vec<String> =
            topology.hosts().map(ToString::to_string).filter(|host| opens(host)).collect();
        let values = if all { written(&tree) } else { delivered(context, fleet, (&tree, &hosts))? };
        Ok(Self { name: name.to_owned(), values, hosts })
    }

    pub(super) fn as_json(&self) -> Json {
        json!({ "admin": self.name, "values": self.values, "hosts": self.hosts })
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
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            writeln!(out, "  {:<width$}  {}", escape(level), escape(&names.join(" ")))?;
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

/// Names every value of the master by the level that it is written for.
fn written(tree: &SecretTree) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    tree.for_each_leaf(&mut |path, _| {
        let (level, name) = match path {
            ["nodes", level, rest @ ..] => (*level, rest),
            path => ("(beside nodes)", path),
        };
        found.entry(level.to_owned()).or_default().insert(paths::show(name));
    });
    found
}

/// Names every value that some hosts get.
fn delivered(
    context: &Context,
    fleet: &Fleet,
    (tree, hosts): (&SecretTree, &[String]),
) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let nodes = match tree.get("nodes") {
        Some(Value::Tree(nodes)) => nodes.clone(),
        _ => SecretTree::new(),
    };
    let all = nixmox_cascade::resolve(fleet.topology(), &nodes)
        .map_err(|error| context.explain(Error::Cascade(error)))?;
    let mut found = BTreeMap::new();
    for (host, tree) in all.iter().filter(|(host, _)| hosts.contains(&host.to_string())) {
        let mut names = BTreeSet::new();
        tree.for_each_leaf(&mut |path, _| {
            names.insert(paths::show(path));
        });
        found.insert(host.to_string(), names);
    }
    Ok(found)
}
