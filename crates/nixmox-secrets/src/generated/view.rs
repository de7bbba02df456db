//! Declared values for those who only read: what was made is put in, nothing is made.

use std::collections::BTreeMap;

use jiff::Timestamp;
use nixmox_generate::{Exposed, Item, Records, due, exposed, fill};
use nixmox_tree::SecretTree;

use super::{Declared, file};
use crate::Error;
use crate::edit::Options;
use crate::fleet::Fleet;
use crate::hosts::Generated;
use crate::master::Master;

/// The secrets of a fleet with the values that were made for it.
pub struct View {
    declared: Declared,
    records: Records,
    filled: SecretTree,
    sources: BTreeMap<(String, Vec<String>), Source>,
}

/// What makes a value that is not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The host or group where it is declared.
    pub level: String,
    /// What makes it, as `type` names it.
    pub kind: &'static str,
    /// Whether every host has its own.
    pub per_host: bool,
}

/// One value that is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What it is.
    pub item: Item,
    /// What makes it.
    pub kind: &'static str,
    /// When it was made; `None` when it is not yet.
    pub made: Option<Timestamp>,
    /// When it is due to be made anew.
    pub due: Option<Timestamp>,
    /// When it ends, for certificates.
    pub expires: Option<Timestamp>,
    /// The names of its public parts.
    pub public: Vec<String>,
}

/// Puts what was made for a fleet into the `nodes` of its evaluated master.
///
/// What is declared and was not made yet is left out. Without declarations no file is read.
///
/// # Errors
///
/// [`Error::Declare`], [`Error::Cascade`], and the errors of opening the file of generated values; among them
/// [`Error::UnvouchedGenerated`] when nothing vouches for it.
pub fn view(
    fleet: &Fleet,
    master: &Master,
    nodes: SecretTree,
    options: &Options<'_>,
) -> Result<View, Error> {
    let declared = Declared::find(&fleet.topology, nodes)?;
    let mut records = Records::default();
    if !declared.declarations.is_empty() {
        let found = Generated::read_generated(fleet)?;
        let key = master.file.as_ref().map(nixmox_sops::DecryptedFile::data_key);
        if let Some(opened) = file::open(&found, key, options.identities)? {
            if !opened.vouched && !options.generation.accept {
                return Err(Error::UnvouchedGenerated { path: found.place().clone() });
            }
            records = opened.records;
        }
    }
    Ok(View::new(declared, records))
}

impl View {
    pub(crate) fn new(declared: Declared, records: Records) -> Self {
        let request = declared.request(&records, Default::default(), Timestamp::MIN);
        let filled = fill(request);
        let mut sources = BTreeMap::new();
        for item in declared.origins.items(&declared.declarations) {
            let Some(declaration) = declared.declarations.get(&item.place) else { continue };
            let source = Source {
                level: item.place.level.clone(),
                kind: declaration.kind(),
                per_host: item.host.is_some(),
            };
            for (part, _) in declaration.parts() {
                let place = item.stands_at().part(part);
                sources.insert((place.level, place.path), source.clone());
            }
        }
        Self { records, filled, sources, declared }
    }

    /// Returns the `nodes` with the values in it: what the cascade works on.
    pub fn nodes(&self) -> &SecretTree {
        &self.filled
    }

    /// Returns what makes the value that a host or group has at a path, if one is made there.
    pub fn source(&self, level: &str, path: &[String]) -> Option<&Source> {
        self.sources.get(&(level.to_owned(), path.to_vec()))
    }

    /// Lists everything that is declared, made or not.
    pub fn list(&self) -> Vec<Listed> {
        let listed = |item: Item| {
            let declaration = self.declared.declarations.get(&item.place)?;
            let record = self.records.get(&item);
            let public = declaration.parts().into_iter().filter(|(_, public)| *public);
            Some(Listed {
                kind: declaration.kind(),
                made: record.map(nixmox_generate::Record::made),
                due: record.and_then(|record| due(declaration, record)),
                expires: record.and_then(nixmox_generate::Record::expires),
                public: public.map(|(part, _)| part.to_owned()).collect(),
                item,
            })
        };
        let items = self.declared.origins.items(&self.declared.declarations);
        items.into_iter().filter_map(listed).collect()
    }

    /// Finds what a host can learn from the made values that it is given: themselves, what stands in them, and which
    /// written values do.
    ///
    /// # Errors
    ///
    /// [`Error::Generate`] when a reference leads nowhere.
    pub fn exposed(&self, host: &str) -> Result<Exposed, Error> {
        let request = self.declared.request(&self.records, Default::default(), Timestamp::MIN);
        exposed(request, host).map_err(Error::Generate)
    }

    pub(crate) fn into_settled(self) -> super::Settled {
        let notes = Default::default();
        let Self { declared, records, filled, .. } = self;
        super::Settled { declared, records, notes, filled }
    }
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "View({} generated)", self.records.len())
    }
}
