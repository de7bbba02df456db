//! Several machines at once: their record, their view, and how it ends.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{EventSink, Goal, Journal, Nix, Plan, PlannedNode, RunId, Verdict};
use nixmox_fleet::{Fleet, View};
use nixmox_install::{Context, InstallError, Installed, Memories, Order, install, survey};
use nixmox_topology::NodeName;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::args::Args;
use crate::report::{self, Surveys};
use crate::{advice, orders};

/// How each machine ended.
pub(crate) type Ends = BTreeMap<NodeName, Result<Installed, InstallError>>;

/// Returns where the installations of a fleet are recorded.
pub(crate) fn runs(args: &Args, fleet: &Fleet) -> Result<nixmox_deploy::Runs, Failure> {
    nixmox_fleet::runs(args.reach.runs.as_deref(), "install", fleet.root())
}

/// Returns where installations of the fleet's nodes are remembered.
pub(crate) fn memories(args: &Args, fleet: &Fleet) -> Result<Memories, Failure> {
    let hosts = RunId::parse("hosts").map_err(|e| Failure::from_error(Exit::Failure, e))?;
    Ok(Memories::new(runs(args, fleet)?.path(&hosts)))
}

/// Returns what installations work with.
pub(crate) fn context(args: &Args, fleet: &Fleet, nix: Nix) -> Result<Context, Failure> {
    let (_, stop) = watch::channel(false);
    Ok(Context {
        nix,
        ssh: orders::ssh(args)?,
        memories: memories(args, fleet)?,
        private: orders::private_directory()?,
        events: EventSink::none(),
        stop,
    })
}

/// Asks every machine what it is.
pub(crate) fn surveys(orders: &[Order], context: &Context) -> Result<Surveys, Failure> {
    let work = orders.iter().cloned().map(|order| {
        let context = context.clone();
        async move { (order.node.clone(), survey(&order, &context).await) }
    });
    let all: Vec<_> = work.collect();
    Ok(nixmox_fleet::runtime()?.block_on(async {
        let mut running: JoinSet<_> = all.into_iter().collect();
        let mut found = BTreeMap::new();
        while let Some(one) = running.join_next().await {
            found.extend(one);
        }
        found
    }))
}

/// Installs every machine, records it and shows it.
pub(crate) fn execute(
    args: &Args,
    fleet: &Fleet,
    orders: Vec<Order>,
    context: Context,
    parallel: NonZeroUsize,
) -> Result<Exit, Failure> {
    let journal = runs(args, fleet)?.begin(&nixmox_fleet::new_run()?, &plan(&orders));
    let journal = journal.map_err(|error| Failure::from_error(Exit::Failure, error))?;
    let journal = Arc::new(journal);
    let nodes: Vec<NodeName> = orders.iter().map(|order| order.node.clone()).collect();
    let view = Arc::new(View::new(args.switches.json, &nodes));
    let (stop, stopped) = watch::channel(false);
    let (noted, shown) = (Arc::clone(&journal), Arc::clone(&view));
    let events = EventSink::new(move |event| {
        noted.event(&event);
        shown.event(&event);
    });
    let context = Context { events, stop: stopped, ..context };
    let ends = nixmox_fleet::runtime()?.block_on(async {
        tokio::spawn(interruptions(stop, Arc::clone(&view)));
        all(orders, &context, parallel, (&journal, &view)).await
    });
    view.finish();
    let exit = exit(&ends);
    view.end(&journal.end(exit.code()));
    if !args.switches.json {
        summary(&ends, journal.directory())?;
    }
    Ok(exit)
}

async fn all(
    orders: Vec<Order>,
    context: &Context,
    parallel: NonZeroUsize,
    (journal, view): (&Arc<Journal>, &Arc<View>),
) -> Ends {
    let turns = Arc::new(Semaphore::new(parallel.get()));
    let mut running = JoinSet::new();
    for order in orders {
        let (turns, context) = (Arc::clone(&turns), context.clone());
        running.spawn(async move {
            let turn = turns.acquire().await;
            let end = install(&order, &context).await;
            drop(turn);
            (order.node, end)
        });
    }
    let mut ends = BTreeMap::new();
    while let Some(one) = running.join_next().await {
        let Ok((node, end)) = one else { continue };
        let (verdict, message, code) = match &end {
            Ok(installed) => (Verdict::Changed, report::message(installed), 0),
            Err(error) => (verdict(error), advice::message(error), advice::exit(error).code()),
        };
        let line = journal.done_with_code(&node, verdict, &message, code);
        view.ended(&node, verdict, &message, &line);
        ends.insert(node, end);
    }
    ends
}

fn verdict(error: &InstallError) -> Verdict {
    match error {
        InstallError::Refused { .. } | InstallError::Consent { .. } | InstallError::Busy => {
            Verdict::Skipped
        }
        _ => Verdict::Failed,
    }
}

fn plan(orders: &[Order]) -> Plan {
    let node = |order: &Order| {
        let (running, place) = (None, nixmox_deploy::Place::default());
        (order.node.clone(), PlannedNode { system: order.system.clone(), running, place })
    };
    Plan {
        goal: Goal::Boot,
        source: "nixmox-install".to_owned(),
        revision: None,
        source_path: None,
        there: false,
        build_only: false,
        switches: BTreeMap::new(),
        nodes: orders.iter().map(node).collect(),
    }
}

/// Stops between two phases after the first interruption, and at once at the second. Jobs on machines go on.
async fn interruptions(stop: watch::Sender<bool>, view: Arc<View>) {
    if tokio::signal::ctrl_c().await.is_err() {
        return std::future::pending().await;
    }
    view.say(
        "interrupted: the phase that goes on is brought to its end; once more to leave at once",
    );
    let _ = stop.send(true);
    if tokio::signal::ctrl_c().await.is_ok() {
        view.finish();
        view.say("left; what goes on at machines goes on: nixmox-install status, then resume");
        std::process::exit(i32::from(Exit::Interrupted.code()));
    }
}

/// Says how the program ends: as all machines did, or that they ended differently.
fn exit(ends: &Ends) -> Exit {
    let one =
        |end: &Result<Installed, InstallError>| end.as_ref().err().map_or(Exit::Ok, advice::exit);
    let mut exits: Vec<Exit> = ends.values().map(one).collect();
    exits.dedup();
    match exits.as_slice() {
        [] => Exit::Failure,
        [exit] => *exit,
        _ => Exit::InstallMixed,
    }
}

fn summary(ends: &Ends, directory: &Path) -> Result<(), Failure> {
    let mut out = anstream::stdout().lock();
    let mut write = || {
        for (node, end) in ends {
            match end {
                Ok(installed) => {
                    writeln!(out, "{node}  {}", report::message(installed))?;
                    for finding in &installed.findings {
                        writeln!(out, "  note: {finding}")?;
                    }
                }
                Err(error) => {
                    report::failed(&mut out, node, error)?;
                    let log = directory.join(format!("{node}.log"));
                    if log.is_file() {
                        writeln!(out, "  log: {}", log.display())?;
                    }
                }
            }
        }
        std::io::Result::Ok(())
    };
    write().map_err(|e| Failure::new(Exit::Write, "cannot write the summary").because(e))
}
