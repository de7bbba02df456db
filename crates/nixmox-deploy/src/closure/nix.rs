//! Nix' programs on this machine.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::process::Stdio;

use thiserror::Error;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;

use super::NixLine;

/// How much Nix may answer.
const MAX_ANSWER: u64 = 64 << 20;
/// The longest line that is read at once; longer ones become several.
const MAX_LINE: u64 = 64 << 10;
/// How many of the last lines an error carries; all of them went to whoever listens.
const LAST: usize = 60;

/// How Nix is run on this machine.
#[derive(Debug, Clone, Default)]
pub struct Nix {
    /// Settings, as `--option` takes them.
    pub options: Vec<(String, String)>,
    /// Variables of the environment that it does not see.
    pub hidden: Vec<OsString>,
}

impl Nix {
    /// Prepares one of Nix' programs.
    pub(super) fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        for name in &self.hidden {
            command.env_remove(name);
        }
        command
    }

    /// Adds what every program of Nix takes.
    pub(super) fn configure<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.args(["--log-format", "internal-json"]);
        if command.as_std().get_program() == "nix" {
            // As Nix comes, its newer commands are turned off.
            command.args(["--extra-experimental-features", "nix-command flakes"]);
        }
        for (name, value) in &self.options {
            command.args(["--option", name, value]);
        }
        command
    }
}

/// Runs a program to its end and returns what it answers; what it says meanwhile goes to `lines`.
pub(super) async fn run(
    program: &str,
    command: &mut Command,
    lines: &(dyn Fn(NixLine) + Send + Sync),
) -> Result<Vec<u8>, NixError> {
    let start = |source| NixError::Start { program: program.to_owned(), source };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(start)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let answer = async {
        let mut answer = Vec::new();
        if let Some(stdout) = stdout {
            stdout.take(MAX_ANSWER).read_to_end(&mut answer).await?;
        }
        io::Result::Ok(answer)
    };
    let (answer, said) = tokio::join!(answer, listen(stderr, lines));
    let status = child.wait().await.map_err(start)?;
    if status.success() {
        return answer.map_err(start);
    }
    Err(NixError::Failed { program: program.to_owned(), said })
}

/// Reads what a program says, and returns the last of it.
async fn listen(
    stream: Option<impl AsyncRead + Unpin>,
    lines: &(dyn Fn(NixLine) + Send + Sync),
) -> Vec<String> {
    let mut last = VecDeque::new();
    let Some(stream) = stream else { return Vec::new() };
    let mut stream = BufReader::new(stream);
    let mut parser = super::lines::Parser::default();
    loop {
        let mut line = Vec::new();
        let read = (&mut stream).take(MAX_LINE).read_until(b'\n', &mut line).await;
        if !read.is_ok_and(|bytes| bytes > 0) {
            return last.into();
        }
        for line in parser.read(&line) {
            if let NixLine::Text(text) = &line {
                last.push_back(text.clone());
                if last.len() > LAST {
                    last.pop_front();
                }
            }
            lines(line);
        }
    }
}

/// Why a program of Nix did not do its work.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum NixError {
    /// It cannot be run.
    #[error("cannot run {program}")]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// It failed.
    #[error("{program} failed")]
    Failed {
        /// Its name.
        program: String,
        /// The last lines of what it said, without control characters.
        said: Vec<String>,
    },
}
