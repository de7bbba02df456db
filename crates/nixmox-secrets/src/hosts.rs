//! The generated files of hosts as they lie in the repository.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_sops::{DecryptedFile, EncryptedFile, Format, Identities, Indent, is_sops};
use nixmox_topology::{Area, NodeName};
use nixmox_tree::{SecretBytes, SecretString};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::Error;
use crate::fleet::Fleet;
use crate::layout::{HostPaths, Layout, PRIVATE};
use crate::store::RelPath;
use crate::trust::beside;

/// One generated file: where it belongs, where it lies, and what it holds.
#[derive(Debug)]
pub(crate) struct Generated {
    /// Where it belongs.
    pub(crate) path: RelPath,
    /// Its bytes, if it is there.
    pub(crate) bytes: Option<Vec<u8>>,
    /// Where it lies when that is not where it belongs.
    pub(crate) strayed: Option<RelPath>,
}

/// The generated files of one host.
#[derive(Debug)]
pub(crate) struct HostFiles {
    pub(crate) sealed: Generated,
    pub(crate) key: Generated,
    pub(crate) public: Generated,
    /// The key pair that it is to get, while its key is being replaced: private and public.
    pub(crate) next: [Generated; 2],
    /// The signature beside the sealed file, in fleets that sign.
    pub(crate) signature: Generated,
}

/// The bytes of both files of a host's key pair.
#[derive(Clone, Copy)]
pub(crate) struct PairFiles<'a> {
    /// The private key, sealed.
    pub(crate) private: &'a [u8],
    pub(crate) public: &'a [u8],
}

impl Generated {
    /// Reads a file that may still lie outside an overlay that it belongs into.
    pub(crate) fn read(fleet: &Fleet, path: RelPath, twin: Option<RelPath>) -> Result<Self, Error> {
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

    /// Names a file that is not there.
    fn absent(path: RelPath) -> Self {
        Self { path, bytes: None, strayed: None }
    }

    /// Reads the sealed values that were generated.
    pub(crate) fn read_generated(fleet: &Fleet) -> Result<Self, Error> {
        let layout = &fleet.layout;
        let twin = if layout.private { Some(layout.public_twin().generated()?) } else { None };
        Self::read(fleet, layout.generated()?, twin)
    }

    /// Takes what lies elsewhere for this file.
    fn fetch(&mut self, place: RelPath, bytes: Vec<u8>) {
        (self.bytes, self.strayed) = (Some(bytes), Some(place));
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
        let homes = homes(fleet);
        let mut former: BTreeMap<&str, Vec<(Area, &str)>> = BTreeMap::new();
        for (area, dir) in fleet.sealed_dirs.iter().filter(|(_, dir)| !homes.contains(dir)) {
            let name = dir.rsplit('/').next().unwrap_or_default();
            former.entry(name).or_default().push((*area, dir.as_str()));
        }
        let hosts: Vec<&NodeName> = fleet.topology.hosts().collect();
        hosts
            .into_par_iter()
            .map(|host| {
                let former = former.get(host.as_ref()).map(Vec::as_slice).unwrap_or_default();
                Ok((host.clone(), Self::read_at(fleet, host, former)?))
            })
            .collect::<Vec<Result<_, Error>>>()
            .into_iter()
            .collect()
    }

    /// Reads the files of one host.
    pub(crate) fn read(fleet: &Fleet, host: &NodeName) -> Result<Self, Error> {
        let homes = homes(fleet);
        let own = |dir: &str| dir.rsplit('/').next() == Some(host.as_ref());
        let former = fleet.sealed_dirs.iter().filter(|(_, dir)| own(dir) && !homes.contains(dir));
        let former: Vec<_> = former.map(|(area, dir)| (*area, dir.as_str())).collect();
        Self::read_at(fleet, host, &former)
    }

    /// Reads the files of a host from its directory, or from a former one of that name that no host has now.
    fn read_at(fleet: &Fleet, host: &NodeName, former: &[(Area, &str)]) -> Result<Self, Error> {
        let directory = fleet.topology.dir(host);
        let HostPaths { sealed, key, public } = fleet.layout.host(&directory)?;
        if !has_home(fleet, &directory)? {
            let signature = Generated::absent(beside(&sealed)?);
            let next = next(fleet, &directory)?;
            let [sealed, key, public] = [sealed, key, public].map(Generated::absent);
            let mut files = Self { sealed, key, public, next, signature };
            if !former.is_empty() {
                files.follow(fleet, host, former)?;
            }
            return Ok(files);
        }
        let twin = if fleet.layout.private {
            Some(fleet.layout.public_twin().host(&directory)?)
        } else {
            None
        };
        let [t_sealed, t_key, t_public] = match twin {
            Some(t) => [Some(t.sealed), Some(t.key), Some(t.public)],
            None => [None, None, None],
        };
        let t_signature = t_sealed.as_ref().map(beside).transpose()?;
        let signature = beside(&sealed)?;
        let mut files = Self {
            sealed: Generated::read(fleet, sealed, t_sealed)?,
            key: Generated::read(fleet, key, t_key)?,
            public: Generated::read(fleet, public, t_public)?,
            next: next(fleet, &directory)?,
            signature: Generated::read(fleet, signature, t_signature)?,
        };
        if files.key.bytes.is_none() && files.public.bytes.is_none() {
            files.follow(fleet, host, former)?;
        }
        Ok(files)
    }

    /// Finds the key of a host that has moved: to another group, to a directory of its own, or to another
    /// arrangement. Its sealed file comes along. A new key would lock the machine out.
    fn follow(
        &mut self,
        fleet: &Fleet,
        host: &NodeName,
        former: &[(Area, &str)],
    ) -> Result<(), Error> {
        let home = fleet.topology.dir(host);
        let areas = [Area::Private, Area::Public].into_iter();
        let areas = areas.filter(|area| fleet.layout.private || *area == Area::Public);
        let rearranged = areas.map(|area| (area, home.as_str(), fleet.layout.rearranged()));
        let layouts = || [fleet.layout.clone(), fleet.layout.rearranged()];
        let elsewhere = former.iter().flat_map(|(area, dir)| layouts().map(|l| (*area, *dir, l)));
        let mut found = Vec::new();
        for (area, dir, layout) in rearranged.chain(elsewhere) {
            let layout = Layout { private: area == Area::Private, ..layout };
            let (paths, next) = (layout.host(dir)?, layout.next(dir)?);
            if let (Some(key), Some(public)) = (fleet.read(&paths.key)?, fleet.read(&paths.public)?)
            {
                found.push((paths, next, (key, public)));
            }
        }
        if found.len() > 1 {
            let places = found.into_iter().map(|(paths, ..)| paths.key).collect();
            return Err(Error::ScatteredHost { host: host.clone(), places });
        }
        let Some((paths, next, (key, public))) = found.pop() else { return Ok(()) };
        self.key.fetch(paths.key, key);
        self.public.fetch(paths.public, public);
        // The pair that it is to get was made for this key, and lies beside it.
        for (file, path) in self.next.iter_mut().zip(<[RelPath; 2]>::from(next)) {
            if let (None, Some(bytes)) = (&file.bytes, fleet.read(&path)?) {
                file.fetch(path, bytes);
            }
        }
        if let (None, Some(bytes)) = (&self.sealed.bytes, fleet.read(&paths.sealed)?)
            && is_sops(&bytes, Format::Yaml)
        {
            let signature = beside(&paths.sealed)?;
            if let (None, Some(bytes)) = (&self.signature.bytes, fleet.read(&signature)?) {
                self.signature.fetch(signature, bytes);
            }
            self.sealed.fetch(paths.sealed, bytes);
        }
        Ok(())
    }

    /// Goes through its files, those of the key that it is to get among them.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Generated> {
        [&self.sealed, &self.key, &self.public].into_iter().chain(&self.next)
    }

