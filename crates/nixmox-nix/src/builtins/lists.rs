use std::rc::Rc;

use super::{Args, Builtin, sets};
use crate::error::{Error, ErrorKind};
use crate::machine::{ThunkId, V};

/// Up to this length every pair is compared, to be sure that a comparison is an order.
const FULLY_CHECKED: usize = 64;

impl Args<'_, '_> {
    pub(super) fn list(&mut self, at: usize) -> Result<Rc<[ThunkId]>, Error> {
        let thunk = self.thunk(at)?;
        self.list_of(thunk)
    }

    pub(super) fn list_of(&mut self, thunk: ThunkId) -> Result<Rc<[ThunkId]>, Error> {
        match self.force(thunk)? {
            V::List(items) => {
                self.spend(items.len())?;
                Ok(items)
            }
            other => Err(other.expected("a list", self.span)),
        }
    }

    /// Finds the first item whose test says `wanted`.
    fn any_is(&mut self, wanted: bool) -> Result<bool, Error> {
        let test = self.function(0)?;
        let items = self.list(1)?;
        for item in items.iter() {
            if self.call_bool(&test, *item)? == wanted {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub(super) fn function(&mut self, at: usize) -> Result<V, Error> {
        match self.value(at)? {
            function @ (V::Lambda(..) | V::Builtin(..)) => Ok(function),
            V::Set(set) => {
                let functor = self.machine.names.find("__functor").and_then(|name| set.get(name));
                match functor {
                    Some(_) => Ok(V::Set(set)),
                    None => Err(V::Set(set).expected("a function", self.span)),
                }
            }
            other => Err(other.expected("a function", self.span)),
        }
    }

    fn at_index(&mut self, list: &[ThunkId], at: i64) -> Result<V, Error> {
        let item = usize::try_from(at).ok().and_then(|at| list.get(at)).copied();
        let item = item.ok_or(self.error(ErrorKind::OutOfRange))?;
        self.force(item)
    }
}

pub(super) fn all(args: &mut Args<'_, '_>) -> Result<V, Error> {
    Ok(V::Bool(!args.any_is(false)?))
}

pub(super) fn any(args: &mut Args<'_, '_>) -> Result<V, Error> {
    Ok(V::Bool(args.any_is(true)?))
}

pub(super) fn length(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let length = args.list(0)?.len();
    i64::try_from(length).map(V::Int).map_err(|_| args.error(ErrorKind::Overflow))
}

pub(super) fn head(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let list = args.list(0)?;
    args.at_index(&list, 0)
}

pub(super) fn elem_at(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let list = args.list(0)?;
    let at = args.int(1)?;
    args.at_index(&list, at)
}

pub(super) fn tail(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let list = args.list(0)?;
    let rest = list.get(1..).ok_or(args.error(ErrorKind::OutOfRange))?;
    Ok(V::List(rest.into()))
}

pub(super) fn elem(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let wanted = args.thunk(0)?;
    for item in args.list(1)?.iter() {
        if args.machine.equal_thunks(wanted, *item, args.span)? {
            return Ok(V::Bool(true));
        }
    }
    Ok(V::Bool(false))
}

pub(super) fn map(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let function = args.thunk(0)?;
    let items = args.list(1)?;
    Ok(V::List(items.iter().map(|item| args.machine.later(function, *item)).collect()))
}

pub(super) fn filter(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let [right, _] = split(args)?;
    Ok(V::List(right.into()))
}

pub(super) fn partition(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let [right, wrong] = split(args)?.map(|items| V::List(items.into()));
    let (right, wrong) = (args.machine.value(right), args.machine.value(wrong));
    Ok(sets::of(args, &[("right", right), ("wrong", wrong)]))
}

fn split(args: &mut Args<'_, '_>) -> Result<[Vec<ThunkId>; 2], Error> {
    let test = args.function(0)?;
    let mut sides = [Vec::new(), Vec::new()];
    for item in args.list(1)?.iter() {
        let side = usize::from(!args.call_bool(&test, *item)?);
        if let Some(items) = sides.get_mut(side) {
            items.push(*item);
        }
    }
    Ok(sides)
}

pub(super) fn concat_lists(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let mut all = Vec::new();
    for list in args.list(0)?.iter() {
        all.extend_from_slice(&args.list_of(*list)?);
    }
    Ok(V::List(all.into()))
}

pub(super) fn concat_map(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let function = args.function(0)?;
    let mut all = Vec::new();
    for item in args.list(1)?.iter() {
        let list = args.call(&function, *item)?;
        let list = args.machine.value(list);
        all.extend_from_slice(&args.list_of(list)?);
    }
    Ok(V::List(all.into()))
}

pub(super) fn gen_list(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let function = args.thunk(0)?;
    let length = args.int(1)?;
    if length < 0 {
        return Err(args.error(ErrorKind::OutOfRange));
    }
    args.spend(usize::try_from(length).unwrap_or(usize::MAX).saturating_mul(2))?;
    let items = (0..length).map(|n| {
        let n = args.machine.value(V::Int(n));
        args.machine.later(function, n)
    });
    Ok(V::List(items.collect()))
}

pub(super) fn foldl_strict(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let function = args.function(0)?;
    let items = args.list(2)?;
    let mut so_far = args.thunk(1)?;
    for item in items.iter() {
        let next = args.machine.call2(&function, [so_far, *item], args.span)?;
        so_far = args.machine.value(next);
    }
    args.force(so_far)
}

pub(super) fn sort(args: &mut Args<'_, '_>) -> Result<V, Error> {
    let order = args.function(0)?;
    let items = args.list(1)?;
    for item in items.iter() {
        args.force(*item)?;
    }
    let mut order = Order { order, args };
    let sorted = order.sort(&items.iter().copied().enumerate().collect::<Vec<_>>())?;
    order.check(&sorted)?;
    Ok(V::List(sorted.into_iter().map(|(_, item)| item).collect()))
}

struct Order<'o, 'm, 'a> {
    order: V,
    args: &'o mut Args<'m, 'a>,
}

type Item = (usize, ThunkId);

impl Order<'_, '_, '_> {
    fn less(&mut self, a: Item, b: Item) -> Result<bool, Error> {
        let span = self.args.span;
        match self.args.machine.call2(&self.order, [a.1, b.1], span)? {
            V::Bool(truth) => Ok(truth),
            other => Err(other.expected("a Boolean", span)),
        }
    }

    /// A stable merge sort.
    fn sort(&mut self, items: &[Item]) -> Result<Vec<Item>, Error> {
        if items.len() < 2 {
            return Ok(items.to_vec());
        }
        let (left, right) = items.split_at(items.len() / 2);
        let (left, right) = (self.sort(left)?, self.sort(right)?);
        let mut merged = Vec::with_capacity(items.len());
        let mut left = left.into_iter().peekable();
        for item in right {
            while let Some(earlier) = left.peek().copied() {
                if self.less(item, earlier)? {
                    break;
                }
                merged.push(earlier);
                left.next();
            }
            merged.push(item);
        }
        merged.extend(left);
        Ok(merged)
    }

    /// Refuses a comparison for which the result would depend on the algorithm.
    fn check(&mut self, sorted: &[Item]) -> Result<(), Error> {
        if sorted.len() < 2 || matches!(self.order, V::Builtin(Builtin::LessThan, _)) {
            return Ok(());
        }
        // Nix may not make these comparisons, so that one that fails is no error of the text.
        let refusal = self.args.error(ErrorKind::NotAnOrder);
        self.is_order(sorted).map_err(|_| refusal)?.then_some(()).ok_or(refusal)
    }

    fn is_order(&mut self, sorted: &[Item]) -> Result<bool, Error> {
        let reach = if sorted.len() <= FULLY_CHECKED { sorted.len() } else { 2 };
        for from in 0..sorted.len() {
            let mut smaller = false;
            let Some((first, rest)) = sorted.get(from..).and_then(|tail| tail.split_first()) else {
                break;
            };
            if self.less(*first, *first)? {
                return Ok(false);
            }
            for later in rest.iter().take(reach - 1) {
                let (forth, back) = (self.less(*first, *later)?, self.less(*later, *first)?);
                // Once something is larger, everything after it is larger too; equals keep their order.
                let unstable = !forth && first.0 > later.0;
                if back || (smaller && !forth) || unstable {
                    return Ok(false);
                }
                smaller = forth;
            }
        }
        Ok(true)
    }
}
