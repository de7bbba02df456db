//! Who can read what: from the stanzas in the sealed bytes, not from their labels.
//!
//! A label is text that anybody who can commit may have written, and an X25519 stanza does not tell whose it is. So
//! every reader comes with the [`Evidence`] for him, and what does not fit together is a [`Suspicion`].

mod history;
mod look;
mod receivers;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use nixmox_sops::{DecryptError, Format, Identities, detect};
use nixmox_topology::NodeName;
use rayon::prelude::*;

use crate::Error;
use crate::base::Base;
use crate::check::causes;
use crate::edit::Options;
use crate::fleet::Fleet;
use crate::hosts::{Generated, HostFiles};
use crate::master::Master;
use crate::store::RelPath;
use look::Look;

pub use history::{Commit, Era, History, Named, Place, Proof, Version};
pub(crate) use receivers::written;
pub use receivers::{Receivers, receivers};

/// How far it is certain that somebody opens a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Evidence {
    /// A key at hand, or the host's own that it opened, opens the file.
    Proved,
    /// The digests vouch for the file: this tool sealed it to him.
    Sealed,
    /// Only the label says so.
    Claimed,
    /// The key of this label is at hand and does not open the file.
    Refuted,
}

/// Somebody whom a file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// The label: what should be his recipient.
    pub recipient: String,
    /// The host whose key the recipient is, if it is one's.
    pub host: Option<NodeName>,
    /// Whether the recipient's key is at hand.
    pub own: bool,
    /// How far it is certain that he opens the file.
    pub evidence: Evidence,
}

/// Something about a file that an honest tool does not write.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Suspicion {
    /// Under one label several people open the file.
    MoreStanzas {
        /// The label.
        label: String,
        /// The types of the stanzas.
        found: Vec<String>,
    },
    /// The stanza is of another type than the label.
    OtherStanza {
        /// The label.
        label: String,
        /// The stanza's type.
        found: String,
    },
    /// What stands under the label is no age file.
    NoAgeFile {
        /// The label.
        label: String,
    },
    /// The label's own key does not open what stands under it: it is somebody else's, or nobody's.
    LyingLabel {
        /// The label.
        label: String,
    },
    /// A key at hand opens what stands under another's label.
    OthersLabel {
        /// The label.
        label: String,
    },
    /// The file names somebody whom it should not be sealed to.
    Unexpected {
        /// The label.
        label: String,
    },
    /// A key service other than age opens the file.
    Foreign {
        /// The service, in sops' words.
        service: String,
    },
    /// A key opens it, and what is inside was changed without its key; with the cause.
    Unopened(String),
    /// The file cannot be read as a sops file; with the cause.
    Malformed(String),
}

impl Suspicion {
    /// Names the suspicion for scripts; the names are stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::MoreStanzas { .. } => "more-stanzas-than-labels",
            Self::OtherStanza { .. } => "other-stanza-than-label",
            Self::NoAgeFile { .. } => "no-age-file",
            Self::LyingLabel { .. } => "lying-label",
            Self::OthersLabel { .. } => "opens-under-anothers-label",
            Self::Unexpected { .. } => "unexpected-recipient",
            Self::Foreign { .. } => "foreign-key-service",
            Self::Unopened(_) => "does-not-open",
            Self::Malformed(_) => "malformed",
        }
    }
}

impl fmt::Display for Suspicion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MoreStanzas { label, found } => write!(
                f,
                "{} keys open what is labelled {label} ({}): somebody who is not named reads it",
                found.len(),
                found.join(", ")
            ),
            Self::OtherStanza { label, found } => {
                write!(f, "what is labelled {label} is sealed to a key of type {found}")
            }
            Self::NoAgeFile { label } => write!(f, "what is labelled {label} is no age file"),
            Self::LyingLabel { label } => {
                write!(f, "the key of {label} does not open what is labelled with it")
            }
            Self::OthersLabel { label } => {
                write!(f, "a key that is at hand opens what is labelled {label}")
            }
            Self::Unexpected { label } => write!(f, "it names {label}, which it should not"),
            Self::Foreign { service } => write!(f, "it also opens through {service}"),
            Self::Unopened(cause) => write!(f, "it does not open: {cause}"),
            Self::Malformed(cause) => write!(f, "it is malformed: {cause}"),
        }
    }
}

