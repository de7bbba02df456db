//! Verifying what lies signed in a repository or on a machine, without any secret key.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_signing::{
    AllowedSigners, Chain, DELIVERY, Delivered, DeliveryError, FleetId, Hash, ROSTER,
    SignedDelivery,
};
use nixmox_topology::NodeName;
use rayon::prelude::*;

use super::deliver::labels;
use super::{Beside, Pinned, TrustError, admit_chain};
use crate::Error;
use crate::fleet::Fleet;
use crate::hosts::HostFiles;
use crate::store::RelPath;

/// A statement that was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedFile {
    /// The fleet.
    pub fleet: FleetId,
    /// Who signed.
    pub signer: String,
    /// Its generation.
    pub generation: u64,
    /// The digest of the statement.
    pub statement: Hash,
}

/// What came of verifying a fleet.
#[derive(Debug)]
pub struct Judged {
    /// The fleet's rosters.
    pub chain: Chain,
    /// Each host with a sealed file: its path, and what its signature says.
    pub files: BTreeMap<NodeName, (RelPath, Result<VerifiedFile, DeliveryError>)>,
}

/// Verifies the rosters of a fleet and the signature beside every host's sealed file.
///
/// The rosters are held against the list of signers when one is given, and else against what was pinned.
///
/// # Errors
///
/// [`TrustError`] when the rosters are not trusted, [`TrustError::NoRoster`] when there are none; any [`Error`] of
/// reading the fleet.
pub fn verify_fleet(
    fleet: &Fleet,
    allowed: Option<&AllowedSigners>,
    pinned: Option<Pinned>,
) -> Result<Judged, Error> {
    let chain = fleet.roster().ok_or(TrustError::NoRoster)?;
    match allowed {
        Some(allowed) => {
            let keys = allowed.keys(ROSTER).map_err(TrustError::Allowed)?;
            if !chain.is_signed_by(&keys) {
                return Err(TrustError::NotTheirs.into());
            }
        }
        None => admit_chain(Some(chain), pinned)?,
    }
    let Some(beside) = Beside::of(fleet)? else {
        return Ok(Judged { chain: chain.clone(), files: BTreeMap::new() });
    };
    let files = HostFiles::read_all(fleet)?;
    let sealed = files.par_iter().filter(|(_, files)| files.sealed.bytes.is_some());
    let judged = sealed.map(|(host, files)| {
        let found = judge(&beside, host, files);
        (host.clone(), (files.sealed.place().clone(), found))
    });
    let judged: Vec<_> = judged.collect();
    Ok(Judged { chain: chain.clone(), files: judged.into_iter().collect() })
}

fn judge(
    beside: &Beside,
    host: &NodeName,
    files: &HostFiles,
) -> Result<VerifiedFile, DeliveryError> {
    let missing = DeliveryError::Malformed("there is none");
    let (signer, signed) = beside.judge(host, files).ok_or(missing)??;
    // The statement says whom the file is sealed to; the key beside it says who the host is.
    // While its key is being replaced there are two.
    let keys = [files.public_key().ok(), files.next_public_key().ok()].into_iter().flatten();
    let own: BTreeSet<String> = keys.map(|key| key.age_recipient()).collect();
    let statement = signed.danger_statement();
    if statement.recipients.is_empty() || !statement.recipients.is_subset(&own) {
        return Err(DeliveryError::Recipients);
    }
    Ok(VerifiedFile {
        fleet: statement.fleet,
        signer,
        generation: statement.generation,
        statement: signed.hash(),
    })
}

/// Verifies one file as the machine does that it is for: against given signers, and what it saw before.
///
/// # Errors
///
/// [`DeliveryError`] with what does not fit, [`TrustError::Allowed`] when nobody may sign.
pub fn verify_file(
    delivered: &Delivered<'_>,
    signature: &[u8],
    allowed: &AllowedSigners,
    seen: Option<&VerifiedFile>,
) -> Result<VerifiedFile, Error> {
    let signers = allowed.keys(DELIVERY).map_err(TrustError::Allowed)?;
    let verify = || {
        let signed = SignedDelivery::parse(signature)?;
        let (signer, statement) = signed.verify(delivered, &signers, &BTreeMap::new())?;
        if labels(delivered.file).as_ref() != Some(&statement.recipients) {
            return Err(DeliveryError::Recipients);
        }
        let found = VerifiedFile {
            fleet: statement.fleet,
            signer: signer.to_owned(),
            generation: statement.generation,
            statement: signed.hash(),
        };
        match seen {
            Some(seen) => found.after(seen),
            None => Ok(found),
        }
    };
    verify().map_err(|source| Error::Delivery { host: delivered.host.to_owned(), source })
}

impl VerifiedFile {
    /// Refuses it when it is older than what was seen, or another one of the same age.
    ///
    /// # Errors
    ///
    /// [`DeliveryError::Fleet`], [`DeliveryError::RolledBack`] and [`DeliveryError::Forked`].
    pub fn after(self, seen: &Self) -> Result<Self, DeliveryError> {
        let generation = self.generation;
        if self.fleet != seen.fleet {
            return Err(DeliveryError::Fleet { found: self.fleet });
        }
        if generation < seen.generation {
            return Err(DeliveryError::RolledBack { found: generation, seen: seen.generation });
        }
        if generation == seen.generation && self.statement != seen.statement {
            return Err(DeliveryError::Forked { generation });
        }
        Ok(self)
    }
}
