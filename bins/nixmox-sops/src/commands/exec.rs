//! `exec-env` and `exec-file`: a command with the plaintext in its hands.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, ExitStatus};

use nixmox_cli::plaintext::{Places, Workspace};
use nixmox_cli::{Exit, Failure, run_child, scrubbed};
use nixmox_sops::DecryptedFile;

use super::crypt;
use crate::args::{Exec, Global, Open};
use crate::config::{self, Config};
use crate::{files, opened};

/// Runs a command with the values of a file in its environment.
pub(crate) fn env(exec: &Exec) -> Result<u8, Failure> {
    let (path, line) = words(exec)?;
    let name = path.display().to_string();
    let opened = open(exec, path)?;
    let values = opened.documents().flat_values().map_err(|e| {
        Failure::new(Exit::Failure, format!("{name} cannot be an environment")).because(e)
    })?;
    let mut command = shell(exec, line);
    for (key, value) in &values {
        let fits = !key.is_empty() && !key.contains(['=', '\0']) && !value.expose().contains(&0);
        if !fits {
            let message =
                format!("the value {} cannot stand in an environment", key.escape_debug());
            return Err(Failure::new(Exit::Failure, message));
        }
        command.env(key, OsStr::from_bytes(value.expose()));
    }
    drop(opened);
    finish(exec, command)
}

/// Runs a command with the decrypted file in memory.
pub(crate) fn file(global: &Global, exec: &Exec) -> Result<u8, Failure> {
    let (path, line) = words(exec)?;
    if exec.same_process {
        let message = "nobody would remove the plaintext: exec-file has no --same-process";
        return Err(Failure::new(Exit::Failure, message));
    }
    let name = path.display().to_string();
    let opened = open(exec, path)?;
    let indent = config::indent(global, Config::load(global)?.as_ref())?;
    let (_, to) = files::formats(&exec.types, path);
    let plain = crypt::printed(opened.documents(), to, (&name, indent))?;
    let filename = exec.filename.as_deref().unwrap_or("tmp-file");
    let places = Places::from_env(false);
    let workspace = Workspace::create_bytes(&places, filename, plain.expose())
        .map_err(|e| Failure::from_error(Exit::Failure, e))?;
    drop((opened, plain));
    let path = workspace.path();
    let line = line.to_string_lossy().replace("{}", &path.to_string_lossy());
    finish(exec, shell(exec, OsStr::new(&line)))
}

fn words(exec: &Exec) -> Result<(&Path, &OsStr), Failure> {
    if exec.user.is_some() || exec.background {
        return Err(Failure::new(Exit::Failure, "--user and --background are not there")
            .hint("change the user, or go into the background, in the command itself"));
    }
    match exec.words.as_slice() {
        [file, command] => Ok((Path::new(file), command)),
        _ => Err(Failure::new(Exit::NoFile, "no file specified, or the command is missing")
            .hint("the command is one word: nixmox-sops exec-env FILE 'COMMAND'")),
    }
}

fn open(exec: &Exec, path: &Path) -> Result<DecryptedFile, Failure> {
    let (from, _) = files::formats(&exec.types, path);
    let sealed = opened::at(path, from)?;
    opened::open(&sealed, &path.display().to_string(), &Open::default())
}

/// Prepares the shell; it sees no identity of ours, and with `--pristine` nothing else.
fn shell(exec: &Exec, line: &OsStr) -> Command {
    let mut command = scrubbed(Command::new("/bin/sh"));
    if exec.pristine {
        command.env_clear();
    }
    command.arg("-c").arg(line);
    command
}

fn finish(exec: &Exec, mut command: Command) -> Result<u8, Failure> {
    let failed =
        |e: std::io::Error| Failure::new(Exit::Failure, "/bin/sh cannot be started").because(e);
    if exec.same_process {
        return Err(failed(command.exec()));
    }
    run_child(&mut command).map(code).map_err(failed)
}

/// Passes on how the command ended; for a signal, as a shell does.
fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
