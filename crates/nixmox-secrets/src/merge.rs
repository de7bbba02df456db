//! Three-way merges of a fleet's sealed files, value by value.
//!
//! Git hands over three versions of one file. They are opened, their plaintext is merged in memory, and the result is
//! sealed to whom the repository's rules name, never to whom one of the versions names. Nothing is written here, and
//! nothing is sealed to a recipient or host key that no admin has vouched for: a merge is often done without looking.

mod error;
mod nix;
mod state;
mod target;

use jiff::Timestamp;
use nixmox_sops::{
    DecryptedFile, Disagreement, Documents, EncryptedFile, Format, Identities, Indent, Keep,
    Recipient, Side, Versions, detect, merge, seal,
};
use nixmox_topology::NodeName;
use nixmox_tree::{SecretBytes, SecretString};
use rand_core::{CryptoRng, RngCore};

use crate::edit::Options;
use crate::fleet::Fleet;
use crate::hosts::HostFiles;
use crate::master::{self, Form};
use crate::store::RelPath;
use crate::{Error, TextProblem};

use nix::{Merged, Texts};
use target::target;

pub use error::{MergeError, Version};
pub use state::{merge_ages, merge_digests};

/// Three versions of one sealed file, as git hands them over.
#[derive(Clone, Copy)]
pub struct Sides<'a> {
    /// What both sides started from; empty when each made the file for itself.
    pub base: &'a [u8],
    /// What is merged into.
    pub ours: &'a [u8],
    /// What is merged.
    pub theirs: &'a [u8],
}

/// What a file of a fleet is to a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// The master.
    Master,
    /// A host's values; what it holds follows from the master.
    Host(NodeName),
    /// A host's private key.
    Key(NodeName),
    /// The values that were generated.
    Generated,
    /// The keyed digests, which are merged without any key.
    Digests,
    /// The ages of values, which are merged without any key.
    Ages,
    /// Any other sops file.
    Other,
}

/// A value or passage that both sides changed, each in its own way.
#[derive(Debug, Clone, PartialEq)]
pub struct Clash {
    /// Where it is.
    pub place: Place,
    /// What the sides did.
    pub what: Disagreement,
    /// What we have there, if anything.
    pub ours: Option<SecretString>,
    /// What they have there, if anything.
    pub theirs: Option<SecretString>,
}

/// Where a clash is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The value at a path.
    Value(Vec<String>),
    /// The passage of a Nix master that begins at this line of the merged text.
    Line(usize),
    /// The file as a whole.
    Whole,
}

/// Decides a clash by its place; `None` leaves it open.
pub type Decide<'a> = dyn Fn(&Place) -> Option<Side> + 'a;

/// Tells what the file at `path` is.
///
/// # Errors
///
/// [`Error::Path`], never in practice.
pub fn kind(fleet: &Fleet, path: &RelPath) -> Result<FileKind, Error> {
    let mut layouts = vec![fleet.layout.clone(), fleet.layout.rearranged()];
    if fleet.layout.private {
        layouts.push(fleet.layout.public_twin());
        layouts.push(fleet.layout.rearranged().public_twin());
    }
    for layout in layouts {
        if layout.master()? == *path {
            return Ok(FileKind::Master);
        }
        if layout.digests()? == *path {
            return Ok(FileKind::Digests);
        }
        if layout.ages()? == *path {
            return Ok(FileKind::Ages);
        }
        if layout.generated()? == *path {
            return Ok(FileKind::Generated);
        }
        for host in fleet.topology.hosts() {
            let paths = layout.host(&fleet.topology.dir(host))?;
            if paths.sealed == *path {
                return Ok(FileKind::Host(host.clone()));
            }
            if paths.key == *path || layout.next(&fleet.topology.dir(host))?.0 == *path {
                return Ok(FileKind::Key(host.clone()));
            }
        }
    }
    Ok(FileKind::Other)
}

/// Three versions of a file, opened.
pub struct Opened<'a> {
    fleet: &'a Fleet,
    options: Options<'a>,
    path: RelPath,
    kind: FileKind,
    format: Format,
    base: Documents,
    ours: DecryptedFile,
    theirs: DecryptedFile,
    /// Whether both sides have one data key.
    one_key: bool,
    /// Our version as it was sealed.
    bytes: Vec<u8>,
}

