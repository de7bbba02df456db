//! Hosts over SSH, and activation that goes back when it cannot be proven good.

mod event;
mod health;
mod outcome;
mod request;
mod schedule;
mod select;
mod ssh_option;
mod store_path;
mod target;

pub use event::{Event, EventSink, Happening, Phase};
pub use health::{HealthCheck, HealthProbe, Vantage};
pub use outcome::{Outcome, RollbackReason};
pub use request::{Goal, Patience, Provenance, Request, Sealed, SecretFiles};
pub use schedule::{Limits, OnFailure, Place, Rollout, Schedule, ScheduleError, Share, Skip};
pub use select::{Labels, MAX_SELECTOR, Selector, SelectorError};
pub use ssh_option::SshOption;
pub use store_path::{StorePath, StorePathError};
pub use target::{Address, Target, TargetError, UserName};
