//! Commands that read the secrets: `get`, `list`, `show`, `eval`, `explain`.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use nixmox_cascade::{CascadeError, Delivery, Leaf};
use nixmox_cli::terminal::{Table, escape, width};
use nixmox_cli::{Exit, Failure};
use nixmox_generate::Declarations;
use nixmox_secrets::{Error, Fleet, Listed, Master, View, master, open, view};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretTree, Value};
use serde_json::json;

use super::{print, print_json, values, write_json};
use crate::args::{Evaluate, Trust};
use crate::context::Context;
use crate::paths;

/// What stands for a value that is not shown; always the same length, so that it tells nothing.
pub(crate) const MASK: &str = "••••••••";

/// A fleet with its secrets evaluated.
struct Opened {
    fleet: Fleet,
    view: View,
}

impl Opened {
    fn new(context: &Context, evaluate: Evaluate) -> Result<Self, Failure> {
        let explain = |error| context.explain(error);
        let options = context.options(Trust::default(), evaluate);
        let (fleet, file) = open(&context.root, &options).map_err(explain)?;
        let tree = master::evaluate(file.form(), file.text(), options.real_nix).map_err(explain)?;
        let nodes = master::nodes(&tree).map_err(explain)?;
        let view = view(&fleet, &file, nodes, &options).map_err(explain)?;
        Ok(Self { fleet, view })
    }

    /// Names the level that supplies a value, and what made it.
    fn supplier(&self, leaf: &Leaf) -> String {
        match self.view.source(&leaf.from, &leaf.path) {
            Some(source) => format!("{} (generated)", source.level),
            None => leaf.from.to_string(),
        }
    }

    /// Tells scripts where a value comes from.
    fn json_of(&self, leaf: &Leaf) -> serde_json::Value {
        match self.view.source(&leaf.from, &leaf.path) {
            Some(source) => json!({ "from": source.level, "generated": source.kind }),
            None => json!({ "from": leaf.from.to_string() }),
        }
    }

    /// Says where a value comes from.
    fn origin(&self, leaf: &Leaf) -> String {
        match self.view.source(&leaf.from, &leaf.path) {
            Some(source) if source.per_host => {
                format!("{}, generated for each host ({})", source.level, source.kind)
            }
            Some(source) => format!("{}, generated ({})", source.level, source.kind),
            None => leaf.from.to_string(),
        }
    }

    /// Refuses a name that is no host.
    fn host(&self, context: &Context, name: &str) -> Result<(), Failure> {
        let topology = self.fleet.topology();
        if topology.hosts().any(|host| host.as_ref() == name) {
            return Ok(());
        }
        let below: Vec<_> = topology.hosts_of(name).iter().map(ToString::to_string).collect();
        if !below.is_empty() {
            return Err(Failure::new(Exit::BadPath, format!("`{name}` is a group, not a host"))
                .hint(format!("its hosts: {}", below.join(", "))));
        }
        let is_host = |near: &&NodeName| topology.hosts().any(|host| host == *near);
        let nearest = topology.closest(name);
        let nearest = nearest.iter().filter(is_host).map(ToString::to_string).collect();
        Err(context.explain(Error::NoSuchHost { name: name.to_owned(), nearest }))
    }

    fn delivered(&self, context: &Context) -> Result<BTreeMap<String, SecretTree>, Failure> {
        let delivered = nixmox_cascade::resolve(self.fleet.topology(), self.view.nodes())
            .map_err(|error| context.explain(Error::Cascade(error)))?;
        Ok(delivered.into_iter().map(|(host, tree)| (host.to_string(), tree)).collect())
    }

    fn leaves(&self, context: &Context, host: &str, path: &[&str]) -> Result<Vec<Leaf>, Failure> {
        let explained =
            nixmox_cascade::explain(self.fleet.topology(), self.view.nodes(), host, path);
        let explained = explained.map_err(|error| match error {
            CascadeError::NothingThere { .. } if !path.is_empty() => {
                Error::NoSuchSecret { path: format!("{host}.{}", paths::show(path)) }
            }
            error => Error::Cascade(error),
        });
        Ok(explained.map_err(|error| context.explain(error))?.leaves)
    }
}