/// A merge in plaintext, yet to be sealed.
#[derive(Debug)]
pub struct Draft {
    /// Everything that either side changed; where they clash, ours.
    pub documents: Documents,
    /// Where they clash and nothing was decided.
    pub clashes: Vec<Clash>,
    /// Of a Nix master, the paths of the values that both sides changed.
    pub names: Vec<Vec<String>>,
}

impl<'a> Opened<'a> {
    /// Opens the three versions of the file at `path`: a host's values with its own key, everything else with the
    /// person's keys.
    ///
    /// # Errors
    ///
    /// [`MergeError`]: one of them is no sops file, is not sound, or does not open; or they are of different formats.
    pub fn new(
        fleet: &'a Fleet,
        options: Options<'a>,
        path: &RelPath,
        sides: Sides<'_>,
    ) -> Result<Self, MergeError> {
        let kind = kind(fleet, path)?;
        let own;
        let keys = match &kind {
            FileKind::Host(host) => {
                own = HostFiles::read(fleet, host)?.identities(options.identities)?;
                &own
            }
            _ => options.identities,
        };
        let format = detect(sides.ours).ok_or(MergeError::NotSops { version: Version::Ours })?;
        let strict = kind != FileKind::Other;
        let open = |bytes, version| open(bytes, format, (version, strict), keys);
        let base = match sides.base {
            [] => Documents::default(),
            bytes => open(bytes, Version::Base)?.documents().clone(),
        };
        let mut ours = open(sides.ours, Version::Ours)?;
        let theirs = open(sides.theirs, Version::Theirs)?;
        let one_key = ours.take_nonces(&theirs);
        let (path, bytes) = (path.clone(), sides.ours.to_vec());
        Ok(Self { fleet, options, path, kind, format, base, ours, theirs, one_key, bytes })
    }

    /// Returns what the file is.
    pub fn kind(&self) -> &FileKind {
        &self.kind
    }

    /// Merges the plaintext; `decide` is asked about every clash.
    ///
    /// A Nix master is merged line by line, and must then evaluate: where it does not, the whole file clashes and
    /// stays ours.
    ///
    /// # Errors
    ///
    /// [`MergeError::Fleet`] when a version is not the text it should be.
    pub fn merge(&self, decide: &Decide<'_>) -> Result<Draft, MergeError> {
        match (&self.kind, self.format) {
            (FileKind::Master, Format::Binary) => self.merge_nix(decide),
            _ => Ok(self.merge_values(decide)),
        }
    }

    fn merge_values(&self, decide: &Decide<'_>) -> Draft {
        let versions = Versions {
            base: &self.base,
            ours: self.ours.documents(),
            theirs: self.theirs.documents(),
        };
        let place = |path: &[String]| match self.format {
            Format::Binary => Place::Whole,
            _ => Place::Value(path.to_vec()),
        };
        let merged = merge(versions, &|conflict| decide(&place(&conflict.path.0)));
        let value = |documents: &Documents, path: &[String]| {
            let value = documents.get(path).ok().flatten()?;
            Some(crate::review::plain_text(&value))
        };
        let clash = |conflict: nixmox_sops::Conflict| Clash {
            ours: value(versions.ours, &conflict.path.0),
            theirs: value(versions.theirs, &conflict.path.0),
            place: place(&conflict.path.0),
            what: conflict.what,
        };
        let clashes = merged.conflicts.into_iter().map(clash).collect();
        Draft { documents: merged.documents, clashes, names: Vec::new() }
    }

    fn merge_nix(&self, decide: &Decide<'_>) -> Result<Draft, MergeError> {
        let [ours, theirs] = [self.ours.documents(), self.theirs.documents()].map(text_of);
        let base = if self.base.is_empty() { SecretString::new("") } else { text_of(&self.base)? };
        let texts = Texts { base: &base, ours: &ours?, theirs: &theirs? };
        let evaluate = |text: &SecretString| {
            let tree = master::evaluate(Form::Nix, text, self.options.real_nix)?;
            master::nodes(&tree).map(|_| tree)
        };
        let Merged { text, clashes, names } = nix::merge(texts, decide, &evaluate);
        Ok(Draft { documents: Documents::binary(SecretBytes::from(&text)), clashes, names })
    }

