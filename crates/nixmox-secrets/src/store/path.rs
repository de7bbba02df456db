//! Relative paths that cannot leave the repository.

use std::fmt;

const MAX_PATH: usize = 1024;
const MAX_COMPONENT: usize = 255;
const MAX_COMPONENTS: usize = 32;
/// The names with a leading dot that a fleet repository needs; `.git` is never one of them.
const DOTTED: [&str; 3] = [".sops.yaml", ".nixmox", ".gitignore"];

/// A path of the repository: relative, `/`-separated, and unable to climb or to hide.
///
/// No component is empty, `.` or `..`, has a control or an invisible formatting character, or
/// begins with a dot, except `.sops.yaml`, `.nixmox` and `.gitignore`. Paths order by bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(String);

/// The reason why a text is no path of the repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// It begins with `/`.
    #[error("the path is absolute")]
    Absolute,
    /// It is empty or has an empty component.
    #[error("the path has an empty component")]
    Empty,
    /// It has a `.` or `..` component.
    #[error("the path has a `.` or `..` component")]
    Dots,
    /// A component begins with a dot and is not one of the known names.
    #[error("a component of the path begins with a dot")]
    Hidden,
    /// It has a control character, a bidirectional mark or a zero-width character.
    #[error("the path has a character that cannot be seen")]
    Unprintable,
    /// It, one of its components, or their number is too long.
    #[error("the path is too long")]
    TooLong,
}

impl RelPath {
    /// Parses a relative path.
    ///
    /// # Errors
    /// [`PathError`] says which rule the text breaks.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text.len() > MAX_PATH || text.split('/').count() > MAX_COMPONENTS {
            return Err(PathError::TooLong);
        }
        if text.starts_with('/') {
            return Err(PathError::Absolute);
        }
        text.split('/').try_for_each(check_component)?;
        Ok(Self(text.to_owned()))
    }

    /// Returns the root of the repository itself, which only a listing can use; it prints as `.`.
    #[must_use]
    pub const fn root() -> Self {
        Self(String::new())
    }

    /// Appends a relative path.
    ///
    /// # Errors
    /// [`PathError`] says which rule the result breaks.
    pub fn join(&self, path: &str) -> Result<Self, PathError> {
        if self.is_root() { Self::parse(path) } else { Self::parse(&format!("{self}/{path}")) }
    }

    /// Returns the text of the path; the root's is empty.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Splits off the last component; `None` for the root.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        match self.0.rsplit_once('/') {
            Some((parent, name)) => Some((Self(parent.to_owned()), name)),
            None if self.is_root() => None,
            None => Some((Self::root(), &self.0)),
        }
    }

    /// Returns the directories above, nearest first, the root last.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = Self> {
        std::iter::successors(self.split().map(|(parent, _)| parent), |path| {
            path.split().map(|(parent, _)| parent)
        })
    }

    /// Returns a name inside `.nixmox`, or beneath it, that only the store itself uses.
    pub(super) fn own(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Returns whether the store keeps this place for itself, on any kind of file system.
    pub(super) fn is_reserved(&self) -> bool {
        let mut parts = self.0.split('/');
        let mut next_is = |name: &str| parts.next().is_some_and(|p| p.eq_ignore_ascii_case(name));
        next_is(".nixmox")
            && self.0.split('/').nth(1).is_none_or(|second| {
                ["lock", "txn", ".gitignore"].iter().any(|own| second.eq_ignore_ascii_case(own))
            })
    }
}

fn check_component(part: &str) -> Result<(), PathError> {
    match part {
        "" => Err(PathError::Empty),
        "." | ".." => Err(PathError::Dots),
        _ if part.len() > MAX_COMPONENT => Err(PathError::TooLong),
        _ if part.chars().any(is_unprintable) => Err(PathError::Unprintable),
        _ if part.starts_with('.') && !DOTTED.contains(&part) => Err(PathError::Hidden),
        _ => Ok(()),
    }
}

/// Some file systems ignore invisible characters, so `.g<ZWNJ>it` would be `.git` there; and all
/// of them let a name look like another in a terminal.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_root() { "." } else { &self.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<(), PathError>) {
        let parsed = RelPath::parse(text);
        assert_eq!(parsed.as_ref().map(|_| ()).map_err(|error| *error), expect, "{text:?}");
        if let Ok(path) = parsed {
            assert_eq!(path.to_string(), text);
        }
    }

    #[test]
    fn plain_paths_are_taken() {
        check("secrets.yaml", Ok(()));
        check("nodes/web-1/secrets.yaml", Ok(()));
        check(".sops.yaml", Ok(()));
        check(".nixmox/admins", Ok(()));
        check("a/.gitignore", Ok(()));
        check("a b/ü.yaml", Ok(()));
        check(&"x".repeat(255), Ok(()));
        check(&vec!["a"; 32].join("/"), Ok(()));
    }

    #[test]
    fn what_climbs_or_hides_is_refused() {
        check("/etc/passwd", Err(PathError::Absolute));
        check("", Err(PathError::Empty));
        check("a//b", Err(PathError::Empty));
        check("a/", Err(PathError::Empty));
        check("..", Err(PathError::Dots));
        check("a/../b", Err(PathError::Dots));
        check("./a", Err(PathError::Dots));
        check(".git", Err(PathError::Hidden));
        check("a/.git/config", Err(PathError::Hidden));
        check(".GIT/config", Err(PathError::Hidden));
        check(".NIXMOX/x", Err(PathError::Hidden));
        check(".git\u{200c}", Err(PathError::Unprintable));
        check("\u{200c}.git", Err(PathError::Unprintable));
        check("a\0b", Err(PathError::Unprintable));
        check("a\nb", Err(PathError::Unprintable));
        check("a\u{1b}[2J", Err(PathError::Unprintable));
        check("a\u{202e}b", Err(PathError::Unprintable));
        check(&"x".repeat(256), Err(PathError::TooLong));
        check(&vec!["a"; 33].join("/"), Err(PathError::TooLong));
        check(&vec!["x".repeat(200); 6].join("/"), Err(PathError::TooLong));
    }

    #[test]
    fn join_keeps_the_rules() {
        let path = RelPath::root().join("a").and_then(|a| a.join("b/c")).unwrap();
        assert_eq!(path.as_str(), "a/b/c");
        assert_eq!(path.join("../d"), Err(PathError::Dots));
        assert_eq!(path.join("/d"), Err(PathError::Empty));
        assert_eq!(RelPath::root().join("/d"), Err(PathError::Absolute));
        let above: Vec<_> = path.ancestors().map(|p| p.to_string()).collect();
        assert_eq!(above, ["a/b", "a", "."]);
    }

    #[track_caller]
    fn check_reserved(text: &str, expect: bool) {
        assert_eq!(RelPath::parse(text).unwrap().is_reserved(), expect, "{text}");
    }

    #[test]
    fn the_stores_own_names_are_reserved() {
        check_reserved(".nixmox", true);
        check_reserved(".nixmox/lock", true);
        check_reserved(".nixmox/LOCK", true);
        check_reserved(".nixmox/txn/journal", true);
        check_reserved(".nixmox/.gitignore", true);
        check_reserved(".nixmox/admins", false);
        check_reserved("nixmox/lock", false);
        check_reserved("a/.nixmox/lock", false);
    }
}
