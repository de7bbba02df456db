//! One module a family of commands; each is: arguments, a library call, a report.

mod deploy;
mod exec;
mod graph;
mod history;
mod rollback;
mod status;
mod watch;

use std::io::Write as _;

use clap::CommandFactory as _;
use nixmox_cli::{Exit, Failure, pages};

use crate::args::{Args, Command};

/// Runs the command that the arguments name; without one, a deployment.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        None => deploy::deploy(args, &args.deploy),
        Some(Command::Deploy(deploy)) => deploy::deploy(args, deploy),
        Some(Command::Plan(plan)) => deploy::plan(args, plan),
        Some(Command::Apply(apply)) => deploy::apply(args, apply),
        Some(Command::Resume(resume)) => deploy::resume(args, resume),
        Some(Command::Attach(run)) => watch::attach(args, run),
        Some(Command::Abort(which)) => rollback::abort(args, which),
        Some(Command::Status(which)) => status::status(args, which),
        Some(Command::History(which)) => history::history(args, which),
        Some(Command::Rollback(rollback)) => rollback::rollback(args, rollback),
        Some(Command::Exec(exec)) => exec::exec(args, exec),
        Some(Command::Logs(logs)) => watch::logs(args, logs),
        Some(Command::Graph(graph)) => graph::graph(args, graph),
        Some(Command::Completions { shell }) => {
            print(&pages::completions(*shell, Args::command())).map(|()| Exit::Ok)
        }
        Some(Command::Man { dir }) => {
            let fail = |e| Failure::new(Exit::Write, "cannot write manual pages").because(e);
            match dir {
                Some(dir) => pages::write(dir, Args::command()).map_err(fail)?,
                None => print(&pages::manual(Args::command()).map_err(fail)?)?,
            }
            Ok(Exit::Ok)
        }
    }
}

/// Writes bytes to standard output; a reader that has left is no failure.
fn print(bytes: &[u8]) -> Result<(), Failure> {
    match anstream::stdout().write_all(bytes) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Write, "cannot write to standard output").because(error))
        }
        _ => Ok(()),
    }
}

/// Writes what `write` makes to standard output.
fn print_with(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<(), Failure> {
    let mut text = Vec::new();
    write(&mut text).map_err(|e| Failure::new(Exit::Write, "cannot make the report").because(e))?;
    print(&text)
}
