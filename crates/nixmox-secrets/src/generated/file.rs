//! The sealed file of generated values.
//!
//! Its data key is derived from the master's, so whoever cannot open the master cannot make a file that is taken for
//! this one, though he could seal one to the admins.

use hkdf::Hkdf;
use jiff::Timestamp;
use nixmox_generate::Records;
use nixmox_sops::{
    DataKey, DecryptedFile, Documents, EncryptedFile, Format, Identities, Interaction, Keep,
    Recipient, SealOptions, seal,
};
use rand_core::{CryptoRng, RngCore};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::Error;
use crate::hosts::Generated;

/// The file as it was opened.
pub(crate) struct Opened {
    pub(crate) file: DecryptedFile,
    pub(crate) records: Records,
    /// Whether the data key is the one derived from the master's.
    pub(crate) vouched: bool,
    /// Whether it keeps the rules of strict files.
    sound: bool,
}

/// Derives the data key of the file from the master's.
pub(crate) fn data_key(master: &DataKey) -> DataKey {
    let mut key = Zeroizing::new([0; 32]);
    let hkdf = Hkdf::<Sha256>::new(None, master.expose());
    // 32 bytes are far below the limit of HKDF, the only thing that can fail here.
    let _ = hkdf.expand(b"nixmox generated values v1", key.as_mut_slice());
    DataKey::from_bytes(key)
}

/// Opens the file with the admins' keys; `None` when there is none.
pub(crate) fn open(
    found: &Generated,
    master: Option<&DataKey>,
    identities: &Identities,
) -> Result<Option<Opened>, Error> {
    let Some(bytes) = &found.bytes else { return Ok(None) };
    let path = || found.place().clone();
    let parsed = EncryptedFile::parse(bytes, Format::Yaml)
        .map_err(|source| Error::Parse { path: path(), source })?;
    let file = parsed.open(identities).map_err(|source| Error::Open { path: path(), source })?;
    let tree = file.documents().to_tree().ok();
    let records = tree.as_ref().and_then(|tree| Records::from_tree(tree).ok());
    let records = records.ok_or_else(|| Error::Records { path: path() })?;
    let own = master.map(data_key);
    let vouched = own.is_some_and(|key| key.expose().ct_eq(file.data_key().expose()).into());
    Ok(Some(Opened { records, vouched, sound: parsed.audit().is_empty(), file }))
}

/// For whom the file is sealed, and with what.
pub(crate) struct Sealing<'a> {
    pub(crate) found: &'a Generated,
    pub(crate) old: Option<&'a Opened>,
    /// The master's data key as it will be.
    pub(crate) master: &'a DataKey,
    pub(crate) recipients: &'a [Recipient],
    pub(crate) interaction: Option<&'a Interaction>,
}

impl Sealing<'_> {
    /// Seals the values; `None` when the file can stay as it is.
    pub(crate) fn seal(
        &self,
        records: &Records,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Error> {
        let key = data_key(self.master);
        let same_key = |old: &&Opened| old.file.data_key().expose() == key.expose();
        let kept = self.old.filter(same_key);
        if kept.is_some_and(|old| self.stays(old, records)) {
            return Ok(None);
        }
        let mut options = SealOptions::new(self.recipients.iter().cloned());
        options.interaction = self.interaction.cloned();
        options.strict = true;
        let keep = kept.map_or(Keep::Key(&key), |old| Keep::Values(&old.file));
        let documents = Documents::from_tree(&records.to_tree());
        seal(&documents, (Format::Yaml, &options), keep, rng, now)
            .map(Some)
            .map_err(|source| Error::Seal { path: self.found.path.clone(), source })
    }

    fn stays(&self, old: &Opened, records: &Records) -> bool {
        let labels = old.file.metadata().recipients();
        let wanted: Vec<&str> = self.recipients.iter().map(Recipient::as_str).collect();
        let in_place = self.found.strayed.is_none();
        in_place && old.sound && old.records == *records && labels == wanted
    }
}
