//! Reports of plans and commits, for people and for scripts.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use nixmox_cascade::{Lint, LintKind};
use nixmox_cli::terminal::{escape, plural};
use nixmox_generate::Why;
use nixmox_secrets::{Change, HostReport, Reason, Report};
use serde_json::{Value, json};

use crate::paths;

/// Whether something was done or would be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tense {
    /// It was done.
    Done,
    /// It would be done.
    Would,
}

/// Writes a report for people: what changes, host by host, then one line of sums.
pub(crate) fn text(out: &mut dyn Write, report: &Report, tense: Tense) -> io::Result<()> {
    let width = report.hosts.keys().map(|host| host.as_ref().len()).max().unwrap_or(0);
    for (host, found) in &report.hosts {
        if found.change == Change::Unchanged && found.reasons.is_empty() {
            continue;
        }
        let (style, word) = change(found.change);
        let why = reasons(found);
        writeln!(out, "{style}{word:<9}{style:#}  {host:<width$}  {why}")?;
    }
    for host in &report.rotating {
        writeln!(
            out,
            "rotating   {host}  sealed to two keys: deploy it, then `rotate-host {host} --finish`"
        )?;
    }
    for path in &report.also {
        writeln!(out, "written    {path}")?;
    }
    for path in &report.orphans {
        writeln!(out, "orphan     {path}  belongs to no host of the fleet; it was left alone")?;
    }
    for (name, why) in &report.generated {
        let (style, done, because) = generated(*why);
        writeln!(out, "{style}{done:<9}{style:#}  {}  {because}", escape(name))?;
    }
    for finding in &report.lints {
        lint(out, finding)?;
    }
    sums(out, report, tense)
}

