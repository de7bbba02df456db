//! Lines of a run's record.

use std::time::{SystemTime, UNIX_EPOCH};

use nixmox_topology::NodeName;
use serde::{Deserialize, Serialize};

use crate::{Event, Happening, Phase};

/// One line of a run's record: something that happened, or how a node ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Line {
    /// A phase of a node began.
    Phase {
        /// When, in milliseconds since 1970.
        at: u64,
        /// The node.
        node: String,
        /// Which.
        phase: String,
    },
    /// A line of a node's log.
    Log {
        /// When.
        at: u64,
        /// The node.
        node: String,
        /// The line.
        line: String,
    },
    /// How far the phase is.
    Progress {
        /// When.
        at: u64,
        /// The node.
        node: String,
        /// How much is done.
        done: u64,
        /// Of how much.
        total: u64,
    },
    /// A check was tried.
    Check {
        /// When.
        at: u64,
        /// The node.
        node: String,
        /// The check's name.
        check: String,
        /// Whether it passed.
        passed: bool,
    },
    /// A new connection reached the host.
    Confirmed {
        /// When.
        at: u64,
        /// The node.
        node: String,
        /// How many did.
        count: u32,
        /// Of how many.
        of: u32,
    },
    /// The connection was lost, which by itself is no failure.
    ConnectionLost {
        /// When.
        at: u64,
        /// The node.
        node: String,
    },
    /// A node ended.
    Done {
        /// When.
        at: u64,
        /// The node.
        node: String,
        /// How.
        verdict: Verdict,
        /// In words.
        message: String,
        /// What ran before, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<String>,
        /// What runs now, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
        /// The exit status that the program would have with this node alone, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<u8>,
    },
    /// The run ended, with the exit status of the program.
    End {
        /// When.
        at: u64,
        /// The status.
        status: u8,
    },
}

/// How a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// It was as it should be.
    Unchanged,
    /// It is as it should be now.
    Changed,
    /// It is back on the system that it had.
    RolledBack,
    /// It was changed, and went back because another node failed.
    Undone,
    /// It failed, or it is not known how it ended.
    Failed,
    /// It was not touched.
    Skipped,
}

impl Verdict {
    /// Tells whether there is nothing left to do for the node.
    pub fn is_good(self) -> bool {
        matches!(self, Self::Unchanged | Self::Changed)
    }

    /// Returns its name in records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Changed => "changed",
            Self::RolledBack => "rolled-back",
            Self::Undone => "undone",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }
}

impl Line {
    /// Writes an event down.
    pub fn of(event: &Event) -> Self {
        let (at, node) = (millis(event.at), event.node.to_string());
        match &event.what {
            Happening::Phase(phase) => Self::Phase { at, node, phase: phase.word().to_owned() },
            Happening::Step { name, .. } => Self::Phase { at, node, phase: (*name).to_owned() },
            Happening::Log(line) => Self::Log { at, node, line: line.clone() },
            Happening::Progress { done, total } => {
                Self::Progress { at, node, done: *done, total: *total }
            }
            Happening::Check { name, passed } => {
                Self::Check { at, node, check: name.clone(), passed: *passed }
            }
            Happening::Confirmed { count, of } => {
                Self::Confirmed { at, node, count: *count, of: *of }
            }
            Happening::ConnectionLost => Self::ConnectionLost { at, node },
        }
    }

    /// Makes the line of how a node ended now, of which no system is known.
    pub fn done(node: &NodeName, verdict: Verdict, message: &str) -> Self {
        let (at, node, message) = (millis(SystemTime::now()), node.to_string(), message.to_owned());
        Self::Done { at, node, verdict, message, before: None, after: None, code: None }
    }

    /// Makes the line of how a run ended now.
    pub fn end(status: u8) -> Self {
        Self::End { at: millis(SystemTime::now()), status }
    }

    /// Returns the node that it is about.
    pub fn node(&self) -> Option<NodeName> {
        match self {
            Self::Phase { node, .. }
            | Self::Log { node, .. }
            | Self::Progress { node, .. }
            | Self::Check { node, .. }
            | Self::Confirmed { node, .. }
            | Self::ConnectionLost { node, .. }
            | Self::Done { node, .. } => NodeName::parse(node).ok(),
            Self::End { .. } => None,
        }
    }
}

/// Returns a time in milliseconds since 1970.
pub(super) fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Phase {
    /// Returns its name in records.
    pub fn word(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Probe => "probe",
            Self::Build => "build",
            Self::Copy => "copy",
            Self::Prepare => "prepare",
            Self::Activate => "activate",
            Self::Confirm => "confirm",
            Self::Commit => "commit",
            Self::RollBack => "roll-back",
            Self::Reboot => "reboot",
        }
    }
}
