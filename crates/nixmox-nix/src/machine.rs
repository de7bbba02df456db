//! The lazy evaluator: values, thunks and environments live in arenas of the machine, which is dropped as a whole.

mod call;
mod data;
mod ops;
mod text;
mod value;

use std::collections::HashMap;

use crate::Limits;
use crate::ast::{Ast, Attr, AttrName, Bindings, Expr, ExprId, Names, Op, Slot, Sym, index};
use crate::builtins::{self, Global};
use crate::error::{Argument, Construct, Error, ErrorKind, Span};
pub(crate) use text::builder;
pub(crate) use value::{AttrValue, EnvId, Set, ThunkId, V};

/// A value that may not be known yet.
enum Thunk {
    Value(V),
    Expr(ExprId, EnvId),
    Call(ThunkId, ThunkId),
    /// An argument that only a real Nix has.
    Unavailable(Argument),
    /// Being evaluated right now.
    Busy,
}

struct Env {
    up: EnvId,
    frame: Frame,
}

enum Frame {
    /// Consecutive thunks: a `let` or `rec`.
    Run(ThunkId),
    One(ThunkId),
    Many(Box<[ThunkId]>),
    With(ThunkId),
}

/// The files that a text imports, parsed into the same tree.
#[derive(Default)]
pub(crate) struct Imports {
    /// Which file the argument of an `import` means.
    pub(crate) targets: HashMap<ExprId, usize>,
    /// The roots of the files, or why they have none.
    pub(crate) roots: Vec<Result<ExprId, Error>>,
}

pub(crate) struct Machine<'a> {
    ast: &'a Ast,
    pub(crate) names: Names,
    thunks: Vec<Thunk>,
    /// Which expression made each thunk, if one did.
    origins: Vec<Option<ExprId>>,
    imports: Imports,
    /// The imported files' values, as far as they were asked for.
    imported: HashMap<usize, ThunkId>,
    envs: Vec<Env>,
    depth: usize,
    max_depth: usize,
    steps: u64,
}

impl<'a> Machine<'a> {
    pub(crate) fn new(ast: &'a Ast, names: Names, limits: &Limits) -> Self {
        Self {
            ast,
            names,
            thunks: Vec::new(),
            origins: Vec::new(),
            imports: Imports::default(),
            imported: HashMap::new(),
            envs: Vec::new(),
            depth: 0,
            max_depth: limits.depth,
            steps: limits.steps,
        }
    }

    pub(crate) fn with_imports(self, imports: Imports) -> Self {
        Self { imports, ..self }
    }

    /// Evaluates the whole text, as far as its outermost shape.
    pub(crate) fn root(&mut self) -> Result<V, Error> {
        self.eval(self.ast.root, EnvId::NONE)
    }

    pub(crate) fn root_span(&self) -> Span {
        self.ast.span(self.ast.root)
    }

    /// Pays for work or memory that is in proportion to `amount`.
    pub(crate) fn spend(&mut self, amount: usize, span: Span) -> Result<(), Error> {
        let amount = u64::try_from(amount).unwrap_or(u64::MAX);
        match self.steps.checked_sub(amount) {
            Some(left) => {
                self.steps = left;
                Ok(())
            }
            None => Err(Error::new(ErrorKind::TooManySteps, span)),
        }
    }

    pub(crate) fn deeper<T>(
        &mut self,
        span: Span,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        self.spend(1, span)?;
        if self.depth >= self.max_depth {
            return Err(Error::new(ErrorKind::TooDeep, span));
        }
        self.depth += 1;
        let result = work(self);
        self.depth -= 1;
        result
    }

    pub(crate) fn eval(&mut self, id: ExprId, env: EnvId) -> Result<V, Error> {
        let node = self.ast.node(id);
        match &node.expr {
            Expr::Int(n) => Ok(V::Int(*n)),
            Expr::Float(n) => Ok(V::Float(*n)),
            Expr::Str(text) => Ok(V::Str(text.clone())),
            Expr::Lambda(lambda) => Ok(V::Lambda(lambda.clone(), env)),
            Expr::Refused(construct) => {
                Err(Error::new(ErrorKind::Unsupported(*construct), node.span))
            }
            expr => self.deeper(node.span, |machine| machine.eval_expr(expr, node.span, env)),
        }
    }

