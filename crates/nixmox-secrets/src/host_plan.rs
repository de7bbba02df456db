//! The plan of one host: its key pair, its sealed file, and their digests.

use std::borrow::Cow;
use std::collections::BTreeSet;

use jiff::Timestamp;
use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_sops::{
    DecryptedFile, Documents, EncryptedFile, Format, Identities, Interaction, Keep, Recipient,
    SealOptions, is_sops, seal,
};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretBytes, SecretTree};
use rand_chacha::ChaCha20Rng;

use crate::Error;
use crate::digests::{DigestKey, HostDigests};
use crate::hosts::{Generated, HostFiles};
use crate::layout::key_comment;
use crate::plan::because;
use crate::report::{Change, HostReport, Reason};
use crate::store::{Mode, RelPath};

/// What the plan of any host needs to know of the fleet.
pub(crate) struct HostContext<'a> {
    pub(crate) identities: &'a Identities,
    pub(crate) interaction: Option<&'a Interaction>,
    /// The key of the recorded digests.
    pub(crate) old_key: Option<&'a DigestKey>,
    /// The key of the digests to record.
    pub(crate) new_key: &'a DigestKey,
    /// What was recorded of this host.
    pub(crate) known: Option<&'a HostDigests>,
    /// Whom its private key is sealed to.
    pub(crate) key_to: &'a [Recipient],
    /// Whether a key from the repository was vouched for.
    pub(crate) accept_key: bool,
    /// Whether everything that admins can open gets new data keys.
    pub(crate) new_admins: bool,
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
    /// Whether the digests or the person at the keyboard vouch for the key: only then is anything sealed to it.
    pub(crate) vouched: bool,
    /// Whether the secrets count the host.
    pub(crate) counted: bool,
    /// Of the public key.
    pub(crate) fingerprint: String,
}

/// A host's key pair within a plan.
struct KeyPair<'a> {
    /// The private key, when it had to be opened or was made.
    opened: Option<HostKey>,
    public: HostPublicKey,
    private_file: Cow<'a, [u8]>,
    public_file: Cow<'a, [u8]>,
    /// Whether the recorded digest vouches for it, or it was made just now.
    ours: bool,
}

impl HostPlan {
    /// Plans one host; `None` when it neither has nor shall have any file.
    pub(crate) fn new(
        context: &HostContext<'_>,
        wanted: &Wanted<'_>,
        mut rng: ChaCha20Rng,
    ) -> Result<Option<Self>, Error> {
        let mut plan = Self::nothing(wanted.host);
        for file in [&wanted.files.sealed, &wanted.files.key, &wanted.files.public] {
            plan.expect.push((file.place().clone(), file.base()));
        }
        if wanted.tree.is_none() {
            plan.drop_sealed(&wanted.files.sealed);
        }
        let Some(pair) = key_pair(context, wanted, &mut plan, &mut rng)? else {
            return Ok(plan.change.is_some().then_some(plan));
        };
        let sealed = match wanted.tree {
            Some(tree) => Some(sealed(context, (wanted, tree), &pair, &mut plan, &mut rng)?),
            None => None,
        };
        plan.move_strayed(wanted.files);
        plan.digests = HostDigests {
            key: context.new_key.key(wanted.host, &pair.private_file, &pair.public_file),
            values: wanted.tree.map(|tree| context.new_key.values(wanted.host, tree)),
            sealed: sealed.map(|bytes| context.new_key.sealed(wanted.host, &bytes)),
        };
        plan.vouched = pair.ours || context.accept_key;
        plan.counted = wanted.tree.is_some();
        plan.fingerprint = pair.public.fingerprint();
        Ok(Some(plan))
    }

    fn nothing(host: &NodeName) -> Self {
        Self {
            host: host.clone(),
            digests: HostDigests::default(),
            writes: Vec::new(),
            removes: Vec::new(),
            expect: Vec::new(),
            change: None,
            reasons: Vec::new(),
            vouched: false,
            counted: false,
            fingerprint: String::new(),
        }
    }

    /// Removes the sealed file of a host that has no secrets any more.
    fn drop_sealed(&mut self, file: &Generated) {
        if file.bytes.as_deref().is_some_and(|bytes| is_sops(bytes, Format::Yaml)) {
            self.removes.push(file.place().clone());
            self.changes(Change::Removed, Reason::Dropped);
        }
    }

