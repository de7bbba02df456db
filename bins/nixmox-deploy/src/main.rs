//! Hosts to what the repository says, in order, and back when they are not well.

mod advice;
mod args;
mod checks;
mod commands;
mod evaluated;
mod jobs;
mod run;
mod summary;
mod which;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Whatever does not work here (a container may forbid it) leaves the program as safe as others.
    let _ = nixmox_cli::harden();
    let args = args::Args::read();
    args.switches.apply();
    match commands::run(&args) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => failure.report(),
    }
}
