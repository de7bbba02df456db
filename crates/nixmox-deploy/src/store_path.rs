//! Paths of the Nix store.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// Where every store lies; another directory would be another set of hashes.
const STORE: &str = "/nix/store/";
/// How many characters a hash has.
const HASH: usize = 32;
/// Nix's letters for hashes.
const LETTERS: &str = "0123456789abcdfghijklmnpqrsvwxyz";
/// The longest name that Nix takes.
const MAX_NAME: usize = 211;

/// A path directly below `/nix/store`: a hash, a dash and a name.
///
/// It has only characters that no shell reads in a way of its own. Clones share one allocation.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorePath(Arc<str>);

impl StorePath {
    /// Takes a path as a program printed it.
    ///
    /// # Errors
    ///
    /// [`StorePathError`] says which part is not what Nix makes.
    pub fn parse(text: &str) -> Result<Self, StorePathError> {
        let rest = text.strip_prefix(STORE).ok_or(StorePathError::Place)?;
        let (hash, name) = rest.split_once('-').ok_or(StorePathError::Hash)?;
        if hash.len() != HASH || !hash.chars().all(|c| LETTERS.contains(c)) {
            return Err(StorePathError::Hash);
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "+-._?=".contains(c);
        if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(good) {
            return Err(StorePathError::Name);
        }
        Ok(Self(text.into()))
    }

    /// Returns the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns what follows the hash and the dash.
    pub fn name(&self) -> &str {
        self.0.get(STORE.len() + HASH + 1..).unwrap_or_default()
    }
}

impl AsRef<str> for StorePath {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// What a text lacks to be a [`StorePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StorePathError {
    /// It does not begin with `/nix/store/`.
    #[error("a store path begins with {STORE}")]
    Place,
    /// The part before the dash is no hash.
    #[error("a store path has a hash of {HASH} characters before its name")]
    Hash,
    /// The name is missing, too long, or has other characters than Nix takes, a slash among them.
    #[error("the name in a store path has letters, digits and +-._?= alone, at most {MAX_NAME}")]
    Name,
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-nixos-system-web-24.05";

    #[track_caller]
    fn check(text: &str, expect: Result<&str, StorePathError>) {
        assert_eq!(StorePath::parse(text).as_ref().map(StorePath::name), expect.as_ref().copied());
    }

    #[test]
    fn what_nix_makes_is_taken() {
        check(GOOD, Ok("nixos-system-web-24.05"));
    }

    #[test]
    fn everything_else_is_refused() {
        check("", Err(StorePathError::Place));
        check("/gnu/store/x", Err(StorePathError::Place));
        check("/nix/store/abc-x", Err(StorePathError::Hash));
        check(&GOOD.replace('0', "e"), Err(StorePathError::Hash));
        check(&format!("{GOOD}/bin"), Err(StorePathError::Name));
        check(&format!("{GOOD}\n"), Err(StorePathError::Name));
        check(&format!("{GOOD};reboot"), Err(StorePathError::Name));
        check(&format!("{GOOD}{}", "x".repeat(211)), Err(StorePathError::Name));
    }
}