    fn eval_expr(&mut self, expr: &'a Expr, span: Span, env: EnvId) -> Result<V, Error> {
        match expr {
            Expr::Var(name, slot) => self.variable(*name, slot.get(), span, env),
            Expr::Text(parts) => self.text(parts, span, env),
            Expr::List(items) => {
                self.spend(items.len(), span)?;
                Ok(V::List(items.iter().map(|item| self.thunk(*item, env)).collect()))
            }
            Expr::Set(bindings) => self.set(bindings, span, env),
            Expr::Let(bindings, body) => {
                let inner = self.recursive_env(bindings, span, env)?;
                self.eval(*body, inner)
            }
            Expr::Apply(_, argument) if self.imports.targets.contains_key(argument) => {
                let file = self.import(*argument, span)?;
                self.force(file, span)
            }
            Expr::Apply(function, argument) => {
                let function = self.eval(*function, env)?;
                let argument = self.thunk(*argument, env);
                self.call(function, argument, span)
            }
            Expr::Select { base, path, default } => self.select(*base, path, *default, env),
            Expr::HasAttr { base, path } => self.has_attr(*base, path, env),
            Expr::If { condition, yes, no } => {
                let branch = if self.eval_bool(*condition, env)? { *yes } else { *no };
                self.eval(branch, env)
            }
            Expr::With(set, body) => {
                let set = self.thunk(*set, env);
                let inner = self.env(env, Frame::With(set));
                self.eval(*body, inner)
            }
            Expr::Assert(condition, body) => {
                if !self.eval_bool(*condition, env)? {
                    return Err(Error::new(ErrorKind::AssertionFailed, span));
                }
                self.eval(*body, env)
            }
            Expr::Not(inner) => Ok(V::Bool(!self.eval_bool(*inner, env)?)),
            Expr::Negate(inner) => {
                let inner = self.eval(*inner, env)?;
                self.arithmetic(Op::Sub, &V::Int(0), &inner, span)
            }
            Expr::Binary(op, a, b) => self.binary(*op, *a, *b, env),
            // `eval` has dealt with the rest.
            _ => Err(Error::new(ErrorKind::Unsupported(Construct::Builtin), span)),
        }
    }

    /// Makes a value that is evaluated when it is needed.
    pub(crate) fn thunk(&mut self, id: ExprId, env: EnvId) -> ThunkId {
        let node = self.ast.node(id);
        let thunk = match &node.expr {
            Expr::Int(n) => Thunk::Value(V::Int(*n)),
            Expr::Float(n) => Thunk::Value(V::Float(*n)),
            Expr::Str(text) => Thunk::Value(V::Str(text.clone())),
            Expr::Lambda(lambda) => Thunk::Value(V::Lambda(lambda.clone(), env)),
            Expr::Var(_, slot) => match self.local(slot.get(), env) {
                Some(known) => return known,
                None => Thunk::Expr(id, env),
            },
            _ => Thunk::Expr(id, env),
        };
        self.push_from(thunk, Some(id))
    }

    fn push(&mut self, thunk: Thunk) -> ThunkId {
        self.push_from(thunk, None)
    }

    fn push_from(&mut self, thunk: Thunk, origin: Option<ExprId>) -> ThunkId {
        let id = ThunkId::new(self.thunks.len());
        self.thunks.push(thunk);
        self.origins.push(origin);
        id
    }

    /// Finds the thunk of an imported file.
    fn import(&mut self, argument: ExprId, span: Span) -> Result<ThunkId, Error> {
        let refused = Error::new(ErrorKind::Unsupported(Construct::Import), span);
        let file = *self.imports.targets.get(&argument).ok_or(refused)?;
        if let Some(known) = self.imported.get(&file) {
            return Ok(*known);
        }
        let root = *self.imports.roots.get(file).ok_or(refused)?;
        let thunk = self.push_from(Thunk::Expr(root?, EnvId::NONE), Some(root?));
        self.imported.insert(file, thunk);
        Ok(thunk)
    }

    /// Tells where the text of a value is, if one expression is all of it.
    pub(crate) fn origin(&self, thunk: ThunkId) -> Option<Span> {
        let origin = thunk.index().and_then(|at| self.origins.get(at)).copied().flatten();
        origin.map(|id| self.written(id))
    }

    /// Looks through what only stands around a value.
    pub(crate) fn written(&self, id: ExprId) -> Span {
        let mut id = id;
        while let Expr::Let(_, body) | Expr::With(_, body) | Expr::Assert(_, body) =
            &self.ast.node(id).expr
        {
            id = *body;
        }
        self.ast.span(id)
    }

