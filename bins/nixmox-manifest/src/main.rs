//! Checks, draws, plans and compares service manifests.

mod args;
mod commands;
mod files;
mod print;
mod tools;

use std::process::ExitCode;

use clap::Parser;

/// The system's own spends up to a third of the time of large fleets in `malloc` and `free`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    args.switches.apply();
    match commands::run(&args) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => failure.report(),
    }
}
