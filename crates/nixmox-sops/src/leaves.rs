//! What a file holds, leaf by leaf, sealed or opened.

use crate::cipher::{Sealed, looks_sealed};
use crate::documents::Documents;
use crate::file::EncryptedFile;
use crate::node::{Comment, Entry, Item, Kind, Node};

/// One value, comment, or empty map or list, with its place.
pub struct Leaf<'a> {
    /// Which document of the file, from 0.
    pub document: usize,
    /// Where it stands; list positions are decimal numbers. Of a comment: the map or list that it stands in.
    pub path: &'a [String],
    /// Of what type it is; of a sealed value, what it claims to be.
    pub kind: LeafKind,
    /// The plaintext as sops seals it, or the ciphertext as it stands in the file.
    pub bytes: &'a [u8],
    /// Whether the bytes are ciphertext.
    pub sealed: bool,
}

/// Types of leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LeafKind {
    /// Text, or bytes.
    String,
    /// An integer.
    Int,
    /// A floating-point number.
    Float,
    /// A truth value.
    Bool,
    /// A time.
    Time,
    /// Nothing.
    Null,
    /// A map without entries.
    EmptyMap,
    /// A list without elements.
    EmptyList,
    /// A comment.
    Comment,
    /// Sealed, and of no type that is known.
    Unknown,
}

impl LeafKind {
    /// Names the type.
    pub fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::Null => "null",
            Self::EmptyMap => "empty map",
            Self::EmptyList => "empty list",
            Self::Comment => "comment",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Kind> for LeafKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Str => Self::String,
            Kind::Int => Self::Int,
            Kind::Float => Self::Float,
            Kind::Bool => Self::Bool,
            Kind::Time => Self::Time,
            Kind::Comment => Self::Comment,
        }
    }
}

impl EncryptedFile {
    /// Goes through everything that the file holds, in order and as it stands there; no key is needed.
    pub fn for_each_leaf(&self, visit: &mut dyn FnMut(&Leaf<'_>)) {
        walk(&self.docs, true, visit);
    }
}

impl Documents {
    /// Goes through everything that the documents hold, in order.
    pub fn for_each_leaf(&self, visit: &mut dyn FnMut(&Leaf<'_>)) {
        walk(&self.docs, false, visit);
    }
}

fn walk(docs: &[Vec<Entry>], sealed: bool, visit: &mut dyn FnMut(&Leaf<'_>)) {
    for (document, doc) in docs.iter().enumerate() {
        Walk { document, sealed, path: Vec::new(), visit }.map(doc);
    }
}

struct Walk<'v> {
    document: usize,
    /// Whether what looks like ciphertext is some.
    sealed: bool,
    path: Vec<String>,
    visit: &'v mut dyn FnMut(&Leaf<'_>),
}

impl Walk<'_> {
    fn map(&mut self, entries: &[Entry]) {
        for entry in entries {
            match entry {
                Entry::Comment(comment) => self.comment(comment),
                Entry::Pair(key, node) => {
                    self.path.push(key.clone());
                    self.node(node);
                    self.path.pop();
                }
            }
        }
    }

    fn list(&mut self, items: &[Item]) {
        let mut index = 0_usize;
        for item in items {
            match item {
                Item::Comment(comment) => self.comment(comment),
                Item::Node(node) => {
                    self.path.push(index.to_string());
                    self.node(node);
                    self.path.pop();
                    index += 1;
                }
            }
        }
    }

    fn node(&mut self, node: &Node) {
        match node {
            Node::Map(entries) if entries.is_empty() => self.leaf(LeafKind::EmptyMap, &[]),
            Node::List(items) if items.is_empty() => self.leaf(LeafKind::EmptyList, &[]),
            Node::Map(entries) => self.map(entries),
            Node::List(items) => self.list(items),
            leaf => match leaf.plain() {
                None => self.leaf(LeafKind::Null, &[]),
                Some((kind, plain)) => self.leaf(kind.into(), plain.bytes()),
            },
        }
    }

    fn comment(&mut self, comment: &Comment) {
        self.leaf(LeafKind::Comment, comment.text.expose().as_bytes());
    }

    fn leaf(&mut self, kind: LeafKind, bytes: &[u8]) {
        let sealed = self.sealed && looks_sealed(bytes);
        let claimed = || {
            let sealed = Sealed::parse(std::str::from_utf8(bytes).ok()?)?;
            sealed.kind().map(LeafKind::from)
        };
        let kind = if sealed { claimed().unwrap_or(LeafKind::Unknown) } else { kind };
        let (document, path) = (self.document, self.path.as_slice());
        (self.visit)(&Leaf { document, path, kind, bytes, sealed });
    }
}
