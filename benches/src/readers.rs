//! The jobs about who reads what: `access`, and `updatekeys`.

use std::fs;
use std::path::Path;

use jiff::Timestamp;
use nixmox_hostkey::HostKey;
use nixmox_secrets::readers::{Evidence, Opened};
use nixmox_secrets::{Accept, Generation, Options, Outcome, Renewal, renew};
use nixmox_sops::Identities;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use crate::Failure;
use crate::fleet;

/// How many admins a fleet has after [`other_admin`].
pub(crate) const ADMINS: usize = 2;

fn options(identities: &Identities) -> Options<'_> {
    Options {
        identities,
        accept: Accept { admins: true, ..Accept::default() },
        ask_nix: &|_| None,
        real_nix: None,
        interaction: None,
        generation: Generation::default(),
        signer: None,
        fresh: None,
    }
}

/// Tells who reads what, and returns for how many hosts it was proved that their own key opens their file.
pub(crate) fn access(root: &Path, identities: &Identities) -> Result<usize, Failure> {
    let opened = Opened::new(root, &options(identities))?;
    let access = opened.access(identities)?;
    if access.suspicions() > 0 {
        return Err("something is suspicious".into());
    }
    let sealed = access.hosts.values().filter_map(|host| host.sealed.as_ref());
    let proved = |evidence| evidence == Evidence::Proved;
    Ok(sealed.filter(|file| file.readers.iter().all(|reader| proved(reader.evidence))).count())
}

/// Puts another second admin into `.sops.yaml` at every run.
pub(crate) fn other_admin(root: &Path, run: u64) -> Result<(), Failure> {
    let seed = [u8::try_from(run % 200)?; 32];
    let other = HostKey::generate(&mut ChaCha20Rng::from_seed(seed)).public().age_recipient();
    let both = format!("{},{other}", fleet::admin().public().age_recipient());
    fs::write(root.join(".sops.yaml"), format!("creation_rules:\n  - age: {both}\n"))?;
    Ok(())
}

/// Brings everything to the admins of `.sops.yaml`.
pub(crate) fn update_keys(
    root: &Path,
    identities: &Identities,
    run: u64,
) -> Result<Outcome, Failure> {
    let mut rng = ChaCha20Rng::seed_from_u64(run);
    let nothing = Renewal::default();
    Ok(renew(root, options(identities), &nothing, &mut rng, Timestamp::UNIX_EPOCH)?)
}
