//! `set` and `unset`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_sops::{Keep, NewValue, SelectError, TreePath};
use nixmox_tree::SecretBytes;

use crate::advice;
use crate::args::{Global, Open, Types};
use crate::files::{self, Kind};
use crate::opened::{self, Again};

/// Where a new value comes from.
#[derive(Clone, Copy)]
pub(crate) enum From {
    Words,
    Stdin,
    File,
}

impl From {
    pub(crate) fn new(stdin: bool, file: bool) -> Self {
        match (stdin, file) {
            (true, _) => Self::Stdin,
            (_, true) => Self::File,
            _ => Self::Words,
        }
    }
}

/// Sets one value of a file.
pub(crate) fn set(
    global: &Global,
    (words, from): (&[OsString], From),
    (types, open): (&Types, &Open),
    idempotent: bool,
) -> Result<(), Failure> {
    let (file, path, value) = match (words, from) {
        ([file, path], From::Stdin) => (file, path, files::read_stdin()?),
        ([file, path, value], From::File) => (file, path, files::read(Path::new(value))?),
        ([file, path, value], From::Words) => (file, path, said(value)),
        _ => {
            let message = "no file specified, or index and value are missing";
            return Err(Failure::new(Exit::NoFile, message));
        }
    };
    let path = parse_path(&path.to_string_lossy(), "set")?;
    apply(global, (Path::new(file), types, open), (&path, &value), idempotent)
}

/// Sets one value as sops did before it had commands: path and value are one word.
pub(crate) fn set_legacy(
    global: &Global,
    (file, text): (&[PathBuf], &str),
    (types, open): (&Types, &Open),
) -> Result<(), Failure> {
    let file = files::one(file)?;
    let parts = text.split_once("] ").ok_or_else(|| {
        Failure::new(Exit::BadPath, "invalid --set format")
            .hint("write --set '[\"a\"][0] \"value\"'")
    })?;
    let path = parse_path(&format!("{}]", parts.0), "set")?;
    apply(global, (file, types, open), (&path, &said(&OsString::from(parts.1))), false)
}

/// Takes a value from the command line, where others can see it.
fn said(value: &OsString) -> SecretBytes {
    advice::warn(
        "the value stands in the command line, where every user of this machine can read it; give it with --value-stdin or --value-file",
    );
    SecretBytes::new(value.as_encoded_bytes())
}

fn parse_path(text: &str, what: &str) -> Result<TreePath, Failure> {
    let fail = |e| Failure::new(Exit::BadPath, format!("invalid {what} index format")).because(e);
    let path = TreePath::parse(text).map_err(fail)?;
    if path.is_empty() { Err(fail(SelectError::Syntax)) } else { Ok(path) }
}

fn apply(
    global: &Global,
    (file, types, open): (&Path, &Types, &Open),
    (path, value): (&TreePath, &SecretBytes),
    idempotent: bool,
) -> Result<(), Failure> {
    let name = file.display().to_string();
    let value = NewValue::parse(value.expose()).map_err(|e| {
        Failure::new(Exit::BadPath, "the value is not valid JSON, or a list")
            .because(e)
            .hint("a text is written with quotes: '\"text\"'")
    })?;
    let (from, to) = files::formats(types, file);
    let sealed = opened::at(file, from)?;
    let opened = opened::open(&sealed, &name, open)?;
    if idempotent && opened.documents().holds(path, &value) {
        return Ok(());
    }
    let mut docs = opened.documents().clone();
    docs.set_at(path, &value).map_err(|e| {
        Failure::new(Exit::BadPath, format!("{name} cannot have such a value")).because(e)
    })?;
    let again = Again::same(global, &sealed, &name)?;
    let bytes = again.seal(&docs, to, Keep::Everything(&opened))?;
    files::write(file, &bytes, Kind::Sealed)
}

/// Removes one value of a file.
pub(crate) fn unset(
    global: &Global,
    words: &[OsString],
    (types, open): (&Types, &Open),
    idempotent: bool,
) -> Result<(), Failure> {
    let [file, path] = words else {
        return Err(Failure::new(Exit::NoFile, "no file specified, or index is missing"));
    };
    let (file, path) = (Path::new(file), parse_path(&path.to_string_lossy(), "unset")?);
    let name = file.display().to_string();
    let (from, to) = files::formats(types, file);
    let sealed = opened::at(file, from)?;
    let opened = opened::open(&sealed, &name, open)?;
    let mut docs = opened.documents().clone();
    match docs.unset_at(&path) {
        Ok(()) => {}
        Err(SelectError::NotFound(_) | SelectError::OutOfBounds(_)) if idempotent => return Ok(()),
        Err(e) => {
            return Err(Failure::new(Exit::Failure, format!("{name} has no such value")).because(e));
        }
    }
    let again = Again::same(global, &sealed, &name)?;
    let bytes = again.seal(&docs, to, Keep::Everything(&opened))?;
    files::write(file, &bytes, Kind::Sealed)
}
