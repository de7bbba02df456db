//! Formats, and how to tell them.

use crate::error::PlainError;
use crate::flat;
use crate::node::{Entry, Node};
use crate::{dotenv, ini, json, yaml};

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Format {
    /// YAML, one document or several.
    Yaml,
    /// JSON, one object.
    Json,
    /// Any bytes, kept in a JSON file under the key `data`.
    Binary,
    /// Lines of `KEY=value`.
    Dotenv,
    /// Sections of keys.
    Ini,
}

impl Format {
    /// Chooses by the end of a name, as sops does: `.yaml`, `.yml`, `.json`, `.env`, `.ini`; all else is binary.
    pub fn from_path(name: &str) -> Self {
        let ends = |end| name.ends_with(end);
        match () {
            () if ends(".yaml") || ends(".yml") => Self::Yaml,
            () if ends(".json") => Self::Json,
            () if ends(".env") => Self::Dotenv,
            () if ends(".ini") => Self::Ini,
            () => Self::Binary,
        }
    }

    /// Reads sops' own word for a format: `yaml`, `json`, `binary`, `dotenv` or `ini`.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Yaml, Self::Json, Self::Binary, Self::Dotenv, Self::Ini]
            .into_iter()
            .find(|format| format.name() == name)
    }

    /// Returns sops' own word for this format.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yaml => "yaml",
            Self::Json => "json",
            Self::Binary => "binary",
            Self::Dotenv => "dotenv",
            Self::Ini => "ini",
        }
    }

    /// Tells whether its values are text without types, and its metadata flat.
    pub(crate) fn is_flat(self) -> bool {
        matches!(self, Self::Dotenv | Self::Ini)
    }

    /// Tells whether a top-level key is kept for the metadata.
    pub(crate) fn reserves(self, key: &str) -> bool {
        if self == Self::Dotenv { key.starts_with(dotenv::PREFIX) } else { key == "sops" }
    }
}

/// A text as it was read: its documents, and what the reader saw that does not show in them.
pub(crate) struct Read {
    pub(crate) docs: Vec<Vec<Entry>>,
    pub(crate) aliases: bool,
    pub(crate) tags: bool,
    pub(crate) trailing: bool,
}

/// Reads a text, plain or sealed, its metadata still in it.
pub(crate) fn read(bytes: &[u8], format: Format) -> Result<Read, PlainError> {
    let one = |doc, trailing| Read { docs: vec![doc], aliases: false, tags: false, trailing };
    Ok(match format {
        Format::Yaml => {
            let found = yaml::compose(bytes)?;
            let (aliases, tags) = (found.aliases, found.tags);
            Read { docs: found.docs, aliases, tags, trailing: false }
        }
        Format::Json | Format::Binary => {
            let found = json::read(bytes)?;
            one(found.entries, found.trailing)
        }
        Format::Dotenv => one(dotenv::read(bytes)?, false),
        Format::Ini => one(ini::read(bytes)?, false),
    })
}

/// The metadata of a document, as they stand in it.
pub(crate) enum Block {
    /// There are none.
    None,
    /// They cannot be put together.
    Malformed,
    /// A map like that of YAML.
    Found(Node),
}

/// Takes the metadata out of a document; of several blocks the first counts, and `true` says that there were more.
pub(crate) fn take_block(doc: &mut Vec<Entry>, format: Format) -> (Block, bool) {
    let mut taken = doc.extract_if(.., |entry| match entry {
        Entry::Pair(key, _) => format.reserves(key),
        Entry::Comment(_) => false,
    });
    if format == Format::Dotenv {
        let pairs: Vec<_> = taken.filter_map(dotenv::unprefixed).collect();
        return (flat::block(pairs), false);
    }
    let first = taken.find_map(|entry| match entry {
        Entry::Pair(_, node) => Some(node),
        Entry::Comment(_) => None,
    });
    let several = taken.count() > 0;
    let block = match (first, format) {
        (None, _) => Block::None,
        (Some(node), Format::Ini) => flat::block(ini::metadata(node)),
        (Some(node), _) => Block::Found(node),
    };
    (block, several)
}

/// Tells whether a text is a sops file of that format: it has metadata with a version and a MAC.
pub fn is_sops(bytes: &[u8], format: Format) -> bool {
    let doc = read(bytes, format).ok().and_then(|found| found.docs.into_iter().next());
    doc.is_some_and(|doc| has_metadata(doc, format))
}

/// Tells which format a sops file has, whatever its name; `None` when it is not a sops file.
///
/// JSON with the one key `data` is binary: sops would print the same bytes for it.
pub fn detect(bytes: &[u8]) -> Option<Format> {
    if is_braced(bytes) {
        let doc = json::read(bytes).ok()?.entries;
        let format = of_json(&doc);
        return has_metadata(doc, format).then_some(format);
    }
    [Format::Yaml, Format::Ini, Format::Dotenv].into_iter().find(|format| is_sops(bytes, *format))
}

/// Tells whether a text is JSON, if it is of any format with a name.
pub(crate) fn is_braced(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

/// Tells a binary file, which has its data and nothing else, from one that is JSON itself.
pub(crate) fn of_json(doc: &[Entry]) -> Format {
    let mut keys = doc.iter().filter_map(|entry| match entry {
        Entry::Pair(key, _) if key != "sops" => Some(key.as_str()),
        _ => None,
    });
    let binary = keys.next() == Some("data") && keys.next().is_none();
    if binary { Format::Binary } else { Format::Json }
}

fn has_metadata(mut doc: Vec<Entry>, format: Format) -> bool {
    match take_block(&mut doc, format).0 {
        Block::Found(block) => block.get("mac").is_some() && block.get("version").is_some(),
        Block::None | Block::Malformed => false,
    }
}
