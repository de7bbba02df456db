//! Commands that tell who can read what: `who` and `access`.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use anstyle::{AnsiColor, Style};
use clap::Args;
use nixmox_cli::terminal::{Table, escape, plural, width};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::readers::{
    Access, Evidence, FileReaders, HostReaders, Opened, Receivers, Suspicion, receivers,
};
use nixmox_secrets::{Error, Fleet, Master, View, master, view};
use nixmox_sops::Identities;
use nixmox_topology::{Kind, NodeName, Topology};
use nixmox_tree::SecretTree;
use serde_json::{Value, json};

use super::ever::{Past, made_for};
use super::{print, print_json};
use crate::args::{Evaluate, Trust};
use crate::context::Context;
use crate::paths;

/// Arguments of `who`.
#[derive(Args, Debug)]
pub(crate) struct Who {
    /// HOST-OR-GROUP.NAME, such as `routers.pppoePassword`; or a host.
    pub(crate) what: String,
    /// Add everybody who could ever read it, from the git history.
    #[arg(long)]
    pub(crate) ever: bool,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
}

/// Arguments of `access`.
#[derive(Args, Debug)]
pub(crate) struct Everything {
    /// Add everybody who could ever read anything, and every host that is gone, from the git history.
    #[arg(long)]
    ever: bool,
}

/// What `who` is asked about.
struct Asked<'a> {
    what: &'a str,
    /// `None` when it is about a host as a whole.
    receivers: Option<Receivers>,
    hosts: BTreeMap<&'a NodeName, &'a HostReaders>,
    /// The file of generated values, when it holds what is asked about.
    generated: Option<&'a FileReaders>,
}

/// Tells who can read everything.
pub(crate) fn access(context: &Context, args: &Everything) -> Result<Exit, Failure> {
    let explain = |error| context.explain(error);
    let options = context.options(Trust::default(), Evaluate::default());
    let opened = Opened::new(&context.root, &options).map_err(explain)?;
    let access = opened.access(options.identities).map_err(explain)?;
    let topology = opened.fleet.topology();
    let past =
        args.ever.then(|| Past::whole(&context.root, topology, options.identities)).transpose()?;
    let (hosts, generated) = (access.hosts.iter().collect(), access.generated.as_ref());
    if context.json {
        print_json(&json!({
            "opened": access.opened,
            "master": access.master.as_ref().map(file_json),
            "generated": generated.map(file_json),
            "hosts": hosts_json(&hosts),
            "ever": past.as_ref().map(|past| past.json(&access)),
        }))?;
    } else {
        print(|out| {
            matrix(out, &access, (&hosts, generated))?;
            past.iter().try_for_each(|past| past.text(out, &access))
        })?;
    }
    Ok(if access.suspicions() == 0 { Exit::Ok } else { Exit::Failure })
}

/// Tells who can read one value, or one host's files.
pub(crate) fn who(context: &Context, args: &Who) -> Result<Exit, Failure> {
    let explain = |error| context.explain(error);
    let options = context.options(Trust::default(), args.evaluate);
    let opened = Opened::new(&context.root, &options).map_err(explain)?;
    let access = opened.access(options.identities).map_err(explain)?;
    let past = match args.ever {
        true => Some(past(context, args, (&opened, options.identities))?),
        false => None,
    };
    // What is gone is in the history alone.
    let asked = match (asked(context, args, (&opened, &access)), &past) {
        (Err(failure), Some(past)) if failure.exit() == Exit::BadPath && !past.is_empty() => {
            Asked { what: &args.what, receivers: None, hosts: BTreeMap::new(), generated: None }
        }
        (asked, _) => asked?,
    };
    let master = access.master.iter().chain(asked.generated);
    let files = asked.hosts.values().flat_map(|host| [&host.sealed, &host.key]).flatten();
    let suspicious = files.chain(master).any(|file| !file.suspicions.is_empty());
    if context.json {
        print_json(&json!({
            "about": asked.what,
            "opened": access.opened,
            "resolved": asked.receivers.as_ref().map(|found| found.resolved),
            "master": access.master.as_ref().map(file_json),
            "generated": asked.generated.map(file_json),
            "hosts": hosts_json(&asked.hosts),
            "ever": past.as_ref().map(|past| past.json(&access)),
        }))?;
    } else {
        print(|out| {
            about(out, &access, &asked)?;
            past.iter().try_for_each(|past| past.text(out, &access))
        })?;
    }
    Ok(if suspicious { Exit::Failure } else { Exit::Ok })
}

