use std::rc::Rc;

use nixmox_tree::SecretString;

use crate::ast::{Lambda, Sym, index};
use crate::builtins::Builtin;
use crate::error::{Construct, Error, ErrorKind, Span};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ThunkId(u32);

impl ThunkId {
    pub(crate) fn new(at: usize) -> Self {
        Self(u32::try_from(at).unwrap_or(u32::MAX))
    }

    pub(crate) fn plus(self, more: u32) -> Self {
        Self(self.0.saturating_add(more))
    }

    pub(crate) fn index(self) -> Option<usize> {
        index(self.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EnvId(u32);

impl EnvId {
    /// The environment of the whole text.
    pub(crate) const NONE: Self = Self(u32::MAX);

    pub(crate) fn new(at: usize) -> Self {
        Self(u32::try_from(at).unwrap_or(u32::MAX))
    }

    pub(crate) fn index(self) -> Option<usize> {
        index(self.0)
    }
}

/// A value whose outermost shape is known.
#[derive(Clone)]
pub(crate) enum V {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(SecretString),
    List(Rc<[ThunkId]>),
    Set(Rc<Set>),
    Lambda(Rc<Lambda>, EnvId),
    /// A builtin and the arguments it has so far.
    Builtin(Builtin, Rc<[ThunkId]>),
    /// The set of builtins, which has no list of its names.
    Builtins,
}

impl V {
    pub(crate) fn set(set: Set) -> Self {
        Self::Set(Rc::new(set))
    }

    pub(crate) fn str(text: &str) -> Self {
        Self::Str(SecretString::new(text))
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a Boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Str(_) => "a string",
            Self::List(_) => "a list",
            Self::Set(_) | Self::Builtins => "a set",
            Self::Lambda(..) | Self::Builtin(..) => "a function",
        }
    }

    /// The error for a value of the wrong type.
    pub(crate) fn expected(&self, expected: &'static str, span: Span) -> Error {
        let kind = match self {
            Self::Builtins => ErrorKind::Unsupported(Construct::BuiltinsSet),
            other => ErrorKind::Type { expected, found: other.type_name() },
        };
        Error::new(kind, span)
    }
}

/// An attribute of an evaluated set.
#[derive(Clone, Copy)]
pub(crate) struct AttrValue {
    pub(crate) name: Sym,
    pub(crate) thunk: ThunkId,
    /// Where its name is written.
    pub(crate) span: Span,
}

/// Attributes in order of their symbols.
#[derive(Clone, Default)]
pub(crate) struct Set(Vec<AttrValue>);

impl Set {
    pub(crate) fn from_sorted(attrs: Vec<AttrValue>) -> Self {
        Self(attrs)
    }

    /// Makes a set of attributes in any order; of equal names the first stays.
    pub(crate) fn first_wins(mut attrs: Vec<AttrValue>) -> Self {
        attrs.sort_by_key(|attr| attr.name);
        attrs.dedup_by_key(|attr| attr.name);
        Self(attrs)
    }

    /// Adds attributes, or tells the place of one that is already there.
    pub(crate) fn add(&mut self, more: Vec<AttrValue>) -> Result<(), Span> {
        if more.is_empty() {
            return Ok(());
        }
        self.0.extend(more);
        self.0.sort_by_key(|attr| attr.name);
        let twice = self.0.windows(2).find_map(|pair| match pair {
            [a, b] if a.name == b.name => Some(b.span),
            _ => None,
        });
        twice.map_or(Ok(()), Err)
    }

    pub(crate) fn get(&self, name: Sym) -> Option<AttrValue> {
        let at = self.0.binary_search_by_key(&name, |attr| attr.name).ok()?;
        self.0.get(at).copied()
    }

    pub(crate) fn attrs(&self) -> &[AttrValue] {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
