//! Installed programs that know more: Nix, bash, Caddy.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nixmox_cli::{Exit, Failure};
use nixmox_manifest::{Loaded, SourceFile, wrap};
use nixmox_nix::NixEvaluator;
use nixmox_tree::{SecretBytes, SecretString};

use crate::files;

/// Evaluates through `nix-instantiate`, which may read below one directory.
struct NixInstantiate<'r> {
    root: &'r Path,
}

impl NixEvaluator for NixInstantiate<'_> {
    type Error = Failure;

    fn eval_json(&self, text: &SecretString) -> Result<SecretBytes, Failure> {
        let mut command = nixmox_cli::scrubbed(Command::new("nix-instantiate"));
        command.args(["--eval", "--strict", "--json", "-"]);
        command.args(["--option", "restrict-eval", "true"]);
        command.args(["--option", "allow-import-from-derivation", "false"]);
        command.arg("-I").arg(format!("manifest={}", self.root.display()));
        let output = feed(command, text.expose()).map_err(|e| {
            Failure::new(Exit::Failure, "nix-instantiate cannot be run")
                .because(e)
                .hint("without --nix the embedded evaluator is used")
        })?;
        if output.status.success() {
            return Ok(SecretBytes::new(output.stdout));
        }
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Failure::new(Exit::Usage, "Nix does not evaluate the manifest")
            .because(io::Error::other(said)))
    }
}

/// Evaluates a manifest with the installed Nix.
pub(crate) fn evaluate(root: &Path, name: &str) -> Result<Loaded, Failure> {
    let path = root.join(name);
    let expression = SecretString::new(wrap(&path.display().to_string()));
    let answer = NixInstantiate { root }.eval_json(&expression)?;
    let answer = answer.as_str().unwrap_or_default();
    let parsed: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
    let positions = parsed.get("positions").and_then(|p| p.as_array()).into_iter().flatten();
    let named = positions.filter_map(|item| item.get("pos")?.as_array()?.first()?.as_str());
    let mut names: Vec<&str> = named.collect();
    names.sort_unstable();
    names.dedup();
    // The manifest itself comes first.
    names.sort_by_key(|file| Path::new(file) != path);
    let files = names.into_iter().filter_map(|file| {
        let inside = Path::new(file).strip_prefix(root).ok()?.to_str()?;
        let text = files::read_import(root, inside)?;
        Some(SourceFile { name: file.to_owned(), text })
    });
    Ok(Loaded::from_nix(answer, files.collect()))
}

/// Has bash read a command without running it.
pub(crate) fn shell(command: &str) -> Result<(), String> {
    let mut bash = nixmox_cli::scrubbed(Command::new("bash"));
    bash.args(["-n", "-s"]);
    judged(bash, command, "bash refuses it")
}

/// Has Caddy read the body of a site.
pub(crate) fn caddy(body: &str) -> Result<(), String> {
    let mut caddy = nixmox_cli::scrubbed(Command::new("caddy"));
    caddy.args(["adapt", "--adapter", "caddyfile", "--config", "/dev/stdin"]);
    judged(caddy, &format!("example.invalid {{\n{body}\n}}\n"), "caddy refuses it")
}

fn judged(command: Command, text: &str, what: &str) -> Result<(), String> {
    match feed(command, text) {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
            Err(format!("{what}: {}", last.trim()))
        }
        Err(error) => Err(format!("{what}: it cannot be run ({error})")),
    }
}

/// Runs a program with a text on its standard input.
fn feed(mut command: Command, text: &str) -> io::Result<Output> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let text = text.to_owned();
    let feed = std::thread::spawn(move || stdin.map(|mut pipe| pipe.write_all(text.as_bytes())));
    let output = child.wait_with_output();
    // A program that stops reading says why with its status.
    let _ = feed.join();
    output
}
