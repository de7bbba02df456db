//! The parameters of one declaration, read with care: what is left over is an error.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_tree::{SecretString, SecretTree, Value};

use crate::error::DeclareError;
use crate::kind::{self, is_keepable};
use crate::place::{Place, Reference};
use crate::span::Span;

/// The longest text of a parameter, in bytes.
const MAX_TEXT: usize = 256 * 1024;

/// Parameters that are being read.
pub(crate) struct Fields<'a> {
    place: &'a Place,
    tree: &'a SecretTree,
    read: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(place: &'a Place, tree: &'a SecretTree) -> Self {
        Self { place, tree, read: BTreeSet::new() }
    }

    fn take(&mut self, name: &'static str) -> Option<&'a Value> {
        self.read.insert(name);
        self.tree.get(name).filter(|value| !matches!(value, Value::Null))
    }

    /// Makes the error of a parameter that is not what it must be.
    pub(crate) fn bad(&self, name: &'static str, wanted: &'static str) -> DeclareError {
        DeclareError::Bad { place: self.place.clone(), name, wanted }
    }

    fn missing(&self, name: &'static str) -> DeclareError {
        DeclareError::Missing { place: self.place.clone(), name }
    }

    /// Refuses parameters that nobody has asked for.
    pub(crate) fn finish(self) -> Result<(), DeclareError> {
        match self.tree.iter().find(|(name, _)| !self.read.contains(name.as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                Err(DeclareError::Unknown { place: self.place.clone(), name: name.clone() })
            }
        }
    }

    /// Reads `type`.
    pub(crate) fn type_name(&mut self) -> Result<&'static str, DeclareError> {
        let name = self.take("type").and_then(Value::as_str);
        let known = name.and_then(|name| kind::NAMES.iter().find(|known| **known == name));
        known.copied().ok_or_else(|| DeclareError::Type { place: self.place.clone() })
    }

    pub(crate) fn optional_text(
        &mut self,
        name: &'static str,
    ) -> Result<Option<SecretString>, DeclareError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) if text.len() <= MAX_TEXT => Ok(Some(text.clone())),
            Some(_) => Err(self.bad(name, "a text of at most 256 KiB")),
        }
    }

    pub(crate) fn text(&mut self, name: &'static str) -> Result<SecretString, DeclareError> {
        self.optional_text(name)?.ok_or_else(|| self.missing(name))
    }

    /// Reads a list of texts; none when the parameter is not there.
    pub(crate) fn texts(
        &mut self,
        name: &'static str,
        (least, most): (usize, usize),
        wanted: &'static str,
    ) -> Result<Vec<SecretString>, DeclareError> {
        let items: &[Value] = match self.take(name) {
            None if least > 0 => return Err(self.missing(name)),
            None => &[],
            Some(Value::List(items)) => items,
            Some(_) => return Err(self.bad(name, wanted)),
        };
        let texts: Vec<SecretString> = items
            .iter()
            .filter_map(|item| match item {
                Value::String(text) if !text.is_empty() && text.len() <= MAX_TEXT => {
                    Some(text.clone())
                }
                _ => None,
            })
            .collect();
        let fits = texts.len() == items.len() && (least..=most).contains(&items.len());
        if fits { Ok(texts) } else { Err(self.bad(name, wanted)) }
    }

    pub(crate) fn flag(&mut self, name: &'static str) -> Result<bool, DeclareError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(truth)) => Ok(**truth),
            Some(_) => Err(self.bad(name, "true or false")),
        }
    }

    pub(crate) fn span(&mut self, name: &'static str) -> Result<Option<Span>, DeclareError> {
        let Some(text) = self.optional_text(name)? else { return Ok(None) };
        let span = Span::parse(text.expose());
        span.map(Some).ok_or_else(|| self.bad(name, "a span of time such as 12h, 90d, 6w or 2y"))
    }

    /// Reads a number between two bounds, with a default in between.
    pub(crate) fn number(
        &mut self,
        name: &'static str,
        (least, default, most): (u32, u32, u32),
    ) -> Result<u32, DeclareError> {
        let number = match self.take(name) {
            None => return Ok(default),
            Some(Value::Int(number)) => u32::try_from(**number).ok(),
            Some(_) => None,
        };
        let number = number.filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| self.bad(name, "a number within the bounds that the manual names"))
    }

    pub(crate) fn size(
        &mut self,
        name: &'static str,
        bounds: (u32, u32, u32),
    ) -> Result<usize, DeclareError> {
        let number = self.number(name, bounds)?;
        usize::try_from(number).map_err(|_| self.bad(name, "a number that fits"))
    }

    pub(crate) fn reference(&mut self, name: &'static str) -> Result<Reference, DeclareError> {
        let text = self.text(name)?;
        Reference::parse(text.expose()).ok_or_else(|| self.bad(name, REFERENCE))
    }

    /// Reads a set of references.
    pub(crate) fn references(
        &mut self,
        name: &'static str,
    ) -> Result<BTreeMap<String, Reference>, DeclareError> {
        let wanted = "a set of up to 100 references, such as { token = \"web.token\"; }";
        let empty = SecretTree::new();
        let tree = match self.take(name) {
            None => &empty,
            Some(Value::Tree(tree)) if tree.len() <= 100 => tree,
            Some(_) => return Err(self.bad(name, wanted)),
        };
        tree.iter()
            .map(|(key, value)| {
                let reference = value.as_str().and_then(Reference::parse);
                let reference = reference.filter(|_| is_keepable(key));
                Ok((key.clone(), reference.ok_or_else(|| self.bad(name, wanted))?))
            })
            .collect()
    }
}

const REFERENCE: &str = "a reference to a secret: HOST-OR-GROUP.NAME, such as web.token";
