//! Formats, and how to tell them.

use crate::node::{Entry, Node};
use crate::{json, yaml};

/// The format of a file; dotenv and ini are not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// YAML, one document or several.
    Yaml,
    /// JSON, one object.
    Json,
    /// Any bytes, kept in a JSON file under the key `data`.
    Binary,
}

impl Format {
    /// Chooses by the end of a name, as sops does: `.yaml`, `.yml`, `.json`, and everything else is binary.
    ///
    /// `.env` and `.ini`, for which sops has formats of their own, are `None`.
    pub fn from_path(name: &str) -> Option<Self> {
        let ends = |end| name.ends_with(end);
        match () {
            () if ends(".yaml") || ends(".yml") => Some(Self::Yaml),
            () if ends(".json") => Some(Self::Json),
            () if ends(".env") || ends(".ini") => None,
            () => Some(Self::Binary),
        }
    }
}

/// Tells whether a text is a sops file of that format: it has metadata with a version and a MAC.
pub fn is_sops(bytes: &[u8], format: Format) -> bool {
    let doc = match format {
        Format::Yaml => yaml::compose(bytes).ok().and_then(|found| found.docs.into_iter().next()),
        Format::Json | Format::Binary => json::read(bytes).ok().map(|found| found.entries),
    };
    doc.is_some_and(|doc| has_metadata(&doc))
}

/// Tells which format a sops file has, whatever its name; `None` when it is not a sops file.
///
/// JSON with the one key `data` is binary: sops would print the same bytes for it.
pub fn detect(bytes: &[u8]) -> Option<Format> {
    if bytes.trim_ascii_start().starts_with(b"{") {
        let doc = json::read(bytes).ok()?.entries;
        let mut keys = doc.iter().filter_map(|entry| match entry {
            Entry::Pair(key, _) if key != "sops" => Some(key.as_str()),
            _ => None,
        });
        let binary = keys.next() == Some("data") && keys.next().is_none();
        let format = if binary { Format::Binary } else { Format::Json };
        return has_metadata(&doc).then_some(format);
    }
    is_sops(bytes, Format::Yaml).then_some(Format::Yaml)
}

fn has_metadata(doc: &[Entry]) -> bool {
    doc.iter().any(|entry| match entry {
        Entry::Pair(key, block @ Node::Map(_)) if key == "sops" => {
            block.get("mac").is_some() && block.get("version").is_some()
        }
        _ => false,
    })
}
