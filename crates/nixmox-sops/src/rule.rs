//! Which values are sealed: the one selection rule of a file.

use regex::bytes::{Regex, RegexBuilder};

/// The one rule of a file; what it calls clear is neither hidden nor, with `mac_only_encrypted`, authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Everything is sealed but what is below a key with this ending.
    UnencryptedSuffix(String),
    /// Only what is below a key with this ending is sealed.
    EncryptedSuffix(String),
    /// Everything is sealed but what is below a matching key.
    UnencryptedRegex(String),
    /// Only what is below a matching key is sealed.
    EncryptedRegex(String),
    /// Everything is sealed but what follows a matching comment.
    UnencryptedCommentRegex(String),
    /// Only what follows a matching comment is sealed.
    EncryptedCommentRegex(String),
}

impl Default for Rule {
    fn default() -> Self {
        Self::UnencryptedSuffix("_unencrypted".to_owned())
    }
}

impl Rule {
    pub(crate) const NAMES: [&str; 6] = [
        "unencrypted_suffix",
        "encrypted_suffix",
        "unencrypted_regex",
        "encrypted_regex",
        "unencrypted_comment_regex",
        "encrypted_comment_regex",
    ];

    /// Returns the name of the rule in metadata and in `.sops.yaml`.
    pub fn name(&self) -> &'static str {
        self.parts().0
    }

    /// Returns the suffix or the pattern.
    pub fn text(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::UnencryptedSuffix(text) => ("unencrypted_suffix", text),
            Self::EncryptedSuffix(text) => ("encrypted_suffix", text),
            Self::UnencryptedRegex(text) => ("unencrypted_regex", text),
            Self::EncryptedRegex(text) => ("encrypted_regex", text),
            Self::UnencryptedCommentRegex(text) => ("unencrypted_comment_regex", text),
            Self::EncryptedCommentRegex(text) => ("encrypted_comment_regex", text),
        }
    }

    pub(crate) fn from_parts(name: &str, text: String) -> Option<Self> {
        Some(match name {
            "unencrypted_suffix" => Self::UnencryptedSuffix(text),
            "encrypted_suffix" => Self::EncryptedSuffix(text),
            "unencrypted_regex" => Self::UnencryptedRegex(text),
            "encrypted_regex" => Self::EncryptedRegex(text),
            "unencrypted_comment_regex" => Self::UnencryptedCommentRegex(text),
            "encrypted_comment_regex" => Self::EncryptedCommentRegex(text),
            _ => return None,
        })
    }

    /// Makes the rule ready for use; `None` when its pattern is not one.
    pub(crate) fn compile(&self) -> Option<Selector> {
        let suffix = |text: &String| Test::Suffix(text.clone());
        let pattern = |text: &String| Some(Test::Regex(go_regex(text)?));
        let (test, on, hit_seals) = match self {
            Self::UnencryptedSuffix(text) => (suffix(text), On::Keys, false),
            Self::EncryptedSuffix(text) => (suffix(text), On::Keys, true),
            Self::UnencryptedRegex(text) => (pattern(text)?, On::Keys, false),
            Self::EncryptedRegex(text) => (pattern(text)?, On::Keys, true),
            Self::UnencryptedCommentRegex(text) => (pattern(text)?, On::Comments, false),
            Self::EncryptedCommentRegex(text) => (pattern(text)?, On::Comments, true),
        };
        Some(Selector { test, on, hit_seals })
    }
}

/// A rule with its pattern compiled.
pub(crate) struct Selector {
    test: Test,
    on: On,
    hit_seals: bool,
}

enum Test {
    Suffix(String),
    Regex(Regex),
}

#[derive(PartialEq)]
enum On {
    Keys,
    Comments,
}

impl Selector {
    fn test(&self, text: &[u8]) -> bool {
        match &self.test {
            Test::Suffix(suffix) => text.ends_with(suffix.as_bytes()),
            Test::Regex(regex) => regex.is_match(text),
        }
    }

    pub(crate) fn key_hits(&self, key: &str) -> bool {
        self.on == On::Keys && self.test(key.as_bytes())
    }

