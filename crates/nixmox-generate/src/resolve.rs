//! Where references lead.

use nixmox_tree::{SecretTree, Value};

use crate::declare::Declarations;
use crate::error::GenerateError;
use crate::kind::Kind;
use crate::origins::Origins;
use crate::place::{Item, Place, Reference};

/// What a reference leads to.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// A value that stands in the master.
    Written(Value),
    /// A part of a value that is made: the names below it.
    Made(Item, Vec<String>),
}

/// A master's values and declarations, and who supplies what.
pub(crate) struct Scene<'a> {
    pub(crate) nodes: &'a SecretTree,
    pub(crate) declared: &'a Declarations,
    pub(crate) origins: &'a Origins,
}

impl Scene<'_> {
    /// Follows every reference of an item, in their order.
    pub(crate) fn targets(&self, item: &Item, kind: &Kind) -> Result<Vec<Target>, GenerateError> {
        kind.references()
            .into_iter()
            .map(|(parameter, reference)| self.target(item, &parameter, reference))
            .collect()
    }

    /// Follows one reference: to what is written for that level, or to what a host has from the groups above it.
    fn target(
        &self,
        item: &Item,
        parameter: &str,
        reference: &Reference,
    ) -> Result<Target, GenerateError> {
        let Reference { level, path } = reference;
        if let Some(target) = self.at(item, parameter, (level, item.host.as_deref()), path)? {
            return Ok(target);
        }
        // Not at that level itself: if it is a host, its groups may supply it.
        if let Some(from) = self.origins.level(level, path)
            && let Some(target) = self.at(item, parameter, (from, Some(level)), path)?
        {
            return Ok(target);
        }
        Err(GenerateError::NoSuchSecret { item: item.clone(), parameter: parameter.to_owned() })
    }

    /// Looks at one level, on behalf of a host.
    fn at(
        &self,
        item: &Item,
        parameter: &str,
        (level, host): (&str, Option<&str>),
        path: &[String],
    ) -> Result<Option<Target>, GenerateError> {
        for end in 1..=path.len() {
            let (above, below) = path.split_at(end);
            let place = Place { level: level.to_owned(), path: above.to_vec() };
            let Some(declaration) = self.declared.get(&place) else { continue };
            let host = match (declaration.per_host, host) {
                (false, _) => None,
                (true, Some(host)) if self.supplies(&place, host) => Some(host.to_owned()),
                // What that host has instead: its own, or another group's.
                (true, Some(host)) if self.other(&place, host).is_some() => {
                    let other = self.other(&place, host).unwrap_or_default();
                    return self.at(item, parameter, (other, Some(host)), path);
                }
                (true, _) => {
                    return Err(GenerateError::ForEachHost {
                        item: item.clone(),
                        parameter: parameter.to_owned(),
                        target: Box::new(place),
                    });
                }
            };
            return Ok(Some(Target::Made(Item { place, host }, below.to_vec())));
        }
        let names: Vec<&str> =
            std::iter::once(level).chain(path.iter().map(String::as_str)).collect();
        Ok(self.nodes.at(&names).cloned().map(Target::Written))
    }

    /// Returns the level that supplies a host instead of a declaration's.
    fn other(&self, place: &Place, host: &str) -> Option<&str> {
        self.origins.level(host, &place.path).filter(|level| *level != place.level)
    }

    /// Tells whether a host has the value of a declaration that each host has its own of.
    fn supplies(&self, place: &Place, host: &str) -> bool {
        self.origins.level(host, &place.path) == Some(place.level.as_str())
    }
}
