//! sops' own command line, with age keys: a script that called `sops` needs only the name changed.

mod advice;
mod args;
mod commands;
mod config;
mod files;
mod opened;

use std::process::ExitCode;

fn main() -> ExitCode {
    // Whatever does not work here (a container may forbid it) leaves the program as safe as others.
    let _ = nixmox_cli::harden();
    let (args, ignored) = args::parse(std::env::args_os());
    for name in ignored {
        advice::warn(&format!("--{name} before the command has no effect, as in sops"));
    }
    match commands::run(&args) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(),
    }
}
