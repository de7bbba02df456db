//! Shell completions and manual pages, made from a command line's own definition.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Exit;

/// Makes the completion script of a program for a shell.
pub fn completions(shell: Shell, mut command: Command) -> Vec<u8> {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    script
}

/// Makes the manual page of a program, with its exit codes.
///
/// # Errors
///
/// Those of rendering.
pub fn manual(command: Command) -> io::Result<Vec<u8>> {
    render(with_exits(command))
}

/// Makes a manual page for a program and each of its commands, by the names of their files.
///
/// # Errors
///
/// Those of rendering.
pub fn manuals(command: Command) -> io::Result<BTreeMap<String, Vec<u8>>> {
    let command = with_exits(command);
    let name = command.get_name().to_owned();
    let mut pages = BTreeMap::new();
    add(&mut pages, &command, &name)?;
    Ok(pages)
}

/// Writes the pages of [`manuals`] to a directory, which is made where it is missing.
///
/// # Errors
///
/// Those of rendering and of writing.
pub fn write(directory: &Path, command: Command) -> io::Result<()> {
    std::fs::create_dir_all(directory)?;
    let pages = manuals(command)?;
    pages.iter().try_for_each(|(name, page)| std::fs::write(directory.join(name), page))
}

fn add(pages: &mut BTreeMap<String, Vec<u8>>, command: &Command, name: &str) -> io::Result<()> {
    // clap keeps names for as long as the program runs; there are a few dozen.
    let kept: &'static str = name.to_owned().leak();
    pages.insert(format!("{name}.1"), render(command.clone().name(kept))?);
    let shown = |c: &&Command| !c.is_hide_set() && c.get_name() != "help";
    for below in command.get_subcommands().filter(shown) {
        add(pages, below, &format!("{name}-{}", below.get_name()))?;
    }
    Ok(())
}

fn render(command: Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    Man::new(command).render(&mut page)?;
    Ok(page)
}

fn with_exits(command: Command) -> Command {
    let lines = Exit::ALL.iter().map(|exit| format!("{:>3}  {}\n", exit.code(), exit.meaning()));
    let mut command =
        command.after_long_help(format!("Exit codes:\n{}", lines.collect::<String>()));
    command.build();
    command
}
