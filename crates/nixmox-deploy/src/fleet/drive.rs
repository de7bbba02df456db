//! The steps of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nixmox_topology::NodeName;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::end::{End, Ended, JobError};
use super::{Job, Settings, Watch, undo, work};
use crate::{
    Goal, Happening, NixError, OnFailure, Outcome, PackageChange, Phase, Place, Schedule,
    ScheduleError, Skip, StorePath, System,
};

/// A run in progress.
pub(super) struct Run {
    pub(super) jobs: BTreeMap<NodeName, Arc<Job>>,
    pub(super) settings: Arc<Settings>,
    pub(super) watch: Watch,
    pub(super) ends: BTreeMap<NodeName, Ended>,
    /// What hosts run, as far as they said.
    current: BTreeMap<NodeName, StorePath>,
    changes: BTreeMap<NodeName, Vec<PackageChange>>,
}

/// What a task of a host comes back with.
enum Step {
    Brought(NodeName, Result<Vec<PackageChange>, JobError>),
    Went(NodeName, Result<Outcome, JobError>),
}

pub(super) async fn drive(
    jobs: Vec<Job>,
    settings: Settings,
    watch: Watch,
) -> Result<BTreeMap<NodeName, Ended>, ScheduleError> {
    let jobs = jobs.into_iter().map(|job| (job.host.node().clone(), Arc::new(job))).collect();
    let mut run = Run {
        jobs,
        settings: Arc::new(settings),
        watch,
        ends: BTreeMap::new(),
        current: BTreeMap::new(),
        changes: BTreeMap::new(),
    };
    // Circles are found before anything is done.
    run.schedule(&BTreeSet::new())?;
    if !run.settings.build_only {
        run.ask().await;
        if run.settings.all_as_expected {
            run.insist();
        }
    }
    run.build().await;
    if run.settings.build_only {
        run.settle_rest(|_| End::Built);
    } else {
        let todo = run.todo();
        let schedule = run.schedule(&todo)?;
        run.activate(schedule).await;
    }
    if run.settings.rollout.on_failure == OnFailure::RollBack {
        undo::undo(&mut run).await;
    }
    for job in run.jobs.values() {
        job.host.close().await;
    }
    Ok(run.ends)
}

impl Run {
    /// Nodes that are not as they should be: those that failed already are among them, for they decide about others.
    fn todo(&self) -> BTreeSet<NodeName> {
        let is_done =
            |node: &&NodeName| self.ends.get(*node).is_some_and(|ended| ended.verdict().is_good());
        self.jobs.keys().filter(|node| !is_done(node)).cloned().collect()
    }

    fn schedule(&self, todo: &BTreeSet<NodeName>) -> Result<Schedule, ScheduleError> {
        let places: BTreeMap<NodeName, Place> =
            self.jobs.iter().map(|(node, job)| (node.clone(), job.place.clone())).collect();
        Schedule::new(&places, todo, &self.settings.rollout)
    }

