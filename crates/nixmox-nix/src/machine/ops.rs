use std::cmp::Ordering;

use super::Machine;
use crate::ast::{ExprId, Op};
use crate::error::{Construct, Error, ErrorKind, Span};
use crate::machine::{EnvId, Set, ThunkId, V};

impl Machine<'_> {
    pub(super) fn binary(&mut self, op: Op, a: ExprId, b: ExprId, env: EnvId) -> Result<V, Error> {
        let span = self.ast.span(a).to(self.ast.span(b));
        let truth = match op {
            Op::Implies => !self.eval_bool(a, env)? || self.eval_bool(b, env)?,
            Op::Or => self.eval_bool(a, env)? || self.eval_bool(b, env)?,
            Op::And => self.eval_bool(a, env)? && self.eval_bool(b, env)?,
            _ => {
                let left = self.eval(a, env)?;
                let right = self.eval(b, env)?;
                return self.strict(op, left, right, span);
            }
        };
        Ok(V::Bool(truth))
    }

    fn strict(&mut self, op: Op, left: V, right: V, span: Span) -> Result<V, Error> {
        let truth = match op {
            Op::Equal => self.equal(&left, &right, span)?,
            Op::NotEqual => !self.equal(&left, &right, span)?,
            Op::Less => self.less(&left, &right, span)?,
            Op::More => self.less(&right, &left, span)?,
            Op::LessEqual => !self.less(&right, &left, span)?,
            Op::MoreEqual => !self.less(&left, &right, span)?,
            Op::Update => return self.update(left, right, span),
            Op::Concat => return self.concat(&left, &right, span),
            Op::Add => return self.plus(&left, &right, span),
            _ => return self.arithmetic(op, &left, &right, span),
        };
        Ok(V::Bool(truth))
    }

    fn update(&mut self, left: V, right: V, span: Span) -> Result<V, Error> {
        let (a, b) = match (left, right) {
            (V::Set(a), V::Set(b)) => (a, b),
            (V::Set(_), other) | (other, _) => return Err(other.expected("a set", span)),
        };
        if b.len() == 0 {
            return Ok(V::Set(a));
        }
        self.spend(a.len() + b.len(), span)?;
        let mut merged = Vec::with_capacity(a.len() + b.len());
        let mut rest = a.attrs().iter().peekable();
        for attr in b.attrs() {
            while let Some(earlier) = rest.next_if(|earlier| earlier.name <= attr.name) {
                if earlier.name < attr.name {
                    merged.push(*earlier);
                }
            }
            merged.push(*attr);
        }
        merged.extend(rest);
        Ok(V::set(Set::from_sorted(merged)))
    }

    fn concat(&mut self, left: &V, right: &V, span: Span) -> Result<V, Error> {
        match (left, right) {
            (V::List(a), V::List(b)) => {
                self.spend(a.len() + b.len(), span)?;
                Ok(V::List(a.iter().chain(b.iter()).copied().collect()))
            }
            (V::List(_), other) | (other, _) => Err(other.expected("a list", span)),
        }
    }

    fn plus(&mut self, left: &V, right: &V, span: Span) -> Result<V, Error> {
        if matches!(left, V::Int(_) | V::Float(_)) {
            return self.arithmetic(Op::Add, left, right, span);
        }
        let mut text = self.coerce(left, false, span)?;
        let more = self.coerce(right, false, span)?;
        self.spend((text.len() + more.len()) / 8, span)?;
        crate::parse::push_wiped(&mut text, &more);
        Ok(V::Str(text.into()))
    }

    pub(crate) fn arithmetic(&self, op: Op, a: &V, b: &V, span: Span) -> Result<V, Error> {
        let error = |kind| Error::new(kind, span);
        let number = |v: &V| v.expected("a number", span);
        if let (V::Int(a), V::Int(b)) = (a, b) {
            let result = match op {
                Op::Add => a.checked_add(*b),
                Op::Sub => a.checked_sub(*b),
                Op::Mul => a.checked_mul(*b),
                _ if *b == 0 => return Err(error(ErrorKind::DivisionByZero)),
                _ => a.checked_div(*b),
            };
            return result.map(V::Int).ok_or(error(ErrorKind::Overflow));
        }
        let a = a.number().ok_or_else(|| number(a))?;
        let b = b.number().ok_or_else(|| number(b))?;
        let result = match op {
            Op::Add => a + b,
            Op::Sub => a - b,
            Op::Mul => a * b,
            _ if b == 0.0 => return Err(error(ErrorKind::DivisionByZero)),
            _ => a / b,
        };
        if result.is_finite() { Ok(V::Float(result)) } else { Err(error(ErrorKind::Overflow)) }
    }

    /// Nix's `==`, but for functions, where it is refused.
    ///
    /// Attributes are all compared, also after a difference: Nix stops at the first in an order that is its own,
    /// and an error in one must not depend on that.
    pub(crate) fn equal(&mut self, a: &V, b: &V, span: Span) -> Result<bool, Error> {
        self.deeper(span, |machine| match (a, b) {
            (V::Null, V::Null) => Ok(true),
            (V::Bool(a), V::Bool(b)) => Ok(a == b),
            (V::Int(a), V::Int(b)) => Ok(a == b),
            (V::Int(_) | V::Float(_), V::Int(_) | V::Float(_)) => Ok(a.number() == b.number()),
            (V::Str(a), V::Str(b)) => Ok(a.expose() == b.expose()),
            (V::List(a), V::List(b)) => {
                if a.len() != b.len() {
                    return Ok(false);
                }
                for (a, b) in a.iter().zip(b.iter()) {
                    if !machine.equal_thunks(*a, *b, span)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (V::Set(a), V::Set(b)) => machine.equal_sets(a, b, span),
            (V::Lambda(..) | V::Builtin(..), V::Lambda(..) | V::Builtin(..)) => {
                let kind = ErrorKind::Unsupported(Construct::FunctionEquality);
                Err(Error::new(kind, span))
            }
            (V::Builtins, _) => Err(a.expected("", span)),
            (_, V::Builtins) => Err(b.expected("", span)),
            _ => Ok(false),
        })
    }

    pub(crate) fn equal_thunks(
        &mut self,
        a: ThunkId,
        b: ThunkId,
        span: Span,
    ) -> Result<bool, Error> {
        let a = self.force(a, span)?;
        let b = self.force(b, span)?;
        self.equal(&a, &b, span)
    }

    fn equal_sets(&mut self, a: &Set, b: &Set, span: Span) -> Result<bool, Error> {
        let derivations = [self.is_derivation(a, span)?, self.is_derivation(b, span)?];
        if derivations == [true, true] {
            let kind = ErrorKind::Unsupported(Construct::DerivationEquality);
            return Err(Error::new(kind, span));
        }
        if a.len() != b.len() {
            return Ok(false);
        }
        let mut same = true;
        for attr in a.attrs() {
            same &= match b.get(attr.name) {
                Some(other) => self.equal_thunks(attr.thunk, other.thunk, span)?,
                None => false,
            };
        }
        Ok(same)
    }

    fn is_derivation(&mut self, set: &Set, span: Span) -> Result<bool, Error> {
        let kind = self.names.find("type").and_then(|name| set.get(name));
        Ok(match kind {
            Some(attr) => {
                matches!(self.force(attr.thunk, span)?, V::Str(text) if text.expose() == "derivation")
            }
            None => false,
        })
    }

    /// Nix's `<`.
    pub(crate) fn less(&mut self, a: &V, b: &V, span: Span) -> Result<bool, Error> {
        match (a, b) {
            (V::Int(a), V::Int(b)) => Ok(a < b),
            (V::Int(_) | V::Float(_), V::Int(_) | V::Float(_)) => {
                Ok(a.number().partial_cmp(&b.number()) == Some(Ordering::Less))
            }
            (V::Str(a), V::Str(b)) => Ok(a.expose().as_bytes() < b.expose().as_bytes()),
            (V::List(a), V::List(b)) => self.less_lists(a, b, span),
            (V::Str(_), other) | (other, V::Str(_)) => Err(other.expected("a string", span)),
            (V::Int(_) | V::Float(_), other) | (other, _) => Err(other.expected("a number", span)),
        }
    }

    fn less_lists(&mut self, a: &[ThunkId], b: &[ThunkId], span: Span) -> Result<bool, Error> {
        for (a, b) in a.iter().zip(b) {
            if !self.equal_thunks(*a, *b, span)? {
                let a = self.force(*a, span)?;
                let b = self.force(*b, span)?;
                return self.deeper(span, |machine| machine.less(&a, &b, span));
            }
        }
        Ok(a.len() < b.len())
    }
}

impl V {
    /// The number as a float.
    #[expect(
        clippy::as_conversions,
        reason = "Nix rounds a large integer to the nearest float, as this does"
    )]
    #[expect(clippy::cast_precision_loss, reason = "that rounding")]
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(n) => Some(*n as f64),
            Self::Float(n) => Some(*n),
            _ => None,
        }
    }
}
