//! A host's sealed file: kept as it is, or sealed anew.

use std::borrow::Cow;

use nixmox_signing::Hash;
use nixmox_sops::{
    DataKey, DecryptedFile, Documents, EncryptedFile, Format, Keep, Recipient, SealOptions, seal,
};
use nixmox_tree::SecretTree;
use rand_chacha::ChaCha20Rng;

use super::next::NextPair;
use super::pair::{KeyPair, Voucher};
use super::{HostContext, HostPlan, Wanted, because};
use crate::Error;
use crate::report::{Change, Reason};
use crate::trust::structure;

/// A host's sealed file as it will be.
pub(super) struct Sealed<'a> {
    pub(super) bytes: Cow<'a, [u8]>,
    /// Digest of its values for a signature, when it was sealed anew in a fleet that signs.
    pub(super) structure: Option<Hash>,
}

/// Decides what becomes of the sealed file of a host with secrets, and returns it as it will be.
pub(super) fn sealed<'a>(
    context: &HostContext<'_>,
    (wanted, tree): (&Wanted<'a>, &SecretTree),
    (pair, next): (&KeyPair<'_>, Option<&NextPair<'_>>),
    plan: &mut HostPlan,
    rng: &mut ChaCha20Rng,
) -> Result<Sealed<'a>, Error> {
    let file = &wanted.files.sealed;
    let same_key = pair.voucher == Voucher::Digest;
    let mut keep = None;
    match &file.bytes {
        None => plan.changes(Change::Created, Reason::New),
        // A data key that somebody else chose is never used again: he could read what it will seal.
        Some(bytes) if !context.base.vouches_for_sealed(wanted.host, bytes) => {
            plan.changes(Change::Updated, Reason::NotOurs);
            let parsed = EncryptedFile::parse(bytes, Format::Yaml);
            if parsed.is_ok_and(|parsed| !parsed.audit().is_empty()) {
                because(&mut plan.reasons, Reason::Unsound);
            }
        }
        // Sealed to a key that the host does not have any more; why is said of the key.
        Some(_) if !same_key => plan.change = Some(Change::Updated),
        // Sealed to a key more or less than it shall be; why is said of the keys.
        Some(_) if context.step(wanted.host).is_some() && plan.turns() => {
            plan.change = Some(Change::Updated);
        }
        Some(_) if next.is_some_and(|next| next.accepted) => plan.change = Some(Change::Updated),
        Some(_) if context.new_admins => plan.changes(Change::Updated, Reason::Admins),
        Some(_) if context.renews(wanted.host) => plan.changes(Change::Updated, Reason::Renewed),
        Some(bytes) if context.vouches_for_values(wanted.host, tree) => {
            plan.change = Some(Change::Unchanged);
            return Ok(Sealed { bytes: Cow::Borrowed(bytes), structure: None });
        }
        Some(_) => {
            plan.changes(Change::Updated, Reason::Values);
            keep = Some(open_sealed(context, wanted, pair)?);
        }
    }
    let owners = owners(wanted, pair, next)?;
    let (bytes, structure) = seal_values(context, wanted, (owners, tree), keep.as_ref(), rng)?;
    Ok(Sealed { bytes: Cow::Owned(bytes), structure })
}

pub(super) fn open_sealed(
    context: &HostContext<'_>,
    wanted: &Wanted<'_>,
    pair: &KeyPair<'_>,
) -> Result<DecryptedFile, Error> {
    match &pair.opened {
        Some(key) => wanted.files.open_sealed(key),
        None => wanted.files.open_sealed(&wanted.files.open_key(context.identities)?),
    }
}

/// Returns the recipients of a host's file: its key, and the one that it is to get.
fn owners(
    wanted: &Wanted<'_>,
    pair: &KeyPair<'_>,
    next: Option<&NextPair<'_>>,
) -> Result<Vec<Recipient>, Error> {
    let next = next.map(|next| &next.public);
    let keys = std::iter::once(pair.public(wanted.files)?).chain(next.cloned());
    keys.map(|key| Recipient::parse(&key.age_recipient()))
        .collect::<Result<_, _>>()
        .map_err(|source| Error::Recipient { host: wanted.host.clone(), source })
}

fn seal_values(
    context: &HostContext<'_>,
    wanted: &Wanted<'_>,
    (owners, tree): (Vec<Recipient>, &SecretTree),
    keep: Option<&DecryptedFile>,
    rng: &mut ChaCha20Rng,
) -> Result<(Vec<u8>, Option<Hash>), Error> {
    let mut options = SealOptions::new(owners);
    options.strict = true;
    let documents = Documents::from_tree(tree);
    let fresh = DataKey::generate(rng);
    let (keep, key) = match keep {
        Some(file) => (Keep::Values(file), file.data_key()),
        None => (Keep::Key(&fresh), &fresh),
    };
    let bytes = seal(&documents, (Format::Yaml, &options), keep, rng, context.now)
        .map_err(|source| Error::Seal { path: wanted.files.sealed.path.clone(), source })?;
    let signs = context.base.delivery.is_some();
    Ok((bytes, signs.then(|| structure(key, wanted.host, tree))))
}
