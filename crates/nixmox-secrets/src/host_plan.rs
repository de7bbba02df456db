//! The plan of one host: its key pair, its sealed file, and their digests.

mod next;
mod pair;
mod sealed;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use nixmox_signing::Hash;
use nixmox_sops::{EncryptedFile, Format, Identities, Interaction, Recipient, is_sops};
use nixmox_topology::NodeName;
use nixmox_tree::SecretTree;
use rand_chacha::ChaCha20Rng;

use crate::Error;
use crate::base::Base;
use crate::digests::{DigestKey, HostDigests, Sent};
use crate::hosts::HostFiles;
use crate::renewal::{KeyStep, Renewal};
use crate::report::{Change, HostReport, Reason};
use crate::store::{Mode, RelPath};
use crate::trust::{Unsigned, generation_of, is_delivery, structure};
use pair::{KeyPair, Voucher, key_pair, seal_key};
use sealed::{Sealed, open_sealed, sealed};

/// What the plan of any host needs to know of the fleet.
pub(crate) struct HostContext<'a> {
    pub(crate) base: &'a Base<'a>,
    pub(crate) identities: &'a Identities,
    pub(crate) interaction: Option<&'a Interaction>,
    /// The key of the digests to record.
    pub(crate) new_key: &'a DigestKey,
    /// Whether the keys of hosts with secrets were vouched for as they lie in the repository.
    pub(crate) accept_key: bool,
    /// Whether everything that admins can open gets new data keys.
    pub(crate) new_admins: bool,
    /// What gets new data keys because somebody asked for it.
    pub(crate) renewal: Option<&'a Renewal>,
    /// The public parts of generated values as they will lie beside each host's file, digested.
    pub(crate) public: &'a BTreeMap<NodeName, Hash>,
    pub(crate) now: Timestamp,
}

/// What a host shall have, and what it has.
pub(crate) struct Wanted<'a> {
    pub(crate) host: &'a NodeName,
    /// The values that it shall have; `None` when the secrets do not count it.
    pub(crate) tree: Option<&'a SecretTree>,
    pub(crate) files: &'a HostFiles,
}

/// Everything that a commit writes for one host.
pub(crate) struct HostPlan {
    pub(crate) host: NodeName,
    pub(crate) digests: HostDigests,
    pub(crate) writes: Vec<(RelPath, Vec<u8>, Mode)>,
    pub(crate) removes: Vec<RelPath>,
    pub(crate) expect: Vec<(RelPath, Option<[u8; 32]>)>,
    /// What becomes of the sealed file; `None` when there is none.
    pub(crate) change: Option<Change>,
    pub(crate) reasons: Vec<Reason>,
    /// What is yet to be signed.
    pub(crate) unsigned: Option<Unsigned>,
    /// Whether the digests or the person at the keyboard vouch for the key: only then is anything sealed to it.
    pub(crate) vouched: bool,
    /// Whether the secrets count the host.
    pub(crate) counted: bool,
    /// Of the public key, when nobody vouches for it.
    pub(crate) fingerprint: String,
}

impl HostPlan {
    /// Plans one host; `None` when it neither has nor shall have any file.
    pub(crate) fn new(
        context: &HostContext<'_>,
        wanted: &Wanted<'_>,
        mut rng: ChaCha20Rng,
    ) -> Result<Option<Self>, Error> {
        let mut plan = Self::nothing(wanted);
        for file in wanted.files.all().chain([&wanted.files.signature]) {
            if file.strayed.is_some() {
                plan.expect.push((file.path.clone(), None));
            }
            plan.expect.push((file.place().clone(), file.base()));
        }
        if wanted.tree.is_none() {
            plan.drop_sealed(context, wanted);
        }
        let Some(pair) = key_pair(context, wanted, &mut plan, &mut rng)? else {
            return Ok(plan.change.is_some().then_some(plan));
        };
        plan.vouched = pair.voucher != Voucher::Nobody;
        if plan.counted && !plan.vouched {
            plan.fingerprint = pair.public(wanted.files)?.fingerprint();
            // The whole run stops at this host: nothing is sealed to its key, not even in memory.
            return Ok(Some(plan));
        }
        let next = next::plan(context, wanted, &mut plan, &mut rng)?;
        let keys = (&pair, next.as_ref());
        let sealed = match wanted.tree {
            Some(tree) => Some(sealed(context, (wanted, tree), keys, &mut plan, &mut rng)?),
            None => None,
        };
        let delivered = match (&sealed, wanted.tree) {
            (Some(sealed), Some(tree)) => plan.deliver(context, (wanted, tree), &pair, sealed)?,
            _ => None,
        };
        if delivered.is_none() {
            plan.drop_signature(wanted.files);
        }
        // A fleet that stops signing for a while goes on counting where it was.
        let number = delivered.unwrap_or_else(|| context.base.generation(wanted.host));
        let sealed = sealed.map(|sealed| sealed.bytes);
        plan.digests = HostDigests {
            next: next.as_ref().map(|next| next.digest(context, wanted.host)),
            key: context.new_key.key(wanted.host, &pair.private_file, &pair.public_file),
            admins: context.base.admins.apart(wanted.host),
            values: wanted.tree.map(|tree| context.new_key.values(wanted.host, tree)),
            sealed: sealed.as_ref().map(|bytes| context.new_key.sealed(wanted.host, bytes)),
            delivered: (number > 0)
                .then(|| Sent { digest: context.new_key.generation(wanted.host, number), number }),
        };
        let HostFiles { sealed: place, key, public, .. } = wanted.files;
        let made =
            [(key, Some(pair.private_file)), (public, Some(pair.public_file)), (place, sealed)];
        for (file, bytes) in made {
            // What is borrowed lies in the repository already.
            if let Some(Cow::Owned(bytes)) = bytes {
                plan.writes.push((file.path.clone(), bytes, Mode::Public));
            }
        }
        plan.move_strayed(wanted.files);
        Ok(Some(plan))
    }

