//! Hosts over SSH, and activation that goes back when it cannot be proven good.
//!
//! [`activate`] brings one NixOS host to a system that is in its store. The host takes a snapshot and arms a timer
//! before it touches anything, activates the system as a test, and makes it the one that boots only after it was
//! seen healthy and reached over two new connections. Otherwise, and also when this machine or the network is gone,
//! the host goes back by itself; and a host that loses power boots the system that it had.
//!
//! | to | use |
//! |---|---|
//! | say how a node is reached, and by which key it is recognised | [`Target`], [`SshFiles`], [`Trust`] |
//! | run a command on it | [`Host`], [`RemoteCommand`] |
//! | ask what it runs | [`probe`] |
//! | activate a system | [`activate`] |
//! | look at an activation that somebody else began, go on with it, or call it off | [`attach`], [`resume`], [`abort`] |
//! | say what has to be true before it is kept | [`HealthCheck`] |
//! | build and copy what hosts are to run | [`Flake`], [`Nix`] |
//! | choose nodes, and the order in which they are activated | [`Selector`], [`Schedule`], [`deploy`] |
//! | read what runs as root on hosts | [`guard_script`] |
//!
//! ```no_run
//! use std::path::PathBuf;
//! use std::sync::Arc;
//!
//! use nixmox_deploy::{Address, EventSink, Host, Request, SshFiles, SshSettings, StorePath, Target, activate};
//! use nixmox_hostkey::HostPublicKey;
//! use nixmox_topology::NodeName;
//!
//! # async fn run(key: &str, system: &str) -> Result<(), Box<dyn std::error::Error>> {
//! let mut target = Target::new(NodeName::parse("web")?, Address::parse("web.example.org")?);
//! target.host_keys = vec![HostPublicKey::parse(key)?];
//! let include = vec![PathBuf::from("/home/me/.ssh/config")];
//! let settings = SshSettings { include, ..SshSettings::default() };
//! let files = SshFiles::write(std::slice::from_ref(&target), &settings)?;
//! let host = Host::ssh(&target, Arc::new(files));
//! let request = Request::switch(StorePath::parse(system)?);
//! let events = EventSink::new(|event| drop(event));
//! println!("{:?}", activate(&host, &request, &events).await?);
//! # Ok(())
//! # }
//! ```
//!
//! What it does not do: it asks nobody anything and prints nothing, it opens no secret, and it never accepts a host's
//! key that it was not told to accept.

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
mod seen_key;
mod select;
mod ssh_config;
mod ssh_option;
mod store_path;
mod target;
mod text;

pub use activation::{ActivationError, abort, activate, attach, resume};
pub use closure::{
    BuildError, Chroot, CopyError, EvaluateError, Evaluated, Flake, Nix, NixError, NixLine,
    PackageChange, System, closure_on, package_changes,
};
pub use event::{Event, EventSink, Happening, Phase};
pub use fleet::{End, Ended, Job, JobError, Settings, Watch, deploy, each};
pub use guard::{
    GuardError, Last, Order, Phase as GuardPhase, Probe, Refusal, Standing, Transaction,
    guard_script, probe,
};
pub use health::{HealthCheck, HealthProbe, Vantage};
pub use host::{Host, HostError, Output, RemoteCommand};
pub use outcome::{Outcome, RollbackReason};
pub use request::{Goal, Patience, Provenance, Request, Sealed, SecretFiles};
pub use run::{Journal, Line, Plan, PlanError, PlannedNode, RunError, RunId, Runs, Verdict};
pub use schedule::{Limits, OnFailure, Place, Rollout, Schedule, ScheduleError, Share, Skip};
pub use seen_key::{SeenKeyError, seen_key};
pub use select::{Labels, MAX_SELECTOR, Selector, SelectorError};
pub use ssh_config::{SshFiles, SshFilesError, SshSettings, Trust};
pub use ssh_option::SshOption;
pub use store_path::{StorePath, StorePathError};
pub use target::{Address, Os, Target, TargetError, UserName};
