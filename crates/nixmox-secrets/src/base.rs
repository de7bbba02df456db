//! What lies in a fleet's repository before a plan, and how far it is vouched for.

use std::collections::BTreeMap;

use nixmox_signing::Chain;
use nixmox_sops::{DataKey, DecryptedFile};
use nixmox_topology::NodeName;
use nixmox_tree::SecretTree;
use rayon::prelude::*;

use crate::Error;
use crate::admins::{Admins, NewAdmins};
use crate::digests::{Digest, DigestKey, Digests, HostDigests};
use crate::fleet::Fleet;
use crate::generated::public;
use crate::hosts::{Generated, HostFiles, PairFiles};
use crate::master::Master;
use crate::store::RelPath;
use crate::trust::{Beside, TrustError, is_delivery};

/// The generated files of a fleet, its recipients and its digests, as they are.
pub(crate) struct Base<'a> {
    pub(crate) master: &'a Master,
    /// Where the master belongs.
    pub(crate) master_path: RelPath,
    pub(crate) admins: Admins,
    pub(crate) files: BTreeMap<NodeName, HostFiles>,
    pub(crate) digests: Generated,
    /// The record of the values' ages, if there is one.
    pub(crate) ages: Generated,
    /// The sealed values that were generated.
    pub(crate) generated: Generated,
    /// Every file by the name of public parts.
    pub(crate) public: BTreeMap<RelPath, Vec<u8>>,
    /// The key of the digests in the repository, and the digests; without a master there are none.
    pub(crate) known: Option<(DigestKey, Digests)>,
    /// Who signs what hosts are delivered; `None` when nobody does.
    pub(crate) delivery: Option<Beside>,
    /// Whether the recipients in the digests are those that an admin recorded.
    trusted: bool,
}

/// Reads the digests' file, which may still lie outside an overlay.
pub(crate) fn read_digests(fleet: &Fleet) -> Result<Generated, Error> {
    let layout = &fleet.layout;
    let twin = if layout.private { Some(layout.public_twin().digests()?) } else { None };
    Generated::read(fleet, layout.digests()?, twin)
}

/// Makes the digests' key of the master's data key, and reads the digests.
pub(crate) fn known(
    digests: &Generated,
    data_key: Option<&DataKey>,
) -> Option<(DigestKey, Digests)> {
    let read = digests.bytes.as_deref().and_then(Digests::parse);
    data_key.map(DigestKey::derive).zip(read)
}

impl<'a> Base<'a> {
    pub(crate) fn read(fleet: &Fleet, master: &'a Master) -> Result<Self, Error> {
        let layout = &fleet.layout;
        let twin = if layout.private { Some(layout.public_twin().ages()?) } else { None };
        let ages = Generated::read(fleet, layout.ages()?, twin)?;
        let digests = read_digests(fleet)?;
        let known = known(&digests, master.file.as_ref().map(DecryptedFile::data_key));
        let trusted = known.as_ref().is_some_and(|(key, known)| known.vouches_for_admins(key));
        Ok(Self {
            master,
            master_path: fleet.layout.master()?,
            admins: Admins::read(fleet)?,
            delivery: Beside::of(fleet)?,
            files: HostFiles::read_all(fleet)?,
            digests,
            ages,
            generated: Generated::read_generated(fleet)?,
            public: public::read_all(fleet)?,
            known,
            trusted,
        })
    }

    /// Refuses another roster than the one that the digests were made under, or none where there was one.
    pub(crate) fn admit_fleet(&self, fleet: &Fleet) -> Result<(), TrustError> {
        let known = self.known.as_ref().filter(|_| self.trusted);
        let Some(pinned) = known.and_then(|(_, known)| known.fleet.as_ref()?.parse().ok()) else {
            return Ok(());
        };
        match fleet.roster().map(Chain::fleet) {
            None => Err(TrustError::Gone { pinned }),
            Some(found) if found != pinned => Err(TrustError::OtherFleet { pinned, found }),
            Some(_) => Ok(()),
        }
    }

    /// Returns the key of the digests in the repository.
    pub(crate) fn old_key(&self) -> Option<&DigestKey> {
        self.known.as_ref().map(|(key, _)| key)
    }

    /// Returns what was recorded of a host.
    pub(crate) fn record(&self, host: &NodeName) -> Option<&HostDigests> {
        self.known.as_ref().and_then(|(_, known)| known.hosts.get(host.as_ref()))
    }

    /// Finds recipients that nobody has vouched for; a master that is yet to be written has no old ones.
    pub(crate) fn new_admins(&self, counted: impl Fn(&NodeName) -> bool) -> Option<NewAdmins> {
        let file = self.master.file.as_ref()?;
        let known = self.known.as_ref().map(|(_, known)| known).filter(|_| self.trusted);
        let labels = file.metadata().recipients().into_iter().map(str::to_owned);
        self.admins.since(known, &labels.collect(), counted)
    }

    /// Tells whether the master names others as its recipients than it is to be sealed to.
    pub(crate) fn master_is_others(&self) -> bool {
        self.master.is_for_others(&self.admins.of_master())
    }

    /// Tells whether the digests vouch for a host's key pair.
    pub(crate) fn vouches_for_key(&self, host: &NodeName, pair: PairFiles<'_>) -> bool {
        let known = self.old_key().zip(self.record(host));
        known.is_some_and(|(digest, record)| {
            record.key.matches(&digest.key(host, pair.private, pair.public))
        })
    }

