//! Who can open a file.

use std::fmt;
use std::str::FromStr;

/// A public key that a file can be sealed to; equality and order are those of its text.
#[derive(Clone)]
pub struct Recipient {
    text: String,
    key: RecipientKey,
}

#[derive(Clone)]
pub(crate) enum RecipientKey {
    X25519(age::x25519::Recipient),
    Ssh(age::ssh::Recipient),
    Plugin(age::plugin::Recipient),
}

/// Why a text is not a recipient.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecipientError {
    /// It starts like no kind of recipient.
    #[error("unknown kind of recipient")]
    Unknown,
    /// It starts like one and is not one.
    #[error("malformed recipient")]
    Malformed,
    /// An ssh key of a kind or size that age does not take.
    #[error("unsupported ssh key")]
    Ssh,
}

impl Recipient {
    /// Reads `age1…`, `age1<plugin>1…`, `ssh-ed25519 …` or `ssh-rsa …`; space around it is dropped.
    ///
    /// # Errors
    ///
    /// [`RecipientError`] says which part is wrong. A plugin's key is not checked beyond its checksum.
    pub fn parse(text: &str) -> Result<Self, RecipientError> {
        let text = text.trim();
        if text.len() > 8192 || text.chars().any(char::is_control) {
            return Err(RecipientError::Malformed);
        }
        let key = if text.starts_with("ssh-") {
            let key = age::ssh::Recipient::from_str(text).map_err(|_| RecipientError::Ssh)?;
            RecipientKey::Ssh(key)
        } else if text.strip_prefix("age1").is_some_and(|rest| rest.contains('1')) {
            let key = age::plugin::Recipient::from_str(text);
            RecipientKey::Plugin(key.map_err(|_| RecipientError::Malformed)?)
        } else if text.starts_with("age1") {
            let key = age::x25519::Recipient::from_str(text);
            RecipientKey::X25519(key.map_err(|_| RecipientError::Malformed)?)
        } else {
            return Err(RecipientError::Unknown);
        };
        Ok(Self { text: text.to_owned(), key })
    }

    /// Returns the text as it is written into files.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Names the plugin that this recipient needs, if it needs one: `age-plugin-<name>` will be run.
    pub fn plugin(&self) -> Option<&str> {
        match &self.key {
            RecipientKey::Plugin(key) => Some(key.plugin()),
            _ => None,
        }
    }

    pub(crate) fn key(&self) -> &RecipientKey {
        &self.key
    }

    /// Names the stanza that an age file for this recipient has; a plugin's is its own affair.
    pub fn stanza(&self) -> Option<&'static str> {
        match &self.key {
            RecipientKey::X25519(_) => Some("X25519"),
            RecipientKey::Ssh(age::ssh::Recipient::SshEd25519(..)) => Some("ssh-ed25519"),
            RecipientKey::Ssh(age::ssh::Recipient::SshRsa(..)) => Some("ssh-rsa"),
            RecipientKey::Plugin(_) => None,
        }
    }
}

impl FromStr for Recipient {
    type Err = RecipientError;

    fn from_str(text: &str) -> Result<Self, RecipientError> {
        Self::parse(text)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recipient({})", self.text)
    }
}

impl PartialEq for Recipient {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Recipient {}

impl PartialOrd for Recipient {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Recipient {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}