    /// Asks every host what it runs.
    async fn ask(&mut self) {
        let permits = Arc::new(Semaphore::new(self.settings.limits.probe.get()));
        let mut asking = JoinSet::new();
        for (node, job) in &self.jobs {
            let (node, job, permits) = (node.clone(), Arc::clone(job), Arc::clone(&permits));
            let (settings, watch) = (Arc::clone(&self.settings), self.watch.clone());
            asking.spawn(async move {
                let _permit = permits.acquire().await;
                let answer = work::ask(&job, &settings, &watch).await;
                (node, answer)
            });
        }
        loop {
            let answer = tokio::select! {
                answer = asking.join_next() => answer,
                () = stopped(self.watch.stop.clone()) => return self.interrupt(),
            };
            match answer {
                Some(Ok((node, Ok(answer)))) => self.asked(&node, &answer),
                Some(Ok((node, Err(error)))) => {
                    self.end(&node, End::Failed(JobError::Probe(error)));
                }
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    /// Nothing was begun on any host: what has not ended is not touched.
    fn interrupt(&mut self) {
        self.settle_rest(|_| End::Skipped(Skip::Interrupted));
    }

    fn asked(&mut self, node: &NodeName, answer: &work::Answer) {
        let probe = &answer.probe;
        let before = match &answer.adopted {
            Some(Outcome::Activated { from, .. }) => from,
            _ => &probe.current,
        };
        self.current.insert(node.clone(), before.clone());
        let Some(job) = self.jobs.get(node) else { return };
        let toplevel = &job.system.toplevel;
        let there = match job.request.goal {
            Goal::Switch => probe.is_settled_on(toplevel),
            Goal::Test => probe.current == *toplevel,
            Goal::Boot | Goal::DryActivate | Goal::Push => false,
        };
        if there && answer.has_secrets {
            let adopted =
                answer.adopted.clone().filter(|end| matches!(end, Outcome::Activated { .. }));
            self.end(node, End::Activation(adopted.unwrap_or(Outcome::Unchanged)));
        }
    }

    /// Does nothing when a host runs something else than the plan saw.
    fn insist(&mut self) {
        let mut surprises = Vec::new();
        for (node, job) in &self.jobs {
            let (Some(current), Some(expected)) = (self.current.get(node), &job.request.expected)
            else {
                continue;
            };
            if current != expected && !self.ends.contains_key(node) {
                surprises.push((node.clone(), current.clone(), expected.clone()));
            }
        }
        let Some((first, _, _)) = surprises.first().cloned() else { return };
        for (node, current, expected) in surprises {
            self.end(&node, End::Failed(JobError::Unexpected { current, expected }));
        }
        self.settle_rest(|_| End::Skipped(Skip::Stopped(first.clone())));
    }

    /// Builds everything that is needed, and keeps it.
    async fn build(&mut self) {
        let only = self.settings.build_only;
        let here = |job: &&Arc<Job>| {
            !job.there && (only || !job.build_on_remote || job.system.derivation.is_none())
        };
        let open = self.jobs.iter().filter(|(node, _)| !self.ends.contains_key(*node));
        let jobs: Vec<_> = open.map(|(_, job)| job).filter(here).cloned().collect();
        if jobs.is_empty() {
            return;
        }
        for job in &jobs {
            self.watch.events.send(job.host.node(), Happening::Phase(Phase::Build));
        }
        let systems: Vec<System> = jobs.iter().map(|job| job.system.clone()).collect();
        let settings = Arc::clone(&self.settings);
        let place = (settings.roots.as_path(), settings.limits.build);
        let lines = Arc::clone(&self.watch.build);
        let building = settings.nix.build(&systems, settings.source.as_ref(), place, &*lines);
        let built = tokio::select! {
            biased;
            // Nix was interrupted as well, or is ended with the future.
            () = stopped(self.watch.stop.clone()) => return self.interrupt(),
            built = building => built,
        };
        for job in jobs {
            let error = match &built {
                Ok(failed) if failed.contains(&job.system.toplevel) => JobError::Build,
                Ok(_) => continue,
                Err(error) => JobError::Nix(in_full(error)),
            };
            self.end(job.host.node(), End::Failed(error));
        }
    }

    /// Copies to all hosts, and activates each when it is its turn.
    async fn activate(&mut self, mut schedule: Schedule) {
        let failed: Vec<_> = self.ends.iter().filter(|(_, e)| !e.verdict().is_good()).collect();
        for (node, _) in failed {
            schedule.finish(node, false);
        }
        let limits = self.settings.limits;
        let copying = Arc::new(Semaphore::new(limits.copy.get()));
        let activating = Arc::new(Semaphore::new(limits.activate.get()));
        let mut tasks = JoinSet::new();
        let skipped = schedule.skipped();
        for node in schedule.order() {
            if !self.ends.contains_key(&node) && !skipped.contains_key(&node) {
                self.bring(&node, &copying, &mut tasks);
            }
        }
        let mut brought = BTreeSet::new();
        loop {
            let stop = stopped(self.watch.stop.clone());
            while let Some(node) = schedule.start(|node| brought.contains(node)) {
                self.go(&node, &activating, &mut tasks);
            }
            if schedule.is_over() {
                break;
            }
            tokio::select! {
                step = tasks.join_next() => match step {
                    Some(Ok(step)) => self.step(step, &mut schedule, &mut brought),
                    Some(Err(_)) => {}
                    None => break,
                },
                () = stop => {
                    schedule.interrupt();
                    self.drain(&mut tasks, &mut schedule, &mut brought).await;
                }
            }
        }
        for (node, skip) in schedule.skipped() {
            self.end(&node, End::Skipped(skip));
        }
        self.settle_rest(|_| End::Failed(JobError::Stopped));
    }

    /// Waits for the activations that were begun when the run was interrupted.
    async fn drain(
        &mut self,
        tasks: &mut JoinSet<Step>,
        schedule: &mut Schedule,
        brought: &mut BTreeSet<NodeName>,
    ) {
        while !schedule.is_over() {
            match tasks.join_next().await {
                Some(Ok(step)) => self.step(step, schedule, brought),
                Some(Err(_)) => {}
                None => return,
            }
        }
    }

    fn step(&mut self, step: Step, schedule: &mut Schedule, brought: &mut BTreeSet<NodeName>) {
        match step {
            Step::Brought(node, Ok(changes)) => {
                self.changes.insert(node.clone(), changes);
                brought.insert(node);
            }
            // What was interrupted with this program is no failure of the host.
            Step::Brought(_, Err(_)) if *self.watch.stop.borrow() => schedule.interrupt(),
            Step::Brought(node, Err(error)) => {
                schedule.finish(&node, false);
                self.end(&node, End::Failed(error));
            }
            Step::Went(node, Ok(outcome)) => {
                schedule.finish(&node, !matches!(outcome, Outcome::RolledBack { .. }));
                self.end(&node, End::Activation(outcome));
            }
            Step::Went(node, Err(error)) => {
                schedule.finish(&node, false);
                self.end(&node, End::Failed(error));
            }
        }
    }

    fn bring(&self, node: &NodeName, permits: &Arc<Semaphore>, tasks: &mut JoinSet<Step>) {
        let Some(job) = self.jobs.get(node).cloned() else { return };
        let (node, permits, before) =
            (node.clone(), Arc::clone(permits), self.current.get(node).cloned());
        let (settings, watch) = (Arc::clone(&self.settings), self.watch.clone());
        tasks.spawn(async move {
            let permit = permits.acquire().await;
            let bringing = work::bring(&job, &settings, &watch);
            let (brought, before) = tokio::join!(bringing, work::closure(&job, before.as_ref()));
            drop(permit);
            let changes = match (&brought, before) {
                (Ok(()), Some(before)) => work::changes(&job, &before).await,
                _ => Vec::new(),
            };
            Step::Brought(node, brought.map(|()| changes))
        });
    }

    fn go(&self, node: &NodeName, permits: &Arc<Semaphore>, tasks: &mut JoinSet<Step>) {
        let Some(job) = self.jobs.get(node).cloned() else { return };
        let (node, permits) = (node.clone(), Arc::clone(permits));
        let (settings, watch) = (Arc::clone(&self.settings), self.watch.clone());
        tasks.spawn(async move {
            let _permit = permits.acquire().await;
            let went = work::go(&job, &settings, &watch).await;
            Step::Went(node, went)
        });
    }

    /// Ends all hosts that have not ended.
    fn settle_rest(&mut self, end: impl Fn(&NodeName) -> End) {
        let open: Vec<_> =
            self.jobs.keys().filter(|node| !self.ends.contains_key(*node)).cloned().collect();
        for node in open {
            self.end(&node, end(&node));
        }
    }

    /// Notes and tells how a host ended.
    pub(super) fn end(&mut self, node: &NodeName, end: End) {
        let Some(job) = self.jobs.get(node) else { return };
        let ended = Ended {
            node: node.clone(),
            end,
            before: self.current.get(node).cloned(),
            wanted: job.system.toplevel.clone(),
            changes: self.changes.get(node).cloned().unwrap_or_default(),
        };
        (self.watch.ended)(&ended);
        self.ends.insert(node.clone(), ended);
    }
}

/// Waits until nothing new is to be begun.
async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        // Nobody is left who could stop the run.
        std::future::pending::<()>().await;
    }
}

/// An error with its causes, for hosts that share it.
fn in_full(error: &crate::BuildError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        if let Some(NixError::Failed { said, .. }) = error.downcast_ref() {
            text = format!("{text}: {}", said.join("; "));
        }
        cause = error.source();
    }
    text
}
