//! `due` and `compromised`: what is to be changed.

use std::collections::BTreeSet;
use std::io;

use clap::Args;
use jiff::Timestamp;
use nixmox_cli::terminal::{Table, escape, plural, width};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::readers::History;
use nixmox_secrets::{
    Due, DueValue, Exposure, Generation, KeyStep, Options, Regenerate, Renewal, Why, due, exposure,
    master, open, preview, renew, view,
};
use nixmox_sops::Identities;
use nixmox_topology::NodeName;
use rand_core::OsRng;
use serde_json::{Value, json};

use super::change::tell_recovery;
use super::{print, print_json};
use crate::args::{Evaluate, Trust, Write};
use crate::context::Context;
use crate::report::{self, Tense};
use crate::{git, history, paths};

/// Arguments of `compromised`.
#[derive(Args, Debug)]
pub(crate) struct Compromised {
    /// The host that somebody broke into.
    pub(crate) host: String,
    /// Look only at the values that it gets now, not at the git history.
    #[arg(long)]
    pub(crate) no_history: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Lists the values that are to be changed.
pub(crate) fn list(context: &Context, evaluate: Evaluate) -> Result<Exit, Failure> {
    let options = context.options(Trust::default(), evaluate);
    let now = Timestamp::now();
    let found = due(&context.root, &options, now).map_err(|error| context.explain(error))?;
    if context.json {
        print_json(&json!({
            "due": found.values.iter().map(value_json).collect::<Vec<_>>(),
            "watched": found.watched,
            "patterns-without-values": found.idle,
            "policy": found.policy,
            "record-vouched-for": !found.unvouched,
        }))?;
    } else {
        print(|out| text(out, &found))?;
    }
    let well = found.values.is_empty() && !found.unvouched;
    Ok(if well { Exit::Ok } else { Exit::Failure })
}

fn text(out: &mut dyn io::Write, found: &Due) -> io::Result<()> {
    let mut table = Table::new(["SECRET", "WHY", "LAST CHANGED"]);
    for value in &found.values {
        let since = value.since.as_deref().unwrap_or("unknown");
        table.row([&paths::show(&value.path), &why(value), since]);
    }
    if !found.values.is_empty() {
        table.write(out, width(std::io::stdout()))?;
    }
    for pattern in &found.idle {
        writeln!(out, "warning: `{}` of policy.maxAge fits no secret", escape(pattern))?;
    }
    if found.unvouched {
        writeln!(
            out,
            ".nixmox/ages.json is not what was recorded last, after a merge perhaps: `nixmox-secrets seal` records anew"
        )?;
    }
    if !found.policy && found.watched == 0 {
        return writeln!(out, "nothing is watched: the master has no policy.maxAge");
    }
    match found.values.len() {
        0 => writeln!(out, "nothing is due; {} watched", plural(found.watched, "value")),
        n => {
            writeln!(out, "{} due; {} watched", plural(n, "value"), plural(found.watched, "value"))
        }
    }
}

fn why(value: &DueValue) -> String {
    match (value.why, value.days, value.limit) {
        (Why::Exposed, ..) => "somebody may have read it".to_owned(),
        (Why::TooOld, Some(days), Some(limit)) => {
            format!("{} old, {limit} allowed", plural(usize::try_from(days).unwrap_or(0), "day"))
        }
        (Why::Declared, ..) => "to be made anew: `generate --due`".to_owned(),
        _ => "nothing tells how old it is".to_owned(),
    }
}

fn value_json(value: &DueValue) -> Value {
    let why = match value.why {
        Why::Exposed => "exposed",
        Why::TooOld => "too-old",
        Why::AgeUnknown => "age-unknown",
        Why::Declared => "declared",
    };
    json!({
        "path": value.path,
        "why": why,
        "since": value.since,
        "days": value.days,
        "limit": value.limit,
    })
}

/// Replaces the key of a host that was broken into, and lists what it could ever read.
pub(crate) fn compromised(context: &Context, args: &Compromised) -> Result<Exit, Failure> {
    let explain = |error| context.explain(error);
    let options = context.options(args.write.trust, args.write.evaluate);
    let (fleet, file) = open(&context.root, &options).map_err(explain)?;
    let tree = master::evaluate(file.form(), file.text(), options.real_nix).map_err(explain)?;
    let nodes = master::nodes(&tree).map_err(explain)?;
    let view = view(&fleet, &file, nodes, &options).map_err(explain)?;
    let history = match args.no_history {
        true => History::default(),
        false => history::read(&context.root, &Identities::new())?,
    };
    let reach = exposure(&fleet, &view, &args.host, &history).map_err(explain)?;
    let again = NodeName::parse(&args.host).map_or(Regenerate::Nothing, Regenerate::ReadBy);
    let generation = Generation { again: &again, ..options.generation };
    let options = Options { generation, ..options };
    let renewal = Renewal {
        master: true,
        keys: [(args.host.clone(), KeyStep::Replace)].into(),
        exposed: reach.current.union(&reach.earlier).cloned().collect(),
        ..Renewal::default()
    };
    let now = Timestamp::now();
    let (report, tense) = if args.write.dry_run {
        let plan = preview(&context.root, options, &renewal, &mut OsRng, now).map_err(explain)?;
        (Some(plan.report().clone()), Tense::Would)
    } else {
        let done = renew(&context.root, options, &renewal, &mut OsRng, now).map_err(explain)?;
        tell_recovery(&done);
        git::intent_to_add(&context.root, &done.written);
        (done.report, Tense::Done)
    };
    if context.json {
        print_json(&json!({
            "host": args.host,
            "report": report.as_ref().map(report::as_json),
            "regenerated": reach.generated,
            "change": reach.current,
            "change-if-the-same": reach.earlier,
            "gone": reach.gone,
            "history": !args.no_history,
            "unread": history.unread,
        }))?;
        return Ok(Exit::Ok);
    }
    print(|out| {
        report.iter().try_for_each(|report| report::text(out, report, tense))?;
        checklist(out, args, &reach)?;
        match history.unread {
            0 => Ok(()),
            n => writeln!(out, "{} in the history could not be read", plural(n, "version")),
        }
    })?;
    Ok(Exit::Ok)
}

fn checklist(out: &mut dyn io::Write, args: &Compromised, reach: &Exposure) -> io::Result<()> {
    let mut list = |title: &str, paths: &BTreeSet<Vec<String>>| {
        if paths.is_empty() {
            return Ok(());
        }
        writeln!(out, "\n{title}")?;
        paths.iter().try_for_each(|path| writeln!(out, "  [ ] {}", escape(&paths::show(path))))
    };
    let host = &args.host;
    let made = if args.write.dry_run { "would be made anew" } else { "were made anew" };
    list(
        &format!(
            "{host} got these generated values, which {made}; bring them to where they are used:"
        ),
        &reach.generated,
    )?;
    list(
        &format!("{host} gets these values; change them where they are used, and here:"),
        &reach.current,
    )?;
    list(
        "it once got values of these names; change them if they are still the same:",
        &reach.earlier,
    )?;
    list("it once got values of these names, which are written nowhere any more:", &reach.gone)?;
    let remembered = reach.current.len().saturating_add(reach.earlier.len());
    if remembered > 0 && !args.write.dry_run {
        writeln!(
            out,
            "\n`nixmox-secrets due` shows what is left of it until every value has changed"
        )?;
    }
    Ok(())
}
