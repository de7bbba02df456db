//! One secrets file in, one sealed file per host out.

mod advice;
mod args;
mod commands;
mod context;
mod git;
mod history;
mod paths;
mod report;
mod sandbox;
mod signer;

use std::process::ExitCode;

use clap::Parser;

/// The system's own spends up to a third of the time of large fleets in `malloc` and `free`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Whatever does not work here (a container may forbid it) leaves the program as safe as others.
    let _ = nixmox_cli::harden();
    let args = args::Args::parse();
    args.switches.apply();
    match commands::run(&args) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => failure.report(),
    }
}
