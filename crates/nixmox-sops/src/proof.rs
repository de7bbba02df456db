//! Which recipients have been shown to open a file, stanza by stanza.

use subtle::ConstantTimeEq;

use crate::envelope;
use crate::error::DecryptError;
use crate::file::EncryptedFile;
use crate::identity::Identities;

/// What came of trying keys on the wrapped key of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// The label; it is not authenticated and may lie.
    pub recipient: String,
    /// Whether one of the keys opened it, to the data key of the file.
    pub opened: bool,
    /// Whether one of the keys is the one that the label names, as far as keys name their recipients.
    pub held: bool,
}

impl EncryptedFile {
    /// Tries keys on the wrapped key of every recipient: what opens the file is not enough, each has one of his own.
    ///
    /// # Errors
    ///
    /// As [`EncryptedFile::open`], which comes first: a data key counts only when the file opens with it. The shares
    /// of several key groups count when they open at all.
    pub fn prove(&self, identities: &Identities) -> Result<Vec<Proof>, DecryptError> {
        let file = self.open(identities)?;
        let shares = self.metadata.key_groups() > 1;
        let opens = |enc: &str| match envelope::unwrap(enc, identities) {
            Ok(key) => shares || bool::from(key.as_slice().ct_eq(file.data_key().expose())),
            Err(_) => false,
        };
        let proofs = self.metadata.wrapped().map(|wrapped| Proof {
            recipient: wrapped.recipient.clone(),
            opened: opens(&wrapped.enc),
            held: identities.recipients().iter().any(|r| r.as_str() == wrapped.recipient),
        });
        Ok(proofs.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Documents, Format, Keep, Recipient, SealOptions, seal};
    use nixmox_tree::SecretString;
    use rand_core::SeedableRng;

    const MINE: &str = "AGE-SECRET-KEY-1F25QHFTUQA8VPCNKXE8KSJX8XM3KQ8PAKE2PKZRN96SZ7NG5WLJSTVA09K";
    const OTHER: &str = "age1usa859nu679z7ayfd0sammmca8v9z80djmj2unl0fnapulvez4wqf8g5fh";

    #[test]
    fn only_the_stanza_of_a_key_at_hand_is_proved() {
        let keys = Identities::from_age_secret(&SecretString::new(MINE)).unwrap();
        let other = crate::Identities::new();
        let recipients = [keys.recipients()[0].clone(), Recipient::parse(OTHER).unwrap()];
        let docs = Documents::parse(b"a: x\n", Format::Yaml).unwrap();
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(1);
        let options = SealOptions::new(recipients);
        let now = "2026-01-02T03:04:05Z".parse().unwrap();
        let sealed = seal(&docs, (Format::Yaml, &options), Keep::Nothing, &mut rng, now).unwrap();
        let text = String::from_utf8(sealed).unwrap();
        let prove = |text: &str| {
            let file = EncryptedFile::parse(text.as_bytes(), Format::Yaml).unwrap();
            let proofs = file.prove(&keys).unwrap();
            proofs.into_iter().map(|p| (p.opened, p.held)).collect::<Vec<_>>()
        };
        assert_eq!(prove(&text), [(true, true), (false, false)]);
        // A label that lies about whose key it is.
        let mine = keys.recipients()[0].as_str();
        let swapped = text.replace(mine, "@").replace(OTHER, mine).replace('@', OTHER);
        assert_eq!(prove(&swapped), [(true, false), (false, true)]);
        let file = EncryptedFile::parse(text.as_bytes(), Format::Yaml).unwrap();
        assert!(matches!(file.prove(&other), Err(DecryptError::NoIdentity)));
    }
}
