//! One signature in OpenSSH's armor.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ssh_key::{Algorithm, LineEnding, SshSig};

use crate::{KeyError, MAX_TEXT, PublicKey, SignatureError};

/// Flags and counter behind a token's signature, in bytes.
const TRAILER: usize = 5;
/// Width of the armor.
const COLUMNS: usize = 70;
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----\n";

/// A signature (SSHSIG), which may or may not be a good one.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(SshSig);

impl Signature {
    pub(crate) fn new(signature: SshSig) -> Self {
        Self(signature)
    }

    /// Reads the armored text that `ssh-keygen -Y sign` writes.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, SignatureError> {
        let (signature, rest) = Self::parse_start(bytes)?;
        if rest.is_empty() { Ok(signature) } else { Err(SignatureError::Malformed) }
    }

    /// Reads the armored text that some bytes begin with, and returns it with what stands behind it.
    pub(crate) fn parse_start(bytes: &[u8]) -> Result<(Self, &str), SignatureError> {
        let malformed = SignatureError::Malformed;
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.len() <= MAX_TEXT);
        let text = text.filter(|text| text.starts_with(BEGIN)).ok_or(malformed)?;
        let (armor, rest) = text.split_once(END).ok_or(malformed)?;
        let signature = SshSig::from_pem(format!("{armor}{END}")).map_err(|_| malformed)?;
        // The version is outside of what is signed; another one would be another format.
        if signature.version() != SshSig::VERSION || !signature.reserved().is_empty() {
            return Err(malformed);
        }
        // Nor are the lengths within the signature's frame: only the one text that it has is taken.
        if armored(&signature).is_none_or(|text| text != format!("{armor}{END}")) {
            return Err(malformed);
        }
        Ok((Self(signature), rest))
    }

    /// Checks that `key` made the signature of exactly this message in exactly this namespace.
    ///
    /// # Errors
    ///
    /// [`SignatureError::Namespace`], [`SignatureError::Key`] and [`SignatureError::Wrong`].
    pub fn verify(
        &self,
        key: &PublicKey,
        namespace: &str,
        message: &[u8],
    ) -> Result<(), SignatureError> {
        key.key().verify(namespace, message, &self.0).map_err(|error| match error {
            ssh_key::Error::Namespace => SignatureError::Namespace,
            ssh_key::Error::PublicKey => SignatureError::Key,
            _ => SignatureError::Wrong,
        })
    }

    /// Returns the key that the signature names as its own, which proves nothing yet.
    ///
    /// # Errors
    ///
    /// [`KeyError::Type`] when it is of a type that does not sign here.
    pub fn key(&self) -> Result<PublicKey, KeyError> {
        PublicKey::new(ssh_key::PublicKey::new(self.0.public_key().clone(), ""))
    }
}

/// Writes the one text of a signature.
///
/// Of a token's P-256 signature, `ssh-key` counts flags and counter, which stand behind it, to its length; so that
/// length is put right. The whole has the same number of bytes either way.
fn armored(signature: &SshSig) -> Option<String> {
    let text = signature.to_pem(LineEnding::LF).ok()?;
    if signature.algorithm() != Algorithm::SkEcdsaSha2NistP256 {
        return Some(text);
    }
    let body: String = text.lines().filter(|line| !line.starts_with('-')).collect();
    let mut bytes = STANDARD.decode(body).ok()?;
    let counted = signature.signature_bytes().len();
    let end = bytes.len().checked_sub(counted)?;
    let length = u32::try_from(counted.checked_sub(TRAILER)?).ok()?.to_be_bytes();
    bytes.get_mut(end.checked_sub(length.len())?..end)?.copy_from_slice(&length);
    let body = STANDARD.encode(bytes);
    let lines = body.as_bytes().chunks(COLUMNS).filter_map(|line| std::str::from_utf8(line).ok());
    let lines: String = lines.map(|line| format!("{line}\n")).collect();
    Some(format!("{BEGIN}\n{lines}{END}"))
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&armored(&self.0).ok_or(fmt::Error)?)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", self.0.namespace())
    }
}
