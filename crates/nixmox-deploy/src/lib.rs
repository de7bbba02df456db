//! Hosts over SSH, and activation that goes back when it cannot be proven good.

mod activation;
mod closure;
mod event;
mod fleet;
mod guard;
mod health;
mod host;
mod known_hosts;
mod outcome;
mod request;
mod run;
mod schedule;
mod select;
mod ssh_config;
mod ssh_option;
mod store_path;
mod target;
mod text;

pub use activation::{ActivationError, abort, activate, resume};
pub use closure::{
    BuildError, CopyError, EvaluateError, Evaluated, Flake, Nix, NixError, NixLine, PackageChange,
    System, closure_on, package_changes,
};
pub use event::{Event, EventSink, Happening, Phase};
pub use fleet::{End, Ended, Job, JobError, Settings, Watch, deploy, each};
pub use guard::{
    GuardError, Last, Phase as GuardPhase, Probe, Refusal, Standing, Transaction, probe,
};
pub use health::{HealthCheck, HealthProbe, Vantage};
pub use host::{Host, HostError, Output, RemoteCommand};
pub use outcome::{Outcome, RollbackReason};
pub use request::{Goal, Patience, Provenance, Request, Sealed, SecretFiles};
pub use run::{Journal, Line, Plan, PlanError, PlannedNode, RunError, RunId, Runs, Verdict};
pub use schedule::{Limits, OnFailure, Place, Rollout, Schedule, ScheduleError, Share, Skip};
pub use select::{Labels, MAX_SELECTOR, Selector, SelectorError};
pub use ssh_config::{SshFiles, SshFilesError, SshSettings, Trust};
pub use ssh_option::SshOption;
pub use store_path::{StorePath, StorePathError};
pub use target::{Address, Target, TargetError, UserName};
