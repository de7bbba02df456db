//! The part of a plan that is about declared values.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nixmox_generate::{Records, Why};
use nixmox_signing::Hash;
use nixmox_topology::NodeName;
use nixmox_tree::SecretTree;
use rand_core::{CryptoRng, RngCore};

use super::{Planner, SealedMaster};
use crate::Error;
use crate::base::Base;
use crate::generated::file::{self, Opened, Sealing};
use crate::generated::{Declared, Settled, public};
use crate::store::{Changes, Mode, RelPath, sha256};

/// The tree that is resolved, and where its made values come from.
pub(super) enum Settlement {
    /// Nothing is or was declared.
    Written(SecretTree),
    /// Something is, or was.
    Declared(Box<(Settled, Option<Opened>)>),
}

/// Generated values ready to be written.
#[derive(Default)]
pub(super) struct SealedValues {
    /// The sealed file as it will be; `None` when there is none.
    pub(super) bytes: Option<Vec<u8>>,
    /// Whether those bytes lie where they belong already.
    stays: bool,
    /// The files of public parts as they will be.
    pub(super) public: BTreeMap<RelPath, Vec<u8>>,
}

impl Settlement {
    /// Returns the tree with all values in it.
    pub(super) fn nodes(&self) -> &SecretTree {
        match self {
            Self::Written(nodes) => nodes,
            Self::Declared(declared) => &declared.0.filled,
        }
    }

    /// Returns what was made and dropped.
    pub(super) fn notes(&self) -> BTreeMap<String, Why> {
        match self {
            Self::Written(_) => BTreeMap::new(),
            Self::Declared(declared) => declared.0.notes.clone(),
        }
    }
}

impl Planner<'_> {
    /// Makes what is declared and missing, and puts all made values into the tree.
    pub(super) fn settle(
        &self,
        nodes: SecretTree,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<Settlement, Error> {
        let generation = self.request.generation;
        let declared = Declared::find(&self.request.fleet.topology, nodes)?;
        let found = &self.base.generated;
        let idle = *generation.again == crate::Regenerate::Nothing;
        if declared.declarations.is_empty() && found.bytes.is_none() && idle {
            return Ok(Settlement::Written(declared.nodes));
        }
        let master = self.request.master.file.as_ref().map(nixmox_sops::DecryptedFile::data_key);
        let old = file::open(found, master, self.request.identities)?;
        // A file that somebody else sealed to the admins holds values that he knows.
        if old.as_ref().is_some_and(|old| !old.vouched) && !generation.accept {
            return Err(Error::UnvouchedGenerated { path: found.place().clone() });
        }
        let none = Records::default();
        let records = old.as_ref().map_or(&none, |old| &old.records);
        let settled = declared.settle(records, generation, rng, now)?;
        Ok(Settlement::Declared(Box::new((settled, old))))
    }

    /// Seals the made values beside the master.
    pub(super) fn seal_generated(
        &self,
        settlement: &Settlement,
        master: &SealedMaster,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<SealedValues, Error> {
        let Settlement::Declared(declared) = settlement else {
            return Ok(SealedValues::default());
        };
        let (settled, old) = declared.as_ref();
        let public = settled.public(self.request.fleet)?;
        if settled.records.is_empty() {
            return Ok(SealedValues { public, ..SealedValues::default() });
        }
        let sealing = Sealing {
            found: &self.base.generated,
            old: old.as_ref(),
            master: &master.data_key,
            recipients: &self.base.admins.master,
            interaction: self.request.interaction,
        };
        let sealed = sealing.seal(&settled.records, rng, now)?;
        let stays = sealed.is_none();
        let bytes = sealed.or_else(|| self.base.generated.bytes.clone());
        Ok(SealedValues { bytes, stays, public })
    }
}

impl Planner<'_> {
    /// Digests the public parts of every host that will have some; they are part of what is signed.
    pub(super) fn public_parts(
        &self,
        values: &SealedValues,
    ) -> Result<BTreeMap<NodeName, Hash>, Error> {
        let fleet = self.request.fleet;
        let mut digests = BTreeMap::new();
        for host in fleet.topology.hosts() {
            let path = fleet.layout.public_parts(&fleet.topology.dir(host))?;
            if let Some(bytes) = values.public.get(&path) {
                digests.insert(host.clone(), Hash::of(bytes));
            }
        }
        Ok(digests)
    }
}

impl SealedValues {
    /// Notes the files that are to be written and removed.
    pub(super) fn write(&self, base: &Base<'_>, changes: &mut Changes) -> Result<(), Error> {
        let found = &base.generated;
        changes.expect(found.path.clone(), None);
        changes.expect(found.place().clone(), found.base());
        let leaves = |stays: bool| !stays || self.bytes.is_none();
        if found.bytes.is_some()
            && leaves(self.stays)
            && (found.strayed.is_some() || self.bytes.is_none())
        {
            changes.remove(found.place().clone());
        }
        if let (Some(bytes), false) = (&self.bytes, self.stays) {
            changes.write(found.path.clone(), bytes.clone(), Mode::Public);
        }
        for (path, bytes) in &self.public {
            let old = base.public.get(path);
            match old {
                Some(old) if old == bytes => continue,
                Some(old) if !public::is_ours(old) => {
                    return Err(Error::InTheWay { path: path.clone() });
                }
                _ => {}
            }
            changes.expect(path.clone(), old.map(|old| sha256(old)));
            changes.write(path.clone(), bytes.clone(), Mode::Public);
        }
        for (path, old) in base.public.iter().filter(|(_, old)| public::is_ours(old)) {
            if !self.public.contains_key(path) {
                changes.expect(path.clone(), Some(sha256(old)));
                changes.remove(path.clone());
            }
        }
        Ok(())
    }
}
