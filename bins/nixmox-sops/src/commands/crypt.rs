//! `encrypt` and `decrypt`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nixmox_cli::{Exit, Failure};
use nixmox_sops::{Documents, Format, Indent, Keep, ShapeError, TreePath, detect, seal};
use rand_core::OsRng;

use crate::args::{Global, Open, Output, Seal, Types};
use crate::config::{self, Config};
use crate::files::{self, Kind};
use crate::{advice, opened};

/// Encrypts a plain file.
pub(crate) fn encrypt(
    global: &Global,
    (file, types): (&[PathBuf], &Types),
    seal_args: &Seal,
    output: &Output,
) -> Result<(), Failure> {
    files::check_output(output)?;
    let path = match (file, &types.filename_override) {
        ([], None) => {
            let message = "must specify --filename-override when reading from stdin";
            return Err(Failure::new(Exit::Conflict, message));
        }
        ([], Some(_)) => None,
        (files, _) => Some(files::one(files)?),
    };
    let plain = path.map_or_else(files::read_stdin, files::read)?;
    let named = path.unwrap_or(Path::new("standard input"));
    let name = named.display().to_string();
    let (from, to) = files::formats(types, named);
    let docs = Documents::parse(plain.expose(), from)
        .map_err(|e| advice::plain(&name, e, from == Format::Yaml))?;
    let rules_see = match &types.filename_override {
        Some(other) => other.clone(),
        None => std::path::absolute(named).unwrap_or_else(|_| named.to_owned()),
    };
    let options = config::seal_options(global, seal_args, (&rules_see, to))?;
    let sealed = seal(&docs, (to, &options), Keep::Nothing, &mut OsRng, Timestamp::now())
        .map_err(|e| advice::unsealed(&name, e))?;
    files::put(&sealed, Kind::Sealed, path, output)
}

/// Decrypts a file, or one value of it.
pub(crate) fn decrypt(
    global: &Global,
    (file, types): (&[PathBuf], &Types),
    open: &Open,
    output: &Output,
) -> Result<(), Failure> {
    files::check_output(output)?;
    let path = if file.is_empty() { None } else { Some(files::one(file)?) };
    let bytes = path.map_or_else(files::read_stdin, files::read)?;
    let named = path.unwrap_or(Path::new("standard input"));
    let name = named.display().to_string();
    let indent = config::indent(global, Config::load(global)?.as_ref())?;
    let wanted = match open.extract.as_deref().map(TreePath::parse) {
        None => TreePath::default(),
        Some(path) => path
            .map_err(|e| Failure::new(Exit::TreePath, "error parsing --extract path").because(e))?,
    };
    let (mut from, mut to) = files::formats(types, named);
    if path.is_none() && types.filename_override.is_none() {
        // Nothing names a format: the text itself tells.
        let found = detect(bytes.expose());
        from = known(types.input_type.as_deref()).or(found).unwrap_or(from);
        to = known(types.output_type.as_deref()).unwrap_or(from);
    }
    let sealed = opened::parse(bytes.expose(), from, &name)?;
    let opened = opened::open(&sealed, &name, open)?;
    let plain = if wanted.is_empty() {
        opened.documents().to_bytes(to, indent)
    } else {
        let found = opened.documents().extract(&wanted).map_err(|e| {
            Failure::new(Exit::Failure, format!("{name} has no such value")).because(e)
        })?;
        found.to_bytes(to, indent)
    };
    let plain = plain.map_err(|e| unprinted(&name, e, to))?;
    files::put(plain.expose(), Kind::Plain, path, output)
}

fn known(word: Option<&str>) -> Option<Format> {
    word.and_then(Format::from_name)
}

/// Prints the plaintext of an opened file.
pub(crate) fn printed(
    docs: &Documents,
    format: Format,
    (name, indent): (&str, Indent),
) -> Result<nixmox_tree::SecretBytes, Failure> {
    docs.to_bytes(format, indent).map_err(|e| unprinted(name, e, format))
}

fn unprinted(name: &str, error: ShapeError, format: Format) -> Failure {
    let failure =
        Failure::new(Exit::Emit, format!("{name} has no form as {}", format.name())).because(error);
    if format == Format::Binary {
        failure.hint("this is likely not an encrypted binary file; --output-type names another")
    } else {
        failure
    }
}
