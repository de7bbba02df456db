//! Runs that go on elsewhere, and logs of those that are over.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::thread::sleep;
use std::time::Duration;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{
    ActivationError, End, EventSink, Host, JobError, Line, Outcome, Verdict, each, probe,
};

use crate::args::{Args, Attach, Logs, Meant, Which};
use crate::{advice, run, summary, which};
use nixmox_fleet::json_line;

/// Between two looks at a record.
const LOOK: Duration = Duration::from_millis(300);

/// Shows what goes on: in a run of this machine, or on hosts, whoever began it.
pub(crate) fn attach(args: &Args, attach: &Attach) -> Result<Exit, Failure> {
    match attach.what.meant() {
        Meant::Run(name) => attach_run(args, name.as_deref()),
        Meant::Hosts(which) => attach_hosts(args, &which),
    }
}

/// Looks at the activations of hosts until they are over.
fn attach_hosts(args: &Args, which: &Which) -> Result<Exit, Failure> {
    let fleet = which::known(args, BTreeSet::new())?;
    let nodes = which::nodes(args, &fleet, which)?;
    let hosts = which::hosts(args, &fleet, &nodes)?;
    let json = args.switches.json;
    let events = EventSink::new(move |event| show(&Line::of(&event), json));
    // Each for as long as it takes, so none waits for another.
    let at_once = NonZeroUsize::new(hosts.len()).unwrap_or(NonZeroUsize::MIN);
    let ends = nixmox_fleet::runtime()?.block_on(each(hosts, at_once, |host| {
        let events = events.clone();
        async move {
            let end = look_on(&host, &events).await;
            host.close().await;
            let (verdict, message) = ended(end);
            show(&Line::done(host.node(), verdict, &message), json);
            verdict
        }
    }));
    let has = |wanted: Verdict| ends.iter().any(|(_, verdict)| *verdict == wanted);
    let exit = match (has(Verdict::Failed), has(Verdict::RolledBack)) {
        (true, _) => Exit::HostFailed,
        (false, true) => Exit::RolledBack,
        (false, false) => Exit::Ok,
    };
    show(&Line::end(exit.code()), json);
    Ok(exit)
}

/// Says how what was looked at ended. How long it took is known to who began it.
fn ended(end: Result<Option<Outcome>, ActivationError>) -> (Verdict, String) {
    match end {
        Ok(None) => (Verdict::Unchanged, "no activation goes on".to_owned()),
        Ok(Some(Outcome::Activated { .. })) => (Verdict::Changed, "runs its new system".to_owned()),
        Ok(Some(outcome)) => {
            let rolled_back = matches!(outcome, Outcome::RolledBack { .. });
            let verdict = if rolled_back { Verdict::RolledBack } else { Verdict::Changed };
            (verdict, summary::message(&End::Activation(outcome)))
        }
        Err(error) => {
            (Verdict::Failed, summary::message(&End::Failed(JobError::Activation(error))))
        }
    }
}

/// Shows a line; a reader that has left is no failure.
fn show(line: &Line, json: bool) {
    let text = if json { Some(json_line(line)) } else { words(line) };
    if let Some(text) = text {
        let _ = super::print(format!("{text}\n").as_bytes());
    }
}

async fn look_on(host: &Host, events: &EventSink) -> Result<Option<Outcome>, ActivationError> {
    let last = probe(host).await?.last;
    match last.filter(|last| !last.standing.phase.is_over()) {
        Some(last) => nixmox_deploy::attach(host, &last, events).await.map(Some),
        None => Ok(None),
    }
}

/// Shows the record of a run until nobody works on it any more.
fn attach_run(args: &Args, name: Option<&str>) -> Result<Exit, Failure> {
    let runs = run::runs(args, &run::root(args))?;
    let id = run::find(&runs, name)?;
    let mut shown = 0;
    let mut ended = None;
    loop {
        let running = runs.is_running(&id);
        let mut lines = Vec::new();
        runs.lines(&id, |line| lines.push(line)).map_err(advice::run)?;
        for line in lines.iter().skip(shown) {
            if let Line::End { status, .. } = line {
                ended = Some(*status);
            }
            show(line, args.switches.json);
        }
        shown = lines.len();
        if !running {
            break;
        }
        sleep(LOOK);
    }
    match ended.and_then(|status| Exit::ALL.into_iter().find(|exit| exit.code() == status)) {
        Some(exit) => Ok(exit),
        None => Err(Failure::new(Exit::Failure, "the run was cut short")
            .hint(format!("go on with it: nixmox-deploy resume {}", id.as_str()))),
    }
}

/// A line of a record for people.
fn words(line: &Line) -> Option<String> {
    Some(match line {
        Line::Phase { node, phase, .. } => format!("{}: {}", escape(node), escape(phase)),
        Line::Done { node, message, .. } => format!("{}: {}", escape(node), escape(message)),
        Line::Confirmed { node, count, of, .. } => {
            format!("{}: confirmed {count} of {of}", escape(node))
        }
        Line::Check { node, check, passed, .. } => {
            let how = if *passed { "passed" } else { "not passed yet" };
            format!("{}: check {}: {how}", escape(node), escape(check))
        }
        Line::ConnectionLost { node, .. } => format!("{}: connection lost", escape(node)),
        _ => return None,
    })
}

/// Prints the log of a host.
pub(crate) fn logs(args: &Args, logs: &Logs) -> Result<Exit, Failure> {
    let runs = run::runs(args, &run::root(args))?;
    let id = run::find(&runs, logs.run.as_deref())?;
    let plain = logs.node.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let path = runs.path(&id).join(format!("{}.log", logs.node));
    let text = std::fs::read_to_string(&path).ok().filter(|_| plain).ok_or_else(|| {
        let message = format!("run {} has no log of {}", id.as_str(), escape(&logs.node));
        Failure::new(Exit::NoFile, message).hint(
            "a host has one when it was activated, `build` when something was built; \
             --run names another run of `nixmox-deploy history`",
        )
    })?;
    for line in text.lines() {
        super::print(format!("{}\n", escape(line)).as_bytes())?;
    }
    Ok(Exit::Ok)
}