    pub(crate) fn value(&mut self, value: V) -> ThunkId {
        self.push(Thunk::Value(value))
    }

    /// Makes a call that is made when its result is needed.
    pub(crate) fn later(&mut self, function: ThunkId, argument: ThunkId) -> ThunkId {
        self.push(Thunk::Call(function, argument))
    }

    pub(crate) fn unavailable(&mut self, argument: Argument) -> ThunkId {
        self.push(Thunk::Unavailable(argument))
    }

    /// Evaluates a thunk, once.
    pub(crate) fn force(&mut self, id: ThunkId, span: Span) -> Result<V, Error> {
        let Some(thunk) = id.index().and_then(|at| self.thunks.get_mut(at)) else {
            return Err(Error::new(ErrorKind::InfiniteRecursion, span));
        };
        if let Thunk::Value(value) = thunk {
            return Ok(value.clone());
        }
        let work = std::mem::replace(thunk, Thunk::Busy);
        let result = match work {
            Thunk::Value(ref value) => Ok(value.clone()),
            Thunk::Expr(expr, env) => self.eval(expr, env),
            Thunk::Call(function, argument) => self.deeper(span, |machine| {
                let function = machine.force(function, span)?;
                machine.call(function, argument, span)
            }),
            Thunk::Unavailable(name) => Err(Error::new(ErrorKind::NotAvailable(name), span)),
            Thunk::Busy => Err(Error::new(ErrorKind::InfiniteRecursion, span)),
        };
        if let Some(thunk) = id.index().and_then(|at| self.thunks.get_mut(at)) {
            *thunk = match &result {
                Ok(value) => Thunk::Value(value.clone()),
                Err(_) => work,
            };
        }
        result
    }

    fn env(&mut self, up: EnvId, frame: Frame) -> EnvId {
        let id = EnvId::new(self.envs.len());
        self.envs.push(Env { up, frame });
        id
    }

    fn local(&self, slot: Slot, env: EnvId) -> Option<ThunkId> {
        let Slot::Local { up, index: at } = slot else { return None };
        let mut env = env;
        for _ in 0..up {
            env = self.envs.get(env.index()?)?.up;
        }
        match &self.envs.get(env.index()?)?.frame {
            Frame::Run(first) => Some(first.plus(at)),
            Frame::One(only) => Some(*only),
            Frame::Many(slots) => slots.get(index(at)?).copied(),
            Frame::With(_) => None,
        }
    }

    fn variable(&mut self, name: Sym, slot: Slot, span: Span, env: EnvId) -> Result<V, Error> {
        match slot {
            Slot::Local { up, .. } => {
                self.spend(index(up).unwrap_or(usize::MAX) / 8, span)?;
                let found = self.local(slot, env);
                let found = found.ok_or(Error::new(ErrorKind::UndefinedVariable, span))?;
                self.force(found, span)
            }
            Slot::Global => match builtins::global(self.names.text(name)) {
                Some(global) => global_value(global, span),
                None => Err(Error::new(ErrorKind::UndefinedVariable, span)),
            },
            Slot::With => self.in_withs(name, span, env),
            Slot::Unknown => Err(Error::new(ErrorKind::UndefinedVariable, span)),
        }
    }

    fn in_withs(&mut self, name: Sym, span: Span, env: EnvId) -> Result<V, Error> {
        let mut env = env;
        while let Some(found) = env.index().and_then(|at| self.envs.get(at)) {
            env = found.up;
            let Frame::With(set) = found.frame else { continue };
            self.spend(1, span)?;
            match self.force(set, span)? {
                V::Set(set) => {
                    if let Some(attr) = set.get(name) {
                        return self.force(attr.thunk, span);
                    }
                }
                V::Builtins => {
                    let global = builtins::builtin(self.names.text(name));
                    return global_value(global, span);
                }
                other => return Err(other.expected("a set", span)),
            }
        }
        Err(Error::new(ErrorKind::UndefinedVariable, span))
    }

    fn recursive_env(
        &mut self,
        bindings: &Bindings,
        span: Span,
        up: EnvId,
    ) -> Result<EnvId, Error> {
        self.spend(bindings.statics.len(), span)?;
        let first = ThunkId::new(self.thunks.len());
        let inner = self.env(up, Frame::Run(first));
        for binding in bindings.statics.values() {
            let env = if binding.inherited { up } else { inner };
            let thunk = match &self.ast.node(binding.value).expr {
                Expr::Str(text) => Thunk::Value(V::Str(text.clone())),
                _ => Thunk::Expr(binding.value, env),
            };
            self.push_from(thunk, Some(binding.value));
        }
        Ok(inner)
    }

