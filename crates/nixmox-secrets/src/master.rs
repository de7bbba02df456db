//! The master: the one file of secrets that people edit.

use std::collections::BTreeSet;
use std::path::Path;

use nixmox_nix::{EditError, Limits};
use nixmox_sops::{DecryptedFile, Documents, EncryptedFile, Format, Identities, Indent, detect};
use nixmox_tree::{SecretBytes, SecretString, SecretTree, Value};
use sha2::{Digest, Sha256};

use crate::edit::{RealNix, ask_real_nix};
use crate::fleet::{FILE_LIMIT, Fleet, has_overlay};
use crate::layout::{Arrangement, Layout};
use crate::store::{RelPath, Store};
use crate::{Error, TextProblem};

/// What the master's text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// A Nix expression, sealed as sops *binary*: Nixverse's form and the default.
    Nix,
    /// YAML, sealed leaf by leaf, so that names show in diffs and plain sops edits it.
    Yaml,
}

impl Form {
    /// Returns the sops format of the form.
    pub fn format(self) -> Format {
        match self {
            Self::Nix => Format::Binary,
            Self::Yaml => Format::Yaml,
        }
    }
}

/// A master file, opened.
#[derive(Debug)]
pub struct Master {
    /// What the text is written in.
    pub(crate) form: Form,
    /// The plaintext as an editor shows it.
    pub(crate) text: SecretString,
    /// The opened file; `None` for a master that is yet to be written.
    pub(crate) file: Option<DecryptedFile>,
    /// Where it was found.
    pub(crate) path: RelPath,
    /// SHA-256 of the sealed bytes as they were read.
    pub(crate) base: Option<[u8; 32]>,
    /// Whether the sealed file keeps the rules of strict files.
    pub(crate) sound: bool,
}

impl Master {
    /// Opens the fleet's master; its MAC is checked before any of it is returned.
    ///
    /// # Errors
    ///
    /// [`Error::NoMaster`] when there is none, [`Error::BothAreas`] when there is one inside and one outside
    /// `private/`, [`Error::Parse`] and [`Error::Open`] when it is malformed, has been tampered with, or no identity
    /// opens it.
    pub fn open(fleet: &Fleet, identities: &Identities) -> Result<Self, Error> {
        Self::find(&fleet.store, &fleet.layout, identities)
    }

    /// Opens the master of the fleet at `root` without a look at its nodes: all that reading a value takes.
    ///
    /// # Errors
    ///
    /// As for [`Master::open`], and [`Error::Store`] when the fleet cannot be read.
    pub fn open_alone(root: &Path, identities: &Identities) -> Result<Self, Error> {
        let store = Store::open(root)?;
        // Where the master lies does not depend on the arrangement of hosts' files.
        let layout = Layout { arrangement: Arrangement::default(), private: has_overlay(&store)? };
        Self::find(&store, &layout, identities)
    }

    fn find(store: &Store, layout: &Layout, identities: &Identities) -> Result<Self, Error> {
        let wanted = layout.master()?;
        let mut found = store.read(&wanted, FILE_LIMIT)?.map(|bytes| (wanted.clone(), bytes));
        if layout.private {
            let public = layout.public_twin().master()?;
            if let Some(bytes) = store.read(&public, FILE_LIMIT)? {
                if found.is_some() {
                    return Err(Error::BothAreas { public, private: wanted });
                }
                found = Some((public, bytes));
            }
        }
        let (path, bytes) = found.ok_or(Error::NoMaster { path: wanted })?;
        Self::decrypt(path, &bytes, identities)
    }

    /// Makes a master that is yet to be written, with `text` to start from.
    ///
    /// # Errors
    ///
    /// [`Error::Path`], never in practice.
    pub fn fresh(fleet: &Fleet, form: Form, text: SecretString) -> Result<Self, Error> {
        Ok(Self { form, text, file: None, path: fleet.layout.master()?, base: None, sound: true })
    }

    /// Returns what the text is written in.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Returns the plaintext as an editor shows it.
    pub fn text(&self) -> &SecretString {
        &self.text
    }

    /// Tells whether the sealed file names others as its recipients than these.
    pub(crate) fn is_for_others(&self, wanted: &BTreeSet<String>) -> bool {
        let labels = |file: &DecryptedFile| {
            file.metadata().recipients().into_iter().map(str::to_owned).collect::<BTreeSet<_>>()
        };
        self.file.as_ref().is_some_and(|file| labels(file) != *wanted)
    }

    /// Returns the path of the sealed file.
    pub fn path(&self) -> &RelPath {
        &self.path
    }

    fn decrypt(path: RelPath, bytes: &[u8], identities: &Identities) -> Result<Self, Error> {
        let parsed = EncryptedFile::parse_json(bytes)
            .map_or_else(|| EncryptedFile::parse(bytes, Format::Yaml), Ok)
            .map_err(|source| Error::Parse { path: path.clone(), source })?;
        let format = parsed.format();
        let file =
            parsed.open(identities).map_err(|source| Error::Open { path: path.clone(), source })?;
        let form = if format == Format::Binary { Form::Nix } else { Form::Yaml };
        let text = plain_text(&file, form)?;
        let base = Some(Sha256::digest(bytes).into());
        Ok(Self { form, text, file: Some(file), path, base, sound: parsed.audit().is_empty() })
    }
}

