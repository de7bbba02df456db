//! Runs that go on elsewhere, and logs of those that are over.

use std::thread::sleep;
use std::time::Duration;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::Line;

use crate::args::{Args, Logs, OneRun};
use crate::{advice, run};
use nixmox_fleet::json_line;

/// Between two looks at a record.
const LOOK: Duration = Duration::from_millis(300);

/// Shows the record of a run until nobody works on it any more.
pub(crate) fn attach(args: &Args, one: &OneRun) -> Result<Exit, Failure> {
    let runs = run::runs(args, &run::root(args))?;
    let id = run::find(&runs, one.run.as_deref())?;
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
            let text = if args.switches.json { Some(json_line(line)) } else { words(line) };
            if let Some(text) = text {
                super::print(format!("{text}\n").as_bytes())?;
            }
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
        Failure::new(Exit::NoFile, message)
    })?;
    for line in text.lines() {
        super::print(format!("{}\n", escape(line)).as_bytes())?;
    }
    Ok(Exit::Ok)
}
