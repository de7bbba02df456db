//! The key that a machine shows, as `ssh-keyscan` prints it.

use nixmox_hostkey::{HostKeyError, HostPublicKey};

/// The most that is looked at, in bytes; a machine sends what it likes.
const LIMIT: usize = 64 * 1024;

/// Why a machine's key is not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// Nothing was sent: it was not reached, or has no ed25519 key.
    #[error("it sent no ed25519 key")]
    Nothing,
    /// Several different keys were sent.
    #[error("it sent several keys")]
    Several,
    /// More was sent than any key has.
    #[error("it sent more than any key has")]
    TooLarge,
    /// What was sent is no key.
    #[error("it sent something that is no usable key")]
    Key(#[source] HostKeyError),
}

/// Reads the ed25519 key that a machine showed; the name before it is what was asked, not what answered.
///
/// # Errors
///
/// [`LiveError`]: no key, several, or none that can be used.
pub fn live_key(printed: &[u8]) -> Result<HostPublicKey, LiveError> {
    if printed.len() > LIMIT {
        return Err(LiveError::TooLarge);
    }
    let text = String::from_utf8_lossy(printed);
    let lines = text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    let mut found = None;
    for line in lines {
        let key = line.split_once(' ').map_or("", |(_, key)| key);
        let key = HostPublicKey::parse(key).map_err(LiveError::Key)?;
        if found.is_some_and(|found| found != key) {
            return Err(LiveError::Several);
        }
        found = Some(key);
    }
    found.ok_or(LiveError::Nothing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEccQ6uxu7zCY4KZudScR1Mo43SPHxh6fSnf6aZeze9l";
    const OTHER: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIExuEi71mqVZCGk3kl+NxPFQQ1/0WJivHWsHROlmBEkM";

    #[test]
    fn one_key_is_taken_and_nothing_else() {
        let key = live_key(format!("# h SSH-2.0\n[h]:22 {KEY}\n").as_bytes()).unwrap();
        assert_eq!(key, HostPublicKey::parse(KEY).unwrap());
        assert!(live_key(format!("h {KEY}\nh {KEY}\n").as_bytes()).is_ok());
        let several = live_key(format!("h {KEY}\nh {OTHER}\n").as_bytes());
        assert!(matches!(several, Err(LiveError::Several)));
        assert!(matches!(live_key(b"# refused\n"), Err(LiveError::Nothing)));
        assert!(matches!(live_key(b"\x1b[2J\n"), Err(LiveError::Key(_))));
        assert!(matches!(live_key(&vec![b'x'; LIMIT + 1]), Err(LiveError::TooLarge)));
    }
}
