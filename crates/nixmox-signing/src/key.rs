//! Keys that sign: their public halves, and a private one in a file.

use std::cmp::Ordering;
use std::error::Error;
use std::fmt;

use nixmox_tree::SecretString;
use ssh_key::private::KeypairData;
use ssh_key::{Algorithm, EcdsaCurve, HashAlg, PrivateKey, SshSig};
use thiserror::Error as ThisError;

use crate::signature::Signature;
use crate::{KeyError, MAX_TEXT};

/// The public half of a key that signs.
///
/// Its text is `type base64` without a comment, and it is ordered and compared by that.
#[derive(Clone)]
pub struct PublicKey {
    key: ssh_key::PublicKey,
    text: String,
}

impl PublicKey {
    /// Reads a line as `ssh-keygen` writes it to `.pub` files; a comment is dropped.
    ///
    /// # Errors
    ///
    /// [`KeyError`] when it is no key, or one of a type that does not sign here.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        let key = ssh_key::PublicKey::from_openssh(text.trim()).map_err(|error| match error {
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
                KeyError::Type
            }
            _ => KeyError::Malformed,
        })?;
        Self::new(key)
    }

    pub(crate) fn new(mut key: ssh_key::PublicKey) -> Result<Self, KeyError> {
        let signs = matches!(
            key.algorithm(),
            Algorithm::Ed25519
                | Algorithm::SkEd25519
                | Algorithm::Rsa { .. }
                | Algorithm::SkEcdsaSha2NistP256
                | Algorithm::Ecdsa { curve: EcdsaCurve::NistP256 }
        );
        if !signs {
            return Err(KeyError::Type);
        }
        key.set_comment("");
        let text = key.to_openssh().map_err(|_| KeyError::Malformed)?;
        Ok(Self { key, text: text.trim_end().to_owned() })
    }

    /// Returns the key as `type base64`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the fingerprint as OpenSSH shows it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        self.key.fingerprint(HashAlg::Sha256).to_string()
    }

    pub(crate) fn key(&self) -> &ssh_key::PublicKey {
        &self.key
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PublicKey {}

impl PartialOrd for PublicKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PublicKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

/// Why a signer did not sign: an agent that is gone, a wrong passphrase, a token that was not touched.
#[derive(Debug, ThisError)]
#[error("the signature was not made")]
pub struct SignFailed(#[source] pub Box<dyn Error + Send + Sync>);

/// Somebody who signs: a key file, an agent, a hardware token.
pub trait Signer: Sync {
    /// Returns the public half of the key that signs.
    fn public(&self) -> &PublicKey;

    /// Signs a message in a namespace as `ssh-keygen -Y sign` does.
    ///
    /// # Errors
    ///
    /// [`SignFailed`] with the cause.
    fn sign(&self, namespace: &str, message: &[u8]) -> Result<Signature, SignFailed>;
}

/// An ed25519 key from a file without a passphrase; it signs within this process.
pub struct KeyFile {
    private: PrivateKey,
    public: PublicKey,
}

impl KeyFile {
    /// Reads what `ssh-keygen -t ed25519 -N ''` writes.
    ///
    /// # Errors
    ///
    /// [`KeyError::Encrypted`] for a key under a passphrase and [`KeyError::Type`] for one of another type, both of
    /// which `ssh-keygen` signs with; [`KeyError::TooLong`] and [`KeyError::Malformed`] for what is no key.
    pub fn parse(text: &SecretString) -> Result<Self, KeyError> {
        if text.len() > MAX_TEXT {
            return Err(KeyError::TooLong);
        }
        let private = PrivateKey::from_openssh(text.expose()).map_err(|error| match error {
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
                KeyError::Type
            }
            _ => KeyError::Malformed,
        })?;
        match private.key_data() {
            KeypairData::Encrypted(_) => return Err(KeyError::Encrypted),
            KeypairData::Ed25519(_) => {}
            _ => return Err(KeyError::Type),
        }
        let public = PublicKey::new(private.public_key().clone())?;
        Ok(Self { private, public })
    }
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyFile({})", self.public.fingerprint())
    }
}

impl Signer for KeyFile {
    fn public(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, namespace: &str, message: &[u8]) -> Result<Signature, SignFailed> {
        SshSig::sign(&self.private, namespace, HashAlg::Sha512, message)
            .map(Signature::new)
            .map_err(|error| SignFailed(error.to_string().into()))
    }
}
