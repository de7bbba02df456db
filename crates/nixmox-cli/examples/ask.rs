//! Does what its first argument says, so that tests can drive it through a real terminal and with real signals.
//!
//! It prints lengths and outcomes, never a value.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use nixmox_cli::editor::{Editor, EditorError, Options, Session};
use nixmox_cli::plaintext::Places;
use nixmox_cli::prompt::{self, Newline, PromptError};
use nixmox_cli::{Exit, Failure, harden, scrubbed};
use nixmox_tree::SecretString;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match *words.as_slice() {
        ["secret"] => prompt::secret("value").map(length).map_err(asking),
        ["confirm"] => prompt::confirm("sure?").map(|yes| yes.to_string()).map_err(asking),
        ["stdin"] => prompt::read_secret_stdin(64, Newline::StripOne).map(length).map_err(asking),
        ["edit", place, times, command] => edit(place, times, command).map_err(editing),
        ["harden"] => Ok(format!("{:?}", harden())),
        ["child"] => child(),
        _ => Err(Failure::new(Exit::Usage, "no such test")),
    };
    match done.map(|said| writeln!(std::io::stdout(), "{said}")) {
        Ok(written) => written.map_or(Exit::Write, |()| Exit::Ok).into(),
        Err(failure) => failure.report(),
    }
}

fn length(text: SecretString) -> String {
    format!("{} bytes", text.len())
}

fn asking(error: PromptError) -> Failure {
    Failure::from_error(Exit::Failure, error)
}

fn editing(error: EditorError) -> Failure {
    Failure::from_error(error.exit(), error)
}

fn edit(place: &str, times: &str, command: &str) -> Result<String, EditorError> {
    let places = Places { memory: vec![PathBuf::from(place)], disk: None };
    let options = Options { editor: Editor::from_command(command)?, places };
    let mut session = Session::open(&SecretString::new("first line\n"), "secrets.nix", &options)?;
    let mut said = Vec::new();
    for _ in 0..times.parse().unwrap_or(1) {
        let edited = session.run()?;
        let kept = edited.text.expose().lines().count();
        said.push(format!("{kept} lines, changed {}, left {:?}", edited.changed, edited.leftovers));
    }
    Ok(said.join("; "))
}

fn child() -> Result<String, Failure> {
    let output = scrubbed(std::process::Command::new("env")).output();
    let output = output.map_err(|error| Failure::from_error(Exit::Failure, error))?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
