//! OpenSSH's `allowed_signers`: who may sign, one key a line.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::{AllowedError, MAX_TEXT, PublicKey};

/// The keys of a list of allowed signers, with the names they sign under and what for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AllowedSigners {
    lines: Vec<Line>,
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    name: String,
    /// Patterns of namespaces; all are allowed when there are none.
    namespaces: Vec<String>,
    key: PublicKey,
}

impl AllowedSigners {
    /// Reads a list: `name [options] type base64 [comment]` a line, `#` before remarks.
    ///
    /// Of the options `namespaces="…"` is known. Others would narrow or widen who may sign, so they are refused.
    ///
    /// # Errors
    ///
    /// [`AllowedError`] with the line.
    pub fn parse(bytes: &[u8]) -> Result<Self, AllowedError> {
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_TEXT);
        let mut lines = Vec::new();
        for (at, line) in text.ok_or(AllowedError::Text)?.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with('#') {
                lines.push(Line::parse(line, at.saturating_add(1))?);
            }
        }
        Ok(Self { lines })
    }

    /// Makes the list of some keys, for the namespaces of this crate.
    pub fn new(keys: &BTreeMap<PublicKey, String>) -> Self {
        let line = |(key, name): (&PublicKey, &String)| Line {
            name: name.clone(),
            namespaces: [crate::ROSTER, crate::DELIVERY].map(str::to_owned).to_vec(),
            key: key.clone(),
        };
        Self { lines: keys.iter().map(line).collect() }
    }

    /// Returns the keys that may sign in `namespace`, with the names of their owners.
    ///
    /// # Errors
    ///
    /// [`AllowedError::Nobody`] when there are none.
    pub fn keys(&self, namespace: &str) -> Result<BTreeMap<PublicKey, String>, AllowedError> {
        let may = |line: &&Line| {
            line.namespaces.is_empty()
                || (line.namespaces.iter().any(|p| glob(p.as_bytes(), namespace.as_bytes()))
                    && !line.namespaces.iter().any(|p| {
                        p.strip_prefix('!')
                            .is_some_and(|p| glob(p.as_bytes(), namespace.as_bytes()))
                    }))
        };
        let keys: BTreeMap<_, _> =
            self.lines.iter().filter(may).map(|l| (l.key.clone(), l.name.clone())).collect();
        if keys.is_empty() {
            return Err(AllowedError::Nobody { namespace: namespace.to_owned() });
        }
        Ok(keys)
    }
}

impl std::fmt::Display for AllowedSigners {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for line in &self.lines {
            f.write_str(&line.name)?;
            if !line.namespaces.is_empty() {
                write!(f, " namespaces=\"{}\"", line.namespaces.join(","))?;
            }
            f.write_char(' ')?;
            writeln!(f, "{}", line.key)?;
        }
        Ok(())
    }
}

impl Line {
    fn parse(text: &str, line: usize) -> Result<Self, AllowedError> {
        let wrong = || AllowedError::Line { line };
        let mut words = words(text).ok_or_else(wrong)?.into_iter().peekable();
        let name = words.next().ok_or_else(wrong)?.replace('"', "");
        let mut namespaces = Vec::new();
        while let Some(word) = words.next_if(|word| !is_key_type(word)) {
            let (option, value) = word.split_once('=').unwrap_or((&word, ""));
            if !option.eq_ignore_ascii_case("namespaces") {
                let option = option.chars().filter(|c| !c.is_control()).take(40).collect();
                return Err(AllowedError::Option { line, option });
            }
            let value = value.trim_matches('"');
            namespaces.extend(value.split(',').map(|p| p.trim().to_owned()));
        }
        let key: Vec<String> = words.take(2).collect();
        let key = PublicKey::parse(&key.join(" ")).map_err(|_| wrong())?;
        Ok(Self { name, namespaces, key })
    }
}

/// Splits a line at blanks outside of quotes; `None` when a quote is left open.
fn words(text: &str) -> Option<Vec<String>> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in text.chars() {
        match c {
            ' ' | '\t' if !quoted => words.push(String::new()),
            _ => {
                quoted ^= c == '"';
                words.last_mut()?.push(c);
            }
        }
    }
    words.retain(|word| !word.is_empty());
    (!quoted).then_some(words)
}

fn is_key_type(word: &str) -> bool {
    ["ssh-", "sk-", "ecdsa-"].iter().any(|start| word.starts_with(start))
}

/// Matches `*` and `?` as OpenSSH does; linear but for backing up to the last `*`.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star = None;
    while let Some(byte) = text.get(t) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if c == byte || *c == b'?' => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    (p, t) = (at + 1, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIILJkMWUH4pL0QkVYtDPY3cqnF8CyI2GNBEcuGmMMvSO";

    #[track_caller]
    fn check(line: &str, expect: Result<&str, AllowedError>) {
        let read = AllowedSigners::parse(line.as_bytes());
        let keys = read.and_then(|read| read.keys("nixmox-roster@1"));
        let names = keys.map(|keys| keys.into_values().collect::<Vec<_>>().join(" "));
        assert_eq!(names, expect.map(str::to_owned), "{line}");
    }

    #[test]
    fn lines_are_read_as_openssh_reads_them() {
        let nobody = || AllowedError::Nobody { namespace: "nixmox-roster@1".to_owned() };
        check(&format!("alice {KEY}"), Ok("alice"));
        check(&format!("# remark\n\nalice@x.org,bob {KEY} a comment"), Ok("alice@x.org,bob"));
        check(&format!("alice namespaces=\"git,nixmox-*\" {KEY}"), Ok("alice"));
        check(&format!("alice namespaces=\"git\" {KEY}"), Err(nobody()));
        check(&format!("alice namespaces=\"*,!nixmox-*\" {KEY}"), Err(nobody()));
        check("", Err(nobody()));
    }

    #[test]
    fn what_is_not_supported_is_refused_and_not_skipped() {
        let option =
            |option: &str| Err(AllowedError::Option { line: 1, option: option.to_owned() });
        check(&format!("alice cert-authority {KEY}"), option("cert-authority"));
        check(&format!("alice valid-before=\"20200101\" {KEY}"), option("valid-before"));
        check("alice ssh-ed25519", Err(AllowedError::Line { line: 1 }));
        check("alice", Err(AllowedError::Line { line: 1 }));
        check(&format!("\"alice {KEY}"), Err(AllowedError::Line { line: 1 }));
    }

    #[test]
    fn patterns_match_as_they_should() {
        for (pattern, text, expect) in [
            ("*", "abc", true),
            ("a*c", "abbc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), expect, "{pattern} {text}");
        }
    }
}
