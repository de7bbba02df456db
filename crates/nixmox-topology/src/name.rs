//! The grammar of node names.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use thiserror::Error;

/// The longest name: what a DNS label and a directory can both hold.
const MAX_LEN: usize = 63;

/// The name of a host or group: a letter or digit, then up to 62 letters, digits, dashes and underscores.
///
/// Names become directories, file names and DNS labels, so nothing else is let in. They compare in byte order;
/// clones share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Takes a name as somebody wrote it.
    ///
    /// # Errors
    ///
    /// [`NameError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.len() > MAX_LEN {
            return Err(NameError::TooLong { bytes: text.len() });
        }
        let mut chars = text.chars();
        let first = chars.next().ok_or(NameError::Empty)?;
        if !first.is_ascii_alphanumeric() {
            return Err(NameError::Start { character: first });
        }
        match chars.find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
            Some(character) => Err(NameError::Character { character }),
            None if text == "current" => Err(NameError::Reserved),
            None if text == "common" => Err(NameError::Common),
            None if text.ends_with("_unencrypted") => Err(NameError::Unencrypted),
            None => Ok(Self(text.into())),
        }
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for NodeName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for NodeName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for NodeName {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for NodeName {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The rule of [`NodeName`] that a text breaks.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NameError {
    /// There is no character at all.
    #[error("a node name cannot be empty")]
    Empty,
    /// There are more than 63 bytes.
    #[error("a node name has at most {MAX_LEN} characters, not {bytes}")]
    TooLong {
        /// How many bytes there are.
        bytes: usize,
    },
    /// The first character is neither a letter nor a digit.
    #[error("a node name starts with an ASCII letter or digit, not {character:?}")]
    Start {
        /// What it starts with.
        character: char,
    },
    /// A later character is neither a letter, a digit, a dash nor an underscore.
    #[error(
        "a node name has only ASCII letters, digits, dashes and underscores, not {character:?}"
    )]
    Character {
        /// The first character that does not belong.
        character: char,
    },
    /// `current` means the node that is being evaluated.
    #[error("the name `current` is reserved")]
    Reserved,
    /// It ends in what orders sops to seal nothing.
    #[error("sops leaves everything below names that end in `_unencrypted` in the clear")]
    Unencrypted,
    /// `common` holds what nodes share.
    #[error("`common` holds what nodes share and is no node")]
    Common,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, why: NameError) {
        assert_eq!(NodeName::parse(text), Err(why));
    }

    #[test]
    fn letters_digits_and_dashes_make_a_name() {
        for good in ["a", "1", "B", "a-b", "a-", "core_services", "web01", &"x".repeat(63)] {
            assert_eq!(NodeName::parse(good).expect("a good name"), good);
        }
    }

    #[test]
    fn everything_else_is_refused() {
        refused("", NameError::Empty);
        refused(&"x".repeat(64), NameError::TooLong { bytes: 64 });
        refused("-a", NameError::Start { character: '-' });
        refused("../x", NameError::Start { character: '.' });
        refused("ä", NameError::Start { character: 'ä' });
        refused("a.b", NameError::Character { character: '.' });
        refused("_a", NameError::Start { character: '_' });
        refused("a_unencrypted", NameError::Unencrypted);
        refused("a/b", NameError::Character { character: '/' });
        refused("a\0", NameError::Character { character: '\0' });
        refused("a\n", NameError::Character { character: '\n' });
        refused("current", NameError::Reserved);
        refused("common", NameError::Common);
    }

    #[test]
    fn order_is_byte_order() {
        let sorted = ["1", "B", "a", "a-b"].map(|n| NodeName::parse(n).expect("a good name"));
        assert!(sorted.is_sorted());
    }
}
