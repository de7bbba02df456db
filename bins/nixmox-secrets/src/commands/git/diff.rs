//! `git diff`: what changed in the secrets, by name.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use nixmox_cli::terminal::{HEADING, escape};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::review::{
    FileChange, Keyring, Sketch, ValueChange, What, compare, compare_trees, delivered, sketch,
};
use nixmox_secrets::{Fleet, Options};
use nixmox_sops::detect;
use nixmox_tree::SecretTree;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::read::refuse_to_reveal;
use super::super::{print, print_json};
use super::Diff;
use super::driver::below;
use super::repository::Repository;
use super::snapshot::{Snapshot, read_now};
use crate::args::Trust;
use crate::context::Context;
use crate::paths;

/// What is compared.
struct Range {
    from: String,
    /// Nothing for the files as they are now.
    to: Option<String>,
    /// Only these files or directories; all when empty.
    only: Vec<String>,
    /// Whether no revision was named.
    is_head: bool,
}

/// Everything that differs.
struct Difference {
    files: BTreeMap<String, FileChange>,
    /// Files that were sealed and hold something else now.
    unsealed: Vec<String>,
    /// What each host gains and loses; nothing when that cannot be told.
    hosts: Option<BTreeMap<String, Vec<ValueChange>>>,
    /// Why it cannot be told.
    problem: Option<String>,
}

/// Compares and shows.
pub(super) fn run(context: &Context, args: &Diff) -> Result<Exit, Failure> {
    refuse_to_reveal(args.reveal)?;
    let range = range(&context.root, args)?;
    let found = difference(context, args, &range)?;
    let any = !(found.files.is_empty()
        && found.unsealed.is_empty()
        && found.hosts.as_ref().is_none_or(BTreeMap::is_empty));
    if context.json {
        print_json(&as_json(&found))?;
    } else {
        print(|out| text(out, &found, args.reveal))?;
    }
    Ok(if any && args.exit_code { Exit::Failure } else { Exit::Ok })
}

/// Tells revisions from files, as git does.
fn range(root: &Path, args: &Diff) -> Result<Range, Failure> {
    let repository = Repository::at(root)?;
    let mut revisions = Vec::new();
    let mut files: Vec<&String> = Vec::new();
    for word in &args.what {
        let known =
            |revision: &str| repository.commit(if revision.is_empty() { "HEAD" } else { revision });
        let pair = word.split_once("...").or_else(|| word.split_once(".."));
        let pair = pair.and_then(|(from, to)| Some((known(from)?, known(to)?)));
        match (revisions.len(), files.is_empty()) {
            (0, true) if pair.is_some() => {
                let (from, to) = pair.unwrap_or_default();
                let base = word.contains("...").then(|| repository.ask(["merge-base", &from, &to]));
                revisions.extend([base.flatten().unwrap_or(from), to]);
            }
            (0 | 1, true) => match known(word) {
                Some(commit) => revisions.push(commit),
                None => files.push(word),
            },
            _ => files.push(word),
        }
    }
    let here = std::env::current_dir().unwrap_or_default();
    let mut only = Vec::new();
    for file in files.into_iter().chain(&args.files) {
        let path = here.join(file);
        if !path.exists() && !args.files.contains(file) {
            let message = format!("`{file}` is neither a revision nor a file");
            return Err(
                Failure::new(Exit::Usage, message).hint("files that are gone stand behind `--`")
            );
        }
        only.push(below(root, &path)?.to_string());
    }
    let mut revisions = revisions.into_iter();
    let (from, to) = (revisions.next(), revisions.next());
    let is_head = from.is_none();
    let from = from
        .or_else(|| repository.commit("HEAD"))
        .ok_or_else(|| Failure::new(Exit::Usage, "there is no commit yet to compare with"))?;
    Ok(Range { from, to, only, is_head })
}

