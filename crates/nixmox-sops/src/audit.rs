//! The strict subset: what a file of the fleet may have, which is less than what sops takes.

use std::collections::HashSet;

use crate::cipher::{Sealed, looks_sealed};
use crate::envelope;
use crate::error::Path;
use crate::file::EncryptedFile;
use crate::format::Format;
use crate::ini;
use crate::node::{Comment, Entry, Item, Node};
use crate::recipient::Recipient;
use crate::rule::Rule;
use crate::walk::{self, Step};

/// One thing that a file of the fleet must not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: FindingKind,
    /// Where it stands; empty when it is about the file.
    pub path: Path,
}

/// What the strict subset forbids; [`name`](Self::name) is stable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// A value that is not sealed: readable, or empty and so not protected against being put there.
    UnsealedValue,
    /// A comment that is not sealed.
    ClearComment,
    /// Text behind a sealed value or behind the document.
    TrailingText,
    /// A sealed value with a nonce that sops does not write.
    NonceLength,
    /// A key that ends in `_unencrypted`.
    UnencryptedKeyName,
    /// A key that stands twice in one map.
    DuplicateKey,
    /// A key with a colon: it hides where the path is split.
    ColonInKey,
    /// An anchor or alias.
    Alias,
    /// A tag.
    Tag,
    /// More than one document.
    SeveralDocuments,
    /// A selection rule other than the default.
    SelectionRule,
    /// A MAC over sealed values alone.
    MacOnlyEncrypted,
    /// Several key groups, or a threshold.
    KeyGroups,
    /// A key of a service other than age.
    ForeignKey,
    /// A metadata field that sops does not know.
    UnknownMetadata,
    /// A label that is not a recipient.
    RecipientLabel,
    /// A recipient that stands twice.
    DuplicateRecipient,
    /// A wrapped key that is not an age file.
    Envelope,
    /// A wrapped key that does not have exactly one stanza, of the labelled recipient's kind.
    Stanzas,
}

impl FindingKind {
    /// Returns the stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::UnsealedValue => "unsealed-value",
            Self::ClearComment => "clear-comment",
            Self::TrailingText => "trailing-text",
            Self::NonceLength => "nonce-length",
            Self::UnencryptedKeyName => "unencrypted-key-name",
            Self::DuplicateKey => "duplicate-key",
            Self::ColonInKey => "colon-in-key",
            Self::Alias => "alias",
            Self::Tag => "tag",
            Self::SeveralDocuments => "several-documents",
            Self::SelectionRule => "selection-rule",
            Self::MacOnlyEncrypted => "mac-only-encrypted",
            Self::KeyGroups => "key-groups",
            Self::ForeignKey => "foreign-key",
            Self::UnknownMetadata => "unknown-metadata",
            Self::RecipientLabel => "recipient-label",
            Self::DuplicateRecipient => "duplicate-recipient",
            Self::Envelope => "envelope",
            Self::Stanzas => "stanzas",
        }
    }
}

impl EncryptedFile {
    /// Lists what keeps this file out of the strict subset; no key is needed.
    pub fn audit(&self) -> Vec<Finding> {
        let mut found = structure(&self.docs, self.format);
        let mut add = |wrong: bool, kind, path: &[&str]| {
            if wrong {
                let path = Path(path.iter().map(|step| (*step).to_owned()).collect());
                found.push(Finding { kind, path });
            }
        };
        let odd = &self.oddities;
        add(odd.aliases, FindingKind::Alias, &[]);
        add(odd.tags, FindingKind::Tag, &[]);
        add(odd.trailing, FindingKind::TrailingText, &[]);
        add(odd.several_blocks, FindingKind::DuplicateKey, &["sops"]);
        add(odd.comment_in_block, FindingKind::ClearComment, &["sops"]);
        add(self.docs.len() > 1, FindingKind::SeveralDocuments, &[]);
        let metadata = &self.metadata;
        let rule = metadata.rule();
        add(*rule != Rule::default(), FindingKind::SelectionRule, &["sops", rule.name()]);
        let only = "mac_only_encrypted";
        add(metadata.mac_only_encrypted, FindingKind::MacOnlyEncrypted, &["sops", only]);
        add(metadata.groups_given, FindingKind::KeyGroups, &["sops", "key_groups"]);
        for name in &metadata.foreign {
            add(true, FindingKind::ForeignKey, &["sops", name]);
        }
        for name in &metadata.unknown {
            add(true, FindingKind::UnknownMetadata, &["sops", name]);
        }
        let mut labels = HashSet::new();
        for (index, wrapped) in metadata.wrapped().enumerate() {
            let index = index.to_string();
            let path = ["sops", "age", &index];
            let again = !labels.insert(wrapped.recipient.as_str());
            add(again, FindingKind::DuplicateRecipient, &path);
            let recipient = Recipient::parse(&wrapped.recipient);
            add(recipient.is_err(), FindingKind::RecipientLabel, &path);
            match envelope::is_for(&wrapped.enc, recipient.ok().as_ref()) {
                None => add(true, FindingKind::Envelope, &path),
                Some(fits) => add(!fits, FindingKind::Stanzas, &path),
            }
        }
        found
    }
}

