//! Signatures beside hosts' sealed files: judging those that are there, and stating what is to be signed.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_signing::{
    Delivered, Delivery, DeliveryError, FleetId, Hash, PublicKey, SignedDelivery, Signer,
};
use nixmox_sops::{DataKey, EncryptedFile, Format};
use nixmox_topology::NodeName;
use nixmox_tree::SecretTree;

use super::TrustError;
use crate::Error;
use crate::digests::DigestKey;
use crate::fleet::Fleet;
use crate::generated::public;
use crate::hosts::HostFiles;
use crate::store::RelPath;

/// Who signs what hosts are delivered, in a fleet that signs it.
#[derive(Debug)]
pub(crate) struct Beside {
    pub(crate) fleet: FleetId,
    signers: BTreeMap<PublicKey, String>,
    former: BTreeMap<PublicKey, String>,
    /// Digests of the public parts that lie beside hosts' files.
    public: BTreeMap<NodeName, Hash>,
}

/// A statement that is yet to be signed, and where the signature goes.
pub(crate) struct Unsigned {
    path: RelPath,
    statement: Delivery,
}

/// Digests the values of a host under a key that only those have who can open its file.
pub(crate) fn structure(data_key: &DataKey, host: &NodeName, tree: &SecretTree) -> Hash {
    Hash::from_bytes(DigestKey::of_structure(data_key).structure(host, tree))
}

impl Beside {
    /// Gathers who signs, and what lies in the clear beside hosts' files; `None` when the fleet does not sign.
    pub(crate) fn of(fleet: &Fleet) -> Result<Option<Self>, Error> {
        let Some(chain) = fleet.roster().filter(|chain| chain.current().delivery) else {
            return Ok(None);
        };
        let found = public::read_all(fleet)?;
        let mut parts = BTreeMap::new();
        for host in fleet.topology.hosts() {
            let path = fleet.layout.public_parts(&fleet.topology.dir(host))?;
            // A file of the user's own is none of ours; one that was put in the place of ours is then missing.
            if let Some(bytes) = found.get(&path).filter(|bytes| public::is_ours(bytes)) {
                parts.insert(host.clone(), Hash::of(bytes));
            }
        }
        Ok(Some(Self {
            fleet: chain.fleet(),
            signers: chain.current().signers(),
            former: chain.former_signers(),
            public: parts,
        }))
    }

    /// Returns the digest of the public parts that lie beside a host's file.
    pub(crate) fn public(&self, host: &NodeName) -> Option<Hash> {
        self.public.get(host).copied()
    }

    /// Judges the signature beside a host's sealed file: the signer's name and the statement, or what is wrong.
    ///
    /// `None` when there is no signature, or no file.
    pub(crate) fn judge(
        &self,
        host: &NodeName,
        files: &HostFiles,
    ) -> Option<Result<(String, SignedDelivery), DeliveryError>> {
        let bytes = files.sealed.bytes.as_deref()?;
        let signature = files.signature.bytes.as_deref()?;
        Some(self.judge_bytes(host, files.sealed.place(), (bytes, signature)))
    }

    fn judge_bytes(
        &self,
        host: &NodeName,
        path: &RelPath,
        (file, signature): (&[u8], &[u8]),
    ) -> Result<(String, SignedDelivery), DeliveryError> {
        let signed = SignedDelivery::parse(signature)?;
        let delivered = Delivered {
            fleet: Some(self.fleet),
            host: host.as_ref(),
            path: Some(path.as_str()),
            file,
        };
        let (name, statement) = signed.verify(&delivered, &self.signers, &self.former)?;
        if labels(file) != Some(statement.recipients.clone()) {
            return Err(DeliveryError::Recipients);
        }
        if self.public(host) != statement.public {
            return Err(DeliveryError::Public);
        }
        Ok((name.to_owned(), signed.clone()))
    }

    /// Finds the last statement for a host that an admin signed, one who left included: the next one follows it.
    fn last(&self, host: &NodeName, files: &HostFiles) -> Option<SignedDelivery> {
        let signed = SignedDelivery::parse(files.signature.bytes.as_deref()?).ok()?;
        let mut all = self.signers.clone();
        all.extend(self.former.clone());
        let delivered =
            Delivered { fleet: Some(self.fleet), host: host.as_ref(), path: None, file: &[] };
        match signed.verify(&delivered, &all, &BTreeMap::new()) {
            // Which file it was about does not matter here.
            Ok(_) | Err(DeliveryError::Content { .. }) => Some(signed),
            Err(_) => None,
        }
    }

    /// States what a host is delivered; `floor` is the generation on record.
    pub(crate) fn state(
        &self,
        (host, files): (&NodeName, &HostFiles),
        (file, structure, public): (&[u8], Hash, Option<Hash>),
        floor: u64,
    ) -> Result<Unsigned, Error> {
        let last = self.last(host, files);
        let before = last.as_ref().map_or(0, |last| last.danger_statement().generation);
        let path = files.signature.path.clone();
        let exhausted = || TrustError::Generation { path: path.clone() };
        let generation = before.max(floor).checked_add(1).ok_or_else(exhausted)?;
        let names = (self.fleet, host.as_ref(), files.sealed.path.as_str());
        let recipients = labels(file).unwrap_or_default();
        let mut statement = Delivery::new(names, file, (recipients, structure));
        statement.public = public;
        statement.generation = generation;
        statement.previous = last.map(|last| last.hash());
        Ok(Unsigned { path, statement })
    }

    /// Refuses a signer whose signatures nobody would accept.
    pub(crate) fn accept_signer(&self, signer: &dyn Signer) -> Result<(), TrustError> {
        if self.signers.contains_key(signer.public()) {
            return Ok(());
        }
        Err(TrustError::NotASigner { fingerprint: signer.public().fingerprint() })
    }
}

impl Unsigned {
    pub(crate) fn generation(&self) -> u64 {
        self.statement.generation
    }

    /// Signs the statement, and returns the file to write.
    pub(crate) fn sign(self, signer: &dyn Signer) -> Result<(RelPath, Vec<u8>), TrustError> {
        let signed = self.statement.sign(signer).map_err(TrustError::Sign)?;
        Ok((self.path, signed.to_bytes()))
    }
}

/// Returns the generation that the signature beside a host's file states, whoever made it.
pub(crate) fn generation_of(files: &HostFiles) -> Option<u64> {
    let signed = SignedDelivery::parse(files.signature.bytes.as_deref()?).ok()?;
    Some(signed.danger_statement().generation)
}

/// Tells whether a file is one of ours: others may keep signatures of their own under that name.
pub(crate) fn is_delivery(bytes: &[u8]) -> bool {
    SignedDelivery::parse(bytes).is_ok()
}

/// Names the recipients of a sealed file as its stanzas are labelled.
pub(super) fn labels(bytes: &[u8]) -> Option<BTreeSet<String>> {
    let file = EncryptedFile::parse(bytes, Format::Yaml).ok()?;
    Some(file.recipients().into_iter().map(str::to_owned).collect())
}
