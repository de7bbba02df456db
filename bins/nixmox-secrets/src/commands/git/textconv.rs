//! `git textconv`: one sealed file without its values.

use std::io::{self, Write};
use std::path::Path;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::Fleet;
use nixmox_secrets::review::{Keyring, Line, Sketch, sketch};
use nixmox_sops::{EncryptedFile, Format, detect};

use super::super::input::read_file;
use super::super::print;
use super::super::read::refuse_to_reveal;
use crate::args::{Args, Evaluate, Trust};
use crate::context::Context;
use crate::paths;

/// Shows the file. A file that cannot be read as it should is shown as such: git takes a failure for its own.
pub(super) fn run(args: &Args, file: &Path, reveal: bool) -> Result<Exit, Failure> {
    refuse_to_reveal(reveal)?;
    let bytes = read_file(file)?;
    let bytes = bytes.expose();
    let found = Context::find(args);
    let in_fleet = found.is_ok();
    let context = found.unwrap_or_else(|_| Context::at(".".into(), args.switches.json));
    let options = context.options(Trust::default(), Evaluate::default());
    // Looking through a fleet takes longer than all the rest, and is of use for hosts' files alone.
    let fleet = (in_fleet && !is_for_us(bytes, options.identities))
        .then(|| Fleet::open(&context.root, options.ask_nix).ok());
    let keys = Keyring::new(options.identities, fleet.as_ref().and_then(Option::as_ref));
    print(|out| match sketch(bytes, &keys) {
        Ok(sketch) => text(out, &sketch, reveal),
        Err(_) if bytes.is_empty() => Ok(()),
        Err(error) => {
            writeln!(out, "not sealed: {} bytes that are no sops file are not shown", bytes.len())?;
            writeln!(out, "because: {}", escape(&error.to_string()))
        }
    })?;
    Ok(Exit::Ok)
}

/// Tells whether a label of the file names one of the person's keys.
fn is_for_us(bytes: &[u8], identities: &nixmox_sops::Identities) -> bool {
    let parsed = detect(bytes).and_then(|format| EncryptedFile::parse(bytes, format).ok());
    parsed.is_some_and(|file| {
        let labels = file.recipients();
        identities.recipients().iter().any(|own| labels.contains(&own.as_str()))
    })
}

fn text(out: &mut dyn Write, sketch: &Sketch, reveal: bool) -> io::Result<()> {
    let format = match sketch.format {
        Format::Yaml => "YAML",
        Format::Json => "JSON",
        Format::Binary => "sealed whole",
        _ => "sops",
    };
    let what = if sketch.opened { "values" } else { "ciphertext" };
    writeln!(out, "# {format}; fingerprints of {what}")?;
    if let Some(problem) = &sketch.problem {
        writeln!(out, "# not opened: {}", escape(problem))?;
    }
    for recipient in &sketch.recipients {
        writeln!(out, "# sealed to {}", escape(recipient))?;
    }
    for finding in &sketch.findings {
        writeln!(out, "# not sealed strictly: {}", escape(finding))?;
    }
    sketch.lines.iter().try_for_each(|line| self::line(out, line, reveal))
}

/// Writes what stands at one place; every line stands for itself, so that diffs show what changed alone.
fn line(out: &mut dyn Write, line: &Line, reveal: bool) -> io::Result<()> {
    let document = if line.document == 0 { String::new() } else { format!("{}: ", line.document) };
    let path = paths::show(&line.path);
    let place = if line.path.is_empty() { "(top)" } else { &path };
    write!(out, "{document}{}: {}", escape(place), line.kind)?;
    if !line.sealed {
        write!(out, " NOT SEALED")?;
    }
    if let Some(print) = line.print.as_ref().or(line.cipher.as_ref()) {
        write!(out, " {print}")?;
    }
    match &line.value {
        Some(value) if reveal => writeln!(out, " = {}", escape(value.expose())),
        _ => writeln!(out),
    }
}
