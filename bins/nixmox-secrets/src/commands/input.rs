//! Values and plain files that come in from outside.

use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::Path;

use nixmox_cli::prompt::{self, Newline, PromptError};
use nixmox_cli::{Exit, Failure};
use nixmox_secrets::{Form, master};
use nixmox_tree::{SecretBytes, SecretString, SecretTree, Value};
use zeroize::Zeroizing;

use crate::args::{PlainFormat, Set};
use crate::context::Context;

/// The largest value or plain file that is taken in, in bytes.
pub(crate) const INPUT_LIMIT: usize = 16 * 1024 * 1024;

/// Takes the value of a secret from a file, from standard input, or from a hidden prompt on a terminal.
pub(crate) fn value(args: &Set) -> Result<SecretString, Failure> {
    let newline = if args.keep_newline { Newline::Keep } else { Newline::StripOne };
    let no_value = |error: PromptError| {
        Failure::from_error(Exit::Usage, error)
            .hint("give the value on standard input or with --file FILE")
    };
    match &args.file {
        Some(path) => {
            let text = utf8(&read_file(path)?)?;
            let kept =
                if args.keep_newline { text.expose() } else { without_newline(text.expose()) };
            Ok(SecretString::new(kept))
        }
        None if std::io::stdin().is_terminal() => {
            prompt::secret(&format!("Value of {}", args.path)).map_err(no_value)
        }
        None => prompt::read_secret_stdin(INPUT_LIMIT, newline).map_err(no_value),
    }
}

/// Drops one newline at the end, as editors leave it.
fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

/// Reads a plain file of the master's shape: YAML, JSON or Nix.
pub(crate) fn plain_tree(
    context: &Context,
    path: &Path,
    format: Option<PlainFormat>,
) -> Result<SecretTree, Failure> {
    let format = format.or_else(|| from_name(path)).ok_or_else(|| {
        Failure::new(Exit::Usage, format!("{} has no ending that tells its format", path.display()))
            .hint("say --format yaml, json or nix")
    })?;
    let bytes = if path == Path::new("-") {
        read_bounded(std::io::stdin().lock(), "standard input")?
    } else {
        read_file(path)?
    };
    let text = utf8(&bytes)?;
    let name = match path.to_str() {
        Some("-") => "standard input".into(),
        _ => path.display().to_string(),
    };
    let shape = "it must look like the master: { nodes = { host1 = { password = \"…\"; }; }; }";
    if text.expose().trim().is_empty() {
        return Err(Failure::new(Exit::Usage, format!("{name} is empty")).hint(shape));
    }
    let form = if format == PlainFormat::Nix { Form::Nix } else { Form::Yaml };
    let explain = |error| context.explain(error).in_file(&name);
    let tree = master::evaluate(form, &text, None).map_err(explain)?;
    match tree.get("nodes") {
        Some(Value::Tree(_)) => Ok(tree),
        _ => Err(Failure::new(Exit::Usage, format!("{name} has no set `nodes`")).hint(shape)),
    }
}

fn from_name(path: &Path) -> Option<PlainFormat> {
    match path.extension()?.to_str()? {
        "yaml" | "yml" => Some(PlainFormat::Yaml),
        "json" => Some(PlainFormat::Json),
        "nix" => Some(PlainFormat::Nix),
        _ => None,
    }
}

/// Reads a file that the user named, into memory that is wiped.
pub(crate) fn read_file(path: &Path) -> Result<SecretBytes, Failure> {
    let fail = |e: std::io::Error| {
        let exit =
            if e.kind() == std::io::ErrorKind::NotFound { Exit::NoFile } else { Exit::Usage };
        Failure::new(exit, format!("{} cannot be read", path.display())).because(e)
    };
    let file = File::open(path).map_err(fail)?;
    if file.metadata().map_err(fail)?.is_dir() {
        return Err(fail(std::io::ErrorKind::IsADirectory.into()));
    }
    read_bounded(file, &path.display().to_string())
}

fn read_bounded(from: impl Read, name: &str) -> Result<SecretBytes, Failure> {
    // Reserved up front in steps that are wiped: a buffer that grows leaves its contents behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(64 * 1024));
    let mut chunk = Zeroizing::new([0_u8; 16 * 1024]);
    let mut from = from.take(u64::try_from(INPUT_LIMIT).unwrap_or(u64::MAX).saturating_add(1));
    loop {
        let fail = |e| Failure::new(Exit::Usage, format!("{name} cannot be read")).because(e);
        let count = from.read(chunk.as_mut_slice()).map_err(fail)?;
        let Some(new) = chunk.get(..count).filter(|new| !new.is_empty()) else { break };
        if bytes.len() + new.len() > bytes.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(bytes.capacity() * 2));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        bytes.extend_from_slice(new);
    }
    if bytes.len() > INPUT_LIMIT {
        return Err(Failure::new(Exit::Usage, format!("{name} has more than {INPUT_LIMIT} bytes")));
    }
    Ok(SecretBytes::from(bytes))
}

fn utf8(bytes: &SecretBytes) -> Result<SecretString, Failure> {
    let text =
        bytes.as_str().ok_or_else(|| Failure::new(Exit::Usage, "the input is not UTF-8 text"))?;
    Ok(SecretString::new(text))
}
