use zeroize::Zeroizing;

use super::Machine;
use crate::ast::ExprId;
use crate::error::{Error, Span};
use crate::machine::{EnvId, V};
use crate::parse::push_wiped;

/// Makes an empty text that is wiped, also when it is dropped on an error.
pub(crate) fn builder() -> Zeroizing<String> {
    Zeroizing::new(String::new())
}

impl Machine<'_> {
    /// A text with interpolations.
    pub(super) fn text(&mut self, parts: &[ExprId], span: Span, env: EnvId) -> Result<V, Error> {
        let mut text = builder();
        for part in parts {
            let value = self.eval(*part, env)?;
            let at = self.ast.span(*part);
            self.append(&mut text, &value, at)?;
        }
        self.spend(text.len() / 8, span)?;
        Ok(V::Str(text.into()))
    }

    fn append(&mut self, text: &mut Zeroizing<String>, value: &V, span: Span) -> Result<(), Error> {
        if let V::Str(piece) = value {
            self.spend(piece.len() / 8, span)?;
            push_wiped(text, piece.expose());
        } else {
            let piece = self.coerce(value, false, span)?;
            push_wiped(text, &piece);
        }
        Ok(())
    }

    /// Makes text of a value; `more` is what `toString` also takes.
    pub(crate) fn coerce(
        &mut self,
        value: &V,
        more: bool,
        span: Span,
    ) -> Result<Zeroizing<String>, Error> {
        self.deeper(span, |machine| match value {
            V::Str(text) => {
                machine.spend(text.len() / 8, span)?;
                Ok(Zeroizing::new(text.expose().to_owned()))
            }
            V::Set(set) => {
                if let Some(text) = machine.set_to_string(value, more, span)? {
                    return Ok(text);
                }
                let path = machine.names.find("outPath").and_then(|name| set.get(name));
                let Some(path) = path else { return Err(value.expected("a string", span)) };
                let path = machine.force(path.thunk, span)?;
                machine.coerce(&path, more, span)
            }
            V::Bool(true) if more => Ok(Zeroizing::new("1".to_owned())),
            V::Null | V::Bool(false) if more => Ok(builder()),
            V::Int(n) if more => Ok(Zeroizing::new(n.to_string())),
            V::Float(n) if more => Ok(Zeroizing::new(format!("{n:.6}"))),
            V::List(items) if more => {
                let mut text = builder();
                let last = items.len();
                for (at, item) in (1..).zip(items.iter()) {
                    let item = machine.force(*item, span)?;
                    let piece = machine.coerce(&item, true, span)?;
                    push_wiped(&mut text, &piece);
                    let is_empty_list = matches!(&item, V::List(inner) if inner.is_empty());
                    if at < last && !is_empty_list {
                        push_wiped(&mut text, " ");
                    }
                }
                machine.spend(text.len() / 8, span)?;
                Ok(text)
            }
            other => Err(other.expected("a string", span)),
        })
    }

    /// What a set's `__toString` says, when it has one.
    pub(crate) fn set_to_string(
        &mut self,
        value: &V,
        more: bool,
        span: Span,
    ) -> Result<Option<Zeroizing<String>>, Error> {
        let V::Set(set) = value else { return Ok(None) };
        let Some(attr) = self.names.find("__toString").and_then(|name| set.get(name)) else {
            return Ok(None);
        };
        let function = self.force(attr.thunk, span)?;
        let itself = self.value(value.clone());
        let text = self.call(function, itself, span)?;
        self.coerce(&text, more, span).map(Some)
    }
}
