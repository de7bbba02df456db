//! `doctor`: what is wrong around the secrets, and the way out.

mod fix;
mod git;
mod keys;
mod live;
mod walk;

use std::path::{Path, PathBuf};

use anstyle::{AnsiColor, Style};
use clap::{Args as ClapArgs, ValueHint};
use nixmox_cli::plaintext::Places;
use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure, Hardening, Progress, plaintext};
use nixmox_secrets::doctor::{Drill, Finding, Needles, Severity, Trouble, admins, drill};
use nixmox_secrets::identities::load_file;
use nixmox_secrets::{Error, Fleet, Master, Options, master, view};
use nixmox_tree::SecretTree;
use serde_json::json;

use super::{print, print_json};
use crate::args::{Evaluate, Trust};
use crate::context::Context;
use fix::Fix;

/// Arguments of `doctor`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Doctor {
    /// Ask machines for their keys and compare: every host by its name in ssh's configuration, or only HOST, at
    /// ADDRESS or ADDRESS:PORT when given. May be given several times.
    #[arg(long, value_name = "HOST[=ADDRESS]", num_args = 0..=1, default_missing_value = "")]
    live: Vec<String>,
    /// Look for values in this store path; without PATH in everything that the running system is made of.
    #[arg(long, value_name = "PATH", num_args = 0..=1, value_hint = ValueHint::AnyPath)]
    #[arg(default_missing_value = "/run/current-system")]
    store: Vec<PathBuf>,
    /// Try this key too, such as another admin's: does it open everything? May be given several times.
    #[arg(long, value_name = "KEYFILE", value_hint = ValueHint::FilePath)]
    drill: Vec<PathBuf>,
    /// Offer to remove what is left over and to mend modes, one by one; nothing that is sealed is ever removed.
    #[arg(long)]
    fix: bool,
    /// With --fix: do all of it without asking.
    #[arg(long, requires = "fix")]
    yes: bool,
    #[command(flatten)]
    evaluate: Evaluate,
}

/// Everything that was found, with what can be done about it here.
pub(crate) struct Examined {
    findings: Vec<(Finding, Option<Fix>)>,
    /// What was looked at, for the last line.
    looked: Vec<String>,
}

impl Examined {
    fn found(&mut self, trouble: Trouble, place: impl Into<String>) {
        self.findings.push((Finding { trouble, place: place.into() }, None));
    }

    fn fixable(&mut self, trouble: Trouble, place: impl Into<String>, fix: Fix) {
        self.findings.push((Finding { trouble, place: place.into() }, Some(fix)));
    }
}

/// Examines the fleet and what is around it.
pub(crate) fn run(context: &Context, args: &Doctor) -> Result<Exit, Failure> {
    let explain = |error| context.explain(error);
    let options = context.options(Trust::default(), args.evaluate);
    let fleet = Fleet::open(&context.root, options.ask_nix).map_err(explain)?;
    let live = live::wanted(&fleet, &args.live)?;
    let mut examined = Examined { findings: Vec::new(), looked: Vec::new() };
    system(&mut examined, nixmox_cli::harden());
    keys::check(context.loaded(), &args.drill, &mut examined);
    recipients(&fleet, &mut examined).map_err(explain)?;
    drill_all(context, &fleet, &args.drill, &mut examined)?;
    let needles = needles(context, &fleet, args.evaluate, &mut examined)?;
    search(context, &fleet, (needles.as_ref(), &args.store), &mut examined);
    live::check(&fleet, &live, &mut examined);
    examined
        .findings
        .sort_by(|(a, _), (b, _)| (a.trouble.severity(), a).cmp(&(b.trouble.severity(), b)));
    examined.findings.dedup_by(|(a, _), (b, _)| a == b);
    let fixed = if args.fix { fix::all(&examined, args.yes)? } else { Vec::new() };
    tell(context, &examined, &fixed)?;
    let left = examined.findings.iter().enumerate().filter(|(index, (finding, _))| {
        finding.trouble.severity() == Severity::Problem && !fixed.contains(index)
    });
    Ok(if left.count() == 0 { Exit::Ok } else { Exit::Failure })
}

