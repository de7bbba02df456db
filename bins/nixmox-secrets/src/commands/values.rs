//! Values as text, in memory that is wiped.

use std::io::Write;
use std::path::Path;

use nixmox_cli::{Exit, Failure};
use nixmox_sops::{Documents, Format, Indent};
use nixmox_tree::{SecretString, SecretTree, Value};

use super::read::MASK;

/// Returns text as it is, and any other value as JSON.
pub(crate) fn plain(value: &Value) -> SecretString {
    match value {
        Value::String(text) => text.clone(),
        value => json(value),
    }
}

/// Writes a value as JSON.
pub(crate) fn json(value: &Value) -> SecretString {
    // sops' JSON is of objects only: what is none is wrapped, and the wrapping taken off again.
    let wrapped: SecretTree = match value {
        Value::Tree(tree) => tree.clone(),
        other => [("v".to_owned(), other.clone())].into_iter().collect(),
    };
    let indent = Indent { json: Some(2), ..Indent::default() };
    let text = Documents::from_tree(&wrapped).to_bytes(Format::Json, indent);
    let text = text.ok();
    let text = text.as_ref().and_then(|bytes| bytes.as_str()).unwrap_or_default().trim_end();
    match value {
        Value::Tree(_) => SecretString::new(text),
        _ => {
            let inner = text.trim_start_matches('{').trim_end_matches('}').trim();
            SecretString::new(inner.strip_prefix("\"v\": ").unwrap_or(inner))
        }
    }
}

/// Replaces every leaf by the mask.
pub(crate) fn masked(value: &Value) -> Value {
    match value {
        Value::Tree(tree) => {
            let entries = tree.iter().map(|(name, value)| (name.clone(), masked(value)));
            Value::Tree(entries.collect())
        }
        Value::List(items) => Value::List(items.iter().map(masked).collect()),
        _ => Value::string(MASK),
    }
}

/// Writes to standard output, byte for byte.
pub(crate) fn write_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Write, "cannot write to standard output").because(e))
        }
        _ => Ok(()),
    }
}

/// Writes a file whole or not at all: a new one is readable by its owner alone, a replaced one keeps nothing of the old.
pub(crate) fn replace_file(target: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let fail =
        |e| Failure::new(Exit::Write, format!("{} cannot be written", target.display())).because(e);
    let dir = target.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut temporary = tempfile::NamedTempFile::new_in(dir).map_err(fail)?;
    temporary.write_all(bytes).map_err(fail)?;
    temporary.as_file().sync_all().map_err(fail)?;
    temporary.persist(target).map_err(|e| fail(e.error))?;
    Ok(())
}