fn sums(out: &mut dyn Write, report: &Report, tense: Tense) -> io::Result<()> {
    let count = |change, word| match report.count(change) {
        0 => None,
        n => Some(format!("{n} {word}")),
    };
    let parts: Vec<String> = [
        count(Change::Created, "created"),
        count(Change::Updated, "updated"),
        count(Change::Removed, "removed"),
        count(Change::Unchanged, "unchanged"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let hosts = if parts.is_empty() { "no host has secrets".to_owned() } else { parts.join(", ") };
    let master = match (report.master, tense) {
        (Change::Unchanged, _) => "the master stays as it is",
        (_, Tense::Done) => "the master was sealed",
        (_, Tense::Would) => "the master would be sealed",
    };
    let lead = if tense == Tense::Would { "would be: " } else { "" };
    writeln!(out, "{lead}{hosts}; {master}")
}

/// Says of a declared value what was done to it and why.
fn generated(why: Why) -> (Style, &'static str, &'static str) {
    let made = change(Change::Created).0;
    let anew = change(Change::Updated).0;
    match why {
        Why::New => (made, "generated", "declared"),
        Why::Asked => (anew, "generated", "anew, as asked for"),
        Why::Declaration => (anew, "generated", "anew: its declaration changed"),
        Why::Inputs => (anew, "generated", "anew: what it is made from changed"),
        Why::Dropped => (change(Change::Removed).0, "dropped", "not declared any more"),
        _ => (anew, "generated", "anew"),
    }
}

fn lint(out: &mut dyn Write, lint: &Lint) -> io::Result<()> {
    let style = Style::new().fg_color(Some(AnsiColor::Yellow.into()));
    let levels: Vec<String> = lint.levels.iter().map(ToString::to_string).collect();
    let (first, others) = levels.split_first().map_or(("", &[][..]), |(f, o)| (f.as_str(), o));
    let why = match lint.kind {
        LintKind::NamesDecide => format!(
            "{first} wins over {} only because of how the groups are named",
            others.join(", ")
        ),
        _ => format!(
            "{} and {first} are put together around a value that is not a set",
            others.join(", ")
        ),
    };
    let hosts = plural(lint.hosts.len(), "host");
    let path = paths::show(&lint.path);
    writeln!(out, "{style}warning{style:#}    {}  {why} ({hosts})", escape(&path))
}

fn change(change: Change) -> (Style, &'static str) {
    let colour = |c: AnsiColor| Style::new().fg_color(Some(c.into()));
    match change {
        Change::Created => (colour(AnsiColor::Green), "created"),
        Change::Updated => (colour(AnsiColor::Yellow), "updated"),
        Change::Unchanged => (Style::new().dimmed(), "unchanged"),
        Change::Removed => (colour(AnsiColor::Red), "removed"),
    }
}

fn reasons(host: &HostReport) -> String {
    let words: Vec<&str> = host.reasons.iter().map(|reason| words(*reason).1).collect();
    words.join(", ")
}

/// Names a reason for scripts and for people.
fn words(reason: Reason) -> (&'static str, &'static str) {
    match reason {
        Reason::New => ("new", "first secrets"),
        Reason::Values => ("values", "values changed"),
        Reason::NotOurs => ("not-ours", "the file was not the one that was sealed here"),
        Reason::Unsound => ("unsound", "the file broke a rule of sealed files"),
        Reason::KeyMade => ("key-made", "new host key"),
        Reason::KeyAccepted => ("key-accepted", "host key accepted"),
        Reason::Admins => ("admins", "host key sealed to other admins"),
        Reason::Renewed => ("renewed", "new data keys"),
        Reason::NextKeyMade => ("next-key-made", "sealed to its old and to a new key"),
        Reason::KeyReplaced => ("key-replaced", "the new host key has replaced the old one"),
        Reason::NextKeyDropped => ("next-key-dropped", "the new host key was dropped"),
        Reason::Moved => ("moved", "moved"),
        Reason::Dropped => ("dropped", "no secrets any more"),
        Reason::Signed => ("signed", "signed"),
        Reason::Unsigned => ("unsigned", "not signed any more"),
        _ => ("other", "other"),
    }
}

/// Makes the report that scripts read.
pub(crate) fn as_json(report: &Report) -> Value {
    let name = |c| change(c).1;
    let hosts: serde_json::Map<String, Value> = report
        .hosts
        .iter()
        .map(|(host, found)| {
            let reasons: Vec<&str> = found.reasons.iter().map(|reason| words(*reason).0).collect();
            (host.to_string(), json!({ "change": name(found.change), "reasons": reasons }))
        })
        .collect();
    let lints: Vec<Value> = report.lints.iter().map(lint_json).collect();
    let word = |why: Why| match why {
        Why::New => "new",
        Why::Asked => "asked",
        Why::Declaration => "declaration",
        Why::Inputs => "inputs",
        Why::Dropped => "dropped",
        _ => "other",
    };
    let generated: serde_json::Map<String, Value> =
        report.generated.iter().map(|(name, why)| (name.clone(), json!(word(*why)))).collect();
    let orphans: Vec<String> = report.orphans.iter().map(ToString::to_string).collect();
    let also: Vec<String> = report.also.iter().map(ToString::to_string).collect();
    let mut value = json!({
        "unchanged": report.is_unchanged(),
        "master": name(report.master),
        "hosts": hosts,
        "rotating": report.rotating.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "orphans": orphans,
        "lints": lints,
        "generated": generated,
    });
    if let (Some(fields), false) = (value.as_object_mut(), also.is_empty()) {
        fields.insert("also".to_owned(), json!(also));
    }
    value
}

fn lint_json(lint: &Lint) -> Value {
    let names = |nodes: &[nixmox_topology::NodeName]| -> Vec<String> {
        nodes.iter().map(ToString::to_string).collect()
    };
    let kind = match lint.kind {
        LintKind::NamesDecide => "names-decide",
        _ => "not-cut",
    };
    json!({
        "kind": kind,
        "path": lint.path,
        "levels": names(&lint.levels),
        "hosts": names(&lint.hosts),
    })
}
