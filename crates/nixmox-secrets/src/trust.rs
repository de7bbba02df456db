//! Whom a fleet with a roster trusts: its admins by signed statements, and what it delivers by signatures.
//!
//! | job | function |
//! |---|---|
//! | read the rosters of a fleet and verify each by the one before | [`read`] |
//! | change the roster, `.sops.yaml` and everything sealed in one commit | [`change_roster`] |
//! | start one | [`start_roster`] |
//! | verify what lies signed beside hosts' files, without any secret key | [`verify_fleet`] |
//! | verify one file on the machine that it is for | [`verify_file`] |
//!
//! A chain of rosters is only as good as the knowledge which chain it must be: that is [`Pinned`], kept by the caller
//! on the admin's machine, or a list of allowed signers that somebody gave.

mod change;
mod deliver;
mod error;
mod files;
mod rules;
mod verify;

pub use change::{Rostered, change_roster, start_roster};
pub use error::TrustError;
pub use verify::{Judged, VerifiedFile, verify_file, verify_fleet};

pub(crate) use deliver::{Beside, Unsigned, generation_of, is_delivery, structure};
pub(crate) use files::{RosterFiles, beside};
pub(crate) use rules::{keep_in_step, strangers};

use std::collections::BTreeSet;
use std::path::Path;

use nixmox_signing::{Chain, FleetId, Hash};
use nixmox_sops::Recipient;
use nixmox_topology::NodeName;

use crate::Error;
use crate::fleet::{Fleet, has_overlay};
use crate::layout::{Arrangement, Layout};
use crate::plan::Accept;
use crate::store::Store;

/// The roster that a machine last saw of a fleet: no older and no other one is accepted there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pinned {
    /// The fleet.
    pub fleet: FleetId,
    /// The roster's generation.
    pub generation: u64,
    /// Its digest.
    pub roster: Hash,
}

impl Pinned {
    /// Pins the current roster of a chain.
    pub fn of(chain: &Chain) -> Option<Self> {
        let generation = chain.current().generation();
        Some(Self { fleet: chain.fleet(), generation, roster: chain.hash(generation)? })
    }
}

/// Reads the rosters of the fleet at `root`, each verified by the one before; `None` when it has none.
///
/// # Errors
///
/// [`TrustError::Chain`] when they do not hold together, [`Error::Store`] when they cannot be read.
pub fn read(root: &Path) -> Result<Option<Chain>, Error> {
    let store = Store::open(root)?;
    let layout = Layout { arrangement: Arrangement::default(), private: has_overlay(&store)? };
    Ok(RosterFiles::read(&store, &layout)?.map(|files| files.chain))
}

/// Refuses a roster that is not known on this machine, and rules in `.sops.yaml` that name others than it does.
pub(crate) fn admit_fleet(fleet: &Fleet, accept: Accept) -> Result<(), Error> {
    let chain = fleet.roster.as_ref().map(|files| &files.chain);
    admit_chain(chain, accept.roster)?;
    match strangers(fleet)? {
        Some((path, strangers)) => Err(TrustError::Rules { path, strangers }.into()),
        None => Ok(()),
    }
}

/// Refuses rosters that do not go on from the one that was pinned.
///
/// # Errors
///
/// [`TrustError`] with how they differ.
pub fn admit(chain: Option<&Chain>, pinned: Pinned) -> Result<(), TrustError> {
    admit_chain(chain, Some(pinned))
}

/// Holds a chain against what was pinned.
pub(crate) fn admit_chain(chain: Option<&Chain>, pinned: Option<Pinned>) -> Result<(), TrustError> {
    match (chain, pinned) {
        (None, None) => Ok(()),
        (None, Some(pinned)) => Err(TrustError::Gone { pinned: pinned.fleet }),
        (Some(chain), None) => Err(TrustError::unpinned(chain)),
        (Some(chain), Some(pinned)) if chain.fleet() != pinned.fleet => {
            Err(TrustError::OtherFleet { pinned: pinned.fleet, found: chain.fleet() })
        }
        (Some(chain), Some(pinned)) => match chain.hash(pinned.generation) {
            None => Err(TrustError::RolledBack {
                seen: pinned.generation,
                found: chain.current().generation(),
            }),
            Some(found) if found != pinned.roster => {
                Err(TrustError::Forked { generation: pinned.generation })
            }
            Some(_) => Ok(()),
        },
    }
}

/// Names a host and every group above it.
pub(crate) fn levels<'a>(fleet: &'a Fleet, host: &'a NodeName) -> BTreeSet<&'a str> {
    let above = fleet.topology.ancestors(host.as_ref()).iter().map(AsRef::as_ref);
    above.chain([host.as_ref()]).collect()
}

/// Reads the recipients that a roster names.
pub(crate) fn parse_recipients(names: &BTreeSet<&str>) -> Result<Vec<Recipient>, TrustError> {
    let parse = |name: &&str| {
        Recipient::parse(name)
            .map_err(|source| TrustError::Recipient { recipient: (*name).to_owned(), source })
    };
    names.iter().map(parse).collect()
}
