//! Finds out where every variable's value will be; as in Nix, an undefined variable is an error before evaluation.

use crate::ast::{Ast, Attr, AttrName, Bindings, Expr, ExprId, Lambda, Names, Slot, Sym, index};
use crate::builtins;
use crate::error::{Construct, Error, ErrorKind};

/// Fills the slot of every variable.
pub(crate) fn resolve(ast: &Ast, names: &Names, depth: usize) -> Result<(), Error> {
    let mut scopes = Scopes {
        ast,
        names,
        bound: vec![Vec::new(); names.len()],
        level: 0,
        withs: 0,
        depth: 0,
        most: depth,
    };
    scopes.visit(ast.root)
}

struct Scopes<'a> {
    ast: &'a Ast,
    names: &'a Names,
    /// For every name, where it is bound: environment level and index, innermost last.
    bound: Vec<Vec<(u32, u32)>>,
    level: u32,
    withs: u32,
    depth: usize,
    most: usize,
}

impl Scopes<'_> {
    fn visit(&mut self, id: ExprId) -> Result<(), Error> {
        let node = self.ast.node(id);
        self.depth += 1;
        if self.depth > self.most {
            return Err(Error::new(ErrorKind::TooDeep, node.span));
        }
        match &node.expr {
            Expr::Int(_) | Expr::Float(_) | Expr::Str(_) | Expr::Refused(_) => {}
            Expr::Var(name, slot) => {
                let found = self.find(*name).map_err(|kind| Error::new(kind, node.span))?;
                slot.set(found);
            }
            Expr::Text(parts) | Expr::List(parts) => self.all(parts)?,
            Expr::Set(bindings) if bindings.rec => self.recursive(bindings, None)?,
            Expr::Set(bindings) => {
                self.values(bindings, true)?;
                self.values(bindings, false)?;
            }
            Expr::Let(bindings, body) => self.recursive(bindings, Some(*body))?,
            Expr::Lambda(lambda) => self.lambda(lambda)?,
            Expr::Select { base, path, default } => {
                self.visit(*base)?;
                self.path(path)?;
                default.map_or(Ok(()), |id| self.visit(id))?;
            }
            Expr::HasAttr { base, path } => {
                self.visit(*base)?;
                self.path(path)?;
            }
            Expr::If { condition, yes, no } => self.all(&[*condition, *yes, *no])?,
            Expr::With(set, body) => {
                self.visit(*set)?;
                (self.level, self.withs) = (self.level + 1, self.withs + 1);
                self.visit(*body)?;
                (self.level, self.withs) = (self.level - 1, self.withs - 1);
            }
            Expr::Apply(a, b) | Expr::Assert(a, b) | Expr::Binary(_, a, b) => {
                self.all(&[*a, *b])?;
            }
            Expr::Not(inner) | Expr::Negate(inner) => self.visit(*inner)?,
        }
        self.depth -= 1;
        Ok(())
    }

    fn all(&mut self, ids: &[ExprId]) -> Result<(), Error> {
        ids.iter().try_for_each(|id| self.visit(*id))
    }

    fn path(&mut self, path: &[Attr]) -> Result<(), Error> {
        path.iter().try_for_each(|attr| match attr.name {
            AttrName::Static(_) => Ok(()),
            AttrName::Dynamic(id) => self.visit(id),
        })
    }

    /// Visits the inherited values of a set, or the others with the computed names.
    fn values(&mut self, bindings: &Bindings, inherited: bool) -> Result<(), Error> {
        for binding in bindings.statics.values().filter(|b| b.inherited == inherited) {
            self.visit(binding.value)?;
        }
        for (name, binding) in bindings.dynamics.iter().filter(|_| !inherited) {
            self.all(&[*name, binding.value])?;
        }
        Ok(())
    }

    fn recursive(&mut self, bindings: &Bindings, body: Option<ExprId>) -> Result<(), Error> {
        self.values(bindings, true)?;
        self.inside(bindings.statics.keys().copied(), |scopes| {
            scopes.values(bindings, false)?;
            body.map_or(Ok(()), |body| scopes.visit(body))
        })
    }

    fn lambda(&mut self, lambda: &Lambda) -> Result<(), Error> {
        let formals = lambda.formals.iter().flat_map(|formals| &formals.list);
        let names = lambda.name.into_iter().chain(formals.clone().map(|formal| formal.name));
        self.inside(names, |scopes| {
            for default in formals.filter_map(|formal| formal.default) {
                scopes.visit(default)?;
            }
            scopes.visit(lambda.body)
        })
    }

    fn inside(
        &mut self,
        names: impl Iterator<Item = Sym> + Clone,
        work: impl FnOnce(&mut Self) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.level += 1;
        for (at, name) in (0..).zip(names.clone()) {
            let level = self.level;
            if let Some(bound) = index(name.0).and_then(|n| self.bound.get_mut(n)) {
                bound.push((level, at));
            }
        }
        work(self)?;
        for name in names {
            if let Some(bound) = index(name.0).and_then(|n| self.bound.get_mut(n)) {
                bound.pop();
            }
        }
        self.level -= 1;
        Ok(())
    }

    fn find(&self, name: Sym) -> Result<Slot, ErrorKind> {
        let bound = index(name.0).and_then(|n| self.bound.get(n)).and_then(|b| b.last());
        if let Some((level, index)) = bound {
            return Ok(Slot::Local { up: self.level - level, index: *index });
        }
        let text = self.names.text(name);
        if builtins::global(text).is_some() {
            return Ok(Slot::Global);
        }
        match (text.starts_with("__"), self.withs) {
            (true, _) => Err(ErrorKind::Unsupported(Construct::MagicName)),
            (false, 0) => Err(ErrorKind::UndefinedVariable),
            (false, _) => Ok(Slot::With),
        }
    }
}
