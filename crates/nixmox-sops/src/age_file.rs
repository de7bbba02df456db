//! Bare age files, as agenix keeps one for each secret.

use std::io::Read;

use age::armor::ArmoredReader;
use nixmox_tree::SecretBytes;
use zeroize::Zeroizing;

use crate::error::MAX_BYTES;
use crate::identity::Identities;

/// How every age file starts that is not armored.
const BINARY: &[u8] = b"age-encryption.org/v1\n";
/// How an armored one starts.
const ARMORED: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";

/// Why an age file does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AgeFileError {
    /// It is not an age file, or its header is damaged.
    #[error("not a sound age file")]
    Malformed(#[source] age::DecryptError),
    /// No key is for it.
    #[error("none of {identities} keys opens it")]
    NoKey {
        /// How many keys were tried.
        identities: usize,
    },
    /// What is inside does not authenticate.
    #[error("it was damaged or changed")]
    Damaged(#[source] std::io::Error),
    /// What is inside is larger than anything that is read here.
    #[error("more than {MAX_BYTES} bytes")]
    TooLarge,
}

/// Tells whether bytes start like an age file, armored or not.
pub fn is_age(bytes: &[u8]) -> bool {
    bytes.starts_with(BINARY) || bytes.trim_ascii_start().starts_with(ARMORED)
}

/// Opens an age file, armored or not, of at most [`MAX_BYTES`].
///
/// # Errors
///
/// [`AgeFileError`] tells a wrong key from a damaged file.
pub fn open_age(bytes: &[u8], identities: &Identities) -> Result<SecretBytes, AgeFileError> {
    if bytes.len() > MAX_BYTES {
        return Err(AgeFileError::TooLarge);
    }
    let reader = ArmoredReader::new(bytes);
    let opened = age::Decryptor::new_buffered(reader)
        .and_then(|decryptor| decryptor.decrypt(identities.iter()));
    let opened = opened.map_err(|error| match error {
        age::DecryptError::NoMatchingKeys => AgeFileError::NoKey { identities: identities.len() },
        error => AgeFileError::Malformed(error),
    })?;
    // The plaintext is shorter than the file; a vector that grows would leave copies of it behind.
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len()));
    opened
        .take(u64::try_from(MAX_BYTES).unwrap_or(u64::MAX))
        .read_to_end(&mut plain)
        .map_err(AgeFileError::Damaged)?;
    Ok(SecretBytes::from(plain))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixmox_tree::SecretString;

    #[test]
    fn an_age_file_opens_with_its_key_alone() {
        let key = "AGE-SECRET-KEY-1F25QHFTUQA8VPCNKXE8KSJX8XM3KQ8PAKE2PKZRN96SZ7NG5WLJSTVA09K";
        let keys = Identities::from_age_secret(&SecretString::new(key)).unwrap();
        let to: age::x25519::Recipient = keys.recipients()[0].as_str().parse().unwrap();
        for sealed in [
            age::encrypt(&to, b"s3cret\n").unwrap(),
            age::encrypt_and_armor(&to, b"s3cret\n").unwrap().into_bytes(),
        ] {
            assert!(is_age(&sealed));
            assert_eq!(open_age(&sealed, &keys).unwrap().expose(), b"s3cret\n");
            let none = open_age(&sealed, &Identities::new());
            assert!(matches!(none, Err(AgeFileError::NoKey { identities: 0 })));
        }
        let mut damaged = age::encrypt(&to, b"s3cret\n").unwrap();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(matches!(open_age(&damaged, &keys), Err(AgeFileError::Damaged(_))));
        assert!(matches!(open_age(b"x", &keys), Err(AgeFileError::Malformed(_))));
        assert!(!is_age(b"x"));
    }
}