    fn nothing(wanted: &Wanted<'_>) -> Self {
        Self {
            host: wanted.host.clone(),
            digests: HostDigests::default(),
            writes: Vec::new(),
            removes: Vec::new(),
            expect: Vec::new(),
            change: None,
            reasons: Vec::new(),
            unsigned: None,
            vouched: false,
            counted: wanted.tree.is_some(),
            fingerprint: String::new(),
        }
    }

    /// Removes the sealed file of a host that has no secrets any more; what was never one is left alone.
    fn drop_sealed(&mut self, context: &HostContext<'_>, wanted: &Wanted<'_>) {
        let file = &wanted.files.sealed;
        let Some(bytes) = &file.bytes else { return };
        let recorded = context.base.record(wanted.host).is_some_and(|r| r.sealed.is_some());
        if recorded || is_sops(bytes, Format::Yaml) {
            self.removes.push(file.place().clone());
            self.changes(Change::Removed, Reason::Dropped);
        }
    }

    /// Removes the signature of what a host is not delivered any more, or of a fleet that stopped signing.
    fn drop_signature(&mut self, files: &HostFiles) {
        if files.signature.bytes.as_deref().is_some_and(is_delivery) {
            self.removes.push(files.signature.place().clone());
            because(&mut self.reasons, Reason::Unsigned);
        }
    }

    /// States what the host is delivered, unless a signature says just that already; returns the generation.
    fn deliver(
        &mut self,
        context: &HostContext<'_>,
        (wanted, tree): (&Wanted<'_>, &SecretTree),
        pair: &KeyPair<'_>,
        sealed: &Sealed<'_>,
    ) -> Result<Option<u64>, Error> {
        let Some(delivery) = &context.base.delivery else { return Ok(None) };
        let (host, files) = (wanted.host, wanted.files);
        let strayed = files.sealed.strayed.is_some() || files.signature.strayed.is_some();
        let public = context.public.get(host).copied();
        let kept = matches!(sealed.bytes, Cow::Borrowed(_));
        let stays = kept && !strayed && delivery.public(host) == public;
        if stays && context.base.is_signed(host, files) {
            return Ok(Some(context.base.generation(host).max(generation_of(files).unwrap_or(0))));
        }
        let structure = match sealed.structure {
            Some(structure) => structure,
            None => structure(open_sealed(context, wanted, pair)?.data_key(), host, tree),
        };
        let floor = context.base.generation(host);
        let content = (&sealed.bytes[..], structure, public);
        let unsigned = delivery.state((host, files), content, floor)?;
        let generation = unsigned.generation();
        if let Some(stray) = &files.signature.strayed {
            self.removes.push(stray.clone());
        }
        self.unsigned = Some(unsigned);
        because(&mut self.reasons, Reason::Signed);
        Ok(Some(generation))
    }

    /// Moves files to where they belong, unless they are written there anyway.
    fn move_strayed(&mut self, files: &HostFiles) {
        for file in files.all() {
            let (Some(from), Some(bytes)) = (&file.strayed, &file.bytes) else { continue };
            let removed = self.removes.contains(from);
            let written = self.writes.iter().any(|(path, ..)| *path == file.path);
            if !removed {
                self.removes.push(from.clone());
                because(&mut self.reasons, Reason::Moved);
            }
            if !removed && !written {
                self.writes.push((file.path.clone(), bytes.clone(), Mode::Public));
            }
        }
    }
}

impl HostPlan {
    /// Tells whether the host gets a key or loses one.
    fn turns(&self) -> bool {
        let turns = [Reason::NextKeyMade, Reason::KeyReplaced, Reason::NextKeyDropped];
        self.reasons.iter().any(|reason| turns.contains(reason))
    }

    fn changes(&mut self, change: Change, reason: Reason) {
        self.change = Some(change);
        because(&mut self.reasons, reason);
    }

    /// Returns what is to be said about the host, if anything.
    pub(crate) fn report(&self) -> Option<HostReport> {
        let change = match self.change {
            Some(change) => change,
            None if self.reasons.is_empty() => return None,
            None => Change::Unchanged,
        };
        Some(HostReport { change, reasons: self.reasons.clone() })
    }
}

impl HostContext<'_> {
    fn step(&self, host: &NodeName) -> Option<KeyStep> {
        self.renewal.and_then(|renewal| renewal.step(host))
    }

    fn renews(&self, host: &NodeName) -> bool {
        self.renewal.is_some_and(|renewal| renewal.is_of(host))
    }

    fn vouches_for_values(&self, host: &NodeName, tree: &SecretTree) -> bool {
        let record = self.base.record(host).and_then(|record| record.values.as_ref());
        self.base.old_key().zip(record).is_some_and(|(key, d)| d.matches(&key.values(host, tree)))
    }

    /// Tells whether the sealed private key must be sealed anew, to fresh data keys for other admins.
    fn sealed_to_others(&self, host: &NodeName, private: &[u8]) -> bool {
        if self.new_admins {
            return true;
        }
        let Ok(file) = EncryptedFile::parse(private, Format::Binary) else { return false };
        let labels: BTreeSet<&str> = file.recipients().into_iter().collect();
        let keys = self.base.admins.of_key(host);
        labels != keys.iter().map(Recipient::as_str).collect()
    }
}

/// Adds a reason once.
fn because(reasons: &mut Vec<Reason>, reason: Reason) {
    if !reasons.contains(&reason) {
        reasons.push(reason);
    }
}
