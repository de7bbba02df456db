use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Args, ThunkId};
use crate::ast::Sym;
use crate::error::{Error, ErrorKind};
use crate::machine::{AttrValue, Set, V};

/// Makes a set of a few known names.
pub(super) fn of(args: &mut Args<'_, '_>, attrs: &[(&str, ThunkId)]) -> V {
    let attrs = attrs.iter().map(|(name, thunk)| args.attr(name, *thunk));
    V::set(Set::first_wins(attrs.collect()))
}

impl Args<'_, '_> {
    fn attr(&mut self, name: &str, thunk: ThunkId) -> AttrValue {
        AttrValue { name: self.machine.names.intern(name), thunk, span: self.span }
    }

    fn set(&mut self, at: usize) -> Result<Rc<Set>, Error> {
        let thunk = self.thunk(at)?;
        self.set_of(thunk)
    }

    fn set_of(&mut self, thunk: ThunkId) -> Result<Rc<Set>, Error> {
        match self.force(thunk)? {
            V::Set(set) => {
                self.spend(set.len())?;
                Ok(set)
            }
            other => Err(other.expected("a set", self.span)),
        }
    }

    /// Reads a name from a text argument.
    fn name(&mut self, thunk: ThunkId) -> Result<Sym, Error> {
        match self.force(thunk)? {
            V::Str(text) => {
                self.spend(text.len() / 8)?;
                Ok(self.machine.names.intern(text.expose()))
            }
            other => Err(other.expected("a string", self.span)),
        }
    }

    /// Returns the attributes in byte order of their names.
    fn by_name(&mut self, at: usize) -> Result<Vec<AttrValue>, Error> {
        let mut attrs = self.set(at)?.attrs().to_vec();
        let names = &self.machine.names;
        attrs.sort_by(|a, b| names.text(a.name).cmp(names.text(b.name)));
        Ok(attrs)
    }

    /// Collects lists of values by name, each in order.
    fn gathered(&mut self, groups: BTreeMap<Sym, Vec<ThunkId>>) -> Vec<AttrValue> {
        let span = self.span;
        let lists = groups.into_iter().map(|(name, items)| {
            let thunk = self.machine.value(V::List(items.into()));
            AttrValue { name, thunk, span }
        });
        lists.collect()
    }
}

pub(super) fn attr_names(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let attrs = args.by_name(0)?;
    Ok(V::List(attrs.iter().map(|attr| args.machine.name_value(attr.name)).collect()))
}

pub(super) fn attr_values(args: &mut Args<'_, '_>) -> Result<V, Error> {
    Ok(V::List(args.by_name(0)?.iter().map(|attr| attr.thunk).collect()))
}

pub(super) fn has_attr(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let thunk = args.thunk(0)?;
    let name = args.name(thunk)?;
    Ok(V::Bool(args.set(1)?.get(name).is_some()))
}

pub(super) fn get_attr(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let thunk = args.thunk(0)?;
    let name = args.name(thunk)?;
    let found = args.set(1)?.get(name).ok_or(args.error(ErrorKind::MissingAttribute))?;
    args.force(found.thunk)
}

pub(super) fn remove_attrs(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let set = args.set(0)?;
    let mut gone = Vec::new();
    for name in args.list(1)?.iter() {
        gone.push(args.name(*name)?);
    }
    gone.sort_unstable();
    let kept = set.attrs().iter().filter(|attr| gone.binary_search(&attr.name).is_err());
    Ok(V::set(Set::from_sorted(kept.copied().collect())))
}

pub(super) fn intersect_attrs(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let (left, right) = (args.set(0)?, args.set(1)?);
    let kept = right.attrs().iter().filter(|attr| left.get(attr.name).is_some());
    Ok(V::set(Set::from_sorted(kept.copied().collect())))
}

pub(super) fn list_to_attrs(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let [name, value] = ["name", "value"].map(|name| args.machine.names.intern(name));
    let mut found: BTreeMap<Sym, AttrValue> = BTreeMap::new();
    for item in args.list(0)?.iter() {
        let item = args.set_of(*item)?;
        let missing = args.error(ErrorKind::MissingAttribute);
        let name = args.name(item.get(name).ok_or(missing)?.thunk)?;
        if let std::collections::btree_map::Entry::Vacant(free) = found.entry(name) {
            let thunk = item.get(value).ok_or(missing)?.thunk;
            free.insert(AttrValue { name, thunk, span: args.span });
        }
    }
    Ok(V::set(Set::from_sorted(found.into_values().collect())))
}

pub(super) fn map_attrs(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let function = args.thunk(0)?;
    let set = args.set(1)?;
    let mapped = set.attrs().iter().map(|attr| {
        let name = args.machine.name_value(attr.name);
        let bound = args.machine.later(function, name);
        AttrValue { thunk: args.machine.later(bound, attr.thunk), ..*attr }
    });
    Ok(V::set(Set::from_sorted(mapped.collect())))
}

pub(super) fn cat_attrs(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let thunk = args.thunk(0)?;
    let name = args.name(thunk)?;
    let mut found = Vec::new();
    for item in args.list(1)?.iter() {
        found.extend(args.set_of(*item)?.get(name).map(|attr| attr.thunk));
    }
    Ok(V::List(found.into()))
}

pub(super) fn group_by(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let function = args.function(0)?;
    let mut groups: BTreeMap<Sym, Vec<ThunkId>> = BTreeMap::new();
    for item in args.list(1)?.iter() {
        let name = args.call(&function, *item)?;
        let name = args.machine.value(name);
        groups.entry(args.name(name)?).or_default().push(*item);
    }
    let attrs = args.gathered(groups);
    Ok(V::set(Set::from_sorted(attrs)))
}

pub(super) fn zip_attrs_with(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let function = args.thunk(0)?;
    let mut groups: BTreeMap<Sym, Vec<ThunkId>> = BTreeMap::new();
    for item in args.list(1)?.iter() {
        for attr in args.set_of(*item)?.attrs() {
            groups.entry(attr.name).or_default().push(attr.thunk);
        }
    }
    args.function(0)?;
    let mut attrs = args.gathered(groups);
    for attr in &mut attrs {
        let name = args.machine.name_value(attr.name);
        let bound = args.machine.later(function, name);
        attr.thunk = args.machine.later(bound, attr.thunk);
    }
    Ok(V::set(Set::from_sorted(attrs)))
}

pub(super) fn function_args(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let formals = match args.value(0)? {
        V::Lambda(lambda, _) => lambda,
        V::Builtin(..) => return Ok(of(args, &[])),
        other => return Err(other.expected("a function", args.span)),
    };
    let mut attrs = Vec::new();
    for formal in formals.formals.iter().flat_map(|formals| &formals.list) {
        let thunk = args.machine.value(V::Bool(formal.default.is_some()));
        attrs.push(AttrValue { name: formal.name, thunk, span: formal.span });
    }
    Ok(V::set(Set::first_wins(attrs)))
}
