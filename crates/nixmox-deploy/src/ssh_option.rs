//! The settings of ssh that a repository may set for a node.

use crate::TargetError;

/// What neither runs a program here nor weakens how a host is recognised.
const ALLOWED: [&str; 18] = [
    "addressfamily",
    "bindaddress",
    "bindinterface",
    "ciphers",
    "compression",
    "connecttimeout",
    "connectionattempts",
    "gssapiauthentication",
    "hostkeyalgorithms",
    "identitiesonly",
    "identityfile",
    "ipqos",
    "kexalgorithms",
    "macs",
    "port",
    "proxyjump",
    "pubkeyauthentication",
    "user",
];

/// One setting of ssh for a node.
///
/// A repository cannot set what runs a program on this machine (`ProxyCommand`, `LocalCommand`, `Match exec`) or
/// weakens how a host is recognised (`StrictHostKeyChecking`, `UserKnownHostsFile`): whoever needs those has a
/// configuration of their own, which is read as well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshOption {
    name: String,
    value: String,
}

impl SshOption {
    /// Takes one setting.
    ///
    /// # Errors
    ///
    /// [`TargetError::OptionNotAllowed`] for names that are not in the list, [`TargetError::OptionValue`] for a
    /// value that is empty or has control characters or quotes.
    pub fn parse(name: &str, value: &str) -> Result<Self, TargetError> {
        if !ALLOWED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(TargetError::OptionNotAllowed { name: name.to_owned() });
        }
        let value = value.trim();
        if value.is_empty() || value.contains(|c: char| c.is_control() || c == '"') {
            return Err(TargetError::OptionValue { name: name.to_owned() });
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }

    /// Takes arguments as they would stand on ssh's command line: `-o Name=value`, `-p`, `-i`, `-J`, `-l`, `-4`,
    /// `-6`, `-C`, each as words of their own or joined.
    ///
    /// # Errors
    ///
    /// Those of [`SshOption::parse`], and [`TargetError::Argument`] for every other word.
    pub fn parse_arguments<'a>(
        words: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Self>, TargetError> {
        let mut words = words.into_iter().flat_map(str::split_ascii_whitespace);
        let mut options = Vec::new();
        while let Some(word) = words.next() {
            let unknown = || TargetError::Argument { word: word.to_owned() };
            let rest = word.strip_prefix('-').ok_or_else(unknown)?;
            let mut letters = rest.chars();
            let letter = letters.next().ok_or_else(unknown)?;
            let joined = letters.as_str();
            if let Some((name, value)) = flag(letter).filter(|_| joined.is_empty()) {
                options.push(Self::parse(name, value)?);
                continue;
            }
            let value = if joined.is_empty() { words.next().ok_or_else(unknown)? } else { joined };
            options.push(match letter {
                'o' => {
                    value.split_once('=').ok_or_else(unknown).and_then(|(n, v)| Self::parse(n, v))
                }
                'p' => Self::parse("Port", value),
                'i' => Self::parse("IdentityFile", value),
                'J' => Self::parse("ProxyJump", value),
                'l' => Self::parse("User", value),
                _ => Err(unknown()),
            }?);
        }
        Ok(options)
    }

    /// Returns the setting's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the setting's value.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// The setting of a letter without a value.
fn flag(letter: char) -> Option<(&'static str, &'static str)> {
    match letter {
        '4' => Some(("AddressFamily", "inet")),
        '6' => Some(("AddressFamily", "inet6")),
        'C' => Some(("Compression", "yes")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &[&str], expect: Result<&[(&str, &str)], TargetError>) {
        let found = SshOption::parse_arguments(words.iter().copied());
        let found = found
            .as_ref()
            .map(|options| options.iter().map(|o| (o.name(), o.value())).collect::<Vec<_>>());
        assert_eq!(found, expect.as_ref().map(|pairs| pairs.to_vec()), "{words:?}");
    }

    #[test]
    fn arguments_are_read_as_ssh_reads_them() {
        check(
            &["-p", "2222", "-oCompression=yes"],
            Ok(&[("Port", "2222"), ("Compression", "yes")]),
        );
        check(&["-J jump -4"], Ok(&[("ProxyJump", "jump"), ("AddressFamily", "inet")]));
    }

    #[test]
    fn nothing_that_runs_programs_or_weakens_trust_is_taken() {
        for name in [
            "ProxyCommand",
            "LocalCommand",
            "StrictHostKeyChecking",
            "UserKnownHostsFile",
            "Include",
        ] {
            let word = format!("-o{name}=x");
            check(&[&word], Err(TargetError::OptionNotAllowed { name: name.into() }));
        }
        check(&["-F/etc/passwd"], Err(TargetError::Argument { word: "-F/etc/passwd".into() }));
        check(&["host"], Err(TargetError::Argument { word: "host".into() }));
        check(&["-p"], Err(TargetError::Argument { word: "-p".into() }));
    }

    #[test]
    fn a_value_stays_on_its_line() {
        let value = SshOption::parse("User", "root\nProxyCommand x");
        assert_eq!(value, Err(TargetError::OptionValue { name: "User".into() }));
    }
}