/// Lists what is wrong with the tree of a sealed file, whatever its metadata.
pub(crate) fn structure(docs: &[Vec<Entry>], format: Format) -> Vec<Finding> {
    look(docs, format, true)
}

/// Lists what is wrong with the names and the empty containers of a tree; who sealed its leaves knows about them.
pub(crate) fn skeleton(docs: &[Vec<Entry>], format: Format) -> Vec<Finding> {
    look(docs, format, false)
}

fn look(docs: &[Vec<Entry>], format: Format, leaves: bool) -> Vec<Finding> {
    let mut look = Look { found: Vec::new(), path: Vec::new(), leaves };
    for doc in docs {
        match doc.split_first() {
            // This section is always there, whether or not the text has it.
            Some((Entry::Pair(name, Node::Map(keys)), rest))
                if format == Format::Ini && name == ini::DEFAULT && keys.is_empty() =>
            {
                look.map(rest);
            }
            _ => look.map(doc),
        }
    }
    look.found
}

struct Look<'a> {
    found: Vec<Finding>,
    path: Vec<Step<'a>>,
    /// Whether the leaves and comments are looked at too.
    leaves: bool,
}

impl<'a> Look<'a> {
    fn add(&mut self, wrong: bool, kind: FindingKind) {
        if wrong {
            self.found.push(Finding { kind, path: walk::path(&self.path) });
        }
    }

    fn map(&mut self, entries: &'a [Entry]) {
        let mut keys = HashSet::new();
        for entry in entries {
            match entry {
                Entry::Comment(comment) => self.comment(comment),
                Entry::Pair(key, node) => {
                    self.path.push(Step::Key(key));
                    self.add(!keys.insert(key.as_str()), FindingKind::DuplicateKey);
                    self.add(key.ends_with("_unencrypted"), FindingKind::UnencryptedKeyName);
                    self.add(key.contains(':'), FindingKind::ColonInKey);
                    self.node(node);
                    self.path.pop();
                }
            }
        }
    }

    fn node(&mut self, node: &'a Node) {
        match node {
            Node::Map(entries) => {
                let empty = !entries.iter().any(|entry| matches!(entry, Entry::Pair(..)));
                self.add(empty, FindingKind::UnsealedValue);
                self.map(entries);
            }
            Node::List(items) => {
                let empty = !items.iter().any(|item| matches!(item, Item::Node(_)));
                self.add(empty, FindingKind::UnsealedValue);
                for (index, item) in items.iter().enumerate() {
                    self.path.push(Step::Index(index));
                    match item {
                        Item::Comment(comment) => self.comment(comment),
                        Item::Node(node) => self.node(node),
                    }
                    self.path.pop();
                }
            }
            leaf if self.leaves => {
                self.sealed(leaf.as_str().unwrap_or_default(), FindingKind::UnsealedValue)
            }
            _ => {}
        }
    }

    fn comment(&mut self, comment: &Comment) {
        let text = comment.text.expose();
        if self.leaves && !text.is_empty() {
            self.sealed(text, FindingKind::ClearComment);
        }
    }

    fn sealed(&mut self, text: &str, otherwise: FindingKind) {
        let sealed = Sealed::parse(text).filter(|_| looks_sealed(text.as_bytes()));
        self.add(sealed.is_none(), otherwise);
        if let Some(sealed) = sealed {
            self.add(sealed.trailing, FindingKind::TrailingText);
            self.add(sealed.iv().is_none(), FindingKind::NonceLength);
        }
    }
}