/// Tells how a master is sealed; dotenv and ini are no forms of one, and read as YAML they say so.
pub(crate) fn sealed_format(bytes: &[u8]) -> Format {
    match detect(bytes) {
        Some(format @ (Format::Json | Format::Binary)) => format,
        _ => Format::Yaml,
    }
}

/// Turns an opened master into the text that an editor shows.
fn plain_text(file: &DecryptedFile, form: Form) -> Result<SecretString, Error> {
    let bytes = file
        .documents()
        .to_bytes(form.format(), Indent::default())
        .map_err(|source| Error::Text(TextProblem::Shape(source)))?;
    let text = bytes.as_str().ok_or(Error::Text(TextProblem::NotUtf8))?;
    Ok(SecretString::new(text))
}

/// Evaluates a master's text to the tree it means: `nodes` and whatever stands beside it for reference.
///
/// Nix goes through the embedded evaluator, or through `real_nix` when one is given.
///
/// # Errors
///
/// [`Error::Text`] with the place and the cause.
pub fn evaluate(
    form: Form,
    text: &SecretString,
    real_nix: Option<&RealNix>,
) -> Result<SecretTree, Error> {
    match (form, real_nix) {
        (Form::Yaml, _) => {
            let documents = yaml(text)?;
            if documents.len() > 1 {
                return Err(Error::Text(TextProblem::SeveralDocuments));
            }
            documents.to_tree().map_err(|source| Error::Text(TextProblem::Shape(source)))
        }
        (Form::Nix, None) => nixmox_nix::eval_master(text.expose(), &Limits::default())
            .map_err(|source| Error::Text(TextProblem::Nix { text: text.clone(), source })),
        (Form::Nix, Some(nix)) => ask_real_nix(nix, text),
    }
}

/// Returns the `nodes` of an evaluated master: what the cascade works on. Absent means none.
///
/// # Errors
///
/// [`Error::Text`] when `nodes` is there and is no set.
pub fn nodes(master: &SecretTree) -> Result<SecretTree, Error> {
    match master.get("nodes") {
        None => Ok(SecretTree::new()),
        Some(Value::Tree(nodes)) => Ok(nodes.clone()),
        Some(_) => Err(Error::Text(TextProblem::NodesNotASet)),
    }
}

/// Sets the value at `path` in a master's text; in Nix every other byte stays, in YAML every other value and comment.
///
/// # Errors
///
/// [`Error::Text`] when the text does not parse or the path cannot be edited.
pub fn set(
    form: Form,
    text: &SecretString,
    path: &[&str],
    value: &Value,
) -> Result<SecretString, Error> {
    match form {
        Form::Nix => nixmox_nix::set(text.expose(), path, value, &Limits::default())
            .map_err(|source| Error::Text(TextProblem::Edit(source))),
        Form::Yaml => {
            let mut documents = yaml(text)?;
            documents.set(path, value).map_err(|source| Error::Text(TextProblem::Shape(source)))?;
            to_yaml(&documents)
        }
    }
}

/// Removes the value at `path` from a master's text and keeps the rest as [`set`] does.
///
/// In YAML the sets that become empty go too: sops would leave them in the clear.
///
/// # Errors
///
/// [`Error::NoSuchSecret`] when there is none; [`Error::Text`] when the text does not parse or cannot be edited.
pub fn unset(form: Form, text: &SecretString, path: &[&str]) -> Result<SecretString, Error> {
    match form {
        Form::Nix => {
            nixmox_nix::unset(text.expose(), path, &Limits::default()).map_err(
                |source| match source {
                    EditError::Missing => Error::NoSuchSecret { path: path.join(".") },
                    source => Error::Text(TextProblem::Edit(source)),
                },
            )
        }
        Form::Yaml => {
            let mut documents = yaml(text)?;
            if !documents.unset(path) {
                return Err(Error::NoSuchSecret { path: path.join(".") });
            }
            drop_empty(&mut documents, path)?;
            to_yaml(&documents)
        }
    }
}

/// Removes the sets and lists above `path` that hold nothing any more.
fn drop_empty(documents: &mut Documents, path: &[&str]) -> Result<(), Error> {
    let mut above = path;
    while let Some((_, rest)) = above.split_last().filter(|(_, rest)| !rest.is_empty()) {
        above = rest;
        let value = documents.get(above).map_err(|e| Error::Text(TextProblem::Shape(e)))?;
        let empty = match &value {
            Some(Value::Tree(tree)) => tree.is_empty(),
            Some(Value::List(items)) => items.is_empty(),
            _ => false,
        };
        if !empty {
            break;
        }
        documents.unset(above);
    }
    Ok(())
}

fn yaml(text: &SecretString) -> Result<Documents, Error> {
    Documents::parse(text.expose().as_bytes(), Format::Yaml)
        .map_err(|source| Error::Text(TextProblem::Yaml { text: text.clone(), source }))
}

fn to_yaml(documents: &Documents) -> Result<SecretString, Error> {
    let bytes = documents
        .to_bytes(Format::Yaml, Indent::default())
        .map_err(|source| Error::Text(TextProblem::Shape(source)))?;
    Ok(SecretString::new(bytes.as_str().unwrap_or_default()))
}

/// Makes the documents that a master's text is sealed as.
///
/// # Errors
///
/// [`Error::Text`] when YAML does not parse.
pub(crate) fn documents(form: Form, text: &SecretString) -> Result<Documents, Error> {
    match form {
        Form::Nix => Ok(Documents::binary(SecretBytes::from(text))),
        Form::Yaml => yaml(text),
    }
}