/// Who can read one sealed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReaders {
    /// The file.
    pub path: RelPath,
    /// Whom it names, in its own order.
    pub readers: Vec<Reader>,
    /// What does not fit together.
    pub suspicions: Vec<Suspicion>,
    /// The paths of the values in it, where they are readable without a key.
    pub names: Vec<Vec<String>>,
}

/// Who can read one host's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReaders {
    /// Its sealed values, if it has any.
    pub sealed: Option<FileReaders>,
    /// Its private key, if it has one: who opens it opens the values too.
    pub key: Option<FileReaders>,
}

/// Who can read what in a fleet, as it lies in the repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// The master, which holds everything.
    pub master: Option<FileReaders>,
    /// The sealed file of generated values; its names begin with the host or group.
    pub generated: Option<FileReaders>,
    /// Every host that has a file.
    pub hosts: BTreeMap<NodeName, HostReaders>,
    /// Whether the master opened, so that the digests could vouch.
    pub opened: bool,
}

impl Access {
    /// Goes through the files of the fleet.
    pub fn files(&self) -> impl Iterator<Item = &FileReaders> {
        let hosts = self.hosts.values().flat_map(|host| [&host.sealed, &host.key]);
        self.master.iter().chain(&self.generated).chain(hosts.flatten())
    }

    /// Counts what does not fit together.
    pub fn suspicions(&self) -> usize {
        self.files().map(|file| file.suspicions.len()).sum()
    }
}

/// A fleet opened as far as the keys at hand go.
pub struct Opened {
    /// The fleet.
    pub fleet: Fleet,
    /// Its master; `None` when there is none or no key opens it.
    pub master: Option<Master>,
    /// Why the master does not open although a key fits it.
    problem: Option<String>,
}

impl Opened {
    /// Opens the fleet at `root`; that its master does not open is no error.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of [`Fleet::open`], and of finding the master.
    pub fn new(root: &Path, options: &Options<'_>) -> Result<Self, Error> {
        let fleet = Fleet::open(root, options.ask_nix)?;
        let (master, problem) = match Master::open(&fleet, options.identities) {
            Ok(master) => (Some(master), None),
            Err(Error::NoMaster { .. } | Error::Parse { .. }) => (None, None),
            Err(Error::Open { source, .. }) if is_closed(&source) => (None, None),
            Err(Error::Open { source, .. }) => (None, Some(causes(&source))),
            Err(error) => return Err(error),
        };
        Ok(Self { fleet, master, problem })
    }

    /// Tells who can read what.
    ///
    /// # Errors
    ///
    /// Any [`Error`] of reading the fleet's files; what is wrong with one of them is a [`Suspicion`].
    pub fn access(&self, identities: &Identities) -> Result<Access, Error> {
        let fleet = &self.fleet;
        let base = self.master.as_ref().map(|master| Base::read(fleet, master)).transpose()?;
        let read;
        let files = match &base {
            Some(base) => &base.files,
            None => {
                read = HostFiles::read_all(fleet)?;
                &read
            }
        };
        let look = Look::new(fleet, identities, base.as_ref())?;
        let hosts: Vec<_> = files
            .par_iter()
            .filter(|(_, files)| files.sealed.bytes.is_some() || files.key.bytes.is_some())
            .map(|(host, files)| (host.clone(), look.host(host, files)))
            .collect();
        let layout = &fleet.layout;
        let twin = if layout.private { Some(layout.public_twin().master()?) } else { None };
        let master = Generated::read(fleet, layout.master()?, twin)?;
        let format = master.bytes.as_deref().and_then(detect).unwrap_or(Format::Yaml);
        let mut master = look.file(&master, format, &look.admins);
        if let Some(file) = &mut master {
            file.suspicions.extend(self.problem.clone().map(Suspicion::Unopened));
        }
        let generated = look.generated(&Generated::read_generated(fleet)?);
        let (hosts, opened) = (hosts.into_iter().collect(), base.is_some());
        Ok(Access { master, generated, hosts, opened })
    }
}

/// Tells whether a master is closed to the keys at hand, which is no fault of it.
fn is_closed(error: &DecryptError) -> bool {
    matches!(error, DecryptError::NoIdentity | DecryptError::NoUsableKey { .. })
}

/// What somebody can read, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Readable {
    /// Whether he opens the master, and with it everything.
    pub master: bool,
    /// The hosts whose values he opens: with the host's private key, or directly.
    pub hosts: BTreeSet<NodeName>,
    /// The values that he can read, as paths of the master that begin with `nodes`, or stand beside it.
    pub secrets: BTreeSet<Vec<String>>,
}
