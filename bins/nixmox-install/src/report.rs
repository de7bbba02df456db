//! What is shown of machines: before anything is changed, and in the end.

use std::collections::BTreeMap;
use std::io::{self, Write};

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_install::{InstallError, Installed, Phase, Survey};
use nixmox_topology::NodeName;
use serde_json::{Value as Json, json};

use crate::advice;

/// What each machine is.
pub(crate) type Surveys = BTreeMap<NodeName, Result<Survey, InstallError>>;

/// Shows what would be done to each machine, and what would be erased.
pub(crate) fn surveys(surveys: &Surveys, as_json: bool) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    let written = if as_json {
        let all: serde_json::Map<_, _> =
            surveys.iter().map(|(node, survey)| (node.to_string(), survey_json(survey))).collect();
        writeln!(out, "{}", Json::Object(all))
    } else {
        surveys.iter().try_for_each(|(node, survey)| match survey {
            Ok(survey) => one(&mut out, node, survey),
            Err(error) => failed(&mut out, node, error),
        })
    };
    written.map_err(|e| Failure::new(Exit::Write, "cannot write the report").because(e))
}

fn one(out: &mut dyn Write, node: &NodeName, survey: &Survey) -> io::Result<()> {
    let facts = &survey.facts;
    let firmware = if facts.efi { "EFI" } else { "BIOS" };
    let system = if facts.os.is_empty() { "an unknown system" } else { &facts.os };
    let variant = if facts.variant.is_empty() { "" } else { " " };
    writeln!(
        out,
        "{node}  {} answers: {}{variant}{}, {}, {firmware}, {} MiB",
        survey.who,
        escape(system),
        escape(&facts.variant),
        escape(&facts.arch),
        facts.memory_kib >> 10
    )?;
    for finding in &survey.findings {
        let word = if finding.grave { "no" } else { "note" };
        writeln!(out, "  {word}: {}", escape(&finding.to_string()))?;
        if let Some(way_out) = advice::way_out(&finding.what) {
            writeln!(out, "    {way_out}")?;
        }
    }
    if let Some(next) = survey.next {
        writeln!(out, "  next: {}", next.word())?;
    }
    for disk in &survey.erased {
        let size = disk.size / 1_000_000_000;
        let model = disk.model.as_deref().unwrap_or("disk");
        let name = escape(&disk.lasting_name()).into_owned();
        writeln!(out, "  erases {} ({} of {size} GB, {name})", escape(&disk.path), escape(model))?;
        for held in &disk.holds {
            writeln!(out, "    {}", escape(held))?;
        }
    }
    if let Some(token) = &survey.token {
        writeln!(out, "  to agree: --wipe {node}={token}")?;
    }
    Ok(())
}

/// Shows why a machine is not installed.
pub(crate) fn failed(out: &mut dyn Write, node: &NodeName, error: &InstallError) -> io::Result<()> {
    writeln!(out, "{node}  {}", escape(&advice::message(error)))?;
    for line in error.log() {
        writeln!(out, "  | {}", escape(line))?;
    }
    for hint in advice::hints(node, error) {
        writeln!(out, "  hint: {}", escape(&hint))?;
    }
    Ok(())
}

fn survey_json(survey: &Result<Survey, InstallError>) -> Json {
    match survey {
        Err(error) => {
            json!({ "error": advice::message(error), "code": advice::exit(error).code() })
        }
        Ok(survey) => json!({
            "answers": survey.who.to_string(),
            "next": survey.next.map(Phase::word),
            "arch": survey.facts.arch,
            "os": survey.facts.os,
            "variant": survey.facts.variant,
            "bootId": survey.facts.boot_id,
            "memoryKib": survey.facts.memory_kib,
            "efi": survey.facts.efi,
            "findings": survey.findings.iter().map(|finding| json!({
                "grave": finding.grave, "what": finding.to_string(),
            })).collect::<Vec<_>>(),
            "erases": survey.erased.iter().map(|disk| json!({
                "path": disk.path, "serial": disk.serial, "wwn": disk.wwn, "model": disk.model,
                "size": disk.size, "holds": disk.holds,
            })).collect::<Vec<_>>(),
            "token": survey.token,
        }),
    }
}

/// Says in a line how an installation ended well.
pub(crate) fn message(installed: &Installed) -> String {
    let mut text = match installed.reached {
        Phase::Verify => "is installed, and answers with its own key".to_owned(),
        phase => format!("is done up to {}", phase.word()),
    };
    if !installed.failed_units.is_empty() {
        text.push_str(&format!(", without {}", installed.failed_units.join(", ")));
    }
    if installed.unauthenticated {
        text.push_str("; nothing vouched for the key that its installer had");
    }
    text
}
