//! Why a command did not end by itself.

use std::io;
use std::time::Duration;

use thiserror::Error;

/// Why a host did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nobody answers there.
    #[error("the host cannot be reached: {said}")]
    Unreachable {
        /// ssh's words, in a form that can be shown.
        said: String,
    },
    /// The host lets nobody in with the keys that there are.
    #[error("the host refuses the login: {said}")]
    Denied {
        /// ssh's words, in a form that can be shown.
        said: String,
    },
    /// Whoever answers has another key than the host is known to have.
    #[error("the host's key is not the one that is known: {said}")]
    HostKey {
        /// ssh's words, in a form that can be shown.
        said: String,
    },
    /// The connection ended before the command did.
    #[error("the connection was lost")]
    Lost,
    /// It took too long.
    #[error("no end after {} s", after.as_secs())]
    TimedOut {
        /// How long it could take.
        after: Duration,
    },
    /// The command says more than it may.
    #[error("the host says more than {limit} bytes")]
    TooMuch {
        /// How much it could say.
        limit: usize,
    },
    /// The command was killed by a signal.
    #[error("the command was killed")]
    Killed,
    /// A word would not arrive at the host as it is.
    #[error("{word:?} cannot be a word of a command for a host")]
    Word {
        /// The word.
        word: String,
    },
    /// A program cannot be started on this machine.
    #[error("cannot run {program}")]
    Start {
        /// Its name.
        program: String,
        /// What the system said.
        source: io::Error,
    },
    /// A program of this machine, whose output the command reads, failed.
    #[error("{program} failed")]
    Source {
        /// Its name.
        program: String,
    },
    /// Something in between failed on this machine.
    #[error("cannot talk to the command")]
    Io(#[source] io::Error),
}

impl HostError {
    /// Tells whether the same may succeed a while later, as when a system that lets nobody in goes back.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Denied { .. } | Self::Lost | Self::TimedOut { .. }
        )
    }

    /// Reads what ssh said when it gave up.
    pub(super) fn of_ssh(stderr: &[u8]) -> Self {
        let said = crate::text::last_lines(stderr, 3).join("; ");
        let has = |text: &str| said.contains(text);
        if has("Host key verification failed")
            || has("host key is known for")
            || has("no matching host key type")
        {
            Self::HostKey { said }
        } else if has("Permission denied") || has("Too many authentication failures") {
            Self::Denied { said }
        } else {
            Self::Unreachable { said }
        }
    }
}
