//! How it ended.

use std::time::Duration;

use crate::StorePath;

/// How the activation of one host ended, when it ended as it should: on a system that is known to be good.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The host runs and boots the system already; nothing was done.
    Unchanged,
    /// The host runs the system, for a switch it also boots it.
    Activated {
        /// What ran before.
        from: StorePath,
        /// How long it took from the first question to the last answer.
        took: Duration,
        /// Units that failed, where that was accepted.
        failed_units: Vec<String>,
    },
    /// The system is the one that boots next.
    WillBoot,
    /// What would change, as the host said.
    WouldChange {
        /// The lines, without control characters.
        lines: Vec<String>,
    },
    /// The system is in the host's store and stays there.
    Pushed,
    /// The host is back on the system that it had.
    RolledBack {
        /// Why.
        why: RollbackReason,
        /// The last lines of the activation's log, without control characters.
        log: Vec<String>,
    },
}

/// Why a host went back.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RollbackReason {
    /// The new system's activation ended with this status.
    ActivationFailed {
        /// `switch-to-configuration`'s exit status.
        status: i32,
    },
    /// The activation was killed, by a signal or because it took too long.
    ActivationKilled,
    /// A check failed.
    Unhealthy {
        /// Which one.
        check: String,
    },
    /// Confirmations did not arrive in time.
    NotConfirmed,
    /// The system could not be made the one that boots.
    CommitFailed,
    /// Somebody asked for it.
    Asked,
    /// The host did not boot the new system, and booted the old one.
    NotBooted,
    /// The host was reset or lost power before the system was kept.
    Rebooted,
}
