//! One module a family of commands; each is: arguments, a library call, a report.

mod install;
mod iso;
mod lxc;
mod standing;

use std::io::Write as _;

use clap::CommandFactory as _;
use nixmox_cli::{Exit, Failure, pages};

use crate::args::{Args, Command};

/// Runs the command that the arguments name; without one, an installation.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    match &args.command {
        Command::Install(install) => install::install(args, install, false),
        Command::Resume(install) => install::install(args, install, true),
        Command::Status(which) => standing::status(args, which),
        Command::Abort(which) => standing::abort(args, which),
        Command::Fingerprint(which) => standing::fingerprint(args, which),
        Command::Iso(made) => iso::iso(args, made),
        Command::ProxmoxLxc(lxc) => lxc::lxc(args, lxc),
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
