//! A run: its record, its view, and how it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{
    End, Ended, EventSink, JobError, Journal, Limits, Line, NixLine, Phase, Rollout, RunId, Runs,
    Settings, Skip, Verdict, Watch,
};
use nixmox_topology::NodeName;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::args::{Args, How};
use crate::jobs::Work;
use crate::{advice, summary};
use nixmox_fleet::View;

/// How a run differs from the usual one.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mode {
    pub(crate) build_only: bool,
    pub(crate) all_as_expected: bool,
    pub(crate) adopt: bool,
}

/// Returns the directory of a fleet's runs.
pub(crate) fn runs(args: &Args, root: &Path) -> Result<Runs, Failure> {
    nixmox_fleet::runs(args.connect.runs.as_deref(), "deploy", root)
}

/// Returns the run of a name, or the last one.
pub(crate) fn find(runs: &Runs, name: Option<&str>) -> Result<RunId, Failure> {
    match name {
        Some(name) => {
            let id = RunId::parse(name).map_err(advice::run)?;
            let known = runs.list().map_err(advice::run)?.contains(&id);
            known.then_some(id).ok_or_else(|| {
                Failure::new(Exit::NoFile, format!("there is no run {name} from here"))
                    .hint("list them: nixmox-deploy history")
            })
        }
        None => {
            let last = runs.list().map_err(advice::run)?.into_iter().next();
            last.ok_or_else(|| {
                Failure::new(Exit::NoFile, "nothing was deployed from here yet").hint(
                    "what another machine has begun is known by the hosts: name them, or say --all",
                )
            })
        }
    }
}

/// Lists the nodes that the last run did not bring to where they should be.
pub(crate) fn failed_nodes(runs: &Runs) -> Result<BTreeSet<NodeName>, Failure> {
    let last = find(runs, None)?;
    let plan = runs.plan(&last).map_err(advice::run)?;
    let verdicts = runs.verdicts(&last).map_err(advice::run)?;
    let open = |node: &NodeName| !verdicts.get(node).is_some_and(|verdict| verdict.is_good());
    Ok(plan.nodes.into_keys().filter(open).collect())
}

/// Lists the nodes that a run has begun to change.
pub(crate) fn begun(runs: &Runs, id: &RunId) -> Result<BTreeSet<String>, Failure> {
    let mut begun = BTreeSet::new();
    let note = |line: Line| {
        if let Line::Phase { node, phase, .. } = line
            && phase == Phase::Prepare.word()
        {
            begun.insert(node);
        }
    };
    runs.lines(id, note).map_err(advice::run)?;
    Ok(begun)
}

/// Does the work and reports it.
pub(crate) fn execute(
    args: &Args,
    work: Work,
    (how, mode): (&How, Mode),
    journal: Journal,
    (nix, source): (nixmox_deploy::Nix, Option<nixmox_deploy::StorePath>),
) -> Result<Exit, Failure> {
    let journal = Arc::new(journal);
    let nodes: Vec<NodeName> = work.jobs.iter().map(|job| job.host.node().clone()).collect();
    let view = Arc::new(View::new(args.switches.json, &nodes));
    let settings = Settings {
        nix,
        limits: Limits {
            probe: args.connect.probe_jobs,
            build: how.build_jobs,
            copy: how.copy_jobs,
            activate: how.activate_jobs,
        },
        rollout: Rollout {
            on_failure: how.on_failure.into(),
            canary: how.canary,
            batches: how.batch.clone(),
        },
        roots: journal.directory().join("roots"),
        source,
        substitute: how.substitute,
        build_only: mode.build_only,
        all_as_expected: mode.all_as_expected,
        adopt: mode.adopt,
        reboot: how.reboot.then_some(how.reboot_timeout),
    };
    let (stop, stopped) = watch::channel(false);
    let watch = watching(&view, &journal, stopped);
    let ends = nixmox_fleet::runtime()?.block_on(async {
        tokio::select! {
            () = interrupted_twice(&stop, &view) => None,
            ends = nixmox_deploy::deploy(work.jobs, settings, watch) => Some(ends),
        }
    });
    view.finish();
    let Some(ends) = ends else {
        view.say("left as it is: hosts that have not kept their new system go back by themselves");
        view.say(&format!("go on later: nixmox-deploy resume {}", journal.name()));
        return Ok(Exit::Interrupted);
    };
    let ends = ends.map_err(|error| Failure::from_error(Exit::Config, error))?;
    let exit = exit(&ends);
    view.end(&journal.end(exit.code()));
    summary::show(args, &ends, &journal)?;
    Ok(exit)
}

fn watching(view: &Arc<View>, journal: &Arc<Journal>, stop: watch::Receiver<bool>) -> Watch {
    let (shown, noted) = (Arc::clone(view), Arc::clone(journal));
    let events = EventSink::new(move |event| {
        noted.event(&event);
        shown.event(&event);
    });
    let (shown, noted) = (Arc::clone(view), Arc::clone(journal));
    let build = move |line: NixLine| match line {
        NixLine::Text(text) => noted.log("build", &text),
        NixLine::Progress { done, total } => shown.building(done, total),
        _ => {}
    };
    let (shown, noted) = (Arc::clone(view), Arc::clone(journal));
    let ended = move |ended: &Ended| {
        let message = summary::message(&ended.end);
        let before = ended.before.as_ref().map(ToString::to_string);
        let after = Some(ended.wanted.to_string()).filter(|_| ended.verdict().is_good());
        let line = noted.done(&ended.node, ended.verdict(), &message, [before, after]);
        shown.ended(&ended.node, ended.verdict(), &message, &line);
    };
    Watch { events, build: Arc::new(build), ended: Arc::new(ended), stop }
}

/// Begins nothing more after the first interruption, and returns after the second: whoever was told to work on hosts
/// then is gone, and they go back by themselves.
async fn interrupted_twice(stop: &watch::Sender<bool>, view: &View) {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return std::future::pending().await;
    };
    for first in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if first {
            view.say("interrupted: nothing new is begun, and what was begun is brought to its end");
            view.say("once more to leave that to the hosts");
            let _ = stop.send(true);
        }
    }
}

/// Says how the run ended, by its worst host.
fn exit(ends: &BTreeMap<NodeName, Ended>) -> Exit {
    let one = |ended: &Ended| match (&ended.end, ended.verdict()) {
        (End::Failed(JobError::Unexpected { .. }), _) => Exit::Stale,
        (_, Verdict::Failed) => Exit::HostFailed,
        (End::Skipped(Skip::Interrupted), _) => Exit::Interrupted,
        (_, verdict) if verdict.is_good() => Exit::Ok,
        _ => Exit::RolledBack,
    };
    let order = [Exit::HostFailed, Exit::Stale, Exit::Interrupted, Exit::RolledBack];
    let found: Vec<Exit> = ends.values().map(one).collect();
    order.into_iter().find(|exit| found.contains(exit)).unwrap_or(Exit::Ok)
}

/// Returns the fleet's directory, or the current one.
pub(crate) fn root(args: &Args) -> PathBuf {
    let here = std::env::current_dir().unwrap_or_default();
    args.repo.clone().or_else(|| nixmox_secrets::find(&here)).unwrap_or(here)
}
