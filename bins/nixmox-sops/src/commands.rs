//! One module a family of commands; each is: arguments, a few library calls, bytes to write.

mod change;
mod crypt;
mod edit;
mod exec;
mod keys;
mod status;

use std::path::Path;

use clap::CommandFactory;
use nixmox_cli::{Exit, Failure, pages};

use crate::args::{Args, Command, Global, Legacy};

/// Runs what the arguments name and returns the code to end with.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    let global = &args.global;
    check_order(global)?;
    let ok = |()| Exit::Ok.code();
    match &args.command {
        None => legacy(global, &args.legacy).map(ok),
        Some(Command::Encrypt { output, types, seal, file }) => {
            crypt::encrypt(global, (file, types), seal, output).map(ok)
        }
        Some(Command::Decrypt { output, types, open, file }) => {
            crypt::decrypt(global, (file, types), open, output).map(ok)
        }
        Some(Command::Edit { types, seal, open, show_master_keys, file }) => {
            edit::edit(global, (file, types), (seal, open), *show_master_keys).map(ok)
        }
        Some(Command::Set { types, open, idempotent, value_stdin, value_file, words }) => {
            let from = change::From::new(*value_stdin, *value_file);
            change::set(global, (words, from), (types, open), *idempotent).map(ok)
        }
        Some(Command::Unset { types, open, idempotent, words }) => {
            change::unset(global, words, (types, open), *idempotent).map(ok)
        }
        Some(Command::Rotate { output, types, open, keys, file }) => {
            keys::rotate(global, (file, types), (open, keys), output).map(ok)
        }
        Some(Command::Updatekeys { yes, input_type, file, .. }) => {
            keys::update(global, file, input_type.as_deref(), *yes).map(ok)
        }
        Some(Command::Filestatus { input_type, file }) => {
            status::filestatus(file, input_type.as_deref()).map(ok)
        }
        Some(Command::ExecEnv(exec)) => exec::env(exec),
        Some(Command::ExecFile(exec)) => exec::file(global, exec),
        Some(Command::Completions { shell }) => {
            crate::files::print(&pages::completions(*shell, Args::command())).map(ok)
        }
        Some(Command::Man { dir }) => man(dir.as_deref()).map(ok),
    }
}

/// Prints the manual page, or writes one for each command to a directory.
fn man(dir: Option<&Path>) -> Result<(), Failure> {
    let fail = |e| Failure::new(Exit::Write, "cannot write manual pages").because(e);
    match dir {
        Some(dir) => pages::write(dir, Args::command()).map_err(fail),
        None => crate::files::print(&pages::manual(Args::command()).map_err(fail)?),
    }
}

/// Does what sops did before it had commands; without any of its switches, edits.
fn legacy(global: &Global, legacy: &Legacy) -> Result<(), Failure> {
    let Legacy { output, types, seal, open, keys, file, .. } = legacy;
    let modes = [legacy.encrypt, legacy.decrypt, legacy.rotate, legacy.set.is_some()];
    if modes.into_iter().filter(|mode| *mode).count() > 1 {
        let message = "only one of --encrypt, --decrypt, --rotate and --set can be done at a time";
        return Err(Failure::new(Exit::Conflict, message));
    }
    if legacy.encrypt {
        return crypt::encrypt(global, (file, types), seal, output);
    }
    if legacy.decrypt {
        return crypt::decrypt(global, (file, types), open, output);
    }
    if legacy.rotate {
        return keys::rotate(global, (file, types), (open, keys), output);
    }
    if let Some(text) = &legacy.set {
        return change::set_legacy(global, (file, text), (types, open));
    }
    if !keys.add_age.is_empty() || !keys.rm_age.is_empty() {
        // sops takes these for a rotation in place.
        let in_place = crate::args::Output { in_place: true, output: None };
        return keys::rotate(global, (file, types), (open, keys), &in_place);
    }
    edit::edit(global, (file, types), (seal, open), legacy.show_master_keys)
}

/// Refuses an order that names a key type twice; what it does not know it leaves out.
fn check_order(global: &Global) -> Result<(), Failure> {
    let mut seen = Vec::new();
    for word in global.decryption_order.iter().flat_map(|order| order.split(',')) {
        let word = word.trim();
        if !word.is_empty() && seen.contains(&word) {
            let message = format!("duplicate decryption key type: {word}");
            return Err(Failure::new(Exit::DecryptionOrder, message));
        }
        seen.push(word);
    }
    Ok(())
}
