use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::say;

/// Why a task was not done, in words for the person who started it.
#[derive(Debug)]
pub(crate) struct Failed(String);

impl Failed {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the directory of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Prepares the cargo that runs this task, at the root of the workspace.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs `command` after showing it, and fails if it does.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let shown = show(command);
    say(&format!("+ {shown}"));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed::new(format!("`{shown}` failed ({status})"))),
        Err(error) => Err(Failed::new(format!("`{shown}` cannot be run: {error}"))),
    }
}

/// Runs `command` after showing it, and returns what it prints.
pub(crate) fn capture(command: &mut Command) -> Result<String, Failed> {
    let shown = show(command);
    say(&format!("+ {shown}"));
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failed::new(format!("`{shown}` cannot be run: {error}")))?;
    if !output.status.success() {
        return Err(Failed::new(format!("`{shown}` failed ({})", output.status)));
    }
    String::from_utf8(output.stdout).map_err(|_| Failed::new(format!("`{shown}` prints no text")))
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
