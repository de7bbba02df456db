//! The four readers: Nix, TOML, YAML and JSON become one tree of values with places.

mod json;
mod nix;
mod toml;
mod yaml;

use std::ops::Range;

pub use nix::wrap;

use crate::finding::{Code, Finding};
use crate::source::{Data, Entry, Node, Place, SourceFile, Sources};

/// What a manifest is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// A Nix expression that is a set.
    Nix,
    /// TOML.
    Toml,
    /// YAML 1.2, in its core schema.
    Yaml,
    /// JSON.
    Json,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Nix, Self::Toml, Self::Yaml, Self::Json];

    /// Tells the format by a file name's ending.
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1 {
            "nix" => Some(Self::Nix),
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Names that a manifest has in a repository when nobody says another; the first that is there is the manifest.
pub const FILE_NAMES: [&str; 10] = [
    "service-manifest.nix",
    "nixos/service-manifest.nix",
    "service-manifest.toml",
    "nixos/service-manifest.toml",
    "service-manifest.yaml",
    "nixos/service-manifest.yaml",
    "service-manifest.yml",
    "nixos/service-manifest.yml",
    "service-manifest.json",
    "nixos/service-manifest.json",
];

/// The largest file that is read, in bytes.
pub const MAX_BYTES: usize = 8 << 20;
/// The most values of a manifest.
const MAX_NODES: usize = 1 << 20;
/// The deepest nesting.
const MAX_DEPTH: usize = 64;

/// Why a text has no tree.
pub(crate) struct Unread {
    pub(crate) sources: Sources,
    pub(crate) finding: Finding,
    /// A real Nix may know more.
    pub(crate) needs_nix: bool,
}

/// Reads a text into a tree.
pub(crate) fn read(
    (name, text): (&str, &str),
    format: Format,
    import: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<(Sources, Node), Unread> {
    let sources = Sources::one(name, text);
    if text.len() > MAX_BYTES {
        let finding = Finding::new(Code::M001, "the file is larger than 8 MiB");
        return Err(Unread { sources, finding, needs_nix: false });
    }
    let read = match format {
        Format::Nix => return nix::read((name, text), import),
        Format::Toml => toml::read(text),
        Format::Yaml => yaml::read(text),
        Format::Json => json::read(text),
    };
    match read {
        Ok(node) => Ok((sources, node)),
        Err(wrong) => {
            let message = format!("the file is not {}: {}", wrong.what, wrong.message);
            let place = Place::new(0, wrong.range);
            let finding = Finding::new(Code::M001, message).at(place, "not understood");
            Err(Unread { sources, finding, needs_nix: false })
        }
    }
}

/// Reads the answer of a real Nix to the expression that [`wrap`] made.
pub(crate) fn read_answer(answer: &str, files: Vec<SourceFile>) -> Result<(Sources, Node), Unread> {
    nix::read_answer(answer, files)
}

/// What is wrong with a text.
struct Wrong {
    what: &'static str,
    message: String,
    range: Range<usize>,
}

impl Wrong {
    fn new(what: &'static str, message: impl Into<String>, range: Range<usize>) -> Self {
        Self { what, message: message.into(), range }
    }
}

/// Counts values and depth, so that small texts stay small trees.
#[derive(Default)]
struct Budget {
    nodes: usize,
    depth: usize,
}

impl Budget {
    fn node(&mut self) -> bool {
        self.nodes = self.nodes.saturating_add(1);
        self.nodes <= MAX_NODES
    }
}

/// Finds a name that stands twice in a map, sorting its entries.
fn sorted(mut entries: Vec<Entry>) -> Result<Data, Place> {
    entries.sort_by(|a, b| a.name.cmp(&b.name).then(a.key.cmp(&b.key)));
    let twice = entries.windows(2).find_map(|pair| match pair {
        [a, b] if a.name == b.name => Some(b.key),
        _ => None,
    });
    twice.map_or(Ok(Data::Map(entries)), Err)
}
