use std::rc::Rc;

use super::{Frame, Machine, Thunk};
use crate::ast::{Formals, Lambda};
use crate::builtins;
use crate::error::{Argument, Error, ErrorKind, Span};
use crate::machine::{AttrValue, EnvId, Set, ThunkId, V};

impl Machine<'_> {
    /// Applies a function to one argument.
    pub(crate) fn call(&mut self, function: V, argument: ThunkId, span: Span) -> Result<V, Error> {
        match function {
            V::Lambda(lambda, env) => self.deeper(span, |machine| {
                let inner = match &lambda.formals {
                    None => machine.env(env, Frame::One(argument)),
                    Some(formals) => machine.bind(&lambda, formals, argument, (env, span))?,
                };
                machine.eval(lambda.body, inner)
            }),
            V::Builtin(builtin, so_far) => {
                let args: Rc<[ThunkId]> = so_far.iter().copied().chain([argument]).collect();
                if args.len() < builtin.arity() {
                    return Ok(V::Builtin(builtin, args));
                }
                self.deeper(span, |machine| builtins::run(machine, builtin, &args, span))
            }
            V::Set(set) => {
                let functor = self.names.find("__functor").and_then(|name| set.get(name));
                let Some(functor) = functor else {
                    return Err(V::Set(set).expected("a function", span));
                };
                self.deeper(span, |machine| {
                    let functor = machine.force(functor.thunk, span)?;
                    let itself = machine.value(V::Set(set));
                    let bound = machine.call(functor, itself, span)?;
                    machine.call(bound, argument, span)
                })
            }
            other => Err(other.expected("a function", span)),
        }
    }

    /// Applies a function to two arguments.
    pub(crate) fn call2(&mut self, f: &V, args: [ThunkId; 2], span: Span) -> Result<V, Error> {
        let bound = self.call(f.clone(), args[0], span)?;
        self.call(bound, args[1], span)
    }

    fn bind(
        &mut self,
        lambda: &Lambda,
        formals: &Formals,
        whole: ThunkId,
        (up, span): (EnvId, Span),
    ) -> Result<EnvId, Error> {
        let set = match self.force(whole, span)? {
            V::Set(set) => set,
            other => return Err(other.expected("a set", span)),
        };
        self.spend(formals.list.len(), span)?;
        let inner = self.env(up, Frame::Many([].into()));
        let mut slots = Vec::with_capacity(formals.list.len() + 1);
        slots.extend(lambda.name.map(|_| whole));
        let mut used = 0;
        for formal in &formals.list {
            slots.push(match (set.get(formal.name), formal.default) {
                (Some(attr), _) => {
                    used += 1;
                    attr.thunk
                }
                // Always a thunk of its own: the slots it may refer to are not filled yet.
                (None, Some(default)) => self.push(Thunk::Expr(default, inner)),
                (None, None) => return Err(Error::new(ErrorKind::MissingArgument, span)),
            });
        }
        if !formals.open && used < set.len() {
            return Err(Error::new(ErrorKind::UnexpectedArgument, span));
        }
        if let Some(env) = inner.index().and_then(|at| self.envs.get_mut(at)) {
            env.frame = Frame::Many(slots.into_boxed_slice());
        }
        Ok(inner)
    }

    /// Evaluates a master: a function is applied to its own result as `secrets`.
    pub(crate) fn master(&mut self) -> Result<V, Error> {
        let span = self.root_span();
        let V::Lambda(lambda, env) = self.root()? else { return self.root() };
        let known = Argument::ALL.map(|argument| (argument.name(), Some(argument)));
        let mut attrs = Vec::new();
        let secrets = self.push(Thunk::Busy);
        for (name, argument) in known.into_iter().chain([("secrets", None)]) {
            let name = self.names.intern(name);
            let thunk = argument.map_or(secrets, |argument| self.unavailable(argument));
            let wanted = lambda.formals.as_ref().is_none_or(|formals| {
                formals.open || formals.list.iter().any(|formal| formal.name == name)
            });
            if wanted {
                attrs.push(AttrValue { name, thunk, span });
            }
        }
        let argument = self.value(V::set(Set::first_wins(attrs)));
        let function = self.value(V::Lambda(lambda, env));
        if let Some(thunk) = secrets.index().and_then(|at| self.thunks.get_mut(at)) {
            *thunk = Thunk::Call(function, argument);
        }
        self.force(secrets, span)
    }
}
