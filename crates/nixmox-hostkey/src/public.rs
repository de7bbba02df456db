//! The public half.

use std::fmt;

use bech32::{Bech32, Hrp};
use curve25519_dalek::edwards::CompressedEdwardsY;
use ed25519_dalek::VerifyingKey;
use ssh_key::public::{Ed25519PublicKey, KeyData};
use ssh_key::{HashAlg, PublicKey};

use crate::{HostKey, HostKeyError, MAX_TEXT, one_line};

/// What age's native recipients begin with.
const RECIPIENT: Hrp = Hrp::parse_unchecked("age");

/// A host's public key: a canonical point of the curve's prime-order subgroup, other than its identity.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HostPublicKey(VerifyingKey);

impl HostPublicKey {
    pub(crate) fn of(key: VerifyingKey) -> Self {
        Self(key)
    }

    /// Reads the line of `ssh_host_ed25519_key.pub`; the comment is forgotten.
    ///
    /// # Errors
    ///
    /// [`HostKeyError::NotEd25519`] for other keys, [`HostKeyError::NotCanonical`] and [`HostKeyError::WeakPoint`]
    /// for points that no key generator makes, [`HostKeyError::TooLong`] and [`HostKeyError::Malformed`] for
    /// everything else, a second line among it.
    pub fn parse(line: &str) -> Result<Self, HostKeyError> {
        Self::from_bytes(&Self::read(line)?)
    }

    /// Reads the point of a line, sound or not.
    pub(crate) fn read(line: &str) -> Result<[u8; 32], HostKeyError> {
        if line.len() > MAX_TEXT {
            return Err(HostKeyError::TooLong);
        }
        let line = line.trim();
        if line.contains(|c: char| c.is_control() && c != '\t') {
            return Err(HostKeyError::Malformed);
        }
        let key = PublicKey::from_openssh(line).map_err(|error| match error {
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
                HostKeyError::NotEd25519
            }
            _ => HostKeyError::Malformed,
        })?;
        match key.key_data() {
            KeyData::Ed25519(key) => Ok(*key.as_ref()),
            _ => Err(HostKeyError::NotEd25519),
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Result<Self, HostKeyError> {
        let point = CompressedEdwardsY(*bytes).decompress().ok_or(HostKeyError::NotCanonical)?;
        if point.compress().as_bytes() != bytes {
            return Err(HostKeyError::NotCanonical);
        }
        if point.is_small_order() || !point.is_torsion_free() {
            return Err(HostKeyError::WeakPoint);
        }
        VerifyingKey::from_bytes(bytes).map(Self).map_err(|_| HostKeyError::NotCanonical)
    }

    /// Writes the line of `ssh_host_ed25519_key.pub`, without a line end.
    ///
    /// Control characters of the comment are left out, so that it stays one line.
    pub fn to_openssh(&self, comment: &str) -> String {
        #[expect(clippy::expect_used, reason = "an ed25519 key always has an encoding")]
        PublicKey::new(self.key_data(), one_line(comment))
            .to_openssh()
            .expect("an ed25519 key always has an encoding")
    }

    /// Returns the age recipient (`age1…`) that `ssh-to-age` makes of this key.
    pub fn age_recipient(&self) -> String {
        #[expect(clippy::expect_used, reason = "32 bytes always fit into bech32")]
        bech32::encode_lower::<Bech32>(RECIPIENT, &self.0.to_montgomery().to_bytes())
            .expect("32 bytes always fit into bech32")
    }

    /// Returns the fingerprint as `ssh` shows it: `SHA256:…`.
    pub fn fingerprint(&self) -> String {
        self.key_data().fingerprint(HashAlg::Sha256).to_string()
    }

    /// Tells whether this is the public half of `key`.
    pub fn matches(&self, key: &HostKey) -> bool {
        *self == key.public()
    }

    fn key_data(&self) -> KeyData {
        KeyData::Ed25519(Ed25519PublicKey(self.0.to_bytes()))
    }
}

impl fmt::Debug for HostPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostPublicKey({})", self.fingerprint())
    }
}