/// Notes what the system did not agree to.
fn system(examined: &mut Examined, hardening: Hardening) {
    if !hardening.no_core_file {
        examined.found(Trouble::CoreFiles, "this session");
    }
    if !hardening.locked_memory {
        examined.found(Trouble::UnlockedMemory, "this session");
    }
}

/// Counts who can open the master.
fn recipients(fleet: &Fleet, examined: &mut Examined) -> Result<(), Error> {
    match admins(fleet) {
        Ok(admins) if admins.len() < 2 => {
            let master = fleet.layout().master()?;
            examined.found(Trouble::FewAdmins(admins.len()), master.to_string());
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Tries the user's keys, and those of the drill, on everything that admins open.
fn drill_all(
    context: &Context,
    fleet: &Fleet,
    files: &[PathBuf],
    examined: &mut Examined,
) -> Result<(), Failure> {
    let explain = |error| context.explain(error);
    let mut shown: Option<Drill> = None;
    let mut add = |found: Drill| match &mut shown {
        None => shown = Some(found),
        Some(shown) => shown.merge(found),
    };
    if !context.loaded().identities.is_empty() {
        add(drill(fleet, &context.loaded().identities).map_err(explain)?);
    }
    for path in files {
        let keys = load_file(path, Some(context.interaction())).map_err(|error| {
            Failure::new(Exit::Usage, format!("{} is no key file", path.display())).because(error)
        })?;
        add(drill(fleet, &keys).map_err(explain)?);
    }
    let Some(shown) = shown else { return Ok(()) };
    for (path, cause) in shown.closed {
        examined.found(Trouble::DrillClosed(cause), path.to_string());
    }
    let mut proved = 0;
    for (recipient, of) in &shown.recipients {
        proved += usize::from(of.is_proved());
        for path in &of.failed {
            examined.found(Trouble::DrillFailed(recipient.clone()), path.to_string());
        }
        for path in of.others.iter().filter(|path| !of.failed.contains(path)) {
            examined.found(Trouble::LabelLies(recipient.clone()), path.to_string());
        }
        if !of.held && of.others.is_empty() {
            examined.found(Trouble::NotProved, recipient.clone());
        }
    }
    let all = plural(shown.recipients.len(), "recipient");
    let files = plural(shown.files, "file");
    examined.looked.push(format!("drill: {proved} of {all} proved on {files}"));
    Ok(())
}

/// Takes every current value as something to look for; nothing without a key for the master.
fn needles(
    context: &Context,
    fleet: &Fleet,
    evaluate: Evaluate,
    examined: &mut Examined,
) -> Result<Option<Needles>, Failure> {
    let explain = |error| context.explain(error);
    let options = context.options(Trust::default(), evaluate);
    let opened = match Master::open(fleet, options.identities) {
        Ok(opened) => opened,
        Err(Error::NoMaster { .. }) => return Ok(None),
        Err(Error::Open { path, .. }) => {
            examined.found(Trouble::NoKey, path.to_string());
            return Ok(None);
        }
        Err(error) => return Err(explain(error)),
    };
    let written =
        master::evaluate(opened.form(), opened.text(), options.real_nix).map_err(explain)?;
    let tree = with_generated(&options, (fleet, &opened), written, examined);
    let needles = Needles::of(&tree).map_err(|error| {
        Failure::new(Exit::Failure, "the values cannot be looked for").because(error)
    })?;
    let short = match needles.left_out() {
        0 => String::new(),
        n => format!(" ({n} too short or too plain to look for)"),
    };
    examined.looked.push(format!("looked for {}{short}", plural(needles.len(), "value")));
    Ok(Some(needles))
}

/// Puts the values that were made beside those that were written, but for their public parts.
fn with_generated(
    options: &Options<'_>,
    (fleet, opened): (&Fleet, &Master),
    mut tree: SecretTree,
    examined: &mut Examined,
) -> SecretTree {
    let Ok(nodes) = master::nodes(&tree) else { return tree };
    let view = match view(fleet, opened, nodes, options) {
        Ok(view) => view,
        Err(error) => {
            examined.found(Trouble::NotSearched(error.to_string()), "generated values");
            return tree;
        }
    };
    let mut nodes = view.nodes().clone();
    for listed in view.list() {
        for part in &listed.public {
            let place = listed.item.stands_at().part(part);
            let path: Vec<String> = std::iter::once(place.level).chain(place.path).collect();
            nodes.remove_at(&path);
        }
    }
    tree.insert("nodes", nodes.into());
    tree
}

/// Looks for leftovers and values in the work tree, git, temporary files, shell histories and the store.
fn search(
    context: &Context,
    fleet: &Fleet,
    (needles, store): (Option<&Needles>, &[PathBuf]),
    examined: &mut Examined,
) {
    let places = Places::from_env(false);
    for path in plaintext::stale(&places) {
        examined.fixable(Trouble::EditorDirectory, path.display().to_string(), Fix::Stale);
    }
    walk::tree(&context.root, fleet.topology(), needles, examined);
    let Some(needles) = needles.filter(|needles| !needles.is_empty()) else { return };
    git::search(&context.root, needles, examined);
    walk::temporary(&context.root, needles, examined);
    walk::shells(needles, examined);
    for path in store {
        walk::store(path, needles, examined);
    }
}

fn tell(context: &Context, examined: &Examined, fixed: &[usize]) -> Result<(), Failure> {
    if context.json {
        let findings: Vec<_> = examined
            .findings
            .iter()
            .enumerate()
            .map(|(index, (finding, fix))| {
                let trouble = &finding.trouble;
                json!({
                    "code": trouble.code(),
                    "severity": if trouble.severity() == Severity::Note { "note" } else { "problem" },
                    "place": finding.place,
                    "cause": trouble.to_string(),
                    "wayOut": trouble.way_out(),
                    "fixable": fix.is_some(),
                    "fixed": fixed.contains(&index),
                })
            })
            .collect();
        return print_json(&json!({ "findings": findings, "looked": examined.looked }));
    }
    print(|out| text(out, examined, fixed))
}

fn text(out: &mut dyn std::io::Write, examined: &Examined, fixed: &[usize]) -> std::io::Result<()> {
    let colour = |c: AnsiColor| Style::new().fg_color(Some(c.into()));
    let mut problems = 0;
    for (index, (finding, _)) in examined.findings.iter().enumerate() {
        let Finding { trouble, place } = finding;
        let note = trouble.severity() == Severity::Note;
        let style = colour(if note { AnsiColor::Cyan } else { AnsiColor::Red });
        let word = if note { "note " } else { "" };
        let (place, cause) = (escape(place), trouble.to_string());
        writeln!(out, "{word}{style}{}{style:#}  {place}  {}", trouble.code(), escape(&cause))?;
        if fixed.contains(&index) {
            writeln!(out, "    done")?;
        } else {
            problems += usize::from(!note);
            writeln!(out, "    {}", trouble.way_out())?;
        }
    }
    for line in &examined.looked {
        writeln!(out, "{}", escape(line))?;
    }
    match problems {
        0 => writeln!(out, "nothing has to be done"),
        n => writeln!(out, "{} found", plural(n, "problem")),
    }
}

/// Shows that a long search goes on.
fn searching(what: &str) -> Progress {
    Progress::spinner(&format!("searching {what}"))
}

/// Names a path from the fleet's directory, where it is below it.
fn shown(root: &Path, path: &Path) -> String {
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}
