//! Taking back what a run has changed.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use nixmox_topology::NodeName;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::Job;
use super::drive::Run;
use super::end::{End, JobError};
use crate::{EventSink, Outcome, Request, StorePath, Verdict, activate};

/// When a host failed: has every host that this run changed go back to what it ran, the last wave first. An interruption
/// is no failure.
pub(super) async fn undo(run: &mut Run) {
    let failed = |verdict| matches!(verdict, Verdict::Failed | Verdict::RolledBack);
    if !run.ends.values().any(|ended| failed(ended.verdict())) {
        return;
    }
    let mut waves: BTreeMap<Reverse<usize>, Vec<(Arc<Job>, StorePath)>> = BTreeMap::new();
    for (node, ended) in &run.ends {
        let (End::Activation(Outcome::Activated { from, .. }), Some(job)) =
            (&ended.end, run.jobs.get(node))
        else {
            continue;
        };
        waves.entry(Reverse(job.place.wave)).or_default().push((Arc::clone(job), from.clone()));
    }
    let permits = Arc::new(Semaphore::new(run.settings.limits.activate.get()));
    for wave in waves.into_values() {
        let mut going = JoinSet::new();
        for (job, from) in wave {
            let (permits, events) = (Arc::clone(&permits), run.watch.events.clone());
            going.spawn(async move {
                let _permit = permits.acquire().await;
                take_back(&job, from, &events).await
            });
        }
        while let Some(back) = going.join_next().await {
            if let Ok((node, end)) = back {
                run.end(&node, end);
            }
        }
    }
}

async fn take_back(job: &Job, from: StorePath, events: &EventSink) -> (NodeName, End) {
    let request = back(&job.request, from);
    let end = match activate(&job.host, &request, events).await {
        Ok(Outcome::Activated { .. } | Outcome::Unchanged) => End::Undone,
        Ok(other) => End::Activation(other),
        Err(error) => End::Failed(JobError::Activation(error)),
    };
    (job.host.node().clone(), end)
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