fn difference(context: &Context, args: &Diff, range: &Range) -> Result<Difference, Failure> {
    let old = Snapshot::new(&context.root, &range.from, range.is_head)?;
    let new = match &range.to {
        Some(commit) => Some(Snapshot::new(&context.root, commit, false)?),
        None => None,
    };
    let mut names = match &new {
        Some(new) => old.differing(new),
        None => old.touched(&range.from)?,
    };
    let within = |name: &str, only: &String| {
        name == only || name.strip_prefix(only.as_str()).is_some_and(|rest| rest.starts_with('/'))
    };
    names.retain(|name| range.only.is_empty() || range.only.iter().any(|only| within(name, only)));
    let listed = || names.iter().map(String::as_str);
    let before = old.read(listed())?;
    let after = match &new {
        Some(new) => new.read(listed())?,
        None => read_now(&context.root, listed())?,
    };
    let options = context.options(Trust::default(), args.evaluate);
    let places = (Place::of(&old)?, new.as_ref().map(Place::of).transpose()?);
    let roots = (places.0.root(), places.1.as_ref().map_or(context.root.as_path(), Place::root));
    let (files, unsealed) = files(&options, roots, (&before, &after));
    let (hosts, problem) = match hosts(&options, roots) {
        _ if options.identities.is_empty() => (None, None),
        Ok(hosts) => (range.only.is_empty().then_some(hosts), None),
        Err(error) => (None, Some(context.explain(error).message().to_owned())),
    };
    Ok(Difference { files, unsealed, hosts, problem })
}

/// Where a revision's fleet lies while it is looked at.
struct Place(TempDir);

impl Place {
    fn of(snapshot: &Snapshot) -> Result<Self, Failure> {
        snapshot.fleet().map(Self)
    }

    fn root(&self) -> &Path {
        self.0.path()
    }
}

type Contents = BTreeMap<String, Vec<u8>>;

/// Compares the sealed files that differ.
fn files(
    options: &Options<'_>,
    (old, new): (&Path, &Path),
    (before, after): (&Contents, &Contents),
) -> (BTreeMap<String, FileChange>, Vec<String>) {
    let fleets = [old, new].map(|root| Fleet::open(root, options.ask_nix).ok());
    let [old_keys, new_keys] =
        fleets.each_ref().map(|fleet| Keyring::new(options.identities, fleet.as_ref()));
    let read = |bytes: Option<&Vec<u8>>, keys: &Keyring<'_>| -> Option<Sketch> {
        bytes.filter(|bytes| detect(bytes).is_some()).and_then(|bytes| sketch(bytes, keys).ok())
    };
    let mut changes = BTreeMap::new();
    let mut unsealed = Vec::new();
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        let (old, seen) = (read(old, &old_keys), read(new, &new_keys));
        if old.is_some() && new.is_some() && seen.is_none() {
            unsealed.push(name.clone());
            continue;
        }
        if let Some(change) = compare(old.as_ref(), seen.as_ref()).filter(FileChange::is_any) {
            changes.insert(name.clone(), change);
        }
    }
    (changes, unsealed)
}

/// Compares what every host is delivered.
fn hosts(
    options: &Options<'_>,
    (old, new): (&Path, &Path),
) -> Result<BTreeMap<String, Vec<ValueChange>>, nixmox_secrets::Error> {
    let (before, after) = (delivered(old, options)?, delivered(new, options)?);
    let nothing = SecretTree::new();
    let names: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
    let changes = names.into_iter().map(|host| {
        let [old, new] = [&before, &after].map(|trees| trees.get(host).unwrap_or(&nothing));
        (host.clone(), compare_trees(old, new))
    });
    Ok(changes.filter(|(_, changes)| !changes.is_empty()).collect())
}

fn sign(what: What) -> (Style, char) {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    match what {
        What::Added => (colour(AnsiColor::Green), '+'),
        What::Changed => (colour(AnsiColor::Yellow), '~'),
        What::Removed => (colour(AnsiColor::Red), '-'),
    }
}

