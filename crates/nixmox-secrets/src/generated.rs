//! Declared values within a fleet: from the master's declarations to the tree that the cascade resolves.

pub(crate) mod file;
pub(crate) mod public;
mod view;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use nixmox_generate::{
    Declarations, Exposed, Item, Origins, Place, Records, Request, Why, due, exposed, fill, settle,
    split, stale,
};
use nixmox_topology::Topology;
use nixmox_tree::SecretTree;
use rand_core::{CryptoRng, RngCore};

use crate::Error;
use crate::fleet::Fleet;
use crate::generation::{Generation, Regenerate};
use crate::store::RelPath;

pub use view::{Listed, Source, View, view};

/// What a master declares, and what the cascade says about it.
pub(crate) struct Declared {
    pub(crate) nodes: SecretTree,
    pub(crate) declarations: Declarations,
    pub(crate) origins: Origins,
}

/// What is declared, with the values.
pub(crate) struct Settled {
    pub(crate) declared: Declared,
    pub(crate) records: Records,
    /// What was made and dropped.
    pub(crate) notes: BTreeMap<String, Why>,
    /// The tree with the values in it.
    pub(crate) filled: SecretTree,
}

impl Declared {
    /// Finds the declarations among `nodes`, and whom each of them reaches.
    pub(crate) fn find(topology: &Topology, nodes: SecretTree) -> Result<Self, Error> {
        let declarations = if Declarations::any(&nodes) {
            Declarations::find(&nodes).map_err(Error::Declare)?
        } else {
            Declarations::default()
        };
        let mut origins = Origins::default();
        if !declarations.is_empty() {
            let shaped = declarations.placeholders(&nodes);
            let mut note = |host: &str, path: &[&str], level: &str| origins.note(host, path, level);
            nixmox_cascade::origins(topology, &shaped, &mut note).map_err(Error::Cascade)?;
        }
        Ok(Self { nodes, declarations, origins })
    }

    /// Puts together what the generators work on.
    pub(crate) fn request<'a>(
        &'a self,
        records: &'a Records,
        generation: Generation<'a>,
        now: Timestamp,
    ) -> Request<'a> {
        Request {
            nodes: &self.nodes,
            declared: &self.declarations,
            origins: &self.origins,
            records,
            sandbox: generation.sandbox,
            now,
        }
    }

    /// Makes what is missing or does not fit any more, and what is asked for.
    pub(crate) fn settle(
        self,
        old: &Records,
        generation: Generation<'_>,
        rng: &mut (impl RngCore + CryptoRng),
        now: Timestamp,
    ) -> Result<Settled, Error> {
        let request = self.request(old, generation, now);
        let chosen = self.chosen(request, generation.again)?;
        let again = |item: &Item| chosen.contains(item);
        let (records, notes) = settle(request, &again, rng).map_err(Error::Generate)?;
        let filled = fill(Request { records: &records, ..request });
        Ok(Settled { declared: self, records, notes, filled })
    }

    /// Names what would be made or dropped.
    pub(crate) fn differing(&self, records: &Records) -> Result<Vec<String>, Error> {
        let request = self.request(records, Generation::default(), Timestamp::MIN);
        Ok(stale(request).map_err(Error::Generate)?.into_keys().collect())
    }

    /// Finds what is made anew although nothing about it has changed.
    fn chosen(&self, request: Request<'_>, again: &Regenerate) -> Result<BTreeSet<Item>, Error> {
        let items = self.origins.items(&self.declarations).into_iter();
        match again {
            Regenerate::Nothing => Ok(BTreeSet::new()),
            Regenerate::Due => Ok(items.filter(|item| self.is_due(request, item)).collect()),
            Regenerate::ReadBy(host) => {
                let Exposed { items, .. } = exposed(request, host).map_err(Error::Generate)?;
                Ok(items)
            }
            Regenerate::Paths(paths) => {
                let items: Vec<Item> = items.collect();
                let mut chosen = BTreeSet::new();
                for path in paths {
                    let matching = items.iter().filter(|item| is_below(item, path));
                    let before = chosen.len();
                    let matching: BTreeSet<Item> = matching.cloned().collect();
                    if matching.is_empty() && before == chosen.len() {
                        return Err(Error::NotGenerated { path: path.clone() });
                    }
                    chosen.extend(matching);
                }
                Ok(chosen)
            }
        }
    }

    fn is_due(&self, request: Request<'_>, item: &Item) -> bool {
        let declaration = self.declarations.get(&item.place);
        let known = declaration.zip(request.records.get(item));
        known.and_then(|(d, record)| due(d, record)).is_some_and(|due| due <= request.now)
    }
}

impl Settled {
    /// Writes the files of public parts, by where they belong.
    pub(crate) fn public(&self, fleet: &Fleet) -> Result<BTreeMap<RelPath, Vec<u8>>, Error> {
        let request = self.declared.request(&self.records, Generation::default(), Timestamp::MIN);
        let mut files = BTreeMap::new();
        for host in fleet.topology.hosts() {
            let parts = nixmox_generate::public(request, host);
            if let Some(bytes) = public::to_bytes(&parts) {
                files.insert(fleet.layout.public_parts(&fleet.topology.dir(host))?, bytes);
            }
        }
        Ok(files)
    }
}

/// Tells whether an item is declared, or stands, at or below a path.
fn is_below(item: &Item, path: &str) -> bool {
    let Some(mut names) = split(path) else { return false };
    if names.first().is_some_and(|name| name == "nodes") {
        names.remove(0);
    }
    let starts = |place: &Place| {
        let full: Vec<&String> = std::iter::once(&place.level).chain(&place.path).collect();
        names.len() <= full.len() && names.iter().zip(full).all(|(a, b)| a == b)
    };
    !names.is_empty() && (starts(&item.place) || starts(&item.stands_at()))
}