    /// Returns the two key files' bytes; `None` when neither is there.
    ///
    /// # Errors
    ///
    /// [`Error::HalfHostKey`] when one is there without the other.
    pub(crate) fn key_pair(&self, host: &NodeName) -> Result<Option<PairFiles<'_>>, Error> {
        pair(host, &self.key, &self.public)
    }

    /// Returns the bytes of the key pair that the host is to get; `None` when its key is not being replaced.
    ///
    /// # Errors
    ///
    /// As [`HostFiles::key_pair`].
    pub(crate) fn next_pair(&self, host: &NodeName) -> Result<Option<PairFiles<'_>>, Error> {
        let [key, public] = &self.next;
        pair(host, key, public)
    }

    /// Parses the public key file.
    pub(crate) fn public_key(&self) -> Result<HostPublicKey, Error> {
        parse_public(&self.public)
    }

    /// Parses the public key that the host is to get.
    pub(crate) fn next_public_key(&self) -> Result<HostPublicKey, Error> {
        let [_, public] = &self.next;
        parse_public(public)
    }

    /// Opens the sealed private key and checks that it belongs to the public one.
    pub(crate) fn open_key(&self, identities: &Identities) -> Result<HostKey, Error> {
        open_pair((&self.key, &self.public), identities)
    }

    /// Opens the private key that the host is to get and checks that it belongs to the public one.
    pub(crate) fn open_next_key(&self, identities: &Identities) -> Result<HostKey, Error> {
        let [key, public] = &self.next;
        open_pair((key, public), identities)
    }

    /// Reads the private key out of its opened file and checks that it belongs to the public one.
    pub(crate) fn read_key(&self, file: &DecryptedFile) -> Result<HostKey, Error> {
        read_pair((&self.key, &self.public), file)
    }

    /// Opens the sealed private key and makes the age identity of it.
    pub(crate) fn identities(&self, identities: &Identities) -> Result<Identities, Error> {
        self.identity(&self.open_key(identities)?)
    }

    fn identity(&self, key: &HostKey) -> Result<Identities, Error> {
        Identities::from_age_secret(&key.age_identity())
            .map_err(|source| Error::HostIdentity { path: self.key.place().clone(), source })
    }

    /// Parses and opens the sealed file with the host's own key.
    pub(crate) fn open_sealed(&self, key: &HostKey) -> Result<DecryptedFile, Error> {
        let identities = self.identity(key)?;
        let bytes = self.sealed.bytes.as_deref().unwrap_or_default();
        open(self.sealed.place(), bytes, Format::Yaml, &identities)
    }
}

