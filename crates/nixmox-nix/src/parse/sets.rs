use std::cell::Cell;
use std::collections::btree_map::Entry;

use super::Parser;
use crate::ast::{
    Attr, AttrName, Binding, BindingSyntax, Bindings, Expr, ExprId, SetSyntax, Slot, Sym,
};
use crate::error::{Construct, Error, ErrorKind, Span};
use crate::lex::Tok;

impl Parser<'_, '_> {
    pub(super) fn set(&mut self) -> Result<ExprId, Error> {
        let start = self.peek()?.span;
        let rec = self.skip(Tok::Rec)?;
        let open = self.expect(Tok::Char(b'{'), "`{`")?.span.end();
        let set = self.ast.add(Expr::Set(Bindings { rec, ..Bindings::default() }), start);
        let bindings = self.bindings(set, Tok::Char(b'}'))?;
        self.expect(Tok::Char(b'}'), "`}`")?;
        let span = self.since(start);
        self.ast.set_span(set, span);
        if self.options.syntax {
            self.ast.syntax.push(SetSyntax { set, span, open, bindings });
        }
        Ok(set)
    }

    /// Reads bindings up to a closing token, which stays, into an empty set.
    pub(super) fn bindings(
        &mut self,
        set: ExprId,
        close: Tok,
    ) -> Result<Vec<BindingSyntax>, Error> {
        let mut written = Vec::new();
        loop {
            let token = self.peek()?;
            if token.tok == close {
                return Ok(written);
            }
            let (path, value) = if token.tok == Tok::Inherit {
                (self.inherit(set)?, None)
            } else {
                let path = self.attr_path()?;
                self.expect(Tok::Char(b'='), "`=`")?;
                let from = self.peek()?.span;
                let value = self.expr()?;
                let span = self.since(from);
                self.define(set, &path, value)?;
                (path, Some((value, span)))
            };
            self.expect(Tok::Char(b';'), "`;`")?;
            if self.options.syntax {
                let span = self.since(token.span);
                written.push(BindingSyntax { span, path, value });
            }
        }
    }

    pub(super) fn attr(&mut self) -> Result<Attr, Error> {
        let token = self.peek()?;
        let name = match token.tok {
            Tok::Name | Tok::Or => {
                self.take()?;
                AttrName::Static(self.sym(token.span))
            }
            Tok::Quote => {
                let id = self.string()?;
                self.fixed_name(id)
            }
            Tok::Interpolation => {
                self.take()?;
                let id = self.expr()?;
                self.expect(Tok::Char(b'}'), "`}`")?;
                self.fixed_name(id)
            }
            _ => return Err(Error::new(ErrorKind::Syntax("a name"), token.span)),
        };
        Ok(Attr { name, span: self.since(token.span) })
    }

    fn fixed_name(&mut self, id: ExprId) -> AttrName {
        match &self.ast.node(id).expr {
            Expr::Str(text) => AttrName::Static(self.names.intern(text.expose())),
            _ => AttrName::Dynamic(id),
        }
    }

    fn inherit(&mut self, set: ExprId) -> Result<Vec<Attr>, Error> {
        self.take()?;
        let from = if self.skip(Tok::Char(b'('))? {
            let from = self.expr()?;
            self.expect(Tok::Char(b')'), "`)`")?;
            Some(from)
        } else {
            None
        };
        let mut inherited = Vec::new();
        while self.peek()?.tok != Tok::Char(b';') {
            let attr = self.attr()?;
            let AttrName::Static(name) = attr.name else {
                return Err(Error::new(ErrorKind::Syntax("a fixed name"), attr.span));
            };
            let expr = match from {
                None => Expr::Var(name, Cell::new(Slot::Unknown)),
                Some(base) => Expr::Select { base, path: Box::new([attr]), default: None },
            };
            let value = self.ast.add(expr, attr.span);
            let binding = Binding { value, inherited: from.is_none(), span: attr.span };
            self.add_static(set, name, binding)?;
            inherited.push(attr);
        }
        Ok(inherited)
    }

    fn add_static(&mut self, set: ExprId, name: Sym, binding: Binding) -> Result<(), Error> {
        let magic = matches!(
            self.names.text(name),
            "__lessThan" | "__sub" | "__mul" | "__div" | "__curPos" | "__overrides"
        );
        let twice = Error::new(ErrorKind::DuplicateAttribute, binding.span);
        let Some(bindings) = self.ast.bindings_mut(set) else { return Err(twice) };
        if magic && bindings.rec {
            let kind = ErrorKind::Unsupported(Construct::MagicName);
            return Err(Error::new(kind, binding.span));
        }
        match bindings.statics.entry(name) {
            Entry::Vacant(free) => {
                free.insert(binding);
                Ok(())
            }
            Entry::Occupied(_) => Err(twice),
        }
    }

    /// Defines `path = value` in a set, as Nix's parser merges it with what is already there.
    fn define(&mut self, set: ExprId, path: &[Attr], value: ExprId) -> Result<(), Error> {
        let Some((last, above)) = path.split_last() else { return Ok(()) };
        let mut set = set;
        for attr in above {
            set = self.inner_set(set, *attr)?;
        }
        let binding = Binding { value, inherited: false, span: last.span };
        match last.name {
            AttrName::Dynamic(name) => {
                if let Some(bindings) = self.ast.bindings_mut(set) {
                    bindings.dynamics.push((name, binding));
                }
                Ok(())
            }
            AttrName::Static(name) => match self.existing(set, name) {
                Some(old) if !old.inherited => self.merge(old.value, value, last.span),
                _ => self.add_static(set, name, binding),
            },
        }
    }

    fn existing(&self, set: ExprId, name: Sym) -> Option<Binding> {
        match &self.ast.node(set).expr {
            Expr::Set(bindings) => bindings.statics.get(&name).copied(),
            _ => None,
        }
    }

    fn inner_set(&mut self, set: ExprId, attr: Attr) -> Result<ExprId, Error> {
        if let AttrName::Static(name) = attr.name
            && let Some(old) = self.existing(set, name)
        {
            let is_set = matches!(self.ast.node(old.value).expr, Expr::Set(_));
            return if is_set && !old.inherited {
                Ok(old.value)
            } else {
                Err(Error::new(ErrorKind::DuplicateAttribute, attr.span))
            };
        }
        let value = self.ast.add(Expr::Set(Bindings::default()), attr.span);
        let binding = Binding { value, inherited: false, span: attr.span };
        match attr.name {
            AttrName::Static(name) => self.add_static(set, name, binding)?,
            AttrName::Dynamic(name) => {
                if let Some(bindings) = self.ast.bindings_mut(set) {
                    bindings.dynamics.push((name, binding));
                }
            }
        }
        Ok(value)
    }

    /// Moves the attributes of a second literal set into the first.
    fn merge(&mut self, into: ExprId, from: ExprId, span: Span) -> Result<(), Error> {
        let twice = Error::new(ErrorKind::DuplicateAttribute, span);
        let both = [into, from].map(|id| matches!(self.ast.node(id).expr, Expr::Set(_)));
        if both != [true, true] {
            return Err(twice);
        }
        let Some(second) = self.ast.bindings_mut(from).map(std::mem::take) else {
            return Err(twice);
        };
        if second.rec || !second.dynamics.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported(Construct::MergedSet), span));
        }
        for (name, binding) in second.statics {
            self.add_static(into, name, binding)?;
        }
        Ok(())
    }
}