    /// Returns the text of documents as an editor shows it.
    ///
    /// # Errors
    ///
    /// [`MergeError::Fleet`] when they are no text.
    pub fn text(&self, documents: &Documents) -> Result<SecretString, MergeError> {
        let bytes = documents
            .to_bytes(self.format, Indent::default())
            .map_err(|source| Error::Text(TextProblem::Shape(source)))?;
        let text = bytes.as_str().ok_or(Error::Text(TextProblem::NotUtf8))?;
        Ok(SecretString::new(text))
    }

    /// Reads back what an editor made of such a text.
    ///
    /// # Errors
    ///
    /// [`MergeError::Fleet`] with the place of the fault.
    pub fn read(&self, text: &SecretString) -> Result<Documents, MergeError> {
        Ok(Documents::parse(text.expose().as_bytes(), self.format)
            .map_err(|source| Error::Text(TextProblem::Yaml { text: text.clone(), source }))?)
    }

    fn evaluates(&self, text: &SecretString) -> Result<(), Error> {
        let form = if self.format == Format::Binary { Form::Nix } else { Form::Yaml };
        let tree = master::evaluate(form, text, self.options.real_nix)?;
        master::nodes(&tree).map(drop)
    }

    /// Seals merged documents, to whom the repository's rules name.
    ///
    /// What is as in our version keeps its bytes; what is as in theirs does when both have one data key. Two data keys
    /// mean that one side drew a new one, perhaps because somebody must not have the old one any more, or that
    /// somebody else made the file up: then a third one is drawn.
    ///
    /// # Errors
    ///
    /// [`MergeError`]: the master does not evaluate, nobody has vouched for the recipients, or a value cannot be
    /// sealed.
    pub fn seal(
        &self,
        documents: &Documents,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<Vec<u8>, MergeError> {
        if self.kind == FileKind::Master {
            self.evaluates(&self.text(documents)?)?;
        }
        let target = target(self)?;
        let labels = self.ours.metadata().recipients();
        let wanted: Vec<&str> = target.options.recipients.iter().map(Recipient::as_str).collect();
        if *documents == *self.ours.documents() && labels == wanted {
            return Ok(self.bytes.clone());
        }
        let keep = match target.keeps_key && self.one_key {
            true => Keep::Values(&self.ours),
            false => Keep::Nothing,
        };
        seal(documents, (self.format, &target.options), keep, rng, now)
            .map_err(|source| Error::Seal { path: self.path.clone(), source }.into())
    }
}

/// Opens one version; that of a fleet must keep the rules of strict files.
fn open(
    bytes: &[u8],
    format: Format,
    (version, strict): (Version, bool),
    keys: &Identities,
) -> Result<DecryptedFile, MergeError> {
    match detect(bytes) {
        Some(found) if found == format => {}
        Some(_) => return Err(MergeError::Formats),
        None => return Err(MergeError::NotSops { version }),
    }
    let file = EncryptedFile::parse(bytes, format)
        .map_err(|source| MergeError::Parse { version, source })?;
    let opened = file.open(keys).map_err(|source| MergeError::Open { version, source })?;
    // What the base was is settled; what is in either side would be taken over.
    if let (true, Some(finding)) = (strict && version != Version::Base, file.audit().first()) {
        let rule = finding.kind.name();
        return Err(MergeError::Unsound { version, rule, place: finding.path.clone() });
    }
    Ok(opened)
}

fn text_of(documents: &Documents) -> Result<SecretString, Error> {
    let bytes = documents
        .to_bytes(Format::Binary, Indent::default())
        .map_err(|source| Error::Text(TextProblem::Shape(source)))?;
    bytes.as_str().map(SecretString::new).ok_or(Error::Text(TextProblem::NotUtf8))
}
