use super::Args;
use crate::ast::Op;
use crate::error::{Error, ErrorKind};
use crate::machine::V;

impl Args<'_, '_> {
    pub(super) fn int(&mut self, at: usize) -> Result<i64, Error> {
        match self.value(at)? {
            V::Int(number) => Ok(number),
            other => Err(other.expected("an integer", self.span)),
        }
    }

    fn both(&mut self, op: Op) -> Result<V, Error> {
        let a = self.value(0)?;
        let b = self.value(1)?;
        self.machine.arithmetic(op, &a, &b, self.span)
    }

    fn rounded(&mut self, round: fn(f64) -> f64) -> Result<V, Error> {
        // Above this, neighbouring integers share a float.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let value = self.value(0)?;
        let number = value.number().ok_or_else(|| value.expected("a number", self.span))?;
        let whole = round(number);
        if whole.abs() >= EXACT {
            return Err(self.error(ErrorKind::Overflow));
        }
        #[expect(clippy::as_conversions, reason = "a whole number in range, as checked")]
        #[expect(clippy::cast_possible_truncation, reason = "a whole number in range, as checked")]
        Ok(V::Int(whole as i64))
    }
}

pub(super) fn add(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.both(Op::Add)
}

pub(super) fn sub(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.both(Op::Sub)
}

pub(super) fn mul(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.both(Op::Mul)
}

pub(super) fn div(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.both(Op::Div)
}

pub(super) fn less_than(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let a = args.value(0)?;
    let b = args.value(1)?;
    args.machine.less(&a, &b, args.span).map(V::Bool)
}

pub(super) fn bit_and(args: &mut Args<'_, '_>) -> Result<V, Error> {
    Ok(V::Int(args.int(0)? & args.int(1)?))
}

pub(super) fn bit_or(args: &mut Args<'_, '_>) -> Result<V, Error> {
    Ok(V::Int(args.int(0)? | args.int(1)?))
}

pub(super) fn bit_xor(args: &mut Args<'_, '_>) -> Result<V, Error> {
    Ok(V::Int(args.int(0)? ^ args.int(1)?))
}

pub(super) fn floor(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.rounded(f64::floor)
}

pub(super) fn ceil(args: &mut Args<'_, '_>) -> Result<V, Error> {
    args.rounded(f64::ceil)
}
