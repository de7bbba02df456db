//! Declarations: what stands in a master where a value would stand.

use std::collections::BTreeMap;

use nixmox_tree::{SecretTree, Value};
use sha2::{Digest, Sha256};

use crate::error::DeclareError;
use crate::fields::Fields;
use crate::kind::{Kind, is_keepable};
use crate::place::Place;
use crate::span::Span;

/// The name that makes a set a declaration. It begins with `_`, so who does not know it delivers nothing.
pub const KEY: &str = "_generate";

/// One value that is declared instead of written.
#[derive(Debug, Clone)]
pub struct Declaration {
    pub(crate) kind: Kind,
    pub(crate) per_host: bool,
    pub(crate) every: Option<Span>,
    pub(crate) renew: Option<Span>,
}

impl Declaration {
    fn parse(place: &Place, tree: &SecretTree) -> Result<Self, DeclareError> {
        let mut fields = Fields::new(place, tree);
        let kind = Kind::parse(&mut fields)?;
        let per_host = fields.flag("perHost")?;
        let every = fields.span("every")?;
        let renew = match &kind {
            Kind::Ca { valid, .. } => renewal(&mut fields, *valid)?,
            Kind::Certificate(certificate) => renewal(&mut fields, certificate.valid)?,
            _ => None,
        };
        fields.finish()?;
        Ok(Self { kind, per_host, every, renew })
    }

    /// Names what is made, as `type` does.
    pub fn kind(&self) -> &'static str {
        self.kind.name()
    }

    /// Tells whether every host below has a value of its own.
    pub fn is_per_host(&self) -> bool {
        self.per_host
    }

    /// Returns how old a value may become.
    pub fn every(&self) -> Option<Span> {
        self.every
    }

    /// Names the parts of the value and tells which are public; one part without a name when it has none.
    pub fn parts(&self) -> Vec<(&str, bool)> {
        self.kind.parts()
    }

    /// Digests what decides what the value is.
    pub(crate) fn digest(&self) -> Sha256 {
        let mut hash = Sha256::new();
        self.kind.digest(&mut hash);
        hash
    }
}

/// Reads how long before its end a certificate is due; a third of its validity without a word.
fn renewal(fields: &mut Fields<'_>, valid: Span) -> Result<Option<Span>, DeclareError> {
    match fields.span("renew")? {
        Some(span) if span >= valid => Err(fields.bad("renew", "shorter than the validity")),
        Some(span) => Ok(Some(span)),
        None => Ok(Some(valid.third())),
    }
}

/// All declarations of a master, by their places.
#[derive(Debug, Clone, Default)]
pub struct Declarations(pub(crate) BTreeMap<Place, Declaration>);

impl Declarations {
    /// Finds the declarations among the `nodes` of an evaluated master.
    ///
    /// # Errors
    ///
    /// [`DeclareError`] for what begins like a declaration and is none.
    pub fn find(nodes: &SecretTree) -> Result<Self, DeclareError> {
        let mut found = Self::default();
        for (level, value) in nodes {
            if let Value::Tree(tree) = value {
                let mut place = Place { level: level.clone(), path: Vec::new() };
                if tree.get(KEY).is_some() {
                    return Err(DeclareError::NoName { level: level.clone() });
                }
                found.walk(tree, &mut place)?;
            }
        }
        Ok(found)
    }

    /// Tells whether anything begins like a declaration; far quicker than finding out what it says.
    pub fn any(nodes: &SecretTree) -> bool {
        nodes.iter().any(|(name, value)| name == KEY || mentions(value))
    }

    /// Tells whether nothing is declared.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Goes through all declarations in order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (&Place, &Declaration)> {
        self.0.iter()
    }

    /// Returns the declaration at a place.
    pub fn get(&self, place: &Place) -> Option<&Declaration> {
        self.0.get(place)
    }

    fn walk(&mut self, tree: &SecretTree, place: &mut Place) -> Result<(), DeclareError> {
        for (name, value) in tree {
            place.path.push(name.clone());
            match value {
                Value::Tree(below) => match below.get(KEY) {
                    Some(declared) => self.declare(below, declared, place)?,
                    None => self.walk(below, place)?,
                },
                Value::List(items) if items.iter().any(mentions) => {
                    return Err(DeclareError::InAList { place: place.clone() });
                }
                _ => {}
            }
            place.path.pop();
        }
        Ok(())
    }

    fn declare(
        &mut self,
        set: &SecretTree,
        declared: &Value,
        place: &Place,
    ) -> Result<(), DeclareError> {
        if let Some((name, _)) = set.iter().find(|(name, _)| *name != KEY) {
            return Err(DeclareError::Company { place: place.clone(), name: name.clone() });
        }
        if !place.path.iter().all(|name| is_keepable(name)) {
            return Err(DeclareError::Name { place: place.clone() });
        }
        let Value::Tree(declared) = declared else {
            let type_name = declared.type_name();
            return Err(DeclareError::NotASet { place: place.clone(), type_name });
        };
        self.0.insert(place.clone(), Declaration::parse(place, declared)?);
        Ok(())
    }

    /// Puts what has the shape of the values where the declarations stand: their parts, without content.
    ///
    /// The cascade then tells of every part which level supplies it.
    #[must_use]
    pub fn placeholders(&self, nodes: &SecretTree) -> SecretTree {
        let mut shaped = nodes.clone();
        for (place, declaration) in &self.0 {
            let mut parts = SecretTree::new();
            let mut value = Value::Null;
            for (part, _) in declaration.parts() {
                if !part.is_empty() {
                    parts.insert(part, Value::Null);
                }
            }
            if !parts.is_empty() {
                value = parts.into();
            }
            put(&mut shaped, place, Some(value));
        }
        shaped
    }
}

/// Puts a value where a declaration stands, or takes the declaration away.
pub(crate) fn put(nodes: &mut SecretTree, place: &Place, value: Option<Value>) {
    let path: Vec<&str> =
        std::iter::once(&place.level).chain(&place.path).map(String::as_str).collect();
    match value {
        // What is in the way of a value is there because a person wrote it, and then it is left alone.
        Some(value) => drop(nodes.insert_at(&path, value)),
        None => drop(nodes.remove_at(&path)),
    }
}

fn mentions(value: &Value) -> bool {
    match value {
        Value::Tree(tree) => tree.iter().any(|(name, value)| name == KEY || mentions(value)),
        Value::List(items) => items.iter().any(mentions),
        _ => false,
    }
}
