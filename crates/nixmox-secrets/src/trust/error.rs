//! Why a roster or a signature is not trusted, or cannot be made.

use nixmox_signing::{AllowedError, Chain, ChainError, FleetId, RosterError, SignFailed};
use nixmox_sops::RecipientError;
use thiserror::Error;

use crate::store::RelPath;

/// Why a roster or a signature is not trusted, or cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrustError {
    /// The rosters do not hold together.
    #[error("the roster at {path} is not accepted")]
    Chain {
        /// The current roster.
        path: RelPath,
        /// What is wrong with it or with one before it.
        source: ChainError,
    },
    /// The roster was never accepted on this machine.
    #[error("the roster of this fleet was never accepted on this machine")]
    Unpinned {
        /// The fleet.
        fleet: FleetId,
        /// Each signer's name and fingerprint.
        signers: Vec<(String, String)>,
    },
    /// The fleet had a roster, and has none.
    #[error("this fleet had a roster, and it is gone")]
    Gone {
        /// The fleet that this machine knows.
        pinned: FleetId,
    },
    /// The roster is that of another fleet than the one that this machine knows here.
    #[error("the roster here is that of another fleet: {found}")]
    OtherFleet {
        /// The fleet that this machine knows.
        pinned: FleetId,
        /// The one that is here.
        found: FleetId,
    },
    /// An older roster lies where a newer one was.
    #[error("the roster is generation {found}, and this machine has seen generation {seen}")]
    RolledBack {
        /// What was seen.
        seen: u64,
        /// What is there.
        found: u64,
    },
    /// Another roster lies where one was seen.
    #[error("roster {generation} is another one than this machine has seen")]
    Forked {
        /// Which.
        generation: u64,
    },
    /// None of the given signers has signed any roster of the fleet.
    #[error("none of the given signers has signed a roster of this fleet")]
    NotTheirs,
    /// The given list of signers cannot be used.
    #[error("the list of signers cannot be used")]
    Allowed(#[source] AllowedError),
    /// `.sops.yaml` names recipients that the roster does not.
    #[error("{path} names recipients that the roster does not")]
    Rules {
        /// The file.
        path: RelPath,
        /// The recipients.
        strangers: Vec<String>,
    },
    /// `.sops.yaml` is written in a way in which it cannot be kept in step.
    #[error("{path} cannot be kept in step with the roster")]
    UnwritableRules {
        /// The file.
        path: RelPath,
    },
    /// A recipient of the roster is none.
    #[error("the roster names `{recipient}`, which cannot be used")]
    Recipient {
        /// The recipient.
        recipient: String,
        /// Why.
        source: RecipientError,
    },
    /// The fleet has no roster.
    #[error("this fleet has no roster")]
    NoRoster,
    /// The fleet has a roster already.
    #[error("this fleet has a roster already")]
    HasRoster,
    /// The change makes a roster that makes no sense.
    #[error("this cannot become the roster")]
    Roster(#[source] RosterError),
    /// Something has to be signed, and there is no key to sign with.
    #[error("this has to be signed, and there is no key to sign with")]
    NoSigner,
    /// The key that would sign is none of the roster's.
    #[error("the key {fingerprint} may not sign here")]
    NotASigner {
        /// The key's fingerprint.
        fingerprint: String,
    },
    /// No signature was made.
    #[error("no signature was made")]
    Sign(#[source] SignFailed),
    /// A host's file was delivered so often that no generation is left: somebody made the number up.
    #[error("the generation of {path} cannot grow any more")]
    Generation {
        /// The signature file.
        path: RelPath,
    },
}

impl TrustError {
    /// Says of a chain that it was never accepted, and who signs in it.
    pub fn unpinned(chain: &Chain) -> Self {
        let signers = chain.current().signers();
        let signers = signers.into_iter().map(|(key, name)| (name, key.fingerprint())).collect();
        Self::Unpinned { fleet: chain.fleet(), signers }
    }
}