    fn set(&mut self, bindings: &'a Bindings, span: Span, env: EnvId) -> Result<V, Error> {
        let mut attrs = Vec::with_capacity(bindings.statics.len() + bindings.dynamics.len());
        let mut inner = env;
        if bindings.rec {
            let first = ThunkId::new(self.thunks.len());
            inner = self.recursive_env(bindings, span, env)?;
            let thunks = (0..).map(|n| first.plus(n));
            attrs.extend(bindings.statics.iter().zip(thunks).map(|((name, binding), thunk)| {
                AttrValue { name: *name, thunk, span: binding.span }
            }));
        } else {
            self.spend(bindings.statics.len(), span)?;
            for (name, binding) in &bindings.statics {
                let thunk = self.thunk(binding.value, env);
                attrs.push(AttrValue { name: *name, thunk, span: binding.span });
            }
        }
        let mut set = Set::from_sorted(attrs);
        let mut more = Vec::new();
        for (name, binding) in &bindings.dynamics {
            let name = match self.eval(*name, inner)? {
                V::Null => continue,
                V::Str(text) => self.names.intern(text.expose()),
                other => return Err(other.expected("a string", binding.span)),
            };
            let thunk = self.thunk(binding.value, inner);
            more.push(AttrValue { name, thunk, span: binding.span });
        }
        if let Err(twice) = set.add(more) {
            return Err(Error::new(ErrorKind::DuplicateAttribute, twice));
        }
        Ok(V::set(set))
    }

    fn attr_name(&mut self, attr: Attr, env: EnvId) -> Result<Sym, Error> {
        match attr.name {
            AttrName::Static(name) => Ok(name),
            AttrName::Dynamic(id) => match self.eval(id, env)? {
                V::Str(text) => Ok(self.names.intern(text.expose())),
                other => Err(other.expected("a string", attr.span)),
            },
        }
    }

    fn select(
        &mut self,
        base: ExprId,
        path: &[Attr],
        default: Option<ExprId>,
        env: EnvId,
    ) -> Result<V, Error> {
        let mut value = self.eval(base, env)?;
        for attr in path {
            let name = self.attr_name(*attr, env)?;
            let found = match &value {
                V::Set(set) => set.get(name).map(|attr| attr.thunk),
                V::Builtins => {
                    value = global_value(builtins::builtin(self.names.text(name)), attr.span)?;
                    continue;
                }
                other if default.is_none() => return Err(other.expected("a set", attr.span)),
                _ => None,
            };
            value = match (found, default) {
                (Some(thunk), _) => self.force(thunk, attr.span)?,
                (None, Some(default)) => return self.eval(default, env),
                (None, None) => return Err(Error::new(ErrorKind::MissingAttribute, attr.span)),
            };
        }
        Ok(value)
    }

    fn has_attr(&mut self, base: ExprId, path: &[Attr], env: EnvId) -> Result<V, Error> {
        let mut value = self.eval(base, env)?;
        let last = path.len();
        for (at, attr) in (1..).zip(path) {
            let name = self.attr_name(*attr, env)?;
            let found = match &value {
                V::Set(set) => set.get(name).map(|attr| attr.thunk),
                V::Builtins => return Err(value.expected("a set", attr.span)),
                _ => None,
            };
            let Some(found) = found else { return Ok(V::Bool(false)) };
            if at < last {
                value = self.force(found, attr.span)?;
            }
        }
        Ok(V::Bool(true))
    }

    pub(crate) fn eval_bool(&mut self, id: ExprId, env: EnvId) -> Result<bool, Error> {
        let span = self.ast.span(id);
        match self.eval(id, env)? {
            V::Bool(truth) => Ok(truth),
            other => Err(other.expected("a Boolean", span)),
        }
    }
}

fn global_value(global: Global, span: Span) -> Result<V, Error> {
    match global {
        Global::Null => Ok(V::Null),
        Global::Bool(truth) => Ok(V::Bool(truth)),
        Global::Builtins => Ok(V::Builtins),
        Global::Function(function) => Ok(V::Builtin(function, [].into())),
        Global::Refused(construct) => Err(Error::new(ErrorKind::Unsupported(construct), span)),
    }
}