    pub(crate) fn comment_hits(&self, comment: &str) -> bool {
        self.on == On::Comments && self.test(comment.as_bytes())
    }

    /// Tells whether the rule looks for comments and seals only what they ask for.
    pub(crate) fn on_comments(&self) -> bool {
        self.on == On::Comments && self.hit_seals
    }

    /// Tells whether a value with or without a hit above it is sealed.
    pub(crate) fn seals(&self, hit: bool) -> bool {
        hit == self.hit_seals
    }

    /// Tells whether a comment's own match counts for itself: what says "seal the next" stays readable.
    pub(crate) fn comment_counts_itself(&self) -> bool {
        !self.hit_seals
    }
}

/// Compiles a pattern of Go's regexp (RE2) with Go's meaning.
pub(crate) fn go_regex(pattern: &str) -> Option<Regex> {
    if pattern.len() > 4096 {
        return None;
    }
    RegexBuilder::new(&translate(pattern)).size_limit(1 << 20).nest_limit(64).build().ok()
}

/// Rewrites the few things that mean something else in Rust: classes are ASCII, `[`, `&`, `~` are plain inside them.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    // How many characters a class has so far; a bracket that comes first is plain.
    let mut class: Option<usize> = None;
    while let Some(c) = chars.next() {
        match (c, &mut class) {
            ('\\', None) if chars.next_if_eq(&'Q').is_some() => {
                let rest: String = chars.by_ref().collect();
                let (literal, after) = rest.split_once("\\E").unwrap_or((&rest, ""));
                out.push_str(&regex::escape(literal));
                return out + &translate(after);
            }
            ('\\', inside) => {
                let Some(next) = chars.next() else { return out + "\\" };
                out.push_str(&escape(next, inside.is_some()));
                if let Some(length) = inside {
                    *length += 1;
                }
            }
            ('[', None) => {
                class = Some(0);
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            ('[', Some(_)) if chars.peek() == Some(&':') => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            (']', Some(0)) => {
                out.push_str("\\]");
                class = Some(1);
            }
            (']', Some(_)) => {
                out.push(']');
                class = None;
            }
            ('[' | '&' | '~', Some(length)) => {
                out.extend(['\\', c]);
                *length += 1;
            }
            (c, Some(length)) => {
                out.push(c);
                *length += 1;
            }
            (c, None) => out.push(c),
        }
    }
    out
}

fn escape(next: char, inside: bool) -> String {
    let (body, negated) = match next {
        'd' | 'D' => ("0-9", next == 'D'),
        'w' | 'W' => ("0-9A-Za-z_", next == 'W'),
        's' | 'S' => ("\\t\\n\\x0c\\r ", next == 'S'),
        'b' | 'B' if !inside => return format!("(?-u:\\{next})"),
        _ => return format!("\\{next}"),
    };
    match (inside, negated) {
        (true, false) => body.to_owned(),
        (_, true) => format!("[^{body}]"),
        (false, false) => format!("[{body}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expect: Option<bool>) {
        assert_eq!(go_regex(pattern).map(|r| r.is_match(text.as_bytes())), expect, "{pattern}");
    }

    #[test]
    fn patterns_mean_what_go_means() {
        check("^data$", "data", Some(true));
        check(r"^\d+$", "٣", Some(false));
        check(r"^[\d_]+$", "1_2", Some(true));
        check(r"^\w$", "é", Some(false));
        check(r"^\W$", "é", Some(true));
        check("(?i)SECRET", "secret", Some(true));
        check("[[]", "[", Some(true));
        check("[]a]", "]", Some(true));
        check("[^]a]", "]", Some(false));
        check("[[:alpha:]&&x]", "&", Some(true));
        check(r"^\Qa.b\E$", "a.b", Some(true));
        check(r"^\Qa.b\E$", "axb", Some(false));
        check(r"\bx\b", "a x b", Some(true));
        check("(?!x)", "x", None);
        check("[", "[", None);
        check(&"(".repeat(2000), "", None);
    }
}