/// Reads the key pair that a host is to get, where the walk over the fleet saw one.
fn next(fleet: &Fleet, directory: &str) -> Result<[Generated; 2], Error> {
    let (key, public) = fleet.layout.next(directory)?;
    if !fleet.next_dirs.contains(directory) {
        return Ok([key, public].map(Generated::absent));
    }
    let twin = fleet.layout.private.then(|| fleet.layout.public_twin().next(directory));
    let (t_key, t_public) = twin.transpose()?.unzip();
    Ok([Generated::read(fleet, key, t_key)?, Generated::read(fleet, public, t_public)?])
}

fn pair<'a>(
    host: &NodeName,
    key: &'a Generated,
    public: &'a Generated,
) -> Result<Option<PairFiles<'a>>, Error> {
    let half = |present: &Generated, missing: &Generated| Error::HalfHostKey {
        host: host.clone(),
        present: present.place().clone(),
        missing: missing.place().clone(),
    };
    match (&key.bytes, &public.bytes) {
        (None, None) => Ok(None),
        (Some(private), Some(public)) => Ok(Some(PairFiles { private, public })),
        (Some(_), None) => Err(half(key, public)),
        (None, Some(_)) => Err(half(public, key)),
    }
}

fn parse_public(public: &Generated) -> Result<HostPublicKey, Error> {
    let bytes = public.bytes.as_deref().unwrap_or_default();
    HostPublicKey::parse(&String::from_utf8_lossy(bytes))
        .map_err(|source| Error::HostKey { path: public.place().clone(), source })
}

fn open_pair(
    (key, public): (&Generated, &Generated),
    identities: &Identities,
) -> Result<HostKey, Error> {
    let bytes = key.bytes.as_deref().unwrap_or_default();
    read_pair((key, public), &open(key.place(), bytes, Format::Binary, identities)?)
}

fn read_pair(
    (key_file, public): (&Generated, &Generated),
    file: &DecryptedFile,
) -> Result<HostKey, Error> {
    let path = || key_file.place().clone();
    let text = file.documents().to_bytes(Format::Binary, Indent::default()).ok();
    let text = text.as_ref().and_then(SecretBytes::as_str).unwrap_or_default();
    let key = HostKey::from_openssh(&SecretString::new(text))
        .map_err(|source| Error::HostKey { path: path(), source })?;
    let line = String::from_utf8_lossy(public.bytes.as_deref().unwrap_or_default());
    let belongs = key
        .has_public(&line)
        .map_err(|source| Error::HostKey { path: public.place().clone(), source })?;
    if !belongs {
        return Err(Error::MismatchedHostKey { key: path(), public: public.place().clone() });
    }
    Ok(key)
}

/// Tells whether a host has a directory: where it has none, none of its files needs to be looked for one by one.
fn has_home(fleet: &Fleet, directory: &str) -> Result<bool, Error> {
    let store = fleet.store();
    let private = format!("{PRIVATE}/{directory}");
    let overlaid = fleet.layout.private && store.has_dir(&RelPath::parse(&private)?)?;
    Ok(overlaid || store.has_dir(&RelPath::parse(directory)?)?)
}

/// Returns the directories of all hosts of the fleet.
fn homes(fleet: &Fleet) -> BTreeSet<String> {
    fleet.topology.hosts().map(|host| fleet.topology.dir(host)).collect()
}

/// Finds sealed files that are no host's: in directories that belong to none, or arranged otherwise than the host's
/// own. What is about to move to its host is none of them.
pub(crate) fn orphans(fleet: &Fleet, files: &BTreeMap<NodeName, HostFiles>) -> Vec<RelPath> {
    let taken: BTreeSet<&RelPath> =
        files.values().filter(|f| f.sealed.bytes.is_some()).map(|f| f.sealed.place()).collect();
    let places = fleet.sealed_dirs.par_iter().flat_map_iter(|(area, dir)| {
        [fleet.layout.clone(), fleet.layout.rearranged()].map(|layout| {
            Layout { private: *area == Area::Private, ..layout }.host(dir).map(|paths| paths.sealed)
        })
    });
    places
        .filter_map(Result::ok)
        .filter(|path| !taken.contains(path))
        .filter(|path| fleet.read(path).ok().flatten().is_some_and(|b| is_sops(&b, Format::Yaml)))
        .collect()
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
