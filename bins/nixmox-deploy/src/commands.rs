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
        Command::Deploy(deploy) => deploy::deploy(args, deploy),
        Command::Plan(plan) => deploy::plan(args, plan),
        Command::Apply(apply) => deploy::apply(args, apply),
        Command::Resume(resume) => deploy::resume(args, resume),
        Command::Attach(run) => watch::attach(args, run),
        Command::Abort(which) => rollback::abort(args, which),
        Command::Status(which) => status::status(args, which),
        Command::History(which) => history::history(args, which),
        Command::Rollback(rollback) => rollback::rollback(args, rollback),
        Command::Exec(exec) => exec::exec(args, exec),
        Command::Logs(logs) => watch::logs(args, logs),
        Command::Graph(graph) => graph::graph(args, graph),
        Command::Completions { shell } => {
            print(&pages::completions(*shell, Args::command())).map(|()| Exit::Ok)
        }
        Command::Man { dir } => {
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
