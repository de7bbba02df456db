//! What a host's configuration declares (`sops.secrets`) against what its sealed file delivers.
//!
//! No value is needed for it: names and types decide. Who has the master's key compares with what the cascade
//! delivers, everybody else with the names that are readable in the sealed file.
//!
//! sops-install-secrets, the program of sops-nix that unpacks a file on its host, finds a value by a path of names
//! joined with `/`, goes through sets only, and takes nothing but strings. A key that is empty means the whole file.

mod declared;
mod judge;

use std::collections::BTreeMap;
use std::fmt;

use nixmox_sops::{EncryptedFile, Format, Outline, detect};
use nixmox_topology::NodeName;

use crate::Error;
use crate::edit::{Options, open};
use crate::fleet::{FILE_LIMIT, Fleet};
use crate::generated::view;
use crate::hosts::HostFiles;
use crate::master;
use crate::plan::wanted;
use crate::store::{RelPath, sha256};
pub use declared::{Declared, DeclaredError, Secret, by_host};
use judge::Judge;

/// Something that does not fit between a configuration and the file of its host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Misfit {
    /// The name of the declared secret; `None` for a value that no secret asks for.
    pub secret: Option<String>,
    /// The key as sops-nix has it: names joined with `/`.
    pub key: String,
    /// What does not fit.
    pub kind: MisfitKind,
}

/// What does not fit; [`code`](Self::code) is stable.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MisfitKind {
    /// Nothing is delivered under the key; with keys that may have been meant.
    Missing(Vec<String>),
    /// No declared secret asks for the value.
    Unused,
    /// There is something, and it is not a string; with the name of its type.
    NotAString(&'static str),
    /// sops-nix cannot reach it, declared or not; with the reason.
    Unaddressable(Obstacle),
    /// It is to come from another file than the host's own; with that file, and the host whose it is.
    OtherFile {
        /// The file as the configuration names it, without the part that Nix adds.
        file: String,
        /// The host whose file it is.
        of: Option<NodeName>,
    },
    /// It is to be read in another format than the file has, or than another secret reads it in.
    WrongFormat {
        /// The format that the configuration names.
        declared: String,
        /// The format of the file.
        actual: &'static str,
    },
    /// The mode is not an octal number that sops-nix takes.
    BadMode(String),
}

/// Why sops-nix cannot reach a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Obstacle {
    /// A name has a `/`, where sops-nix splits keys.
    Slash,
    /// A name is empty: at the top the key would mean the whole file.
    EmptyName,
    /// It stands in a list, and keys go through sets only.
    InList,
    /// It is nested in JSON, which sops-nix does not look into.
    NestedInJson,
    /// A value on the way is not a set.
    ThroughValue,
}

impl MisfitKind {
    /// Names the misfit for scripts; the names are stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing(_) => "missing",
            Self::Unused => "unused",
            Self::NotAString(_) => "not-a-string",
            Self::Unaddressable(_) => "unaddressable",
            Self::OtherFile { .. } => "other-file",
            Self::WrongFormat { .. } => "wrong-format",
            Self::BadMode(_) => "bad-mode",
        }
    }
}

impl fmt::Display for MisfitKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(near) if near.is_empty() => f.write_str("nothing is delivered under it"),
            Self::Missing(near) => {
                write!(f, "nothing is delivered under it; did you mean {}?", near.join(" or "))
            }
            Self::Unused => f.write_str("is delivered, and no secret asks for it"),
            Self::NotAString(kind) => write!(f, "is a {kind}, and sops-nix takes strings only"),
            Self::Unaddressable(why) => write!(f, "sops-nix cannot reach it: {why}"),
            Self::OtherFile { file, of: Some(host) } => {
                write!(f, "comes from {file}, which is the file of {host}")
            }
            Self::OtherFile { file, of: None } => {
                write!(f, "comes from {file}, which is not the host's file")
            }
            Self::WrongFormat { declared, actual } => {
                write!(f, "is to be read as {declared}, and the file is {actual}")
            }
            Self::BadMode(mode) => write!(f, "has the mode `{mode}`, which is no octal number"),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slash => "a name has a `/`, where it splits keys",
            Self::EmptyName => "a name is empty",
            Self::InList => "it stands in a list",
            Self::NestedInJson => "it is nested in JSON, which it does not look into",
            Self::ThroughValue => "a value on the way is not a set",
        })
    }
}

/// What hosts deliver, by names and types.
pub struct Delivery {
    fleet: Fleet,
    files: BTreeMap<NodeName, HostFiles>,
    /// What the cascade gives each host; `None` without keys.
    resolved: Option<BTreeMap<NodeName, Outline>>,
}