/// Reads the history of what was asked about.
fn past(
    context: &Context,
    args: &Who,
    (opened, identities): (&Opened, &Identities),
) -> Result<Past, Failure> {
    let topology = opened.fleet.topology();
    let path = paths::full(&args.what)?;
    let (node, below) = path.get(1).zip(path.get(2..)).unwrap_or((&args.what, &[]));
    Past::of(&context.root, topology, (node, below), identities)
}

fn asked<'a>(
    context: &Context,
    args: &'a Who,
    (opened, access): (&Opened, &'a Access),
) -> Result<Asked<'a>, Failure> {
    let topology = opened.fleet.topology();
    let of = |hosts: &BTreeSet<NodeName>| -> BTreeMap<&'a NodeName, &'a HostReaders> {
        access.hosts.iter().filter(|(host, _)| hosts.contains(*host)).collect()
    };
    if topology.kind(&args.what) == Some(Kind::Host) {
        let hosts = of(&topology.hosts_of(&args.what).into_iter().collect());
        if hosts.is_empty() {
            let message = format!("{} has neither secrets nor a key", args.what);
            return Err(Failure::new(Exit::BadPath, message));
        }
        let generated = generated(topology, access, (&args.what, &[]));
        return Ok(Asked { what: &args.what, receivers: None, hosts, generated });
    }
    let path = paths::full(&args.what)?;
    let explain = |error| context.explain(error);
    let tree =
        opened.master.as_ref().map(|file| evaluated(context, args.evaluate, (&opened.fleet, file)));
    let tree = tree.transpose()?.map(|(tree, _)| tree);
    let found = receivers(topology, tree.as_ref(), access, &path);
    let found = match found {
        // Was the node mistyped, or the secret?
        Err(error @ Error::NoSuchSecret { .. }) => {
            paths::parse(topology, &args.what)?;
            return Err(explain(error));
        }
        found => found.map_err(explain)?,
    };
    let hosts = of(&found.hosts);
    let at = path.get(1).zip(path.get(2..));
    let generated = at.and_then(|(node, below)| generated(topology, access, (node, below)));
    Ok(Asked { what: &args.what, receivers: Some(found), hosts, generated })
}

/// Returns the file of generated values when it holds any at a path, or of a host.
fn generated<'a>(
    topology: &Topology,
    access: &'a Access,
    path: (&str, &[String]),
) -> Option<&'a FileReaders> {
    let holds = |file: &&FileReaders| file.names.iter().any(|n| made_for(topology, path, n));
    access.generated.as_ref().filter(holds)
}

/// Evaluates the master, and puts in what is generated.
pub(super) fn evaluated(
    context: &Context,
    evaluate: Evaluate,
    (fleet, file): (&Fleet, &Master),
) -> Result<(SecretTree, View), Failure> {
    let explain = |error| context.explain(error);
    let options = context.options(Trust::default(), evaluate);
    let mut tree = master::evaluate(file.form(), file.text(), options.real_nix).map_err(explain)?;
    let nodes = master::nodes(&tree).map_err(explain)?;
    let view = view(fleet, file, nodes, &options).map_err(explain)?;
    tree.insert("nodes", nixmox_tree::Value::Tree(view.nodes().clone()));
    Ok((tree, view))
}

fn about(out: &mut dyn io::Write, access: &Access, asked: &Asked<'_>) -> io::Result<()> {
    match &asked.receivers {
        None => {}
        Some(found) if found.hosts.is_empty() => {
            writeln!(out, "{} is delivered to no host", escape(asked.what))?;
        }
        Some(found) => {
            let how = match found.resolved {
                true => "reaches",
                false => "is a name in the files of",
            };
            let hosts = plural(found.hosts.len(), "host");
            writeln!(
                out,
                "{} {how} {hosts}; whoever opens the master reads it too",
                escape(asked.what)
            )?;
        }
    }
    matrix(out, access, (&asked.hosts, asked.generated))?;
    if let (None, Some(file)) =
        (&asked.receivers, asked.hosts.values().find_map(|h| h.sealed.as_ref()))
    {
        let names: Vec<String> = file.names.iter().map(|name| paths::show(name)).collect();
        writeln!(out, "its secrets: {}", escape(&names.join(" ")))?;
    }
    Ok(())
}