fn text(out: &mut dyn Write, found: &Difference, reveal: bool) -> io::Result<()> {
    for (name, change) in &found.files {
        file(out, name, change, reveal)?;
    }
    for name in &found.unsealed {
        let (red, _) = sign(What::Removed);
        writeln!(out, "{HEADING}{}{HEADING:#}", escape(name))?;
        writeln!(out, "  {red}NOT SEALED any more{red:#}")?;
    }
    for (host, changes) in found.hosts.iter().flatten() {
        writeln!(out, "{HEADING}host {}{HEADING:#}", escape(host))?;
        changes.iter().try_for_each(|change| value(out, change, reveal))?;
    }
    match &found.problem {
        Some(problem) => writeln!(out, "what hosts get cannot be compared: {}", escape(problem)),
        None => Ok(()),
    }
}

fn file(out: &mut dyn Write, name: &str, change: &FileChange, reveal: bool) -> io::Result<()> {
    let what = match change.what {
        What::Added => "  new",
        What::Changed => "",
        What::Removed => "  removed",
    };
    writeln!(out, "{HEADING}{}{HEADING:#}{what}", escape(name))?;
    for (what, names) in
        [(What::Added, &change.new_recipients), (What::Removed, &change.former_recipients)]
    {
        let (style, sign) = sign(what);
        for name in names {
            writeln!(out, "  {style}{sign}{style:#} recipient {}", escape(name))?;
        }
    }
    for finding in &change.findings {
        let (red, _) = sign(What::Removed);
        writeln!(out, "  {red}!{red:#} not sealed strictly: {}", escape(finding))?;
    }
    if change.sealed_anew {
        writeln!(out, "  sealed anew: without a key nobody can tell which values changed")?;
    }
    if change.whole {
        writeln!(out, "  sealed whole: without a key nobody can tell what is in it")?;
    }
    let untold =
        |value: &&ValueChange| change.whole || (change.sealed_anew && value.what == What::Changed);
    let told = change.values.iter().filter(|value| !untold(value));
    told.into_iter().try_for_each(|change| value(out, change, reveal))?;
    if change.comments && change.values.is_empty() {
        writeln!(out, "  only the text around the values differs")?;
    }
    Ok(())
}

fn value(out: &mut dyn Write, change: &ValueChange, reveal: bool) -> io::Result<()> {
    let (style, sign) = sign(change.what);
    let path = paths::show(&change.path);
    let clear = if change.clear { "  NOT SEALED" } else { "" };
    write!(out, "  {style}{sign}{style:#} {}{clear}", escape(&path))?;
    if reveal {
        for (word, value) in [("was", &change.before), ("is", &change.after)] {
            if let Some(value) = value {
                write!(out, "\n      {word} {}", escape(value.expose()))?;
            }
        }
    }
    writeln!(out)
}

fn as_json(found: &Difference) -> Value {
    let values = |changes: &[ValueChange]| -> Value {
        let each = |change: &ValueChange| {
            json!({
                "path": paths::show(&change.path),
                "what": change.what.name(),
                "sealed": !change.clear,
            })
        };
        changes.iter().map(each).collect()
    };
    let files = found.files.iter().map(|(name, change)| {
        let about = json!({
            "what": change.what.name(),
            "opened": change.opened,
            "sealedAnew": change.sealed_anew,
            "whole": change.whole,
            "recipients": { "added": change.new_recipients, "removed": change.former_recipients },
            "values": values(&change.values),
            "comments": change.comments,
            "findings": change.findings,
        });
        (name.clone(), about)
    });
    let hosts = found.hosts.as_ref().map(|hosts| {
        hosts.iter().map(|(host, changes)| (host.clone(), values(changes))).collect::<Value>()
    });
    json!({
        "files": files.collect::<serde_json::Map<_, _>>(),
        "unsealed": found.unsealed,
        "hosts": hosts,
        "problem": found.problem,
    })
}
