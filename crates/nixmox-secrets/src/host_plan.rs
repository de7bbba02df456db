//! The plan of one host: its key pair, its sealed file, and their digests.

mod next;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_signing::Hash;
use nixmox_sops::{
    DataKey, DecryptedFile, Documents, EncryptedFile, Format, Identities, Interaction, Keep,
    Recipient, SealOptions, is_sops, seal,
};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretBytes, SecretTree};
use rand_chacha::ChaCha20Rng;

use crate::Error;
use crate::base::Base;
use crate::digests::{DigestKey, HostDigests, Sent};
use crate::hosts::{Generated, HostFiles, PairFiles};
use crate::layout::key_comment;
use crate::renewal::{KeyStep, Renewal};
use crate::report::{Change, HostReport, Reason};
use crate::store::{Mode, RelPath};
use crate::trust::{Unsigned, generation_of, is_delivery, structure};
use next::NextPair;

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

/// A host's key pair within a plan.
struct KeyPair<'a> {
    /// The private key, when it had to be opened or was made.
    opened: Option<HostKey>,
    private_file: Cow<'a, [u8]>,
    public_file: Cow<'a, [u8]>,
    /// Who vouches for it.
    voucher: Voucher,
}

/// Who vouches for a host's key pair.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voucher {
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
    fn public(&self, files: &HostFiles) -> Result<HostPublicKey, Error> {
        self.opened.as_ref().map_or_else(|| files.public_key(), |key| Ok(key.public()))
    }
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
            plan.expect.push((file.path.clone(), None));
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
        let stays = sealed.structure.is_none() && !strayed && delivery.public(host) == public;
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

/// Finds the host's key pair, makes it when the host has none and needs one, and seals it to the right admins.
fn key_pair<'a>(
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

fn seal_key(
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

/// A host's sealed file as it will be.
struct Sealed<'a> {
    bytes: Cow<'a, [u8]>,
    /// Digest of its values for a signature; `None` when the file stays as it is.
    structure: Option<Hash>,
}

/// Decides what becomes of the sealed file of a host with secrets, and returns it as it will be.
fn sealed<'a>(
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
    Ok(Sealed { bytes: Cow::Owned(bytes), structure: Some(structure) })
}

fn open_sealed(
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
) -> Result<(Vec<u8>, Hash), Error> {
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
    Ok((bytes, structure(key, wanted.host, tree)))
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
        let Ok(file) = EncryptedFile::parse(private, Format::Binary) else { return false };
        let labels: BTreeSet<&str> = file.recipients().into_iter().collect();
        let keys = self.base.admins.of_key(host);
        self.new_admins || labels != keys.iter().map(Recipient::as_str).collect()
    }
}

/// Adds a reason once.
fn because(reasons: &mut Vec<Reason>, reason: Reason) {
    if !reasons.contains(&reason) {
        reasons.push(reason);
    }
}
