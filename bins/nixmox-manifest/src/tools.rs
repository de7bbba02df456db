//! Installed programs that know more: Nix, bash, Caddy.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use nixmox_cli::{Exit, Failure};
use nixmox_manifest::{Judge, Loaded, SourceFile, wrap};
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

/// A program that judges texts, and whether it turned out not to be there.
pub(crate) struct Program {
    name: &'static str,
    arguments: &'static [&'static str],
    /// What comes before and after a text: a program may read whole files only.
    frame: (&'static str, &'static str),
    missing: AtomicBool,
}

impl Program {
    /// Bash, which reads a command without running it.
    pub(crate) fn bash() -> Self {
        Self::new("bash", &["-n", "-s"], ("", ""))
    }

    /// Caddy, which reads the body of a site.
    pub(crate) fn caddy() -> Self {
        let arguments = &["adapt", "--adapter", "caddyfile", "--config", "/dev/stdin"];
        Self::new("caddy", arguments, ("example.invalid {\n", "\n}\n"))
    }

    fn new(
        name: &'static str,
        arguments: &'static [&'static str],
        frame: (&'static str, &'static str),
    ) -> Self {
        Self { name, arguments, frame, missing: AtomicBool::new(false) }
    }

    /// Demands that the program was there whenever it was asked.
    pub(crate) fn present(&self) -> Result<(), Failure> {
        if self.missing.load(Ordering::Relaxed) {
            return Err(Failure::new(Exit::Failure, format!("{} cannot be run", self.name))
                .hint(format!("--tools asks it: install {}, or leave --tools out", self.name)));
        }
        Ok(())
    }

    /// Takes the frame's lines off the places that the program names.
    fn mapped_back(&self, said: &str) -> String {
        let above = self.frame.0.matches('\n').count();
        let Some((before, rest)) = said.split_once("/dev/stdin:") else { return said.to_owned() };
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (line, rest) = rest.split_at(digits);
        match line.parse::<usize>().ok().and_then(|line| line.checked_sub(above)) {
            Some(line) => format!("{before}line {line}{rest}"),
            None => said.to_owned(),
        }
    }
}

impl Judge for Program {
    fn judge(&self, text: &str) -> Result<(), String> {
        let mut command = nixmox_cli::scrubbed(Command::new(self.name));
        command.args(self.arguments);
        let (before, after) = self.frame;
        match feed(command, &format!("{before}{text}{after}")) {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr);
                let mut lines = said.lines().rev().map(str::trim);
                let last = lines.find(|line| !line.is_empty()).unwrap_or_default();
                Err(format!("{} refuses it: {}", self.name, self.mapped_back(last)))
            }
            Err(_) => {
                self.missing.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
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
