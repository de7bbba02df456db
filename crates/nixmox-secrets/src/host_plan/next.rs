//! The key that a host is to get, while its key is being replaced.

use std::borrow::Cow;

use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_topology::NodeName;
use rand_chacha::ChaCha20Rng;

use super::{HostContext, HostPlan, KeyPair, Voucher, Wanted, because, seal_key};
use crate::Error;
use crate::digests::Digest;
use crate::hosts::PairFiles;
use crate::layout::key_comment;
use crate::renewal::KeyStep;
use crate::report::Reason;
use crate::store::Mode;

/// The key pair that a host is to get, within a plan.
pub(super) struct NextPair<'a> {
    pub(super) public: HostPublicKey,
    private_file: Cow<'a, [u8]>,
    public_file: Cow<'a, [u8]>,
    /// Whether the person at the keyboard has just vouched for it: nothing is sealed to it yet.
    pub(super) accepted: bool,
}

impl NextPair<'_> {
    pub(super) fn digest(&self, context: &HostContext<'_>, host: &NodeName) -> Digest {
        context.new_key.next(host, &self.private_file, &self.public_file)
    }
}

/// Plans the key that the host is to get: makes, keeps or drops it; `None` when there is none afterwards.
pub(super) fn plan<'a>(
    context: &HostContext<'_>,
    wanted: &Wanted<'a>,
    plan: &mut HostPlan,
    rng: &mut ChaCha20Rng,
) -> Result<Option<NextPair<'a>>, Error> {
    match context.step(wanted.host) {
        Some(KeyStep::Finish) => return Ok(None),
        Some(KeyStep::Abort) => {
            let there = wanted.files.next.iter().any(|file| file.bytes.is_some());
            let recorded = context.base.record(wanted.host).is_some_and(|r| r.next.is_some());
            if !there && !recorded {
                return Err(Error::NoNextKey { host: wanted.host.clone() });
            }
            because(&mut plan.reasons, Reason::NextKeyDropped);
            drop_files(wanted, plan);
            return Ok(None);
        }
        Some(KeyStep::Replace) => {
            drop_files(wanted, plan);
            return Ok(None);
        }
        Some(KeyStep::Begin) | None => {}
    }
    match (found(context, wanted, plan, rng)?, context.step(wanted.host)) {
        (None, Some(KeyStep::Begin)) => made(context, wanted, plan, rng).map(Some),
        (found, _) => Ok(found),
    }
}

/// Takes the key that the host was to get for the one that it has.
pub(super) fn taken<'a>(
    context: &HostContext<'_>,
    wanted: &Wanted<'a>,
    plan: &mut HostPlan,
) -> Result<KeyPair<'a>, Error> {
    let Some(pair) = context.base.vouched_next(wanted.host, wanted.files)? else {
        return Err(Error::NoNextKey { host: wanted.host.clone() });
    };
    let key = wanted.files.open_next_key(context.identities)?;
    because(&mut plan.reasons, Reason::KeyReplaced);
    let public = &wanted.files.public;
    plan.writes.push((public.path.clone(), pair.public.to_vec(), Mode::Public));
    drop_files(wanted, plan);
    Ok(KeyPair {
        opened: Some(key),
        private_file: Cow::Borrowed(&[]),
        public_file: Cow::Borrowed(pair.public),
        voucher: Voucher::Made,
    })
}

fn drop_files(wanted: &Wanted<'_>, plan: &mut HostPlan) {
    let there = wanted.files.next.iter().filter(|file| file.bytes.is_some());
    plan.removes.extend(there.map(|file| file.place().clone()));
}

fn made<'a>(
    context: &HostContext<'_>,
    wanted: &Wanted<'a>,
    plan: &mut HostPlan,
    rng: &mut ChaCha20Rng,
) -> Result<NextPair<'a>, Error> {
    because(&mut plan.reasons, Reason::NextKeyMade);
    let key = HostKey::generate(rng);
    let line = format!("{}\n", key.public().to_openssh(&key_comment(wanted.host))).into_bytes();
    let [_, public] = &wanted.files.next;
    plan.writes.push((public.path.clone(), line.clone(), Mode::Public));
    sealed(context, wanted, plan, (&key, Cow::Owned(line)), rng)
}

/// Finds the key that the host is to get; it is sealed anew as the host's own would be.
fn found<'a>(
    context: &HostContext<'_>,
    wanted: &Wanted<'a>,
    plan: &mut HostPlan,
    rng: &mut ChaCha20Rng,
) -> Result<Option<NextPair<'a>>, Error> {
    let (pair, accepted) = match context.base.vouched_next(wanted.host, wanted.files) {
        Ok(None) => return Ok(None),
        Ok(Some(pair)) => (pair, false),
        Err(Error::UnvouchedNextKey { .. }) if context.accept_key => {
            match wanted.files.next_pair(wanted.host)? {
                Some(pair) => (pair, true),
                None => return Ok(None),
            }
        }
        Err(error) => return Err(error),
    };
    let PairFiles { private, public } = pair;
    if accepted || context.renews(wanted.host) || context.sealed_to_others(wanted.host, private) {
        let key = wanted.files.open_next_key(context.identities)?;
        if accepted {
            because(&mut plan.reasons, Reason::KeyAccepted);
        }
        let next = sealed(context, wanted, plan, (&key, Cow::Borrowed(public)), rng)?;
        return Ok(Some(NextPair { accepted, ..next }));
    }
    Ok(Some(NextPair {
        public: wanted.files.next_public_key()?,
        private_file: Cow::Borrowed(private),
        public_file: Cow::Borrowed(public),
        accepted: false,
    }))
}

fn sealed<'a>(
    context: &HostContext<'_>,
    wanted: &Wanted<'a>,
    plan: &mut HostPlan,
    (key, public_file): (&HostKey, Cow<'a, [u8]>),
    rng: &mut ChaCha20Rng,
) -> Result<NextPair<'a>, Error> {
    let [file, _] = &wanted.files.next;
    let bytes = seal_key(context, (wanted.host, file), key, rng)?;
    plan.writes.push((file.path.clone(), bytes.clone(), Mode::Public));
    let private_file = Cow::Owned(bytes);
    Ok(NextPair { public: key.public(), private_file, public_file, accepted: false })
}
