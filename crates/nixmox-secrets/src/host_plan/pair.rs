//! A host's key pair: found and judged, or made, and sealed to the right admins.

use std::borrow::Cow;

use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_sops::{Documents, Format, Keep, SealOptions, seal};
use nixmox_topology::NodeName;
use nixmox_tree::SecretBytes;
use rand_chacha::ChaCha20Rng;

use super::{HostContext, HostPlan, Wanted, because, next};
use crate::Error;
use crate::hosts::{Generated, HostFiles, PairFiles};
use crate::layout::key_comment;
use crate::renewal::KeyStep;
use crate::report::Reason;

/// A host's key pair within a plan.
pub(super) struct KeyPair<'a> {
    /// The private key, when it had to be opened or was made.
    pub(super) opened: Option<HostKey>,
    pub(super) private_file: Cow<'a, [u8]>,
    pub(super) public_file: Cow<'a, [u8]>,
    /// Who vouches for it.
    pub(super) voucher: Voucher,
}

/// Who vouches for a host's key pair.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Voucher {
    /// It was made just now.
    Made,
    /// The recorded digest: it is the pair that the host had when it was last sealed to.
    Digest,
    /// The person at the keyboard.
    Person,
    /// Nobody.
    Nobody,
}

impl KeyPair<'_> {
    /// Returns the public key; it is read only where it is used, because proving it sound takes a while.
    pub(super) fn public(&self, files: &HostFiles) -> Result<HostPublicKey, Error> {
        self.opened.as_ref().map_or_else(|| files.public_key(), |key| Ok(key.public()))
    }
}

/// Finds the host's key pair, makes it when the host has none and needs one, and seals it to the right admins.
pub(super) fn key_pair<'a>(
    context: &HostContext<'_>,
    wanted: &Wanted<'a>,
    plan: &mut HostPlan,
    rng: &mut ChaCha20Rng,
) -> Result<Option<KeyPair<'a>>, Error> {
    let step = context.step(wanted.host);
    let files = match step {
        // The old pair may be anything: nothing is sealed to it any more.
        Some(KeyStep::Replace) => None,
        _ => wanted.files.key_pair(wanted.host)?,
    };
    let mut pair = match files {
        None if step.is_some_and(|step| step != KeyStep::Replace) => {
            return Err(Error::NoHostKey { host: wanted.host.clone() });
        }
        _ if step == Some(KeyStep::Finish) => next::taken(context, wanted, plan)?,
        None if step == Some(KeyStep::Replace) => made_pair(wanted, plan, rng),
        None if wanted.tree.is_none() => return Ok(None),
        None => made_pair(wanted, plan, rng),
        Some(files) => found_pair(context, wanted, files, plan)?,
    };
    let Some(key) = &pair.opened else { return Ok(Some(pair)) };
    pair.private_file = Cow::Owned(seal_key(context, (wanted.host, &wanted.files.key), key, rng)?);
    Ok(Some(pair))
}

/// Makes a key pair; its private file is yet to be sealed.
fn made_pair<'a>(wanted: &Wanted<'_>, plan: &mut HostPlan, rng: &mut ChaCha20Rng) -> KeyPair<'a> {
    let key = HostKey::generate(rng);
    let line = format!("{}\n", key.public().to_openssh(&key_comment(wanted.host))).into_bytes();
    because(&mut plan.reasons, Reason::KeyMade);
    KeyPair {
        opened: Some(key),
        private_file: Cow::Borrowed(&[]),
        public_file: Cow::Owned(line),
        voucher: Voucher::Made,
    }
}

/// Judges the pair in the repository, and opens it when it must be sealed anew.
///
/// One that was accepted always is: only then are its recipients known to be those that it names.
fn found_pair<'a>(
    context: &HostContext<'_>,
    wanted: &Wanted<'a>,
    files: PairFiles<'a>,
    plan: &mut HostPlan,
) -> Result<KeyPair<'a>, Error> {
    let voucher = match context.base.vouches_for_key(wanted.host, files) {
        true => Voucher::Digest,
        false if context.accept_key && wanted.tree.is_some() => Voucher::Person,
        false => Voucher::Nobody,
    };
    let reason = match voucher {
        Voucher::Person => Some(Reason::KeyAccepted),
        Voucher::Digest if context.sealed_to_others(wanted.host, files.private) => {
            Some(Reason::Admins)
        }
        Voucher::Digest if context.renews(wanted.host) => Some(Reason::Renewed),
        _ => None,
    };
    let opened = match reason {
        Some(reason) => {
            because(&mut plan.reasons, reason);
            Some(wanted.files.open_key(context.identities)?)
        }
        None => None,
    };
    Ok(KeyPair {
        opened,
        private_file: Cow::Borrowed(files.private),
        public_file: Cow::Borrowed(files.public),
        voucher,
    })
}

pub(super) fn seal_key(
    context: &HostContext<'_>,
    (host, file): (&NodeName, &Generated),
    key: &HostKey,
    rng: &mut ChaCha20Rng,
) -> Result<Vec<u8>, Error> {
    let path = || file.path.clone();
    let recipients = context.base.admins.of_key(host);
    if recipients.is_empty() {
        return Err(Error::NoRecipients { path: path() });
    }
    let text = key.to_openssh(&key_comment(host));
    let documents = Documents::binary(SecretBytes::from(&text));
    let mut options = SealOptions::new(recipients.iter().cloned());
    options.interaction = context.interaction.cloned();
    seal(&documents, (Format::Binary, &options), Keep::Nothing, rng, context.now)
        .map_err(|source| Error::Seal { path: path(), source })
}