/// Writes one line for the master, the generated values and each host, a legend, and what is suspicious.
fn matrix(
    out: &mut dyn io::Write,
    access: &Access,
    (hosts, generated): (&BTreeMap<&NodeName, &HostReaders>, Option<&FileReaders>),
) -> io::Result<()> {
    let admins = admins(access, hosts);
    let mut table = Table::new(["", "SECRETS", "OPENS WITH ITS KEY", "AND SO WITH THE KEYS OF"]);
    if let Some(master) = &access.master {
        table.row(["the master", "all", "", &marks(Some(master), &admins)]);
    }
    if let Some(file) = generated {
        let count = file.names.len().to_string();
        table.row(["generated values", &count, "", &marks(Some(file), &admins)]);
    }
    for (host, readers) in hosts {
        let count = readers.sealed.as_ref().map(|file| file.names.len().to_string());
        let own = readers.sealed.as_ref().map(|file| {
            let marks = file.readers.iter().map(|reader| mark(reader.evidence));
            marks.collect::<Vec<_>>().join(" ")
        });
        let admins = marks(readers.key.as_ref(), &admins);
        table.row([host.as_ref(), &count.unwrap_or_default(), &own.unwrap_or_default(), &admins]);
    }
    table.write(out, width(std::io::stdout()))?;
    legend(out, access, &admins)?;
    let files = hosts.values().flat_map(|host| [&host.sealed, &host.key]).flatten();
    access.master.iter().chain(generated).chain(files).try_for_each(|file| suspicious(out, file))
}

/// Numbers everybody who opens the master or the key of one of the hosts.
fn admins<'a>(
    access: &'a Access,
    hosts: &BTreeMap<&'a NodeName, &'a HostReaders>,
) -> BTreeMap<&'a str, (usize, bool)> {
    let keys = hosts.values().filter_map(|host| host.key.as_ref());
    let above = access.master.iter().chain(&access.generated);
    let readers = above.chain(keys).flat_map(|file| &file.readers);
    let mut numbered = BTreeMap::new();
    for reader in readers {
        let next = numbered.len() + 1;
        numbered.entry(reader.recipient.as_str()).or_insert((next, reader.own));
    }
    numbered
}

fn marks(file: Option<&FileReaders>, admins: &BTreeMap<&str, (usize, bool)>) -> String {
    let readers = file.iter().flat_map(|file| &file.readers);
    let marks = readers.map(|reader| {
        let number = admins.get(reader.recipient.as_str()).map_or(0, |(number, _)| *number);
        format!("{number}{}", mark(reader.evidence))
    });
    marks.collect::<Vec<_>>().join(" ")
}

fn mark(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Proved => "●",
        Evidence::Sealed => "◐",
        Evidence::Claimed => "○",
        Evidence::Refuted => "✗",
    }
}

fn legend(
    out: &mut dyn io::Write,
    access: &Access,
    admins: &BTreeMap<&str, (usize, bool)>,
) -> io::Result<()> {
    let mut sorted: Vec<_> = admins.iter().collect();
    sorted.sort_by_key(|(_, (number, _))| *number);
    for (recipient, (number, own)) in sorted {
        let own = if *own { "  (your key)" } else { "" };
        writeln!(out, "{number}  {}{own}", escape(recipient))?;
    }
    writeln!(
        out,
        "● a key at hand opens it  ◐ sealed so by this tool  ○ a label says so  ✗ its key does not open it"
    )?;
    if !access.opened {
        writeln!(
            out,
            "without a key for the master nothing can be proved and nothing vouches for the files"
        )?;
    }
    Ok(())
}

fn suspicious(out: &mut dyn io::Write, file: &FileReaders) -> io::Result<()> {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
    for found in &file.suspicions {
        let (path, said) = (file.path.as_str(), found.to_string());
        writeln!(out, "{red}suspicious{red:#}  {}  {}", escape(path), escape(&said))?;
    }
    Ok(())
}

fn hosts_json(hosts: &BTreeMap<&NodeName, &HostReaders>) -> serde_json::Map<String, Value> {
    let host = |readers: &HostReaders| {
        json!({
            "sealed": readers.sealed.as_ref().map(file_json),
            "key": readers.key.as_ref().map(file_json),
        })
    };
    hosts.iter().map(|(name, readers)| (name.to_string(), host(readers))).collect()
}

fn file_json(file: &FileReaders) -> Value {
    let readers: Vec<Value> = file
        .readers
        .iter()
        .map(|reader| {
            json!({
                "recipient": reader.recipient,
                "host": reader.host.as_ref().map(ToString::to_string),
                "own": reader.own,
                "evidence": evidence(reader.evidence),
            })
        })
        .collect();
    let said = |found: &Suspicion| json!({ "code": found.code(), "message": found.to_string() });
    json!({
        "path": file.path.to_string(),
        "readers": readers,
        "suspicions": file.suspicions.iter().map(said).collect::<Vec<_>>(),
        "secrets": file.names.iter().map(|name| paths::show(name)).collect::<Vec<_>>(),
    })
}

fn evidence(evidence: Evidence) -> &'static str {
    match evidence {
        Evidence::Proved => "proved",
        Evidence::Sealed => "sealed",
        Evidence::Claimed => "claimed",
        Evidence::Refuted => "refuted",
    }
}
