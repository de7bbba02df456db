use std::iter;

use nixmox_tree::SecretString;
use zeroize::Zeroizing;

use super::Parser;
use crate::ast::{Expr, ExprId};
use crate::error::{Error, ErrorKind, Span};
use crate::lex::Tok;

/// A piece of an indented string, as Nix's scanner cuts it.
enum Piece {
    /// Text that counts for the indentation.
    Plain(Zeroizing<String>),
    /// Text from an escape, which does not.
    Escape(Zeroizing<String>),
    Expr(ExprId),
}

impl Parser<'_, '_> {
    pub(super) fn string(&mut self) -> Result<ExprId, Error> {
        let start = self.take()?.span;
        let mut parts = Vec::new();
        let mut text = Zeroizing::new(String::new());
        loop {
            let at = self.lexer.at;
            match (self.lexer.byte(at), self.lexer.byte(at + 1)) {
                (0, _) => return Err(Error::new(ErrorKind::Unclosed("quote"), start)),
                (b'"', _) => {
                    self.lexer.at += 1;
                    self.last_end = self.lexer.at;
                    break;
                }
                (b'$', b'{') => {
                    self.flush(&mut text, &mut parts, start);
                    parts.push(self.interpolation()?);
                }
                (b'$', b'$') => {
                    text.push_str("$$");
                    self.lexer.at += 2;
                }
                (b'\\', _) => {
                    self.lexer.at += 1;
                    self.escape(&mut text, start)?;
                }
                (b'\r', next) => {
                    text.push('\n');
                    self.lexer.at += 1 + usize::from(next == b'\n');
                }
                _ => self.plain(&mut text, |b| !matches!(b, b'"' | b'\\' | b'\r' | b'$')),
            }
        }
        if parts.is_empty() {
            return Ok(self.node(Expr::Str(SecretString::from(text)), start));
        }
        self.flush(&mut text, &mut parts, start);
        Ok(self.node(Expr::Text(parts.into_boxed_slice()), start))
    }

    /// Copies one byte's character, and what follows it and fits.
    fn plain(&mut self, into: &mut Zeroizing<String>, fits: fn(u8) -> bool) {
        let from = self.lexer.at;
        let rest = self.lexer.text().get(from..).unwrap_or("");
        let more = rest.bytes().skip(1).position(|b| !fits(b)).map_or(rest.len(), |n| n + 1);
        let piece = rest.get(..more).unwrap_or("");
        push_wiped(into, piece);
        self.lexer.at += piece.len().max(1);
    }

    fn flush(&mut self, text: &mut Zeroizing<String>, parts: &mut Vec<ExprId>, start: Span) {
        if !text.is_empty() {
            let whole = std::mem::take(text);
            parts.push(self.ast.add(Expr::Str(SecretString::from(whole)), start));
        }
    }

    /// The character after a backslash.
    fn escape(&mut self, into: &mut Zeroizing<String>, start: Span) -> Result<(), Error> {
        let rest = self.lexer.text().get(self.lexer.at..).unwrap_or("");
        let Some(escaped) = rest.chars().next() else {
            return Err(Error::new(ErrorKind::Unclosed("quote"), start));
        };
        self.lexer.at += escaped.len_utf8();
        into.push(match escaped {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            other => other,
        });
        Ok(())
    }

    pub(super) fn interpolation(&mut self) -> Result<ExprId, Error> {
        self.lexer.at += 2;
        let inner = self.expr()?;
        self.expect(Tok::Char(b'}'), "`}`")?;
        Ok(inner)
    }

    pub(super) fn indented_string(&mut self) -> Result<ExprId, Error> {
        let start = self.take()?.span;
        let pieces = self.indented_pieces(start)?;
        let mut parts = strip(pieces);
        let text = match (parts.pop(), parts.is_empty()) {
            (None, _) => SecretString::new(""),
            (Some(Piece::Plain(only) | Piece::Escape(only)), true) => SecretString::from(only),
            (Some(last), _) => {
                let ids = parts.into_iter().chain(iter::once(last));
                let ids = ids.map(|piece| match piece {
                    Piece::Expr(id) => id,
                    Piece::Plain(text) | Piece::Escape(text) => {
                        self.ast.add(Expr::Str(SecretString::from(text)), start)
                    }
                });
                let ids: Box<[ExprId]> = ids.collect();
                return Ok(self.node(Expr::Text(ids), start));
            }
        };
        Ok(self.node(Expr::Str(text), start))
    }

