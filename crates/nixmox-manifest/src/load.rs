//! From text to manifest.

use crate::decode::{Decode, Decoder};
use crate::finding::Finding;
use crate::model::Manifest;
use crate::read::{self, Format, Unread};
use crate::source::{Node, SourceFile, Sources};

/// A manifest, the files it was read from, and what was wrong with its values.
#[derive(Debug, Clone)]
pub struct Loaded {
    sources: Sources,
    manifest: Option<Manifest>,
    findings: Vec<Finding>,
    needs_nix: bool,
}

impl Loaded {
    /// Reads a manifest that imports no other file.
    ///
    /// ```
    /// use nixmox_manifest::{Format, Loaded};
    ///
    /// let loaded = Loaded::from_text(("m.toml", "network.vlan_tag = \"99\""), Format::Toml);
    /// let wrong = &loaded.findings()[2];
    /// assert_eq!(wrong.message, "network.vlan_tag must be a whole number, not a text");
    /// assert_eq!(loaded.sources().text(wrong.labels[0].place), "\"99\"");
    /// ```
    pub fn from_text(source: (&str, &str), format: Format) -> Self {
        Self::with_imports(source, format, &|_| None)
    }

    /// Reads a manifest; `import` gives the text of a file that a Nix manifest imports, named relative to the
    /// directory that the manifest's own name is relative to.
    ///
    /// What is wrong is among the findings: this never fails.
    pub fn with_imports(
        source: (&str, &str),
        format: Format,
        import: &(dyn Fn(&str) -> Option<String> + Sync),
    ) -> Self {
        Self::of(read::read(source, format, import))
    }

    /// Reads what a real Nix answered to the expression of [`crate::wrap`]; `files` are the texts of the files that
    /// it names, under the names by which it names them.
    pub fn from_nix(answer: &str, files: Vec<SourceFile>) -> Self {
        Self::of(read::read_answer(answer, files))
    }

    fn of(read: Result<(Sources, Node), Unread>) -> Self {
        match read {
            Ok((sources, node)) => {
                let mut decoder = Decoder::default();
                let manifest = Manifest::decode(&node, &mut decoder);
                // Thousands of small parts take a while to be freed; nobody has to wait for that.
                rayon::spawn(move || drop(node));
                Self { sources, manifest, findings: decoder.findings, needs_nix: false }
            }
            Err(unread) => Self {
                sources: unread.sources,
                manifest: None,
                findings: vec![unread.finding],
                needs_nix: unread.needs_nix,
            },
        }
    }

    /// Returns the files that were read.
    pub fn sources(&self) -> &Sources {
        &self.sources
    }

    /// Returns the manifest; none when the text cannot be read or is not a set.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref()
    }

    /// Returns what was wrong with the text and its values; [`crate::check`] finds the rest.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Tells whether the text goes beyond the embedded evaluator, so that a real Nix may know more.
    pub fn needs_nix(&self) -> bool {
        self.needs_nix
    }
}
