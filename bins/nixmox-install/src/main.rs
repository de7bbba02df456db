//! A fresh machine becomes a node, with its secrets, and without trusting strangers.

mod advice;
mod args;
mod commands;
mod input;
mod orders;
mod report;
mod run;
mod systems;
mod trust;

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