    /// Tells whether a host's key is being replaced, and the digests vouch for the key that it is to get.
    ///
    /// # Errors
    ///
    /// [`Error::LostNextKey`] when one is on record and gone, [`Error::UnvouchedNextKey`] when there is another,
    /// [`Error::HalfHostKey`].
    pub(crate) fn vouched_next<'f>(
        &self,
        host: &NodeName,
        files: &'f HostFiles,
    ) -> Result<Option<PairFiles<'f>>, Error> {
        let recorded = self.record(host).and_then(|record| record.next.as_ref());
        let Some(pair) = files.next_pair(host)? else {
            return match recorded {
                Some(_) => Err(Error::LostNextKey { host: host.clone() }),
                None => Ok(None),
            };
        };
        let vouched = self.old_key().zip(recorded).is_some_and(|(key, recorded)| {
            recorded.matches(&key.next(host, pair.private, pair.public))
        });
        if vouched { Ok(Some(pair)) } else { Err(Error::UnvouchedNextKey { host: host.clone() }) }
    }

    /// Lists the hosts whose key is being replaced.
    pub(crate) fn rotating(&self) -> Vec<NodeName> {
        let next =
            self.files.iter().filter(|(_, f)| f.next.iter().any(|file| file.bytes.is_some()));
        next.map(|(host, _)| host.clone()).collect()
    }

    /// Finds the hosts with a sealed file whose key pair no digest vouches for; half a pair is another problem.
    pub(crate) fn unvouched_keys(&self) -> Vec<&NodeName> {
        let sealed = self.files.par_iter().filter(|(_, files)| files.sealed.bytes.is_some());
        let unvouched = sealed.filter(|(host, files)| match files.key_pair(host) {
            Ok(Some(pair)) => !self.vouches_for_key(host, pair),
            _ => false,
        });
        unvouched.map(|(host, _)| host).collect()
    }

    /// Tells whether the record of the values' ages is the one that was written last; none may be.
    pub(crate) fn vouches_for_ages(&self) -> bool {
        let Some((key, known)) = &self.known else { return self.ages.bytes.is_none() };
        match (&known.ages, &self.ages.bytes) {
            (None, None) => true,
            (Some(digest), Some(bytes)) => digest.matches(&key.ages(bytes)),
            _ => false,
        }
    }

    /// Tells whether the digests vouch for a host's sealed file.
    pub(crate) fn vouches_for_sealed(&self, host: &NodeName, bytes: &[u8]) -> bool {
        let known = self.old_key().zip(self.record(host).and_then(|r| r.sealed.as_ref()));
        known.is_some_and(|(digest, sealed)| sealed.matches(&digest.sealed(host, bytes)))
    }

    /// Returns how often a host was delivered something signed, as far as the digests vouch for that.
    pub(crate) fn generation(&self, host: &NodeName) -> u64 {
        let known = self.old_key().zip(self.record(host).and_then(|r| r.delivered.as_ref()));
        known.map_or(0, |(key, delivered)| {
            let fine = delivered.digest.matches(&key.generation(host, delivered.number));
            if fine { delivered.number } else { 0 }
        })
    }

    /// Tells whether a host's file is signed as it is; in a fleet that does not sign, whether it is not.
    pub(crate) fn is_signed(&self, host: &NodeName, files: &HostFiles) -> bool {
        let Some(delivery) = &self.delivery else {
            return !files.signature.bytes.as_deref().is_some_and(is_delivery);
        };
        let fresh = |generation| generation >= self.generation(host);
        match delivery.judge(host, files) {
            Some(Ok((_, signed))) => fresh(signed.danger_statement().generation),
            Some(Err(_)) => false,
            None => files.sealed.bytes.is_none() && files.signature.bytes.is_none(),
        }
    }

    /// Tells whether a host gets another key than the one on record.
    ///
    /// The digests of the old one would still vouch for it if somebody brought both back, so the master then gets
    /// another data key, and with it the digests another key.
    pub(crate) fn replaces_keys(
        &self,
        wanted: &BTreeMap<NodeName, SecretTree>,
        accepted: bool,
    ) -> bool {
        self.files.iter().any(|(host, files)| {
            self.record(host).is_some()
                && match files.key_pair(host) {
                    Ok(None) => true,
                    Ok(Some(pair)) => {
                        accepted && wanted.contains_key(host) && !self.vouches_for_key(host, pair)
                    }
                    Err(_) => false,
                }
        })
    }

    /// Tells whether the digests prove that no host's files are to be changed, given the digest of all inputs.
    pub(crate) fn is_current(&self, inputs: impl Fn(&DigestKey) -> Digest) -> bool {
        let Some((key, known)) = &self.known else { return false };
        self.digests.strayed.is_none()
            && self.ages.strayed.is_none()
            && self.vouches_for_ages()
            && self.generated.strayed.is_none()
            && known.inputs.matches(&inputs(key))
            && self.new_admins(|_| false).is_none()
            && self.files.par_iter().all(|(host, files)| self.is_vouched(host, files))
    }

    /// Tells whether the digests vouch for every file of a host, and for their being where they belong.
    fn is_vouched(&self, host: &NodeName, files: &HostFiles) -> bool {
        let Some(record) = self.record(host) else {
            return files.sealed.bytes.is_none() && files.next.iter().all(|f| f.bytes.is_none());
        };
        if !self.is_signed(host, files) {
            return false;
        }
        let strayed = files.all().any(|file| file.strayed.is_some());
        let key_ours = match files.key_pair(host) {
            Ok(Some(pair)) => self.vouches_for_key(host, pair),
            _ => false,
        };
        let sealed_ours = match &files.sealed.bytes {
            None => record.sealed.is_none(),
            Some(bytes) => self.vouches_for_sealed(host, bytes),
        };
        !strayed && key_ours && sealed_ours && self.vouched_next(host, files).is_ok()
    }
}
