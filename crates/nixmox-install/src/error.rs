//! Why a machine is not installed.

use std::io;
use std::path::PathBuf;

use nixmox_deploy::{CopyError, HostError, NixError, SshFilesError};
use thiserror::Error;

use crate::problem::{Finding, Problem};
use crate::remote::{JobFailed, RemoteError};
use crate::{Identity, Phase};

/// Why a machine is not installed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Checks say no; nothing was changed.
    #[error("the machine is not installed: {}", findings.first().map(ToString::to_string).unwrap_or_default())]
    Refused {
        /// What they found.
        findings: Vec<Finding>,
    },
    /// Nobody has agreed to erase the disks.
    #[error("nobody has agreed to erase {}", disks.join(", "))]
    Consent {
        /// The token that says so.
        token: String,
        /// The disks, by what they are known by.
        disks: Vec<String>,
        /// Whether another token was given.
        other: bool,
    },
    /// No key is known by which the machine could be recognised.
    #[error("no key is known by which the machine could be recognised")]
    Unauthenticated,
    /// Whoever answers has a key that is none of the machine's.
    #[error("whoever answers has a key that is none of this machine's")]
    Stranger,
    /// Nobody answers, or nobody is let in.
    #[error("the machine is not reached")]
    Unreachable(#[source] HostError),
    /// Nobody answers at all.
    #[error("nobody answers")]
    Silent,
    /// A machine lets nobody in, though it is the right one.
    #[error("the machine refuses the login as {0}")]
    Denied(Identity),
    /// A phase failed.
    #[error("{}", phase_words(*phase))]
    Phase {
        /// Which.
        phase: Phase,
        /// Why.
        source: Cause,
    },
    /// Somebody asked to stop; what was begun can be gone on with.
    #[error("interrupted")]
    Interrupted,
    /// Another process installs the same node.
    #[error("another process installs this node")]
    Busy,
    /// What is remembered of the installation cannot be read or written.
    #[error("cannot use {}", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no configuration for ssh.
    #[error("there is no configuration for ssh")]
    Ssh(#[from] SshFilesError),
}

impl InstallError {
    pub(crate) fn at(phase: Phase, source: impl Into<Cause>) -> Self {
        match source.into() {
            // Who it is not matters more than when.
            Cause::Remote(RemoteError::Host(HostError::HostKey { .. })) => Self::Stranger,
            source => Self::Phase { phase, source },
        }
    }

    /// Tells whether the connection was lost, so that the machine may be met again.
    pub(crate) fn is_lost(&self) -> bool {
        match self {
            Self::Phase { source: Cause::Remote(RemoteError::Host(error)), .. }
            | Self::Phase { source: Cause::Copy(CopyError::Host(error)), .. } => error.may_pass(),
            _ => false,
        }
    }

    /// Returns the lines that the machine said last, when a job on it failed.
    pub fn log(&self) -> &[String] {
        match self {
            Self::Phase { source: Cause::Job(failed), .. } => &failed.log,
            _ => &[],
        }
    }
}

fn phase_words(phase: Phase) -> &'static str {
    match phase {
        Phase::Plan => "the plan cannot be made",
        Phase::Connect => "the machine cannot be asked",
        Phase::BootInstaller => "the installer did not come up",
        Phase::Disks => "the disks are not ready; what was on them may be gone",
        Phase::Copy => "the system is not copied",
        Phase::Place => "the files are not in place",
        Phase::Activate => "the system is not bootable; the installer still runs",
        Phase::Finish => "the disks cannot be let go of; the installer still runs",
        Phase::Reboot => "the machine did not come back",
        Phase::Verify => "the machine came back, but is not as it should be",
    }
}

/// What failed in a phase.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Cause {
    /// The machine did not do what it was asked.
    #[error(transparent)]
    Remote(#[from] RemoteError),
    /// A job on it failed.
    #[error("{0}")]
    Job(JobFailed),
    /// The copy failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// Nix on this machine failed.
    #[error(transparent)]
    Nix(NixError),
    /// Something was found that was not so before.
    #[error("{0}")]
    Found(Problem),
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not known with which command line the installer starts.
    #[error("the archive does not say with which command line its kernel starts")]
    CommandLine,
    /// The machine was rebooted instead of jumping into the installer.
    #[error("it was started anew with what ran before")]
    RebootedInstead,
    /// The machine did not jump into the installer.
    #[error("what ran before still runs")]
    StillRuns,
    /// Nobody has answered in time.
    #[error("nobody has answered in {0} s")]
    NoAnswer(u64),
    /// The firmware has started something else than the new system.
    #[error("{0} answers: its firmware does not start the new system first")]
    WrongBoot(Identity),
    /// The new system lacks something.
    #[error("missing: {}", .0.join(", "))]
    Missing(Vec<String>),
    /// The key on the machine is another one than was sent.
    #[error("the host key on the machine is not the one that was sent")]
    OtherKey,
    /// It runs another system.
    #[error("it runs {found}")]
    OtherSystem {
        /// Which.
        found: String,
    },
    /// The new system is up, but lets nobody in.
    #[error("it lets nobody in: {said}")]
    NoLogin {
        /// ssh's words, in a form that can be shown.
        said: String,
    },
    /// Units of the new system have failed.
    #[error("units have failed: {}", .0.join(", "))]
    Units(Vec<String>),
    /// Too many steps, which must not happen.
    #[error("the machine does not come any further")]
    Stuck,
}
