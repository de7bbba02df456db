//! Shell completions and manual pages.

use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;
use nixmox_cli::{Exit, Failure, pages};

use super::print;
use crate::args::Args;

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let script = pages::completions(shell, Args::command());
    print(|out| out.write_all(&script))?;
    Ok(Exit::Ok)
}

/// Prints the manual page, or writes one for each command to a directory.
pub(crate) fn man(dir: Option<&Path>) -> Result<Exit, Failure> {
    let fail =
        |e: std::io::Error| Failure::new(Exit::Write, "cannot write manual pages").because(e);
    let Some(dir) = dir else {
        let page = pages::manual(Args::command()).map_err(fail)?;
        print(|out| out.write_all(&page))?;
        return Ok(Exit::Ok);
    };
    pages::write(dir, Args::command()).map_err(fail)?;
    Ok(Exit::Ok)
}
