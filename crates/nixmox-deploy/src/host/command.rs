//! A command, and what it said.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use nixmox_tree::SecretString;

use super::HostError;

/// How much of a command's output is taken, unless it says otherwise.
const LIMIT: usize = 4 << 20;
/// How long a command may take, unless it says otherwise.
const TIMEOUT: Duration = Duration::from_secs(60);
/// What no shell reads in a way of its own, whichever a user has.
const PLAIN: &str = "+-._/=:@,";

/// A command for a host: plain words, and what it reads.
///
/// Words are limited to what every shell takes as it is, because ssh hands the line to whatever shell the user has
/// there. Everything else goes through standard input, where other users of the host do not see it either.
#[derive(Debug, Clone)]
pub struct RemoteCommand {
    words: Vec<String>,
    stdin: Stdin,
    timeout: Duration,
    limit: usize,
}

#[derive(Debug, Clone)]
pub(super) enum Stdin {
    Bytes(Vec<u8>),
    Secret(SecretString),
    File(PathBuf),
    Program(Vec<OsString>),
}

impl RemoteCommand {
    /// Makes a command of a program and its arguments.
    ///
    /// # Errors
    ///
    /// [`HostError::Word`] when a word is empty or has other characters than letters, digits and `+-._/=:@,`.
    pub fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, HostError> {
        let words: Vec<_> = words.into_iter().map(str::to_owned).collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || PLAIN.contains(c);
        if let Some(word) = words.iter().find(|word| word.is_empty() || !word.chars().all(plain)) {
            return Err(HostError::Word { word: word.clone() });
        }
        Ok(Self { words, stdin: Stdin::Bytes(Vec::new()), timeout: TIMEOUT, limit: LIMIT })
    }

    /// Makes a command that has the host's `sh` run a script, with plain words as its arguments.
    ///
    /// The script travels over standard input, so it may hold anything, but cannot read anything.
    ///
    /// # Errors
    ///
    /// Those of [`RemoteCommand::new`].
    pub fn script<'a>(
        script: &str,
        arguments: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, HostError> {
        let words = ["sh", "-s", "--"].into_iter().chain(arguments);
        Ok(Self::new(words)?.stdin(script.as_bytes().to_vec()))
    }

    /// Gives it something to read.
    #[must_use]
    pub fn stdin(self, bytes: Vec<u8>) -> Self {
        Self { stdin: Stdin::Bytes(bytes), ..self }
    }

    /// Gives it a secret to read.
    #[must_use]
    pub fn secret_stdin(self, secret: SecretString) -> Self {
        Self { stdin: Stdin::Secret(secret), ..self }
    }

    /// Gives it a file of this machine to read, which is not kept in memory.
    #[must_use]
    pub fn stdin_file(self, path: PathBuf) -> Self {
        Self { stdin: Stdin::File(path), ..self }
    }

    /// Gives it what a program of this machine writes.
    #[must_use]
    pub fn stdin_of(self, program: Vec<OsString>) -> Self {
        Self { stdin: Stdin::Program(program), ..self }
    }

    /// Limits how long it may take, the way there and back included.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Limits how much it may say.
    #[must_use]
    pub fn limit(self, bytes: usize) -> Self {
        Self { limit: bytes, ..self }
    }

    pub(super) fn line(&self) -> String {
        self.words.join(" ")
    }

    pub(super) fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    pub(super) fn input(&self) -> &Stdin {
        &self.stdin
    }

    pub(super) fn allowed_time(&self) -> Duration {
        self.timeout
    }

    pub(super) fn allowed_bytes(&self) -> usize {
        self.limit
    }
}

/// What a command said, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its exit status.
    pub status: i32,
    /// What it wrote to standard output. It comes from a host: nothing in it is known to be good.
    pub stdout: Vec<u8>,
    /// What it wrote to standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Tells whether the status is 0.
    pub fn success(&self) -> bool {
        self.status == 0
    }

    /// Returns the last lines of standard error in a form that can be shown.
    pub fn complaint(&self) -> String {
        crate::text::last_lines(&self.stderr, 5).join("\n")
    }
}