impl Delivery {
    /// Reads what the fleet at `root` delivers: by the master, or without identities by the sealed files.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of reading the fleet; with identities also of opening and evaluating the master.
    pub fn read(root: &std::path::Path, options: &Options<'_>) -> Result<Self, Error> {
        if options.identities.is_empty() {
            let fleet = Fleet::open(root, options.ask_nix)?;
            let files = HostFiles::read_all(&fleet)?;
            return Ok(Self { fleet, files, resolved: None });
        }
        let (fleet, master) = open(root, options)?;
        let tree = master::evaluate(master.form, &master.text, options.real_nix)?;
        let view = view(&fleet, &master, master::nodes(&tree)?, options)?;
        let delivered =
            nixmox_cascade::resolve(&fleet.topology, view.nodes()).map_err(Error::Cascade)?;
        let resolved = wanted(delivered)?;
        let resolved = resolved.into_iter().map(|(host, tree)| (host, Outline::of(&tree)));
        let files = HostFiles::read_all(&fleet)?;
        Ok(Self { files, resolved: Some(resolved.collect()), fleet })
    }

    /// Tells whether the master was opened; otherwise the names in the sealed files were taken.
    pub fn opened(&self) -> bool {
        self.resolved.is_some()
    }

    /// Returns the fleet.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Returns the checked name of a host.
    ///
    /// # Errors
    ///
    /// [`Error::NoSuchHost`] with the nearest names.
    pub fn host(&self, name: &str) -> Result<NodeName, Error> {
        let topology = &self.fleet.topology;
        if let Some(host) = topology.hosts().find(|host| host.as_ref() == name) {
            return Ok(host.clone());
        }
        let is_host = |near: &&NodeName| topology.hosts().any(|host| host == *near);
        let nearest = topology.closest(name);
        let nearest = nearest.iter().filter(is_host).map(ToString::to_string).collect();
        Err(Error::NoSuchHost { name: name.to_owned(), nearest })
    }

    /// Compares what a host's configuration declares with what is delivered to it.
    ///
    /// # Errors
    ///
    /// [`Error::Parse`] when the host's sealed file has to be read and is malformed.
    pub fn compare(&self, host: &NodeName, declared: &Declared) -> Result<Vec<Misfit>, Error> {
        let mut judge = Judge::new(self.own(host)?);
        for secret in &declared.secrets {
            match self.place(host, secret) {
                Place::Own => judge.own(secret),
                Place::Other { file, of, outline } => judge.other(secret, (file, of), outline),
            }
        }
        Ok(judge.finish())
    }

    /// Returns the outline of what is delivered to a host.
    fn own(&self, host: &NodeName) -> Result<Outline, Error> {
        let nothing = Outline::Map(BTreeMap::new());
        if let Some(resolved) = &self.resolved {
            return Ok(resolved.get(host).cloned().unwrap_or(nothing));
        }
        let sealed = self.files.get(host).map(|files| &files.sealed);
        let Some((file, bytes)) = sealed.and_then(|f| Some((f, f.bytes.as_ref()?))) else {
            return Ok(nothing);
        };
        let parsed = EncryptedFile::parse(bytes, Format::Yaml)
            .map_err(|source| Error::Parse { path: file.place().clone(), source })?;
        Ok(parsed.outline())
    }

    /// Finds out which file of the fleet a secret is to come from.
    fn place(&self, host: &NodeName, secret: &Secret) -> Place {
        let Some(named) = &secret.file else { return Place::Own };
        let file = declared::without_store(named, self.fleet.store.root());
        let is_of = |name: &NodeName| {
            let files = self.files.get(name);
            files.is_some_and(|files| is_sealed_of(files, &file, secret.hash.as_deref()))
        };
        if is_of(host) {
            return Place::Own;
        }
        if let Some(other) = self.files.keys().find(|name| is_of(name)) {
            return self.other(file, Some(other.clone()));
        }
        // Alone in the store a file has no directory: by its name it may be the host's.
        let alone = named.starts_with("/nix/store/") && !file.contains('/');
        let own = self.files.get(host).map(|files| files.sealed.path.as_str());
        match alone && own.is_some_and(|own| own.rsplit('/').next() == Some(&*file)) {
            true => Place::Own,
            false => self.other(file, None),
        }
    }

    /// Describes a file that is not the host's own: by the repository, when it lies there.
    fn other(&self, file: String, of: Option<NodeName>) -> Place {
        let bytes = match RelPath::parse(&file) {
            Ok(path) => self.fleet.store.read(&path, FILE_LIMIT).ok().flatten(),
            Err(_) => None,
        };
        let outline = bytes.and_then(|bytes| {
            let format = detect(&bytes)?;
            let file = EncryptedFile::parse(&bytes, format).ok()?;
            Some((format, file.outline()))
        });
        Place::Other { file, of, outline }
    }
}

/// Where a declared secret is to come from.
enum Place {
    Own,
    Other { file: String, of: Option<NodeName>, outline: Option<(Format, Outline)> },
}

/// Tells whether a file name of a configuration, or the hash beside it, is that of a host's sealed file.
fn is_sealed_of(files: &HostFiles, file: &str, hash: Option<&str>) -> bool {
    let same_bytes = |hash: &str| {
        files
            .sealed
            .bytes
            .as_deref()
            .is_some_and(|bytes| hex(&sha256(bytes)).eq_ignore_ascii_case(hash))
    };
    let path = files.sealed.path.as_str();
    hash.is_some_and(same_bytes)
        || path == file
        || path.strip_prefix("private/") == Some(file)
        || file.strip_suffix(path).is_some_and(|above| above.ends_with('/'))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
