//! The tree that every format is read into and written from: ordered, with comments, plain or sealed.

use nixmox_tree::{SecretBytes, SecretString};
use zeroize::Zeroizing;

use crate::number;

/// What a document holds; a sealed value is a string that starts with `ENC[`.
#[derive(Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(Zeroizing<bool>),
    Int(Zeroizing<i64>),
    Float(Zeroizing<f64>),
    Str(SecretBytes),
    /// A time as RFC 3339 with nanoseconds, its offset kept.
    Time(SecretString),
    List(Vec<Item>),
    Map(Vec<Entry>),
}

/// One element of a list.
#[derive(Clone, PartialEq)]
pub(crate) enum Item {
    Comment(Comment),
    Node(Node),
}

/// One line of a map: duplicate keys are possible, as in sops.
#[derive(Clone, PartialEq)]
pub(crate) enum Entry {
    Comment(Comment),
    Pair(String, Node),
}

/// The text after `#`, and whether it stands behind the value of the entry that follows it in the tree.
#[derive(Clone, PartialEq)]
pub(crate) struct Comment {
    pub(crate) text: SecretString,
    pub(crate) inline: bool,
}

/// The word after `type:` in a sealed value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Str,
    Int,
    Float,
    Bool,
    Time,
    Comment,
}

impl Kind {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Str => "str",
            Self::Int => "int",
            Self::Float => "float",
            Self::Bool => "bool",
            Self::Time => "time",
            Self::Comment => "comment",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Str, Self::Int, Self::Float, Self::Bool, Self::Time, Self::Comment]
            .into_iter()
            .find(|kind| kind.word() == word)
    }
}

/// The bytes of a leaf as sops seals and hashes them.
pub(crate) enum Plain<'a> {
    Borrowed(&'a [u8]),
    Made(Zeroizing<String>),
}

impl Plain<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Made(text) => text.as_bytes(),
        }
    }
}

impl Node {
    pub(crate) fn str(text: impl Into<Vec<u8>>) -> Self {
        Self::Str(SecretBytes::new(text))
    }

    /// Makes a string of what is known to be text, so that nobody has to look again.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Str(SecretBytes::from(SecretString::new(text)))
    }

    pub(crate) fn int(number: i64) -> Self {
        Self::Int(Zeroizing::new(number))
    }

    pub(crate) fn float(number: f64) -> Self {
        Self::Float(Zeroizing::new(number))
    }

    pub(crate) fn bool(truth: bool) -> Self {
        Self::Bool(Zeroizing::new(truth))
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(bytes) => bytes.as_str(),
            _ => None,
        }
    }

    /// Looks a key up; of duplicates the last counts, as in every other reader.
    pub(crate) fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => entries.iter().rev().find_map(|entry| match entry {
                Entry::Pair(name, node) if name == key => Some(node),
                _ => None,
            }),
            _ => None,
        }
    }

    /// Returns type and plaintext bytes of a leaf; null and containers have none.
    pub(crate) fn plain(&self) -> Option<(Kind, Plain<'_>)> {
        Some(match self {
            Self::Null | Self::List(_) | Self::Map(_) => return None,
            Self::Str(bytes) => (Kind::Str, Plain::Borrowed(bytes.expose())),
            Self::Time(text) => (Kind::Time, Plain::Borrowed(text.expose().as_bytes())),
            Self::Int(number) => (Kind::Int, Plain::Made(Zeroizing::new(number.to_string()))),
            Self::Float(number) => (Kind::Float, Plain::Made(number::plain_float(**number))),
            Self::Bool(truth) => {
                (Kind::Bool, Plain::Borrowed(if **truth { b"True" } else { b"False" }))
            }
        })
    }

    /// Reads the plaintext of a sealed value; `None` when it is not what its type says.
    pub(crate) fn from_plain(kind: Kind, bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        if kind == Kind::Str {
            return Some(Self::Str(SecretBytes::from(bytes)));
        }
        let text = std::str::from_utf8(&bytes).ok()?;
        Some(match kind {
            Kind::Int => Self::int(number::go_int(text)?),
            Kind::Float => Self::float(number::go_float(text)?),
            Kind::Bool => Self::bool(number::go_bool(text)?),
            Kind::Time => Self::Time(SecretString::from(crate::time::rfc3339(text)?)),
            Kind::Str | Kind::Comment => return None,
        })
    }

    /// Goes through the comments of a container that holds nothing else: they stand before it instead.
    pub(crate) fn strays(&self) -> impl Iterator<Item = &Comment> {
        let (entries, items): (&[Entry], &[Item]) = match self {
            Self::Map(entries) => (entries, &[]),
            Self::List(items) => (&[], items),
            _ => (&[], &[]),
        };
        let full = entries.iter().any(|entry| matches!(entry, Entry::Pair(..)))
            || items.iter().any(|item| matches!(item, Item::Node(_)));
        let of_map = entries.iter().filter_map(|entry| match entry {
            Entry::Comment(comment) => Some(comment),
            Entry::Pair(..) => None,
        });
        let of_list = items.iter().filter_map(|item| match item {
            Item::Comment(comment) => Some(comment),
            Item::Node(_) => None,
        });
        of_map.chain(of_list).take(if full { 0 } else { usize::MAX })
    }

    /// Counts this node and everything below it.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::List(items) => items.iter().fold(1, |sum, item| {
                sum + if let Item::Node(node) = item { node.count() } else { 1 }
            }),
            Self::Map(entries) => entries.iter().fold(1, |sum, entry| {
                sum + if let Entry::Pair(_, node) = entry { node.count() } else { 1 }
            }),
            _ => 1,
        }
    }

    /// Tells how many levels of containers there are.
    pub(crate) fn depth(&self) -> usize {
        match self {
            Self::List(items) => {
                let below = items.iter().map(|item| match item {
                    Item::Node(node) => node.depth(),
                    Item::Comment(_) => 0,
                });
                1 + below.max().unwrap_or(0)
            }
            Self::Map(entries) => {
                let below = entries.iter().map(|entry| match entry {
                    Entry::Pair(_, node) => node.depth(),
                    Entry::Comment(_) => 0,
                });
                1 + below.max().unwrap_or(0)
            }
            _ => 0,
        }
    }
}

impl Comment {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self { text: SecretString::new(text), inline: false }
    }
}
