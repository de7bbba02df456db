use std::collections::BTreeMap;
use std::fmt::Write;

use nixmox_cli::Failure;
use nixmox_manifest::{Change, Diff, Effect};
use serde_json::{Value, json};

use super::sound;
use crate::args::Args;
use crate::files::Found;
use crate::print::{print_escaped, print_json};

/// Shows what changed, and what has to be deployed again.
pub(crate) fn show(args: &Args, old: &str, new: Option<&str>) -> Result<(), Failure> {
    let both_files = new.is_some_and(|new| std::path::Path::new(new).is_file())
        && std::path::Path::new(old).is_file();
    // Two files need no third one.
    let found = if both_files { Found::of(std::path::Path::new(old))? } else { Found::new(args)? };
    let before = found.load_version(old, args.nix)?;
    let after = match new {
        Some(new) => found.load_version(new, args.nix)?,
        None => found.load(args.nix)?,
    };
    let diff = Diff::new(sound(&before)?, sound(&after)?);
    if args.switches.json {
        return print_json(&as_json(&diff));
    }
    print_escaped(&text(&diff))
}

fn text(diff: &Diff) -> String {
    if diff.is_empty() {
        return "nothing changes\n".to_owned();
    }
    let mut out = String::new();
    for change in &diff.changes {
        let _ = writeln!(out, "{}", line(change));
    }
    out.push_str("\nto deploy:\n");
    let mut nothing = true;
    for (name, (effect, parts)) in &diff.hosts {
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let why = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        let _ = writeln!(out, "  {:<8} host {name}{why}", word(*effect));
        nothing = false;
    }
    for (what, effects) in [("container", &diff.containers), ("application", &diff.applications)] {
        for (name, effect) in effects {
            let _ = writeln!(out, "  {:<8} {what} {name}", word(*effect));
            nothing = false;
        }
    }
    for name in &diff.new_secrets {
        let _ = writeln!(out, "  {:<8} secret {name}", "seal");
        nothing = false;
    }
    for name in &diff.old_secrets {
        let _ = writeln!(out, "  {:<8} secret {name}, which nothing asks for", "drop");
        nothing = false;
    }
    if nothing {
        out.push_str("  nothing\n");
    }
    out
}

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Create => "create",
        Effect::Update => "update",
        Effect::Destroy => "destroy",
    }
}

fn line(change: &Change) -> String {
    let path = &change.path;
    match (&change.old, &change.new) {
        (None, Some(new)) => format!("+ {path} = {}", short(new)),
        (Some(old), None) => format!("- {path} = {}", short(old)),
        (Some(old), Some(new)) => format!("~ {path}: {} → {}", short(old), short(new)),
        (None, None) => path.clone(),
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

fn as_json(diff: &Diff) -> Value {
    let hosts: BTreeMap<&String, Value> = diff
        .hosts
        .iter()
        .map(|(name, (effect, parts))| (name, json!({ "effect": effect, "parts": parts })))
        .collect();
    json!({
        "empty": diff.is_empty(),
        "changes": diff.changes,
        "hosts": hosts,
        "containers": diff.containers,
        "applications": diff.applications,
        "new_secrets": diff.new_secrets,
        "old_secrets": diff.old_secrets,
    })
}
