//! Edits, plans and commits the sealed secrets of a fleet.

mod access;
mod check;
mod digests;
mod edit;
mod error;
mod fleet;
mod host_plan;
mod hosts;
pub mod identities;
mod layout;
pub mod master;
mod plan;
mod report;
mod scan;
pub mod store;
mod strict;

pub use access::{host_identities, host_recipient};
pub use check::{Checked, Problem, ProblemKind, check};
pub use edit::{Draft, Options, Outcome, RealNix, change, open, preview};
pub use error::{Error, SourceProblem, TextProblem};
pub use fleet::{AskNix, FILE_LIMIT, Fleet, find};
pub use layout::{Arrangement, HostPaths, Layout, PRIVATE};
pub use master::{Form, Master};
pub use plan::{Accept, Plan, Request};
pub use report::{Change, HostReport, Reason, Report};
pub use strict::Unsealable;
