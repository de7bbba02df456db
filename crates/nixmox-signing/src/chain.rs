//! All rosters of a fleet from the first on, each signed by an admin of the one before.

use std::collections::BTreeMap;

use crate::{
    ChainError, FleetId, Hash, PublicKey, ROSTER, Roster, SignFailed, Signature, SignatureError,
    Signer,
};

/// A roster as it lies in two files: its text, and the signature of that text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRoster {
    /// The roster in its canonical form.
    pub roster: Vec<u8>,
    /// The armored signature.
    pub signature: Vec<u8>,
}

impl SignedRoster {
    /// Signs a roster.
    ///
    /// # Errors
    ///
    /// [`SignFailed`].
    pub fn sign(roster: &Roster, signer: &dyn Signer) -> Result<Self, SignFailed> {
        let bytes = roster.to_bytes();
        let signature = signer.sign(ROSTER, &bytes)?.to_string().into_bytes();
        Ok(Self { roster: bytes, signature })
    }
}

/// The rosters of a fleet, verified from the first to the current one.
#[derive(Debug, Clone)]
pub struct Chain {
    fleet: FleetId,
    files: Vec<SignedRoster>,
    rosters: Vec<Roster>,
    /// Who signed each.
    signed_by: Vec<PublicKey>,
    current: Roster,
}

impl Chain {
    /// Reads and verifies rosters, from the first to the current one.
    ///
    /// # Errors
    ///
    /// [`ChainError`] with the generation that is wrong.
    pub fn verify(files: Vec<SignedRoster>) -> Result<Self, ChainError> {
        let missing = ChainError::Missing { generation: 1 };
        let (first, later) = files.split_first().ok_or(missing)?;
        let fleet = FleetId::of(&first.roster);
        let roster = read(first, 1)?;
        let mut signed_by = vec![signer(first, &roster, 1)?];
        let mut rosters = vec![roster.clone()];
        let (mut before, mut current) = (first, roster);
        for (file, generation) in later.iter().zip(2..) {
            let roster = read(file, generation)?;
            let follows = roster.fleet == Some(fleet)
                && roster.generation == generation
                && roster.previous == Some(Hash::of(&before.roster));
            if !follows {
                return Err(ChainError::Broken { generation });
            }
            signed_by.push(signer(file, &current, generation)?);
            rosters.push(roster.clone());
            (before, current) = (file, roster);
        }
        Ok(Self { fleet, rosters, signed_by, current, files })
    }

    /// Returns the fleet's id.
    pub fn fleet(&self) -> FleetId {
        self.fleet
    }

    /// Returns the current roster.
    pub fn current(&self) -> &Roster {
        &self.current
    }

    /// Returns the files of all rosters, from the first on.
    pub fn files(&self) -> &[SignedRoster] {
        &self.files
    }

    /// Returns the digest of the roster of a generation.
    pub fn hash(&self, generation: u64) -> Option<Hash> {
        let at = usize::try_from(generation.checked_sub(1)?).ok()?;
        self.files.get(at).map(|file| Hash::of(&file.roster))
    }

    /// Makes the roster that follows the current one, with nothing changed yet.
    pub fn following(&self) -> Roster {
        let bytes = self.files.last().map(|file| file.roster.as_slice()).unwrap_or_default();
        self.current.following(self.fleet, bytes)
    }

    /// Tells whether one of some keys signed any of the rosters: then their owner stands for the chain up to it, and
    /// those who came later were named by admins.
    pub fn is_signed_by(&self, keys: &BTreeMap<PublicKey, String>) -> bool {
        self.signed_by.iter().any(|key| keys.contains_key(key))
    }

    /// Returns the name of who signed the current roster, as the one before knows him.
    pub fn signed_by(&self) -> Option<String> {
        let key = self.signed_by.last()?;
        let before = self.rosters.iter().rev().nth(1).unwrap_or(&self.current);
        before.signers().get(key).cloned()
    }

    /// Returns the keys of admins who could sign once and cannot any more.
    pub fn former_signers(&self) -> BTreeMap<PublicKey, String> {
        let now = self.current.signers();
        let all = self.rosters.iter().flat_map(Roster::signers);
        all.filter(|(key, _)| !now.contains_key(key)).collect()
    }
}

fn read(file: &SignedRoster, generation: u64) -> Result<Roster, ChainError> {
    let roster =
        Roster::parse(&file.roster).map_err(|source| ChainError::Roster { generation, source })?;
    // Only the first has generation 1, and only in its place.
    if (generation == 1) != (roster.generation == 1) {
        return Err(ChainError::Broken { generation });
    }
    Ok(roster)
}

/// Finds out which of a roster's signers signed a file.
fn signer(file: &SignedRoster, by: &Roster, generation: u64) -> Result<PublicKey, ChainError> {
    let fail = |source| ChainError::Signature { generation, source };
    let signature = Signature::parse(&file.signature).map_err(fail)?;
    let key = signature.key().map_err(|_| fail(SignatureError::Key))?;
    if !by.signers().contains_key(&key) {
        return Err(ChainError::Stranger { generation, fingerprint: key.fingerprint() });
    }
    signature.verify(&key, ROSTER, &file.roster).map_err(fail)?;
    Ok(key)
}
