//! Commands that look at sealed files and change nothing: `status` and `check`.

use anstyle::{AnsiColor, Style};
use jiff::Timestamp;
use nixmox_cli::terminal::{escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::{Checked, Options, Renewal, preview};
use nixmox_sops::Identities;
use rand_core::OsRng;
use serde_json::json;

use super::change::tell;
use super::{print, print_json};
use crate::args::{Evaluate, Trust};
use crate::context::Context;
use crate::report::Tense;

/// Shows what sealing would change.
pub(crate) fn status(context: &Context, trust: Trust, evaluate: Evaluate) -> Result<Exit, Failure> {
    let options = context.options(trust, evaluate);
    let plan = preview(&context.root, options, &Renewal::default(), &mut OsRng, Timestamp::now())
        .map_err(|error| context.explain(error))?;
    tell(context, plan.report(), Tense::Would)?;
    Ok(Exit::Ok)
}

/// Checks every sealed file.
pub(crate) fn check(context: &Context, keyless: bool, evaluate: Evaluate) -> Result<Exit, Failure> {
    let none = Identities::new();
    let options = context.options(Trust::default(), evaluate);
    let options = if keyless { Options { identities: &none, ..options } } else { options };
    if options.identities.is_empty() && !keyless {
        return Err(Failure::new(Exit::NoIdentity, "there is no key to open the secrets with")
            .hint("without one, `check --keyless` looks at what can be seen from outside"));
    }
    let checked =
        nixmox_secrets::check(&context.root, &options).map_err(|error| context.explain(error))?;
    if context.json {
        print_json(&as_json(&checked))?;
    } else {
        print(|out| text(out, &checked))?;
    }
    Ok(if checked.problems.is_empty() { Exit::Ok } else { Exit::Failure })
}

fn text(out: &mut dyn std::io::Write, checked: &Checked) -> std::io::Result<()> {
    let red = Style::new().fg_color(Some(AnsiColor::Red.into()));
    for problem in &checked.problems {
        let said = problem.kind.to_string();
        writeln!(out, "{red}{}{red:#}  {}", escape(problem.path.as_str()), escape(&said))?;
    }
    for host in &checked.rotating {
        writeln!(out, "{host} is to get a new key: deploy it, then `rotate-host {host} --finish`")?;
    }
    let how = if checked.opened { "opened and compared" } else { "looked at from outside" };
    let hosts = plural(checked.hosts, "sealed host");
    match checked.problems.len() {
        0 => writeln!(out, "all is well: {hosts} {how}"),
        n => writeln!(out, "{} found; {hosts} {how}", plural(n, "problem")),
    }
}

fn as_json(checked: &Checked) -> serde_json::Value {
    let problems: Vec<_> = checked
        .problems
        .iter()
        .map(|problem| {
            json!({
                "path": problem.path.to_string(),
                "code": problem.kind.code(),
                "message": problem.kind.to_string(),
            })
        })
        .collect();
    json!({ "problems": problems, "hosts": checked.hosts, "opened": checked.opened, "rotating": checked.rotating.iter().map(ToString::to_string).collect::<Vec<_>>() })
}
