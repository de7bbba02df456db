//! The private half.

use std::fmt;

use bech32::{Bech32, Hrp};
use ed25519_dalek::{SigningKey, VerifyingKey};
use nixmox_tree::SecretString;
use rand_core::{CryptoRng, RngCore};
use sha2::{Digest, Sha512};
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::{LineEnding, PrivateKey};
use zeroize::Zeroizing;

use crate::{HostKeyError, HostPublicKey, MAX_TEXT, one_line};

/// What age's native identities begin with.
const IDENTITY: Hrp = Hrp::parse_unchecked("age-secret-key-");

/// A host's private key; wiped when dropped, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct HostKey {
    pair: Ed25519Keypair,
    public: HostPublicKey,
}

impl HostKey {
    /// Makes a new key from 32 bytes of `rng`, and from nothing else.
    pub fn generate(rng: &mut (impl RngCore + CryptoRng)) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill_bytes(&mut *seed);
        let key = SigningKey::from_bytes(&seed);
        Self { public: HostPublicKey::of(key.verifying_key()), pair: Ed25519Keypair::from(&key) }
    }

    /// Reads what `ssh-keygen -t ed25519` writes, without a passphrase.
    ///
    /// # Errors
    ///
    /// [`HostKeyError::Encrypted`] and [`HostKeyError::NotEd25519`] for other private keys,
    /// [`HostKeyError::Mismatched`] when the file's public half is another key's, [`HostKeyError::TooLong`] and
    /// [`HostKeyError::Malformed`] for everything else.
    pub fn from_openssh(text: &SecretString) -> Result<Self, HostKeyError> {
        if text.len() > MAX_TEXT {
            return Err(HostKeyError::TooLong);
        }
        let key = PrivateKey::from_openssh(text.expose()).map_err(|error| match error {
            ssh_key::Error::Crypto | ssh_key::Error::PublicKey => HostKeyError::Mismatched,
            ssh_key::Error::AlgorithmUnknown | ssh_key::Error::AlgorithmUnsupported { .. } => {
                HostKeyError::NotEd25519
            }
            _ => HostKeyError::Malformed,
        })?;
        match key.key_data() {
            KeypairData::Encrypted(_) => Err(HostKeyError::Encrypted),
            // Whether the halves belong together was found out while it was read.
            KeypairData::Ed25519(pair) => VerifyingKey::from_bytes(pair.public.as_ref())
                .map(|public| Self { pair: pair.clone(), public: HostPublicKey::of(public) })
                .map_err(|_| HostKeyError::Malformed),
            _ => Err(HostKeyError::NotEd25519),
        }
    }

    /// Writes the text of `ssh_host_ed25519_key`: the same bytes for the same key and comment.
    ///
    /// Control characters of the comment are left out.
    pub fn to_openssh(&self, comment: &str) -> SecretString {
        // `ssh-key` derives the format's check number from the key when it has no random one.
        let pair = KeypairData::from(self.pair.clone());
        let text =
            PrivateKey::new(pair, one_line(comment)).and_then(|k| k.to_openssh(LineEnding::LF));
        #[expect(clippy::expect_used, reason = "an ed25519 key always has an encoding")]
        SecretString::from(text.expect("an ed25519 key always has an encoding"))
    }

    /// Returns the public half.
    pub fn public(&self) -> HostPublicKey {
        self.public
    }

    /// Tells whether the line of an `ssh_host_ed25519_key.pub` is this key's; the comment does not count.
    ///
    /// It costs less than [`HostPublicKey::parse`]: what is the half of a key needs no proof that it is sound.
    ///
    /// # Errors
    ///
    /// Those of [`HostPublicKey::parse`], for the line of another key.
    pub fn has_public(&self, line: &str) -> Result<bool, HostKeyError> {
        let bytes = HostPublicKey::read(line)?;
        if bytes == *self.pair.public.as_ref() {
            return Ok(true);
        }
        HostPublicKey::from_bytes(&bytes).map(|_| false)
    }

    /// Returns the age identity (`AGE-SECRET-KEY-1…`) that `ssh-to-age` makes of this key.
    pub fn age_identity(&self) -> SecretString {
        // RFC 8032, section 5.1.5: the scalar is the first half of the seed's hash.
        let hash = Zeroizing::new(<[u8; 64]>::from(Sha512::digest(self.pair.private.as_ref())));
        let (scalar, _) = hash.split_at(32);
        // Never grown, so no part of it is left behind in a smaller allocation.
        let mut text = Zeroizing::new(String::with_capacity(128));
        #[expect(clippy::expect_used, reason = "32 bytes always fit into bech32")]
        bech32::encode_upper_to_fmt::<Bech32, _>(&mut *text, IDENTITY, scalar)
            .expect("32 bytes always fit into bech32");
        SecretString::from(text)
    }
}

impl fmt::Debug for HostKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostKey")
    }
}
