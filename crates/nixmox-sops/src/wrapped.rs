//! What can be seen of a sealed file without a key: whom it names, and whom it is really sealed to.

use crate::cipher::DataKey;
use crate::envelope;
use crate::file::EncryptedFile;
use crate::identity::Identities;
use crate::metadata::Wrapped;
use crate::node::{Entry, Node};

/// One wrapped data key of a file: a label that anybody may have written, and an age file.
#[derive(Clone, Copy)]
pub struct WrappedKey<'a>(&'a Wrapped);

impl<'a> WrappedKey<'a> {
    /// Returns the recipient that it is said to be for.
    pub fn label(self) -> &'a str {
        &self.0.recipient
    }

    /// Lists the types of the stanzas in the age file, without grease; `None` when it is no age file.
    ///
    /// Each of them is somebody who opens it. An X25519 stanza does not tell who.
    pub fn stanzas(self) -> Option<Vec<String>> {
        envelope::stanzas(&self.0.enc)
    }

    /// Opens it with one of these keys; what is inside is a data key only where the file has no key groups.
    pub fn open_with(self, identities: &Identities) -> Option<DataKey> {
        envelope::data_key(&envelope::unwrap(&self.0.enc, identities).ok()?)
    }
}

impl std::fmt::Debug for WrappedKey<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WrappedKey({})", self.label())
    }
}

impl EncryptedFile {
    /// Goes through the wrapped data keys, those of all key groups among them.
    pub fn wrapped_keys(&self) -> impl Iterator<Item = WrappedKey<'_>> {
        self.metadata.wrapped().map(WrappedKey)
    }

    /// Names the key services other than age that can open the file too.
    pub fn foreign_keys(&self) -> &[String] {
        &self.metadata.foreign
    }

    /// Lists the paths of all values, which are readable without a key; a list counts as one.
    pub fn names(&self) -> Vec<Vec<String>> {
        let mut names = Vec::new();
        for doc in &self.docs {
            entries(doc, &mut Vec::new(), &mut names);
        }
        names
    }
}

fn entries(of: &[Entry], above: &mut Vec<String>, names: &mut Vec<Vec<String>>) {
    for entry in of {
        if let Entry::Pair(name, node) = entry {
            above.push(name.clone());
            match node {
                Node::Map(inner) if !inner.is_empty() => entries(inner, above, names),
                _ => names.push(above.clone()),
            }
            above.pop();
        }
    }
}
