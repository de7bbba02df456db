//! What a run does and did, on disk: so that it can be looked at, and finished when it was cut short.

mod journal;
mod plan;
mod record;

pub use journal::{Journal, RunError, RunId, Runs};
pub use plan::{Plan, PlanError, PlannedNode};
pub use record::{Line, Verdict};
