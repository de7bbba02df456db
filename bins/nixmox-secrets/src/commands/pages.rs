//! Shell completions and manual pages, made from the command line's own definition.

use std::path::Path;

use clap::{Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;
use nixmox_cli::{Exit, Failure};

use super::print;
use crate::args::Args;

/// Prints a completion script.
pub(crate) fn completions(shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "nixmox-secrets", &mut script);
    print(|out| out.write_all(&script))?;
    Ok(Exit::Ok)
}

/// Prints the manual page, or writes one for each command to a directory.
pub(crate) fn man(dir: Option<&Path>) -> Result<Exit, Failure> {
    let fail =
        |e: std::io::Error| Failure::new(Exit::Write, "cannot write manual pages").because(e);
    let mut command = Args::command().after_long_help(exits());
    command.build();
    let Some(dir) = dir else {
        let mut page = Vec::new();
        Man::new(command).render(&mut page).map_err(fail)?;
        print(|out| out.write_all(&page))?;
        return Ok(Exit::Ok);
    };
    std::fs::create_dir_all(dir).map_err(fail)?;
    write_pages(dir, &command, "nixmox-secrets").map_err(fail)?;
    Ok(Exit::Ok)
}

fn write_pages(dir: &Path, command: &Command, name: &str) -> std::io::Result<()> {
    // clap keeps names for as long as the program runs; there are a few dozen.
    let kept: &'static str = name.to_owned().leak();
    let named = command.clone().name(kept);
    let mut page = Vec::new();
    Man::new(named).render(&mut page)?;
    std::fs::write(dir.join(format!("{name}.1")), page)?;
    for below in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
        write_pages(dir, below, &format!("{name}-{}", below.get_name()))?;
    }
    Ok(())
}

/// Lists how the program ends.
fn exits() -> String {
    let lines = Exit::ALL.iter().map(|exit| format!("{:>3}  {}\n", exit.code(), exit.meaning()));
    format!("Exit codes:\n{}", lines.collect::<String>())
}
