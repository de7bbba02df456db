//! The part of a plan that is about the master.

use jiff::Timestamp;
use nixmox_sops::{DataKey, DecryptedFile, Keep, SealOptions, seal};
use rand_chacha::ChaCha20Rng;
use rand_core::{CryptoRng, RngCore};

use super::{Planner, Request};
use crate::Error;
use crate::digests::DigestKey;
use crate::master::{self, Form};
use crate::report::Change;
use crate::store::{Changes, Mode};

/// A master as it will be.
pub(super) struct SealedMaster {
    pub(super) data_key: DataKey,
    pub(super) key: DigestKey,
    /// Its file; `None` when that stays as it is, or is not sealed yet.
    pub(super) bytes: Option<Vec<u8>>,
    /// The record of the values' ages, where there shall be one.
    pub(super) ages: Option<Vec<u8>>,
}

impl Planner<'_> {
    /// Tells whether the master's file can stay as it is.
    pub(super) fn master_stays(&self) -> bool {
        let master = self.request.master;
        let same_text = master.text == *self.request.text;
        let in_place = master.path == self.base.master_path;
        let ours = master.sound && !self.base.master_is_others();
        master.file.is_some() && same_text && in_place && ours && !self.rekey
    }

    /// Chooses the master's data key: the one that it has, or a new one.
    pub(super) fn master_key(&self, rng: &mut (impl RngCore + CryptoRng)) -> SealedMaster {
        let kept = self.kept_master().map(|file| file.data_key().clone());
        let data_key = kept.unwrap_or_else(|| DataKey::generate(rng));
        SealedMaster { key: DigestKey::derive(&data_key), data_key, bytes: None, ages: None }
    }

    /// Returns the opened master whose data key lives on.
    pub(super) fn kept_master(&self) -> Option<&DecryptedFile> {
        self.request.master.file.as_ref().filter(|_| !self.rekey)
    }

    /// Seals the master anew unless it stays.
    pub(super) fn seal_master(
        &self,
        data_key: &DataKey,
        rng: &mut ChaCha20Rng,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, Error> {
        if self.master_stays() {
            return Ok(None);
        }
        let Request { master, text, .. } = self.request;
        let keep = self.kept_master().map_or(Keep::Key(data_key), Keep::Values);
        let documents = master::documents(master.form, text)?;
        let mut options = SealOptions::new(self.base.admins.master.iter().cloned());
        options.interaction = self.request.interaction.cloned();
        options.strict = master.form == Form::Yaml;
        seal(&documents, (master.form.format(), &options), keep, rng, now)
            .map(Some)
            .map_err(|source| Error::Seal { path: self.base.master_path.clone(), source })
    }

    pub(super) fn write_master(&self, bytes: Option<Vec<u8>>, changes: &mut Changes) -> Change {
        let master = self.request.master;
        changes.expect(master.path.clone(), master.base);
        let Some(bytes) = bytes else { return Change::Unchanged };
        if master.path != self.base.master_path {
            changes.expect(self.base.master_path.clone(), None);
            changes.remove(master.path.clone());
        }
        changes.write(self.base.master_path.clone(), bytes, Mode::Public);
        if master.file.is_some() { Change::Updated } else { Change::Created }
    }
}
