use std::collections::BTreeSet;

use nixmox_cli::terminal::{self, escape, plural};
use nixmox_cli::{Exit, Failure};
use nixmox_manifest::render::{self, Look};
use nixmox_manifest::{Capacity, Code, Facts, Format, Severity, check as find, secret};
use serde_json::json;

use super::certificate;
use crate::args::{Args, Check, CheckFormat, Deny};
use crate::files::{Found, read};
use crate::print::{print, print_json};
use crate::tools::Program;

/// Finds everything that is wrong, and says so.
pub(crate) fn check(args: &Args, check: &Check) -> Result<Exit, Failure> {
    if let Some(code) = &check.explain {
        rules(args, Some(code), false)?;
        return Ok(Exit::Ok);
    }
    let loaded = Found::new(args)?.load(args.nix)?;
    let mut facts = Facts::default();
    facts.strict = check.strict;
    facts.secrets = sealed(check)?;
    facts.capacity = capacity(check)?;
    facts.certificate = check.certificate.as_deref().map(certificate::read_names).transpose()?;
    let (bash, caddy) = (Program::bash(), Program::caddy());
    if check.tools {
        facts.shell = Some(&bash);
        facts.caddy = Some(&caddy);
    }
    let report = find(&loaded, &facts);
    let sources = loaded.sources();
    let format = if args.switches.json { CheckFormat::Json } else { check.format };
    match format {
        CheckFormat::Pretty => {
            let look = Look {
                color: colored(),
                width: terminal::width(std::io::stdout()).unwrap_or(100).clamp(60, 120),
            };
            print(&render::pretty(&report, sources, look))?;
        }
        CheckFormat::Short => print(&render::short(&report, sources))?,
        CheckFormat::Json => print_json(&render::as_json(&report, sources))?,
        CheckFormat::Github => print(&render::github(&report, sources))?,
    }
    if matches!(format, CheckFormat::Pretty | CheckFormat::Short) {
        let services = loaded.manifest().map_or(0, |manifest| manifest.listed().count());
        let counts = [Severity::Error, Severity::Warning, Severity::Note];
        let counts = counts.map(|severity| (report.count(severity), severity.word()));
        let found: Vec<String> = counts
            .into_iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| plural(count, word))
            .collect();
        let services = plural(services, "service");
        match found.is_empty() {
            true => print(&format!("all is well: {services}\n"))?,
            false => print(&format!("{} in {services}\n", found.join(", ")))?,
        }
    }
    [bash, caddy].iter().try_for_each(Program::present)?;
    let passes = report.passes(check.deny == Some(Deny::Warnings));
    Ok(if passes { Exit::Ok } else { Exit::Failure })
}

/// Tells whether colours go to standard output.
fn colored() -> bool {
    let choice = anstream::AutoStream::choice(&std::io::stdout());
    choice != anstream::ColorChoice::Never
}

fn sealed(check: &Check) -> Result<Option<BTreeSet<String>>, Failure> {
    if check.secrets.is_empty() {
        return Ok(None);
    }
    let mut names = BTreeSet::new();
    for path in &check.secrets {
        let shown = path.display().to_string();
        let shown = escape(&shown);
        let text = read(path)
            .map_err(|e| Failure::new(Exit::NoFile, format!("cannot read {shown}")).because(e))?;
        let format = path.to_str().and_then(Format::of_name).unwrap_or(Format::Yaml);
        names.extend(secret::sealed_names(&text, format).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("{shown} has no names of secrets"))
        })?);
    }
    Ok(Some(names))
}

fn capacity(check: &Check) -> Result<Option<Capacity>, Failure> {
    match check.capacity.as_slice() {
        [] => Ok(None),
        [cores, memory, disk_gb] => {
            Ok(Some(Capacity { cores: *cores, memory: *memory, disk_gb: *disk_gb }))
        }
        _ => Err(Failure::new(Exit::Usage, "--capacity takes three numbers: CORES,MIB,GIB")),
    }
}

/// Lists all rules, or explains one.
pub(crate) fn rules(args: &Args, code: Option<&str>, markdown: bool) -> Result<(), Failure> {
    let codes = match code {
        None => Code::ALL.to_vec(),
        Some(text) => vec![text.parse().map_err(|_| {
            Failure::new(Exit::Usage, format!("there is no rule `{text}`"))
                .hint("list them: nixmox-manifest rules")
        })?],
    };
    if args.switches.json {
        let rules = codes.iter().map(|code| code.rule()).map(|rule| {
            json!({
                "code": rule.code.name(),
                "severity": rule.severity.word(),
                "title": rule.title,
                "explanation": rule.explanation,
            })
        });
        return print_json(&rules.collect());
    }
    if markdown {
        return print(&render::table());
    }
    match code {
        Some(_) => print(&codes.into_iter().map(render::explain).collect::<String>()),
        None => {
            let line = |code: Code| {
                let rule = code.rule();
                format!("{}  {:<7}  {}\n", rule.code, rule.severity.word(), rule.title)
            };
            print(&codes.into_iter().map(line).collect::<String>())
        }
    }
}