    /// Moves files that lie outside the overlay into it, unless they are written there anyway.
    fn move_strayed(&mut self, files: &HostFiles) {
        for file in [&files.sealed, &files.key, &files.public] {
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
    let files = wanted.files;
    let mut pair = match files.key_pair(wanted.host)? {
        None if wanted.tree.is_none() => return Ok(None),
        None => made_pair(wanted, plan, rng),
        Some((private, public)) => KeyPair {
            opened: None,
            public: files.public_key()?,
            private_file: Cow::Borrowed(private),
            public_file: Cow::Borrowed(public),
            ours: context.vouches_for_key(wanted.host, private, public),
        },
    };
    let accepted = !pair.ours && context.accept_key;
    let reseal = pair.private_file.is_empty() || context.sealed_to_others(&pair.private_file);
    if pair.opened.is_none() && (reseal || accepted) && (pair.ours || accepted) {
        pair.opened = Some(files.open_key(context.identities)?);
    }
    if accepted && wanted.tree.is_some() {
        because(&mut plan.reasons, Reason::KeyAccepted);
    }
    if let Some(key) = pair.opened.as_ref().filter(|_| reseal) {
        if !pair.private_file.is_empty() {
            because(&mut plan.reasons, Reason::Admins);
        }
        let bytes = seal_key(context, wanted, key, rng)?;
        plan.writes.push((files.key.path.clone(), bytes.clone(), Mode::Public));
        pair.private_file = Cow::Owned(bytes);
    }
    Ok(Some(pair))
}

/// Makes a key pair; its private file is yet to be sealed.
fn made_pair<'a>(wanted: &Wanted<'_>, plan: &mut HostPlan, rng: &mut ChaCha20Rng) -> KeyPair<'a> {
    let key = HostKey::generate(rng);
    let public = key.public();
    let line = public.to_openssh(&key_comment(wanted.host)).into_bytes();
    plan.writes.push((wanted.files.public.path.clone(), line.clone(), Mode::Public));
    because(&mut plan.reasons, Reason::KeyMade);
    KeyPair {
        opened: Some(key),
        public,
        private_file: Cow::Borrowed(&[]),
        public_file: Cow::Owned(line),
        ours: true,
    }
}

fn seal_key(
    context: &HostContext<'_>,
    wanted: &Wanted<'_>,
    key: &HostKey,
    rng: &mut ChaCha20Rng,
) -> Result<Vec<u8>, Error> {
    let text = key.to_openssh(&key_comment(wanted.host));
    let documents = Documents::binary(SecretBytes::from(&text));
    let mut options = SealOptions::new(context.key_to.iter().cloned());
    options.interaction = context.interaction.cloned();
    seal(&documents, (Format::Binary, &options), Keep::Nothing, rng, context.now)
        .map_err(|source| Error::Seal { path: wanted.files.key.path.clone(), source })
}

/// Decides what becomes of the sealed file of a host with secrets, and returns its bytes as they will be.
fn sealed<'a>(
    context: &HostContext<'_>,
    (wanted, tree): (&Wanted<'a>, &SecretTree),
    pair: &KeyPair<'_>,
    plan: &mut HostPlan,
    rng: &mut ChaCha20Rng,
) -> Result<Cow<'a, [u8]>, Error> {
    let file = &wanted.files.sealed;
    let mut keep = None;
    match &file.bytes {
        None => plan.changes(Change::Created, Reason::New),
        Some(bytes) if pair.ours && context.vouches_for_sealed(wanted.host, bytes) => {
            if context.vouches_for_values(wanted.host, tree) {
                plan.change = Some(Change::Unchanged);
                return Ok(Cow::Borrowed(bytes));
            }
            plan.changes(Change::Updated, Reason::Values);
            keep = Some(open_sealed(context, wanted, pair)?);
        }
        // A data key that somebody else chose is never used again: he could read what it will seal.
        Some(_) => plan.changes(Change::Updated, Reason::NotOurs),
    }
    let bytes = seal_values(context, wanted, (pair, tree), keep.as_ref(), rng)?;
    plan.writes.push((file.path.clone(), bytes.clone(), Mode::Public));
    Ok(Cow::Owned(bytes))
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

fn seal_values(
    context: &HostContext<'_>,
    wanted: &Wanted<'_>,
    (pair, tree): (&KeyPair<'_>, &SecretTree),
    keep: Option<&DecryptedFile>,
    rng: &mut ChaCha20Rng,
) -> Result<Vec<u8>, Error> {
    let recipient = Recipient::parse(&pair.public.age_recipient())
        .map_err(|source| Error::Recipient { host: wanted.host.clone(), source })?;
    let mut options = SealOptions::new([recipient]);
    options.strict = true;
    let documents = Documents::from_tree(tree);
    let keep = keep.map_or(Keep::Nothing, Keep::Values);
    seal(&documents, (Format::Yaml, &options), keep, rng, context.now)
        .map_err(|source| Error::Seal { path: wanted.files.sealed.path.clone(), source })
}

impl HostPlan {
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
    fn vouches_for_key(&self, host: &NodeName, private: &[u8], public: &[u8]) -> bool {
        self.old_key
            .zip(self.known)
            .is_some_and(|(key, known)| known.key.matches(&key.key(host, private, public)))
    }

    fn vouches_for_sealed(&self, host: &NodeName, bytes: &[u8]) -> bool {
        let known = self.known.and_then(|known| known.sealed.as_ref());
        self.old_key.zip(known).is_some_and(|(key, d)| d.matches(&key.sealed(host, bytes)))
    }

    fn vouches_for_values(&self, host: &NodeName, tree: &SecretTree) -> bool {
        let known = self.known.and_then(|known| known.values.as_ref());
        self.old_key.zip(known).is_some_and(|(key, d)| d.matches(&key.values(host, tree)))
    }

    /// Tells whether the sealed private key must be sealed anew, to fresh data keys for other admins.
    fn sealed_to_others(&self, private: &[u8]) -> bool {
        let Ok(file) = EncryptedFile::parse(private, Format::Binary) else { return false };
        let labels: BTreeSet<&str> = file.recipients().into_iter().collect();
        let wanted: BTreeSet<&str> = self.key_to.iter().map(Recipient::as_str).collect();
        self.new_admins || labels != wanted
    }
}
