//! What the cascade says about placeholders: which level supplies each part of each host's secrets.

use std::collections::BTreeMap;

use crate::declare::Declarations;
use crate::place::{Item, Place};

/// For every host, the level that supplies each of its leaves, by path.
#[derive(Debug, Clone, Default)]
pub struct Origins(BTreeMap<String, BTreeMap<Vec<String>, String>>);

impl Origins {
    /// Notes that `level` supplies what `host` has at `path`.
    pub fn note(&mut self, host: &str, path: &[&str], level: &str) {
        let path = path.iter().map(|name| (*name).to_owned()).collect();
        let leaves = self.0.entry(host.to_owned()).or_default();
        leaves.insert(path, level.to_owned());
    }

    /// Returns the level that supplies what a host has at a path, or at its end below it or above it.
    pub(crate) fn level(&self, host: &str, path: &[String]) -> Option<&str> {
        let leaves = self.0.get(host)?;
        let below = leaves.range(path.to_vec()..).next();
        if let Some((_, level)) = below.filter(|(leaf, _)| leaf.starts_with(path)) {
            return Some(level);
        }
        let above = (1..path.len()).rev().find_map(|end| leaves.get(path.get(..end)?));
        above.map(String::as_str)
    }

    /// Returns what there is to be made: one item for all, or one for each host that a declaration reaches.
    pub fn items(&self, declared: &Declarations) -> Vec<Item> {
        let shared = declared.0.iter().filter(|(_, d)| !d.per_host);
        let mut items: Vec<Item> =
            shared.map(|(place, _)| Item { place: place.clone(), host: None }).collect();
        for (host, leaves) in &self.0 {
            for (path, level) in leaves {
                let Some((place, _)) = declaration(declared, level, path) else { continue };
                let item = Item { place: place.clone(), host: Some(host.clone()) };
                // The parts of one value stand beside each other.
                let per_host = declared.get(place).is_some_and(|d| d.per_host);
                if per_host && items.last() != Some(&item) {
                    items.push(item);
                }
            }
        }
        items.sort();
        items.dedup();
        items
    }

    /// Goes through everything that a host is supplied with by declarations, part by part.
    pub(crate) fn parts<'a>(
        &'a self,
        declared: &'a Declarations,
        host: &str,
    ) -> impl Iterator<Item = (&'a [String], Item, &'a str)> {
        let host = host.to_owned();
        let leaves = self.0.get(&host).into_iter().flatten();
        leaves.filter_map(move |(path, level)| {
            let (place, part) = declaration(declared, level, path)?;
            let per_host = declared.get(place)?.per_host;
            let item = Item { place: place.clone(), host: per_host.then(|| host.clone()) };
            Some((path.as_slice(), item, part))
        })
    }

    /// Names all hosts that have anything.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Finds the declaration at `level` that a leaf belongs to, and which part of it the leaf is.
fn declaration<'a>(
    declared: &'a Declarations,
    level: &str,
    leaf: &'a [String],
) -> Option<(&'a Place, &'a str)> {
    let at = |path: &[String]| {
        let place = Place { level: level.to_owned(), path: path.to_vec() };
        declared.0.get_key_value(&place)
    };
    if let Some((place, _)) = at(leaf) {
        return Some((place, ""));
    }
    let (part, above) = leaf.split_last()?;
    let (place, declaration) = at(above)?;
    let known = declaration.parts().iter().any(|(name, _)| name == part);
    known.then_some((place, part.as_str()))
}
