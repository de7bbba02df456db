//! Checks, draws, plans and compares service manifests.

mod args;
mod commands;
mod files;
mod print;
mod tools;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    nixmox_cli::terminal::choose_color(args.color.into());
    match commands::run(&args) {
        Ok(exit) => ExitCode::from(exit.code()),
        Err(failure) => failure.report(),
    }
}
