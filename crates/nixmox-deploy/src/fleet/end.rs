//! How hosts end.

use nixmox_topology::NodeName;
use thiserror::Error;

use crate::{
    ActivationError, CopyError, GuardError, Outcome, PackageChange, Skip, StorePath, Verdict,
};

/// How the work on one host ended.
#[derive(Debug)]
pub struct Ended {
    /// The host.
    pub node: NodeName,
    /// How it ended.
    pub end: End,
    /// What it ran before, where that is known.
    pub before: Option<StorePath>,
    /// What it was to run.
    pub wanted: StorePath,
    /// What differs between the two, by package, where that is known.
    pub changes: Vec<PackageChange>,
}

/// How the work on a host can end.
#[derive(Debug)]
#[non_exhaustive]
pub enum End {
    /// The activation ended as it should, on one system or the other.
    Activation(Outcome),
    /// Its system was built, which was all that was asked.
    Built,
    /// It was not touched.
    Skipped(Skip),
    /// It was changed, and went back because another host failed.
    Undone,
    /// It failed.
    Failed(JobError),
}

impl Ended {
    /// Returns what it comes to.
    pub fn verdict(&self) -> Verdict {
        match &self.end {
            End::Activation(Outcome::Unchanged) => Verdict::Unchanged,
            End::Activation(Outcome::RolledBack { .. }) => Verdict::RolledBack,
            End::Activation(_) | End::Built => Verdict::Changed,
            End::Skipped(_) => Verdict::Skipped,
            End::Undone => Verdict::Undone,
            End::Failed(_) => Verdict::Failed,
        }
    }
}

/// Why a host failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum JobError {
    /// It could not be asked what it runs.
    #[error("it cannot be asked what it runs")]
    Probe(#[source] GuardError),
    /// It runs something else than it is expected to.
    #[error("it runs {current}, not the {expected} that the plan saw")]
    Unexpected {
        /// What it runs.
        current: StorePath,
        /// What it should.
        expected: StorePath,
    },
    /// Its system could not be built.
    #[error("its system cannot be built")]
    Build,
    /// Nix could not be run at all.
    #[error("{0}")]
    Nix(String),
    /// Its system could not be copied.
    #[error("its system cannot be brought there")]
    Copy(#[source] CopyError),
    /// It is not known that the activation ended well.
    #[error(transparent)]
    Activation(#[from] ActivationError),
    /// It did not come back with the new system in time.
    #[error("it did not boot {wanted} in time")]
    Reboot {
        /// What it should have booted.
        wanted: StorePath,
    },
    /// The work on it ended without a result, which is a mistake of this program.
    #[error("the work on it ended without a result")]
    Stopped,
}
