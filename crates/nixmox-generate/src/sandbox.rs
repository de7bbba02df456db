//! What a command is run in; this crate starts no process, the caller brings one who does.

use std::fmt;

use nixmox_tree::{SecretBytes, SecretString};
use thiserror::Error;

/// One run of a command.
#[derive(Debug)]
pub struct Job<'a> {
    /// The program and its arguments, as they stand in the master.
    pub command: &'a [SecretString],
    /// What it reads on standard input: JSON.
    pub input: SecretBytes,
}

/// Runs commands that see nothing but their input.
///
/// Whoever implements it promises: no network, no file of the user, no environment, no open file but the standard
/// ones, an end to both time and output.
pub trait Sandbox: Sync {
    /// Runs a command to its end and returns what it printed.
    ///
    /// # Errors
    ///
    /// [`SandboxError`], which holds nothing that the command said.
    fn run(&self, job: &Job<'_>) -> Result<SecretBytes, SandboxError>;
}

impl fmt::Debug for dyn Sandbox + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sandbox")
    }
}

/// Why a command gave no value.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SandboxError {
    /// There is no sandbox on this machine.
    #[error("there is no sandbox on this machine")]
    Missing,
    /// The sandbox could not be set up.
    #[error("the sandbox cannot be started")]
    Start(#[source] std::io::Error),
    /// The command ended with an error.
    #[error("it ended with {status}; what it said is not shown, because it may quote secrets")]
    Failed {
        /// How it ended.
        status: String,
    },
    /// The command took too long.
    #[error("it took longer than {seconds} seconds")]
    TimedOut {
        /// How long it may take.
        seconds: u64,
    },
    /// The command printed too much.
    #[error("it printed more than {limit} bytes")]
    TooMuch {
        /// How much it may print.
        limit: usize,
    },
}
