use nixmox_tree::{SecretTree, Value};
use zeroize::Zeroizing;

use super::Machine;
use crate::error::{Error, ErrorKind, Span};
use crate::json::DEPTH;
use crate::machine::{AttrValue, Set, ThunkId, V};

impl Machine<'_> {
    /// Evaluates everything in a value, as `toJSON` does: a set with `__toString` or `outPath` becomes that.
    pub(crate) fn data(&mut self, value: V, span: Span, depth: usize) -> Result<Value, Error> {
        if depth > DEPTH {
            return Err(Error::new(ErrorKind::TooDeep, span));
        }
        self.deeper(span, |machine| match value {
            V::Null => Ok(Value::Null),
            V::Bool(truth) => Ok(Value::bool(truth)),
            V::Int(number) => Ok(Value::int(number)),
            V::Float(number) => Ok(Value::float(number)),
            V::Str(text) => Ok(Value::String(text)),
            V::List(items) => {
                let items = items.iter().map(|item| machine.thunk_data(*item, span, depth));
                Ok(Value::List(items.collect::<Result<_, _>>()?))
            }
            V::Set(_) => machine.set_data(&value, span, depth),
            V::Lambda(..) | V::Builtin(..) => Err(Error::new(ErrorKind::FunctionInData, span)),
            V::Builtins => Err(value.expected("", span)),
        })
    }

    fn thunk_data(&mut self, thunk: ThunkId, span: Span, depth: usize) -> Result<Value, Error> {
        let value = self.force(thunk, span)?;
        self.data(value, span, depth + 1)
    }

    fn set_data(&mut self, value: &V, span: Span, depth: usize) -> Result<Value, Error> {
        let V::Set(set) = value else { return Ok(Value::Null) };
        if let Some(text) = self.set_to_string(value, false, span)? {
            return Ok(Value::String(text.into()));
        }
        if let Some(path) = self.names.find("outPath").and_then(|name| set.get(name)) {
            return self.thunk_data(path.thunk, path.span, depth);
        }
        let mut tree = Vec::with_capacity(set.len());
        for attr in set.attrs() {
            let value = self.thunk_data(attr.thunk, attr.span, depth)?;
            tree.push((self.names.text(attr.name).to_owned(), value));
        }
        Ok(Value::Tree(tree.into_iter().collect::<SecretTree>()))
    }

    /// Makes an evaluated value of plain data.
    pub(crate) fn load(&mut self, value: &Value, span: Span) -> Result<V, Error> {
        self.spend(1, span)?;
        Ok(match value {
            Value::Null => V::Null,
            Value::Bool(truth) => V::Bool(**truth),
            Value::Int(number) => V::Int(**number),
            Value::Float(number) => V::Float(**number),
            Value::String(text) => V::Str(text.clone()),
            Value::List(items) => {
                let items = items.iter().map(|item| {
                    let item = self.load(item, span)?;
                    Ok(self.value(item))
                });
                V::List(items.collect::<Result<_, Error>>()?)
            }
            Value::Tree(tree) => {
                let mut attrs = Vec::with_capacity(tree.len());
                for (name, value) in tree {
                    let value = self.load(value, span)?;
                    let thunk = self.value(value);
                    attrs.push(AttrValue { name: self.names.intern(name), thunk, span });
                }
                V::set(Set::first_wins(attrs))
            }
        })
    }

    /// Evaluates everything in a value; functions may remain.
    pub(crate) fn force_all(&mut self, value: &V, span: Span) -> Result<(), Error> {
        let thunks: Vec<ThunkId> = match value {
            V::List(items) => items.to_vec(),
            V::Set(set) => set.attrs().iter().map(|attr| attr.thunk).collect(),
            V::Builtins => return Err(value.expected("", span)),
            _ => return Ok(()),
        };
        self.deeper(span, |machine| {
            thunks.into_iter().try_for_each(|thunk| {
                let value = machine.force(thunk, span)?;
                machine.force_all(&value, span)
            })
        })
    }

    /// Makes the text of a name.
    pub(crate) fn name_value(&mut self, name: crate::ast::Sym) -> ThunkId {
        let text = Zeroizing::new(self.names.text(name).to_owned());
        self.value(V::Str(text.into()))
    }
}
