use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Secret text; clones share one allocation, wiped when the last of them is dropped.
///
/// Equality takes the same time wherever the texts differ; only their lengths show.
#[derive(Clone)]
pub struct SecretString(Arc<Zeroizing<String>>);

impl SecretString {
    /// Takes ownership of `text`, which is not copied.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Arc::new(Zeroizing::new(text.into())))
    }

    /// Returns the plaintext. Every use of it is a place to audit.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether the text has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<Zeroizing<String>> for SecretString {
    fn from(text: Zeroizing<String>) -> Self {
        Self(Arc::new(text))
    }
}

impl PartialEq for SecretString {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for SecretString {}

impl fmt::Debug for SecretString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretString")
    }
}

/// Secret bytes; clones share one allocation, wiped when the last of them is dropped.
///
/// Equality takes the same time wherever the bytes differ; only their lengths show.
#[derive(Clone)]
pub struct SecretBytes(Bytes);

/// Bytes of which some are known to be text, which then is shared with a [`SecretString`].
#[derive(Clone)]
enum Bytes {
    Any(Arc<Zeroizing<Vec<u8>>>),
    Text(SecretString),
}

impl SecretBytes {
    /// Takes ownership of `bytes`, which are not copied.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self::from(Zeroizing::new(bytes.into()))
    }

    /// Returns the plaintext. Every use of it is a place to audit.
    pub fn expose(&self) -> &[u8] {
        match &self.0 {
            Bytes::Any(bytes) => bytes,
            Bytes::Text(text) => text.expose().as_bytes(),
        }
    }

    /// Returns the length in bytes.
    pub fn len(&self) -> usize {
        self.expose().len()
    }

    /// Tells whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.expose().is_empty()
    }

    /// Returns the bytes as text when they are UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Bytes::Any(bytes) => std::str::from_utf8(bytes).ok(),
            Bytes::Text(text) => Some(text.expose()),
        }
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(Bytes::Any(Arc::new(bytes)))
    }
}

impl From<SecretString> for SecretBytes {
    /// Shares the text, which is not copied.
    fn from(text: SecretString) -> Self {
        Self(Bytes::Text(text))
    }
}

impl From<&SecretString> for SecretBytes {
    /// Shares the text, which is not copied.
    fn from(text: &SecretString) -> Self {
        Self::from(text.clone())
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.expose().ct_eq(other.expose()).into()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_prints_the_type_alone() {
        assert_eq!(format!("{:?}", SecretString::new("hunter2")), "SecretString");
        assert_eq!(format!("{:?}", SecretBytes::new(*b"hunter2")), "SecretBytes");
    }

    #[test]
    fn equality_is_by_content() {
        assert_eq!(SecretString::new("a"), SecretString::new("a"));
        assert_ne!(SecretString::new("a"), SecretString::new("b"));
        assert_ne!(SecretBytes::new(*b"a"), SecretBytes::new(*b"ab"));
    }

    #[test]
    fn bytes_are_text_only_when_utf8() {
        assert_eq!(SecretBytes::new(*b"ok").as_str(), Some("ok"));
        assert_eq!(SecretBytes::new([0xff]).as_str(), None);
    }

    #[test]
    fn text_and_bytes_are_equal_by_content() {
        let text = SecretString::new("ok");
        assert_eq!(SecretBytes::from(&text), SecretBytes::new(*b"ok"));
        assert_eq!(SecretBytes::from(text).as_str(), Some("ok"));
    }
}
