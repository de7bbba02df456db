//! What sealed files hold, shown and compared without their values.
//!
//! With keys every value gets a fingerprint: equal as long as the value is, whatever it is sealed with. Its key comes
//! from the person's own age key (without a native one from the file's data key), so nobody else can try values
//! against it. Without keys a short hash of the ciphertext stands there: it tells no more than the ciphertext beside
//! it, which everybody has, and it stays as long as the value keeps its ciphertext.

mod compare;
mod sketch;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use nixmox_sops::{DecryptError, DecryptedFile, EncryptedFile, Identities};
use nixmox_tree::{SecretString, SecretTree, Value};

use crate::edit::{Options, open};
use crate::fleet::Fleet;
use crate::generated::view;
use crate::hosts::HostFiles;
use crate::{Error, master};

pub use compare::{FileChange, ValueChange, What, compare, compare_trees};
pub use sketch::{Line, Sketch, sketch};

/// The keys that open a fleet's files: the person's own, and through them those of hosts.
pub struct Keyring<'a> {
    identities: &'a Identities,
    fleet: Option<&'a Fleet>,
    hosts: OnceLock<BTreeMap<String, HostFiles>>,
}

impl<'a> Keyring<'a> {
    /// Uses the person's keys, and those of the hosts of a fleet, if there is one.
    pub fn new(identities: &'a Identities, fleet: Option<&'a Fleet>) -> Self {
        Self { identities, fleet, hosts: OnceLock::new() }
    }

    /// Opens a file with the person's keys, or with the key of the host that its label names.
    ///
    /// # Errors
    ///
    /// Those of [`EncryptedFile::open`].
    pub fn open(&self, file: &EncryptedFile) -> Result<DecryptedFile, DecryptError> {
        let opened = file.open(self.identities);
        if !matches!(opened, Err(DecryptError::NoUsableKey { .. })) {
            return opened;
        }
        let host = file.recipients().into_iter().find_map(|label| self.hosts().get(label));
        let keys = host.and_then(|host| host.identities(self.identities).ok());
        keys.map_or(opened, |keys| file.open(&keys))
    }

    /// Returns the files of all hosts by the recipient that their public key makes.
    fn hosts(&self) -> &BTreeMap<String, HostFiles> {
        self.hosts.get_or_init(|| {
            let files = self.fleet.and_then(|fleet| HostFiles::read_all(fleet).ok());
            let files = files.unwrap_or_default().into_values();
            files.filter_map(|host| Some((host.public_key().ok()?.age_recipient(), host))).collect()
        })
    }
}

/// Resolves what every host of the fleet at `root` is delivered; nothing when there is no master.
///
/// # Errors
///
/// Any [`Error`] of reading the fleet, opening its master and evaluating it.
pub fn delivered(
    root: &std::path::Path,
    options: &Options<'_>,
) -> Result<BTreeMap<String, SecretTree>, Error> {
    let (fleet, master) = match open(root, options) {
        Err(Error::NoMaster { .. }) => return Ok(BTreeMap::new()),
        opened => opened?,
    };
    let tree = master::evaluate(master.form, &master.text, options.real_nix)?;
    let nodes = master::nodes(&tree)?;
    let view = view(&fleet, &master, nodes, options)?;
    let delivered =
        nixmox_cascade::resolve(&fleet.topology, view.nodes()).map_err(Error::Cascade)?;
    Ok(delivered.into_iter().map(|(host, tree)| (host.to_string(), tree)).collect())
}

/// Returns text as it is, and any other value as compact text of one line.
pub(crate) fn plain_text(value: &Value) -> SecretString {
    use nixmox_sops::{Documents, Format, Indent};

    if let Value::String(text) = value {
        return text.clone();
    }
    // sops' JSON is of objects only, so a value that is none is shown in one.
    let tree: SecretTree = match value {
        Value::Tree(tree) => tree.clone(),
        other => [("value".to_owned(), other.clone())].into_iter().collect(),
    };
    let indent = Indent { json: Some(0), ..Indent::default() };
    let bytes = Documents::from_tree(&tree).to_bytes(Format::Json, indent).ok();
    SecretString::new(bytes.as_ref().and_then(|b| b.as_str()).unwrap_or_default().trim_end())
}
