//! Changing the roster: the new one is signed, `.sops.yaml` follows it, and everything is sealed to it, in one commit.

use std::path::Path;

use jiff::Timestamp;
use nixmox_signing::{Chain, Roster, SignedRoster, Signer};
use rand_core::{CryptoRng, RngCore};

use super::files::{RosterFiles, beside, former};
use super::{Pinned, TrustError, admit_fleet, rules};
use crate::Error;
use crate::edit::{Options, Outcome, carry_out, open, request};
use crate::fleet::{Fleet, Pending};
use crate::layout::Layout;
use crate::plan::{Plan, check_host_keys};
use crate::store::{Store, sha256};

/// What came of a change of the roster.
#[derive(Debug)]
pub struct Rostered {
    /// What was sealed anew.
    pub outcome: Outcome,
    /// The rosters as they are now.
    pub chain: Chain,
}

/// Changes the roster of the fleet at `root` to what `change` makes of it, under the fleet's lock.
///
/// With `dry` nothing is written, and nothing is signed but the roster itself.
///
/// # Errors
///
/// Any [`Error`] of reading the fleet, of the plan and of the commit; [`TrustError`] when the roster is not trusted,
/// may not be signed with this key, or does not make sense.
pub fn change_roster(
    root: &Path,
    (options, dry): (Options<'_>, bool),
    change: &mut dyn FnMut(&Fleet, &mut Roster) -> Result<(), Error>,
    rng: &mut (impl RngCore + CryptoRng),
    now: Timestamp,
) -> Result<Rostered, Error> {
    let make = &mut |fleet: &Fleet| {
        admit_fleet(fleet, options.accept)?;
        let chain = fleet.roster().ok_or(TrustError::NoRoster)?;
        let mut next = chain.following();
        change(fleet, &mut next)?;
        Ok(Succession { next, before: Some(chain.current().clone()) })
    };
    apply(root, (options, dry), make, rng, now)
}

/// Makes the first roster of the fleet at `root`, as `first` makes it.
///
/// # Errors
///
/// As [`change_roster`], and [`TrustError::HasRoster`].
pub fn start_roster(
    root: &Path,
    (options, dry): (Options<'_>, bool),
    first: &mut dyn FnMut(&Fleet) -> Result<Roster, Error>,
    rng: &mut (impl RngCore + CryptoRng),
    now: Timestamp,
) -> Result<Rostered, Error> {
    let make = &mut |fleet: &Fleet| match fleet.roster() {
        Some(_) => Err(TrustError::HasRoster.into()),
        None => Ok(Succession { next: first(fleet)?, before: None }),
    };
    apply(root, (options, dry), make, rng, now)
}

/// The roster that is to be, and the one that it replaces.
struct Succession {
    next: Roster,
    before: Option<Roster>,
}

fn apply(
    root: &Path,
    (mut options, dry): (Options<'_>, bool),
    make: &mut dyn FnMut(&Fleet) -> Result<Succession, Error>,
    rng: &mut (impl RngCore + CryptoRng),
    now: Timestamp,
) -> Result<Rostered, Error> {
    let store = Store::open(root)?;
    let mut locked = if dry { None } else { Some(store.lock()?) };
    let recovered = locked.as_mut().map(|locked| locked.recover()).transpose()?;
    let (mut fleet, master) = open(root, &options)?;
    let Succession { next: roster, before } = make(&fleet)?;
    let signer = options.signer.ok_or(TrustError::NoSigner)?;
    install(&mut fleet, (&roster, before.as_ref()), signer)?;
    let chain = fleet.roster().ok_or(TrustError::NoRoster)?.clone();
    // The roster that was just made is trusted, and who signs for it may be another one than before.
    options.accept.roster = Pinned::of(&chain);
    let signs = roster.signers().contains_key(signer.public());
    if dry {
        options.signer = None;
    } else if roster.delivery && !signs {
        return Err(TrustError::NotASigner { fingerprint: signer.public().fingerprint() }.into());
    }
    let request = request((&fleet, &master), &master.text, &options, None);
    check_host_keys(request)?;
    let plan = Plan::new(request, rng, now)?;
    let (report, written) = match &mut locked {
        Some(locked) => carry_out(locked, plan)?,
        None => (plan.report().clone(), Vec::new()),
    };
    let recovered = recovered.unwrap_or(crate::store::Recovery::Nothing);
    Ok(Rostered { outcome: Outcome { report: Some(report), written, recovered }, chain })
}

/// Signs a roster and makes the fleet one that has it; the files are left for the plan to write.
fn install(
    fleet: &mut Fleet,
    (roster, before): (&Roster, Option<&Roster>),
    signer: &dyn Signer,
) -> Result<(), Error> {
    roster.validate().map_err(TrustError::Roster)?;
    if !before.unwrap_or(roster).signers().contains_key(signer.public()) {
        return Err(TrustError::NotASigner { fingerprint: signer.public().fingerprint() }.into());
    }
    let signed = SignedRoster::sign(roster, signer).map_err(TrustError::Sign)?;
    let path = fleet.roster.as_ref().map_or(fleet.layout.roster()?, |files| files.path.clone());
    let mut files = fleet.roster().map(|chain| chain.files().to_vec()).unwrap_or_default();
    let old = files.last().cloned();
    files.push(signed.clone());
    let chain =
        Chain::verify(files).map_err(|source| TrustError::Chain { path: path.clone(), source })?;
    if let (Some(old), Some(before)) = (&old, before) {
        let layout = Layout {
            private: path != fleet.layout.public_twin().roster()?,
            ..fleet.layout.clone()
        };
        let kept = former(&layout, before.generation())?;
        let signature = beside(&kept)?;
        fleet.pending.push(Pending { path: kept, base: None, bytes: old.roster.clone() });
        fleet.pending.push(Pending { path: signature, base: None, bytes: old.signature.clone() });
    }
    let base = |bytes: &Vec<u8>| Some(sha256(bytes));
    let (roster_base, signature_base) =
        old.as_ref().map_or((None, None), |old| (base(&old.roster), base(&old.signature)));
    let signature = beside(&path)?;
    fleet.pending.push(Pending { path: signature, base: signature_base, bytes: signed.signature });
    fleet.pending.push(Pending { path: path.clone(), base: roster_base, bytes: signed.roster });
    fleet.roster = Some(RosterFiles { path, chain });
    rules::rewrite(fleet)
}