    fn indented_pieces(&mut self, start: Span) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        let escape = |text: &str| Piece::Escape(Zeroizing::new(text.to_owned()));
        loop {
            let at = self.lexer.at;
            let byte = |ahead: usize| self.lexer.byte(at + ahead);
            let (piece, width) = match (byte(0), byte(1), byte(2)) {
                (0, ..) => return Err(Error::new(ErrorKind::Unclosed("quote"), start)),
                (b'\'', b'\'', b'$') => (escape("$"), 3),
                (b'\'', b'\'', b'\'') => (escape("''"), 3),
                (b'\'', b'\'', b'\\') if byte(3) != 0 => {
                    self.lexer.at += 3;
                    let mut text = Zeroizing::new(String::new());
                    self.escape(&mut text, start)?;
                    (Piece::Escape(text), 0)
                }
                (b'\'', b'\'', _) => {
                    self.lexer.at += 2;
                    self.last_end = self.lexer.at;
                    return Ok(pieces);
                }
                (b'$', b'{', _) => (Piece::Expr(self.interpolation()?), 0),
                (b'$', b'\'', _) => (escape("$"), 1),
                (b'\'', b'$', _) => (escape("'"), 1),
                _ => (Piece::Plain(self.indented_run()), 0),
            };
            self.lexer.at += width;
            pieces.push(piece);
        }
    }

    /// `([^$']|$[^{']|'[^'$])+`, the scanner's rule for plain text.
    fn indented_run(&mut self) -> Zeroizing<String> {
        let text = self.lexer.text();
        let from = self.lexer.at;
        let mut at = from;
        loop {
            let width =
                |at: usize| text.get(at..).and_then(|t| t.chars().next()).map_or(0, char::len_utf8);
            match (self.lexer.byte(at), self.lexer.byte(at + 1)) {
                (0, _) | (b'$', b'{' | b'\'' | 0) | (b'\'', b'\'' | b'$' | 0) => break,
                (b'$' | b'\'', _) => at += 1 + width(at + 1),
                _ => at += width(at),
            }
        }
        // A quote or dollar before the end of the text: the text is unclosed anyway.
        if at == from {
            at += 1;
        }
        self.lexer.at = at;
        Zeroizing::new(text.get(from..at).unwrap_or("").to_owned())
    }
}

/// Appends without leaving an old buffer behind.
pub(crate) fn push_wiped(into: &mut Zeroizing<String>, piece: &str) {
    let needed = into.len() + piece.len();
    if needed > into.capacity() {
        let mut larger = Zeroizing::new(String::with_capacity(needed.max(into.capacity() * 2)));
        larger.push_str(into);
        std::mem::swap(into, &mut larger);
    }
    into.push_str(piece);
}

/// Removes the common indentation as Nix does.
fn strip(pieces: Vec<Piece>) -> Vec<Piece> {
    let indent = common_indent(&pieces);
    let mut at_start = true;
    let mut dropped = 0;
    let mut left = pieces.len();
    let mut stripped = Vec::with_capacity(left);
    for piece in pieces {
        let text = match piece {
            Piece::Expr(id) => {
                at_start = false;
                dropped = 0;
                stripped.push(Piece::Expr(id));
                left -= 1;
                continue;
            }
            Piece::Plain(text) | Piece::Escape(text) => text,
        };
        let mut kept = Zeroizing::new(String::with_capacity(text.len()));
        for c in text.chars() {
            if at_start && c == ' ' {
                if dropped >= indent {
                    kept.push(c);
                }
                dropped += 1;
                continue;
            }
            if at_start {
                dropped = 0;
            }
            at_start = c == '\n';
            kept.push(c);
        }
        if left == 1
            && let Some(newline) = kept.rfind('\n')
            && kept.bytes().skip(newline + 1).all(|b| b == b' ')
        {
            kept.truncate(newline + 1);
        }
        stripped.push(Piece::Plain(kept));
        left -= 1;
    }
    stripped
}

/// The smallest indentation of a line with anything but spaces.
fn common_indent(pieces: &[Piece]) -> usize {
    let mut least = 1_000_000;
    let mut current = 0;
    let mut at_start = true;
    for piece in pieces {
        let Piece::Plain(text) = piece else {
            if at_start {
                at_start = false;
                least = least.min(current);
            }
            continue;
        };
        for b in text.bytes() {
            match b {
                b' ' if at_start => current += 1,
                b'\n' => {
                    at_start = true;
                    current = 0;
                }
                _ if at_start => {
                    at_start = false;
                    least = least.min(current);
                }
                _ => {}
            }
        }
    }
    least
}
