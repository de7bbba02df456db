//! What a run comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{
    ActivationError, CopyError, End, Ended, JobError, Journal, NixError, Outcome, PackageChange,
    RollbackReason, Skip, StorePath, Verdict,
};
use nixmox_topology::NodeName;

use crate::args::Args;
use nixmox_fleet::colour;

/// Packages of which so many differ are counted instead of listed.
const MANY: usize = 40;

/// Says in a line how a host ended.
pub(crate) fn message(end: &End) -> String {
    match end {
        End::Activation(outcome) => outcome_words(outcome),
        End::Built => "built".to_owned(),
        End::Skipped(skip) => format!("not touched: {}", skip_words(skip)),
        End::Undone => "back on its old system, because another host failed".to_owned(),
        End::Failed(error) => format!("failed: {}", nixmox_fleet::causes(error).join(": ")),
        _ => "ended".to_owned(),
    }
}

fn outcome_words(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Unchanged => "as it should be".to_owned(),
        Outcome::Activated { took, failed_units, .. } if failed_units.is_empty() => {
            format!("runs its new system, in {} s", took.as_secs())
        }
        Outcome::Activated { failed_units, .. } => {
            format!("runs its new system, without {}", failed_units.join(", "))
        }
        Outcome::WillBoot => "boots its new system next time".to_owned(),
        Outcome::WouldChange { .. } => "says what would change".to_owned(),
        Outcome::Pushed => "has its new system in its store".to_owned(),
        Outcome::RolledBack { why, .. } => format!("back on its old system: {}", reason_words(why)),
        _ => "ended".to_owned(),
    }
}

fn reason_words(why: &RollbackReason) -> String {
    match why {
        RollbackReason::ActivationFailed { status } => {
            format!("the activation ended with {status}")
        }
        RollbackReason::ActivationKilled => "the activation took too long or was killed".to_owned(),
        RollbackReason::Unhealthy { check } => format!("the check {check} failed"),
        RollbackReason::NotConfirmed => "it could not be reached over new connections".to_owned(),
        RollbackReason::CommitFailed => {
            "the new system could not be made the one that boots".to_owned()
        }
        RollbackReason::Asked => "somebody asked for it".to_owned(),
        RollbackReason::NotBooted => {
            "its new system did not boot, so it booted the old one; the console of the host says why".to_owned()
        }
        RollbackReason::Rebooted => "it was reset or lost power".to_owned(),
        _ => "the host says so".to_owned(),
    }
}

fn skip_words(skip: &Skip) -> String {
    match skip {
        Skip::Needs(node) => format!("it needs {node}, which failed"),
        Skip::Gate(node) => format!("{node} failed, and nothing after it is touched"),
        Skip::Canary(node) => format!("{node} went first and failed"),
        Skip::Stopped(node) => format!("{node} failed"),
        Skip::Interrupted => "the run was interrupted".to_owned(),
        _ => "skipped".to_owned(),
    }
}

/// Shows what changed on each host, the logs of failures, and how many ended how.
pub(crate) fn show(
    args: &Args,
    ends: &BTreeMap<NodeName, Ended>,
    journal: &Journal,
) -> Result<(), Failure> {
    if args.switches.json {
        return Ok(());
    }
    let mut out = anstream::stdout().lock();
    write(&mut out, ends, journal)
        .map_err(|e| Failure::new(Exit::Write, "cannot write the summary").because(e))
}

fn write(
    out: &mut dyn Write,
    ends: &BTreeMap<NodeName, Ended>,
    journal: &Journal,
) -> io::Result<()> {
    for ended in ends.values().filter(|ended| ended.verdict() != Verdict::Unchanged) {
        let style = colour(ended.verdict());
        writeln!(out, "{style}{}{style:#}  {}", ended.node, escape(&message(&ended.end)))?;
        // What would have changed is no news of a host that runs what it ran.
        if ended.verdict().is_good() {
            if let Some(before) = &ended.before {
                writeln!(out, "  {}", arrow(before, &ended.wanted))?;
            }
            for line in packages(&ended.changes) {
                writeln!(out, "  {}", escape(&line))?;
            }
        }
        for line in details(&ended.end) {
            writeln!(out, "  | {}", escape(&line))?;
        }
        if matches!(ended.verdict(), Verdict::Failed | Verdict::RolledBack) {
            let log = journal.directory().join(format!("{}.log", ended.node));
            if log.is_file() {
                writeln!(out, "  log: {}", log.display())?;
            }
        }
    }
    let build = ends.values().any(|ended| matches!(ended.end, End::Failed(JobError::Build)));
    if build {
        let log = journal.directory().join("build.log");
        for line in std::fs::read_to_string(&log).unwrap_or_default().lines() {
            writeln!(out, "  | {}", escape(line))?;
        }
    }
    writeln!(out, "{}", counts(ends))
}

/// The lines that tell a person why: the log of an activation, what Nix said, what would change.
fn details(end: &End) -> Vec<String> {
    match end {
        End::Activation(Outcome::RolledBack { log, .. }) => log.clone(),
        End::Activation(Outcome::WouldChange { lines }) => lines.clone(),
        End::Failed(JobError::Activation(ActivationError::RollbackFailed { log, .. })) => {
            log.clone()
        }
        End::Failed(JobError::Activation(ActivationError::DryActivation { lines, .. })) => {
            lines.clone()
        }
        End::Failed(JobError::Copy(CopyError::Nix(NixError::Failed { said, .. }))) => said.clone(),
        _ => Vec::new(),
    }
}

/// Says which packages differ, one a line.
pub(crate) fn packages(changes: &[PackageChange]) -> Vec<String> {
    let versions = |versions: &BTreeSet<String>| {
        let texts = versions.iter().map(|v| if v.is_empty() { "ε" } else { v.as_str() });
        if versions.is_empty() { "∅".to_owned() } else { texts.collect::<Vec<_>>().join(", ") }
    };
    let line = |change: &PackageChange| {
        format!("{}: {} → {}", change.name, versions(&change.before), versions(&change.after))
    };
    let mut lines: Vec<String> = changes.iter().take(MANY).map(line).collect();
    if changes.len() > MANY {
        lines.push(format!("… and {} more packages", changes.len() - MANY));
    }
    lines
}

/// Two systems by their names, and by their hashes when those are the same.
pub(crate) fn arrow(before: &StorePath, after: &StorePath) -> String {
    if before.name() == after.name() {
        let hash = |path: &StorePath| {
            path.as_str().chars().skip("/nix/store/".len()).take(8).collect::<String>()
        };
        return format!("{}: {} → {}", before.name(), hash(before), hash(after));
    }
    format!("{} → {}", before.name(), after.name())
}

fn counts(ends: &BTreeMap<NodeName, Ended>) -> String {
    let mut by: BTreeMap<Verdict, usize> = BTreeMap::new();
    for ended in ends.values() {
        *by.entry(ended.verdict()).or_default() += 1;
    }
    let words = |verdict: &Verdict| match verdict {
        Verdict::Unchanged => "as they should be",
        Verdict::Changed => "changed",
        Verdict::RolledBack => "back on their old system",
        Verdict::Undone => "taken back",
        Verdict::Failed => "failed",
        _ => "not touched",
    };
    let counted: Vec<_> = by.iter().map(|(verdict, n)| format!("{n} {}", words(verdict))).collect();
    format!("{}: {}", plural(ends.len(), "host"), counted.join(", "))
}
