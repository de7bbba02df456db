//! One module a family of commands; each is: arguments, one library call, a report.

pub(crate) mod access;
mod change;
mod check;
pub(crate) mod consumers;
mod crypt;
mod demo;
pub(crate) mod doctor;
pub(crate) mod due;
mod edit;
mod ever;
pub(crate) mod generate;
pub(crate) mod git;
pub(crate) mod import;
mod init;
mod input;
mod pages;
mod read;
pub(crate) mod recipients;
pub(crate) mod renew;
pub(crate) mod sign;
mod values;
pub(crate) mod verify;

use std::borrow::Cow;
use std::io::Write;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};

use crate::args::{Args, Command};
use crate::context::Context;

/// Runs the command that the arguments name.
pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let context = || Context::find(args);
    match &args.command {
        Command::Demo { dir } => demo::run(dir.as_deref()),
        Command::Init(init) => init::run(args, init),
        Command::Edit(edit) => edit::edit(&context()?, edit),
        Command::Set(set) => change::set(&context()?, set),
        Command::Unset(unset) => change::unset(&context()?, unset),
        Command::Import(import) => import::run(&context()?, import),
        Command::Get { path, evaluate } => read::get(&context()?, path, *evaluate),
        Command::List { node, evaluate } => read::list(&context()?, node.as_deref(), *evaluate),
        Command::Show { host, reveal, evaluate } => {
            read::show(&context()?, (host, *reveal), *evaluate)
        }
        Command::Eval { host, reveal, evaluate } => {
            read::eval(&context()?, (host.as_deref(), *reveal), *evaluate)
        }
        Command::Explain { host, key, evaluate } => {
            read::explain(&context()?, (host, key.as_deref()), *evaluate)
        }
        Command::Generate(args) => generate::run(&context()?, args),
        Command::Status { trust, evaluate } => check::status(&context()?, *trust, *evaluate),
        Command::Seal(seal) => renew::seal(&context()?, seal),
        Command::UpdateKeys(update) => renew::updatekeys(&context()?, update),
        Command::Rotate(rotate) => renew::rotate(&context()?, rotate),
        Command::RotateHost(rotate) => renew::rotate_host(&context()?, rotate),
        Command::Compromised(args) => due::compromised(&context()?, args),
        Command::Due { evaluate } => due::list(&context()?, *evaluate),
        Command::Who(who) => access::who(&context()?, who),
        Command::Access(args) => access::access(&context()?, args),
        Command::Check { keyless, evaluate } => check::check(&context()?, *keyless, *evaluate),
        Command::Doctor(doctor) => doctor::run(&context()?, doctor),
        Command::Consumers(consumers) => consumers::run(&context()?, consumers),
        Command::Encrypt(crypt) => crypt::encrypt(args, crypt),
        Command::Decrypt(crypt) => crypt::decrypt(args, crypt),
        Command::Git(command) => git::run(args, command),
        Command::Recipients(recipients) => recipients::run(&context()?, recipients),
        Command::Sign(sign) => sign::run(&context()?, sign),
        Command::Verify(verify) => verify::run(args, verify),
        Command::Completions { shell } => pages::completions(*shell),
        Command::Man { dir } => pages::man(dir.as_deref()),
    }
}

/// Writes to standard output; a reader that went away is no failure of ours.
fn print(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<(), Failure> {
    let mut out = anstream::AutoStream::auto(std::io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Write, "cannot write to standard output").because(e))
        }
        _ => Ok(()),
    }
}

/// Prints JSON on standard output.
fn print_json(value: &serde_json::Value) -> Result<(), Failure> {
    print(|out| write_json(out, &format!("{value:#}")))
}

/// Writes JSON and a newline; what a terminal would obey or hide is written in JSON's own way of escaping.
fn write_json(out: &mut dyn Write, text: &str) -> std::io::Result<()> {
    let is_hidden =
        |c: char| c != '\n' && matches!(escape(c.encode_utf8(&mut [0; 4])), Cow::Owned(_));
    let mut rest = text;
    while let Some((at, hidden)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
        let (before, after) = rest.split_at(at);
        out.write_all(before.as_bytes())?;
        hidden
            .encode_utf16(&mut [0; 2])
            .iter()
            .try_for_each(|unit| write!(out, "\\u{unit:04x}"))?;
        rest = after.get(hidden.len_utf8()..).unwrap_or_default();
    }
    writeln!(out, "{rest}")
}