/// Prints one secret as it is written in the master.
pub(crate) fn get(context: &Context, path: &str, evaluate: Evaluate) -> Result<Exit, Failure> {
    let names = paths::full(path)?;
    let explain = |error| context.explain(error);
    let options = context.options(Trust::default(), evaluate);
    let file = Master::open_alone(&context.root, options.identities).map_err(explain)?;
    let tree = master::evaluate(file.form(), file.text(), options.real_nix).map_err(explain)?;
    let mut found = tree.at(&names).cloned();
    let nodes = master::nodes(&tree).map_err(explain)?;
    if found.as_ref().is_none_or(mentions_declaration) && Declarations::any(&nodes) {
        // It may be one of the values that are made, for which the nodes matter.
        let fleet = Fleet::open(&context.root, options.ask_nix).map_err(explain)?;
        let view = view(&fleet, &file, nodes, &options).map_err(explain)?;
        found = names.get(1..).and_then(|names| view.nodes().at(names)).cloned();
        let hosts = hosts_with(&view, &names);
        if let (None, Some(host)) = (&found, hosts.first()) {
            let message = format!("every host has its own value of `{path}`");
            let hint = format!("name one: {host}; `nixmox-secrets generate` lists them");
            return Err(Failure::new(Exit::BadPath, message).hint(hint));
        }
    }
    let Some(value) = found else {
        // Only now it matters which nodes there are: was the node mistyped, or the secret?
        let fleet = Fleet::open(&context.root, options.ask_nix).map_err(explain)?;
        paths::parse(fleet.topology(), path)?;
        return Err(explain(Error::NoSuchSecret { path: path.to_owned() }));
    };
    let text = values::plain(&value);
    if std::io::stdout().is_terminal() {
        print(|out| writeln!(out, "{}", escape(text.expose())))?;
    } else {
        values::write_bytes(text.expose().as_bytes())?;
    }
    Ok(Exit::Ok)
}

/// Names what hosts have of their own because it is declared for each at a path.
fn hosts_with(view: &View, path: &[String]) -> Vec<String> {
    let declared = |one: &Listed| {
        let place = &one.item.place;
        let full = ["nodes", &place.level].into_iter().chain(place.path.iter().map(String::as_str));
        one.item.host.is_some() && full.zip(path).filter(|(a, b)| a == b).count() == path.len()
    };
    let listed = view.list().into_iter().filter(declared);
    listed.map(|one| one.item.stands_at().to_string()).collect()
}

/// Tells whether a value is declared, or has something in it that is.
fn mentions_declaration(value: &Value) -> bool {
    value.as_tree().is_some_and(Declarations::any)
}

/// Lists the names of secrets by the node they are written for.
pub(crate) fn list(
    context: &Context,
    node: Option<&str>,
    evaluate: Evaluate,
) -> Result<Exit, Failure> {
    let opened = Opened::new(context, evaluate)?;
    if let Some(name) = node {
        paths::parse(opened.fleet.topology(), name)?;
    }
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (name, value) in
        opened.view.nodes().iter().filter(|(name, _)| node.is_none_or(|n| n == *name))
    {
        let names = found.entry(name).or_default();
        if let Value::Tree(tree) = value {
            tree.for_each_leaf(&mut |path, _| names.push(paths::show(path)));
        }
    }
    if context.json {
        print_json(&json!(found))?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["NODE", "HOSTS", "SECRETS"]);
    for (name, secrets) in &found {
        let hosts = opened.fleet.topology().hosts_of(name).len().to_string();
        table.row([*name, &hosts, &secrets.join(" ")]);
    }
    print(|out| table.write(out, None))?;
    Ok(Exit::Ok)
}

