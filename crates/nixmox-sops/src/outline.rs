//! What a sealed file shows to everybody: names, structure, and the types of its values.

use std::collections::BTreeMap;

use nixmox_tree::{SecretTree, Value};

use crate::cipher::Sealed;
use crate::file::EncryptedFile;
use crate::node::{Entry, Item, Kind, Node};

/// The shape of a document without its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outline {
    /// Shapes by name; of duplicate names the last counts.
    Map(BTreeMap<String, Outline>),
    /// Shapes in order.
    List(Vec<Outline>),
    /// A value, by the name of its type: `string`, `int`, `float`, `bool`, `time` or `null`.
    Leaf(&'static str),
}

impl Outline {
    /// Returns the shape of a tree of values.
    pub fn of(tree: &SecretTree) -> Self {
        Self::Map(tree.iter().map(|(name, value)| (name.clone(), Self::of_value(value))).collect())
    }

    fn of_value(value: &Value) -> Self {
        match value {
            Value::Tree(tree) => Self::of(tree),
            Value::List(items) => Self::List(items.iter().map(Self::of_value).collect()),
            leaf => Self::Leaf(leaf.type_name()),
        }
    }

    /// Returns the names and shapes of a map; none for anything else.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Self)> {
        let map = if let Self::Map(map) = self { Some(map) } else { None };
        map.into_iter().flatten().map(|(name, shape)| (name.as_str(), shape))
    }
}

impl EncryptedFile {
    /// Returns the shape of the first document; nothing of it is authenticated.
    pub fn outline(&self) -> Outline {
        map(self.docs.first().map(Vec::as_slice).unwrap_or_default())
    }
}

fn map(entries: &[Entry]) -> Outline {
    let pairs = entries.iter().filter_map(|entry| match entry {
        Entry::Pair(name, node) => Some((name.clone(), of_node(node))),
        Entry::Comment(_) => None,
    });
    Outline::Map(pairs.collect())
}

fn of_node(node: &Node) -> Outline {
    match node {
        Node::Map(entries) => map(entries),
        Node::List(items) => Outline::List(
            items
                .iter()
                .filter_map(|item| match item {
                    Item::Node(node) => Some(of_node(node)),
                    Item::Comment(_) => None,
                })
                .collect(),
        ),
        Node::Null => Outline::Leaf("null"),
        Node::Bool(_) => Outline::Leaf(word(Kind::Bool)),
        Node::Int(_) => Outline::Leaf(word(Kind::Int)),
        Node::Float(_) => Outline::Leaf(word(Kind::Float)),
        Node::Time(_) => Outline::Leaf(word(Kind::Time)),
        // What is not sealed soundly is a string to whoever reads it as it stands.
        Node::Str(text) => Outline::Leaf(word(
            text.as_str().and_then(Sealed::parse).and_then(|s| s.kind()).unwrap_or(Kind::Str),
        )),
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Str => "string",
        kind => kind.word(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Documents, Format, Identities, Keep, SealOptions, seal};
    use nixmox_tree::SecretString;
    use rand_core::SeedableRng;

    #[test]
    fn a_sealed_file_has_the_outline_of_its_plaintext() {
        let key = "AGE-SECRET-KEY-1F25QHFTUQA8VPCNKXE8KSJX8XM3KQ8PAKE2PKZRN96SZ7NG5WLJSTVA09K";
        let keys = Identities::from_age_secret(&SecretString::new(key)).unwrap();
        let options = SealOptions::new(keys.recipients().iter().cloned());
        let text = b"a: x\nb: 5\nc: 1.5\nd: true\ne: null\nf: [x, {g: 2}]\nh: {i: {j: y}}\n";
        for format in [Format::Yaml, Format::Json] {
            let docs = Documents::parse(text, Format::Yaml).unwrap();
            let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
            let now = "2026-01-02T03:04:05Z".parse().unwrap();
            let sealed = seal(&docs, (format, &options), Keep::Nothing, &mut rng, now).unwrap();
            let outline = EncryptedFile::parse(&sealed, format).unwrap().outline();
            assert_eq!(outline, Outline::of(&docs.to_tree().unwrap()), "{format:?}");
            assert_eq!(outline.entries().count(), 7);
        }
    }
}
