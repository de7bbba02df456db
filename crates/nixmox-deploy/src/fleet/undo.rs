//! Taking back what a run has changed.

use std::sync::Arc;

use super::drive::Run;
use super::end::{End, JobError};
use crate::{Outcome, Request, StorePath, activate};

/// When a host failed: has every host that this run changed go back to what it ran, the last one first.
pub(super) async fn undo(run: &mut Run) {
    if run.ends.values().all(|ended| ended.verdict().is_good()) {
        return;
    }
    let changed = run.ends.iter().filter_map(|(node, ended)| match &ended.end {
        End::Activation(Outcome::Activated { from, .. }) => Some((node.clone(), from.clone())),
        _ => None,
    });
    let mut changed: Vec<_> = changed.collect();
    changed
        .sort_by_key(|(node, _)| std::cmp::Reverse(run.jobs.get(node).map(|job| job.place.wave)));
    for (node, from) in changed {
        let Some(job) = run.jobs.get(&node).map(Arc::clone) else { continue };
        let request = back(&job.request, from);
        let end = match activate(&job.host, &request, &run.watch.events).await {
            Ok(Outcome::Activated { .. } | Outcome::Unchanged) => End::Undone,
            Ok(other) => End::Activation(other),
            Err(error) => End::Failed(JobError::Activation(error)),
        };
        run.end(&node, end);
    }
}

/// The same request for the old system, whose checks are not those of the new one.
fn back(request: &Request, from: StorePath) -> Request {
    Request {
        toplevel: from,
        expected: Some(request.toplevel.clone()),
        checks: Vec::new(),
        secrets: None,
        ..request.clone()
    }
}