/// Shows what one host gets, and from where.
pub(crate) fn show(
    context: &Context,
    (host, reveal): (&str, bool),
    evaluate: Evaluate,
) -> Result<Exit, Failure> {
    refuse_to_reveal(reveal)?;
    let opened = Opened::new(context, evaluate)?;
    opened.host(context, host)?;
    let delivered = opened.delivered(context)?;
    let Some(tree) = delivered.get(host) else {
        match context.json {
            true => print_json(&json!({ "host": host, "secrets": {} }))?,
            false => print(|out| writeln!(out, "{host} has no secrets"))?,
        }
        return Ok(Exit::Ok);
    };
    let leaves = opened.leaves(context, host, &[])?;
    let delivered = leaves.iter().filter(|leaf| leaf.delivery == Delivery::Delivered);
    if context.json {
        let rows: serde_json::Map<_, _> =
            delivered.map(|leaf| (paths::show(&leaf.path), opened.json_of(leaf))).collect();
        print_json(&json!({ "host": host, "secrets": rows }))?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new(["SECRET", "VALUE", "FROM"]);
    for leaf in delivered {
        let shown = tree.at(&leaf.path).filter(|_| reveal).map(values::plain);
        let shown = shown.as_ref().map_or(MASK, |text| text.expose());
        table.row([&paths::show(&leaf.path), shown, &opened.supplier(leaf)]);
    }
    print(|out| table.write(out, width(std::io::stdout())))?;
    Ok(Exit::Ok)
}

/// Prints what every host gets, as JSON.
pub(crate) fn eval(
    context: &Context,
    (host, reveal): (Option<&str>, bool),
    evaluate: Evaluate,
) -> Result<Exit, Failure> {
    refuse_to_reveal(reveal)?;
    let opened = Opened::new(context, evaluate)?;
    if let Some(host) = host {
        opened.host(context, host)?;
    }
    let delivered = opened.delivered(context)?;
    let wanted = delivered.into_iter().filter(|(name, _)| host.is_none_or(|host| host == name));
    let tree: SecretTree = wanted.map(|(name, tree)| (name, Value::Tree(tree))).collect();
    let shown = if reveal { Value::Tree(tree) } else { values::masked(&Value::Tree(tree)) };
    let text = values::json(&shown);
    print(|out| write_json(out, text.expose()))?;
    Ok(Exit::Ok)
}

/// Says which level supplies each value and what it shadows.
pub(crate) fn explain(
    context: &Context,
    (host, key): (&str, Option<&str>),
    evaluate: Evaluate,
) -> Result<Exit, Failure> {
    let opened = Opened::new(context, evaluate)?;
    opened.host(context, host)?;
    let full = key.map(|key| paths::parse(opened.fleet.topology(), &format!("{host}.{key}")));
    let full = full.transpose()?.unwrap_or_default();
    let path: Vec<&str> = full.iter().skip(2).map(String::as_str).collect();
    let leaves = opened.leaves(context, host, &path)?;
    if context.json {
        print_json(&json!(leaves.iter().map(|leaf| leaf_json(&opened, leaf)).collect::<Vec<_>>()))?;
        return Ok(Exit::Ok);
    }
    print(|out| leaves.iter().try_for_each(|leaf| leaf_text(out, leaf, &opened.origin(leaf))))?;
    Ok(Exit::Ok)
}

fn leaf_text(out: &mut dyn std::io::Write, leaf: &Leaf, origin: &str) -> std::io::Result<()> {
    let fate = match leaf.delivery {
        Delivery::Delivered => "",
        Delivery::Hidden => "; not delivered: hidden by a leading underscore",
        Delivery::Empty => "; not delivered: an empty set",
    };
    let path = paths::show(&leaf.path);
    writeln!(out, "{}  {} from {}{fate}", escape(&path), leaf.type_name, origin)?;
    for standing in &leaf.shadowed {
        let at = match standing.path == leaf.path {
            true => String::new(),
            false => format!(" at {}", paths::show(&standing.path)),
        };
        writeln!(
            out,
            "    shadows the {} of {}{}",
            standing.type_name,
            standing.node,
            escape(&at)
        )?;
    }
    Ok(())
}

fn leaf_json(opened: &Opened, leaf: &Leaf) -> serde_json::Value {
    let source = opened.view.source(&leaf.from, &leaf.path);
    let from = source.map_or(leaf.from.as_ref(), |source| source.level.as_str());
    let shadowed: Vec<_> = leaf
        .shadowed
        .iter()
        .map(|s| json!({ "node": s.node.to_string(), "path": s.path, "type": s.type_name }))
        .collect();
    let mut json = json!({
        "path": leaf.path,
        "type": leaf.type_name,
        "from": from,
        "delivered": leaf.delivery == Delivery::Delivered,
        "shadowed": shadowed,
    });
    if let (Some(source), Some(fields)) = (source, json.as_object_mut()) {
        fields.insert("generated".to_owned(), json!(source.kind));
    }
    json
}

/// Refuses to show values where they would be kept: in a file or a pipe.
pub(super) fn refuse_to_reveal(reveal: bool) -> Result<(), Failure> {
    if !reveal || std::io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Failure::new(Exit::Usage, "--reveal shows values on a terminal only")
        .hint("`nixmox-secrets get PATH` prints one value anywhere, `decrypt FILE --node HOST` a host's file"))
}
