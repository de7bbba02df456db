//! The generated files of hosts as they lie in the repository.

use std::collections::BTreeMap;

use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_sops::{DecryptedFile, EncryptedFile, Format, Identities, Indent};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretBytes, SecretString};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::fleet::Fleet;
use crate::layout::HostPaths;
use crate::store::RelPath;

/// One generated file: where it belongs, where it lies, and what it holds.
#[derive(Debug)]
pub(crate) struct Generated {
    /// Where it belongs.
    pub(crate) path: RelPath,
    /// Its bytes, if it is there.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Where it lies when that is outside an overlay that it belongs into.
    pub(crate) strayed: Option<RelPath>,
}

/// The generated files of one host.
#[derive(Debug)]
pub(crate) struct HostFiles {
    pub(crate) sealed: Generated,
    pub(crate) key: Generated,
    pub(crate) public: Generated,
}

impl Generated {
    fn read(fleet: &Fleet, path: RelPath, twin: Option<RelPath>) -> Result<Self, Error> {
        let bytes = fleet.read(&path)?;
        let stray = match twin {
            Some(twin) => fleet.read(&twin)?.map(|bytes| (twin, bytes)),
            None => None,
        };
        match (bytes, stray) {
            (Some(_), Some((public, _))) => Err(Error::BothAreas { public, private: path }),
            (None, Some((twin, bytes))) => {
                Ok(Self { path, bytes: Some(bytes), strayed: Some(twin) })
            }
            (bytes, None) => Ok(Self { path, bytes, strayed: None }),
        }
    }

    /// Returns the path to name in messages: where the file lies.
    pub(crate) fn place(&self) -> &RelPath {
        self.strayed.as_ref().unwrap_or(&self.path)
    }

    /// Returns the SHA-256 of the bytes at [`Generated::place`].
    pub(crate) fn base(&self) -> Option<[u8; 32]> {
        self.bytes.as_ref().map(|bytes| Sha256::digest(bytes).into())
    }
}

impl HostFiles {
    /// Reads the files of every host of the fleet, on all cores.
    pub(crate) fn read_all(fleet: &Fleet) -> Result<BTreeMap<NodeName, Self>, Error> {
        let hosts: Vec<&NodeName> = fleet.topology.hosts().collect();
        hosts
            .into_par_iter()
            .map(|host| Ok((host.clone(), Self::read(fleet, host)?)))
            .collect::<Result<Vec<_>, Error>>()
            .map(BTreeMap::from_iter)
    }

    /// Reads the files of one host.
    pub(crate) fn read(fleet: &Fleet, host: &NodeName) -> Result<Self, Error> {
        let directory = fleet.topology.dir(host);
        let HostPaths { sealed, key, public } = fleet.layout.host(&directory)?;
        let twin = if fleet.layout.private {
            Some(fleet.layout.public_twin().host(&directory)?)
        } else {
            None
        };
        let [t_sealed, t_key, t_public] = match twin {
            Some(t) => [Some(t.sealed), Some(t.key), Some(t.public)],
            None => [None, None, None],
        };
        Ok(Self {
            sealed: Generated::read(fleet, sealed, t_sealed)?,
            key: Generated::read(fleet, key, t_key)?,
            public: Generated::read(fleet, public, t_public)?,
        })
    }

    /// Returns the two key files' bytes; `None` when neither is there.
    ///
    /// # Errors
    ///
    /// [`Error::HalfHostKey`] when one is there without the other.
    pub(crate) fn key_pair(&self, host: &NodeName) -> Result<Option<(&[u8], &[u8])>, Error> {
        let half = |present: &Generated, missing: &Generated| Error::HalfHostKey {
            host: host.clone(),
            present: present.place().clone(),
            missing: missing.place().clone(),
        };
        match (&self.key.bytes, &self.public.bytes) {
            (None, None) => Ok(None),
            (Some(key), Some(public)) => Ok(Some((key, public))),
            (Some(_), None) => Err(half(&self.key, &self.public)),
            (None, Some(_)) => Err(half(&self.public, &self.key)),
        }
    }

    /// Parses the public key file.
    pub(crate) fn public_key(&self) -> Result<HostPublicKey, Error> {
        let bytes = self.public.bytes.as_deref().unwrap_or_default();
        HostPublicKey::parse(&String::from_utf8_lossy(bytes))
            .map_err(|source| Error::HostKey { path: self.public.place().clone(), source })
    }

    /// Opens the sealed private key and checks that it belongs to the public one.
    pub(crate) fn open_key(&self, identities: &Identities) -> Result<HostKey, Error> {
        let path = || self.key.place().clone();
        let bytes = self.key.bytes.as_deref().unwrap_or_default();
        let file = open(self.key.place(), bytes, Format::Binary, identities)?;
        let text = file.documents().to_bytes(Format::Binary, Indent::default()).ok();
        let text = text.as_ref().and_then(SecretBytes::as_str).unwrap_or_default();
        let key = HostKey::from_openssh(&SecretString::new(text))
            .map_err(|source| Error::HostKey { path: path(), source })?;
        if !self.public_key()?.matches(&key) {
            return Err(Error::MismatchedHostKey {
                key: path(),
                public: self.public.place().clone(),
            });
        }
        Ok(key)
    }

    /// Parses and opens the sealed file with the host's own key.
    pub(crate) fn open_sealed(&self, key: &HostKey) -> Result<DecryptedFile, Error> {
        let identities = Identities::from_age_secret(&key.age_identity())
            .map_err(|source| Error::HostIdentity { path: self.key.place().clone(), source })?;
        let bytes = self.sealed.bytes.as_deref().unwrap_or_default();
        open(self.sealed.place(), bytes, Format::Yaml, &identities)
    }
}

/// Parses and opens one sealed file; the MAC is checked before anything is returned.
pub(crate) fn open(
    path: &RelPath,
    bytes: &[u8],
    format: Format,
    identities: &Identities,
) -> Result<DecryptedFile, Error> {
    EncryptedFile::parse(bytes, format)
        .map_err(|source| Error::Parse { path: path.clone(), source })?
        .open(identities)
        .map_err(|source| Error::Open { path: path.clone(), source })
}
