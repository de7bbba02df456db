//! Recovers a directory and then commits a script of changes to it.
//!
//! `commit DIR [SCRIPT]`, where each line of the script is one of
//! `write MODE PATH CONTENT…`, `remove PATH` and `expect PATH CONTENT…`.
//! The tests of the store kill it at every step.

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use nixmox_secrets::store::{Changes, Mode, RelPath, Store, sha256};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let done = match args.as_slice() {
        [dir] => run(dir.as_ref(), None),
        [dir, script] => run(dir.as_ref(), Some(script.as_ref())),
        _ => Err("usage: commit DIR [SCRIPT]".into()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(dir: &Path, script: Option<&Path>) -> Result<(), Box<dyn Error>> {
    let changes = match script {
        None => Changes::new(),
        Some(script) => parse(&std::fs::read_to_string(script)?)?,
    };
    let store = Store::open(dir)?;
    let mut locked = store.lock()?;
    locked.recover()?;
    Ok(locked.commit(changes)?)
}

fn parse(script: &str) -> Result<Changes, Box<dyn Error>> {
    let mut changes = Changes::new();
    for line in script.lines() {
        let words: Vec<_> = line.split(' ').collect();
        match words.as_slice() {
            ["write", mode, path, content @ ..] => {
                let mode = if *mode == "0600" { Mode::Private } else { Mode::Public };
                changes.write(RelPath::parse(path)?, content.join(" ").into_bytes(), mode);
            }
            ["remove", path] => changes.remove(RelPath::parse(path)?),
            ["expect", path, content @ ..] => {
                let hash = sha256(content.join(" ").as_bytes());
                changes.expect(RelPath::parse(path)?, Some(hash));
            }
            _ => return Err(format!("no such change: {line}").into()),
        }
    }
    Ok(changes)
}

#[expect(clippy::print_stderr, reason = "a program that is run by hand and by tests")]
fn report(error: &dyn Error) {
    eprint!("{error}");
    let mut next = error.source();
    while let Some(cause) = next {
        eprint!(": {cause}");
        next = cause.source();
    }
    eprintln!();
}
