//! Nix's grammar, by recursive descent; what it builds is what Nix's own parser builds.

mod sets;
mod strings;

pub(crate) use strings::push_wiped;

use std::cell::Cell;
use std::collections::VecDeque;
use std::rc::Rc;

use nixmox_tree::SecretString;

use crate::ast::{
    Ast, Attr, Bindings, Expr, ExprId, Formal, Formals, Lambda, Names, Op, Slot, Sym,
};
use crate::error::{Construct, Error, ErrorKind, Span};
use crate::lex::{Lexer, Tok, Token, is_name};

/// A text's tree, without the names' scopes.
pub(crate) fn parse(text: &str, names: &mut Names, options: Options) -> Result<Ast, Error> {
    let (ast, result) = append(Ast::new(text.len() / 12), text, names, options);
    result.map(|()| ast)
}

/// Parses a text into a tree that may hold others already; its root is then this text's.
pub(crate) fn append(
    ast: Ast,
    text: &str,
    names: &mut Names,
    options: Options,
) -> (Ast, Result<(), Error>) {
    if let Some(at) = text.bytes().position(|b| b == 0) {
        return (ast, Err(Error::new(ErrorKind::Character, Span::new(at, at + 1))));
    }
    let ahead = VecDeque::with_capacity(4);
    let lexer = Lexer::new(text);
    let mut parser = Parser { lexer, ahead, last_end: 0, ast, names, depth: 0, options };
    let result = parser.whole();
    (parser.ast, result)
}

#[derive(Clone, Copy)]
pub(crate) struct Options {
    pub(crate) depth: usize,
    /// Keep the sets as they are written.
    pub(crate) syntax: bool,
}

struct Parser<'t, 'n> {
    lexer: Lexer<'t>,
    /// Tokens looked at but not taken; never one behind an opening quote.
    ahead: VecDeque<Token>,
    last_end: usize,
    ast: Ast,
    names: &'n mut Names,
    depth: usize,
    options: Options,
}

/// How strongly an operator binds, from weak to strong.
mod level {
    pub(super) const IMPLIES: u8 = 1;
    pub(super) const OR: u8 = 2;
    pub(super) const AND: u8 = 3;
    pub(super) const EQUAL: u8 = 4;
    pub(super) const COMPARE: u8 = 5;
    pub(super) const UPDATE: u8 = 6;
    pub(super) const NOT: u8 = 7;
    pub(super) const SUM: u8 = 8;
    pub(super) const PRODUCT: u8 = 9;
    pub(super) const CONCAT: u8 = 10;
    pub(super) const HAS: u8 = 11;
    pub(super) const NEGATE: u8 = 12;
}

#[derive(PartialEq)]
enum Side {
    Left,
    Right,
    None,
}

fn operator(tok: Tok) -> Option<(Op, u8, Side)> {
    Some(match tok {
        Tok::Implies => (Op::Implies, level::IMPLIES, Side::Right),
        Tok::OrOr => (Op::Or, level::OR, Side::Left),
        Tok::And => (Op::And, level::AND, Side::Left),
        Tok::Equal => (Op::Equal, level::EQUAL, Side::None),
        Tok::NotEqual => (Op::NotEqual, level::EQUAL, Side::None),
        Tok::Char(b'<') => (Op::Less, level::COMPARE, Side::None),
        Tok::Char(b'>') => (Op::More, level::COMPARE, Side::None),
        Tok::LessEqual => (Op::LessEqual, level::COMPARE, Side::None),
        Tok::MoreEqual => (Op::MoreEqual, level::COMPARE, Side::None),
        Tok::Update => (Op::Update, level::UPDATE, Side::Right),
        Tok::Char(b'+') => (Op::Add, level::SUM, Side::Left),
        Tok::Char(b'-') => (Op::Sub, level::SUM, Side::Left),
        Tok::Char(b'*') => (Op::Mul, level::PRODUCT, Side::Left),
        Tok::Char(b'/') => (Op::Div, level::PRODUCT, Side::Left),
        Tok::Concat => (Op::Concat, level::CONCAT, Side::Right),
        _ => return None,
    })
}

impl<'t> Parser<'t, '_> {
    fn whole(&mut self) -> Result<(), Error> {
        self.ast.root = self.expr()?;
        self.expect(Tok::End, "the end of the text")?;
        Ok(())
    }

    fn peek_at(&mut self, ahead: usize) -> Result<Token, Error> {
        while self.ahead.len() <= ahead {
            let token = self.lexer.next()?;
            self.ahead.push_back(token);
        }
        let end = Token { tok: Tok::End, span: Span::default() };
        Ok(self.ahead.get(ahead).copied().unwrap_or(end))
    }

    fn peek(&mut self) -> Result<Token, Error> {
        self.peek_at(0)
    }

    fn take(&mut self) -> Result<Token, Error> {
        let token = self.peek()?;
        self.ahead.pop_front();
        self.last_end = token.span.end();
        Ok(token)
    }

    fn skip(&mut self, tok: Tok) -> Result<bool, Error> {
        let found = self.peek()?.tok == tok;
        if found {
            self.take()?;
        }
        Ok(found)
    }

    fn expect(&mut self, tok: Tok, what: &'static str) -> Result<Token, Error> {
        let token = self.peek()?;
        if token.tok != tok {
            return Err(Error::new(ErrorKind::Syntax(what), token.span));
        }
        self.take()
    }

    fn source(&self, span: Span) -> &'t str {
        self.lexer.text().get(span.range()).unwrap_or("")
    }

    fn sym(&mut self, span: Span) -> Sym {
        let text = self.source(span);
        self.names.intern(text)
    }

    /// The range from a start to the end of the last token taken.
    fn since(&self, start: Span) -> Span {
        Span::new(start.start(), self.last_end)
    }

    fn node(&mut self, expr: Expr, start: Span) -> ExprId {
        let span = self.since(start);
        self.ast.add(expr, span)
    }

    fn deeper<T>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        self.depth += 1;
        if self.depth > self.options.depth {
            let span = self.peek()?.span;
            return Err(Error::new(ErrorKind::TooDeep, span));
        }
        let result = work(self);
        self.depth -= 1;
        result
    }

    fn expr(&mut self) -> Result<ExprId, Error> {
        self.deeper(Self::function)
    }

    fn function(&mut self) -> Result<ExprId, Error> {
        let start = self.peek()?;
        match start.tok {
            Tok::Name => match self.peek_at(1)?.tok {
                Tok::Char(b':' | b'@') => self.lambda(),
                _ => self.operation(0),
            },
            Tok::Char(b'{') if self.formals_follow()? => self.lambda(),
            Tok::Assert | Tok::With => {
                self.take()?;
                let first = self.expr()?;
                self.expect(Tok::Char(b';'), "`;`")?;
                let body = self.expr()?;
                let make = if start.tok == Tok::With { Expr::With } else { Expr::Assert };
                Ok(self.node(make(first, body), start.span))
            }
            Tok::Let if self.peek_at(1)?.tok != Tok::Char(b'{') => {
                self.take()?;
                let bindings = self.let_bindings()?;
                self.expect(Tok::In, "`in`")?;
                let body = self.expr()?;
                Ok(self.node(Expr::Let(bindings, body), start.span))
            }
            Tok::If => {
                self.take()?;
                let condition = self.expr()?;
                self.expect(Tok::Then, "`then`")?;
                let yes = self.expr()?;
                self.expect(Tok::Else, "`else`")?;
                let no = self.expr()?;
                Ok(self.node(Expr::If { condition, yes, no }, start.span))
            }
            _ => self.operation(0),
        }
    }

    /// Tells whether `{` starts a function's arguments rather than a set.
    fn formals_follow(&mut self) -> Result<bool, Error> {
        Ok(match self.peek_at(1)?.tok {
            Tok::Ellipsis => true,
            Tok::Char(b'}') => matches!(self.peek_at(2)?.tok, Tok::Char(b':' | b'@')),
            Tok::Name => matches!(self.peek_at(2)?.tok, Tok::Char(b',' | b'?' | b'}')),
            _ => false,
        })
    }

    fn lambda(&mut self) -> Result<ExprId, Error> {
        let start = self.peek()?.span;
        let mut name = None;
        let mut formals = None;
        if self.peek()?.tok == Tok::Name {
            name = Some(self.argument()?);
            if self.skip(Tok::Char(b'@'))? {
                formals = Some(self.formals()?);
            }
        } else {
            formals = Some(self.formals()?);
            if self.skip(Tok::Char(b'@'))? {
                name = Some(self.argument()?);
            }
        }
        self.expect(Tok::Char(b':'), "`:`")?;
        if let (Some(name), Some(formals)) = (name, &formals)
            && let Some(twice) = formals.list.iter().find(|formal| formal.name == name)
        {
            return Err(Error::new(ErrorKind::DuplicateArgument, twice.span));
        }
        let body = self.expr()?;
        Ok(self.node(Expr::Lambda(Rc::new(Lambda { name, formals, body })), start))
    }

    fn argument(&mut self) -> Result<Sym, Error> {
        let token = self.expect(Tok::Name, "a name")?;
        self.lexical_name(token.span)
    }

    /// A name that a scope defines: it must not be one that Nix's operators look up.
    fn lexical_name(&mut self, span: Span) -> Result<Sym, Error> {
        if matches!(self.source(span), "__lessThan" | "__sub" | "__mul" | "__div" | "__curPos") {
            return Err(Error::new(ErrorKind::Unsupported(Construct::MagicName), span));
        }
        Ok(self.sym(span))
    }

    fn formals(&mut self) -> Result<Formals, Error> {
        self.expect(Tok::Char(b'{'), "`{`")?;
        let mut formals = Formals { list: Vec::new(), open: false };
        let mut seen = std::collections::HashSet::new();
        while !self.skip(Tok::Char(b'}'))? {
            if self.skip(Tok::Ellipsis)? {
                formals.open = true;
                self.expect(Tok::Char(b'}'), "`}`")?;
                break;
            }
            let span = self.peek()?.span;
            let name = self.argument()?;
            if !seen.insert(name) {
                return Err(Error::new(ErrorKind::DuplicateArgument, span));
            }
            let default = if self.skip(Tok::Char(b'?'))? { Some(self.expr()?) } else { None };
            formals.list.push(Formal { name, span, default });
            if self.peek()?.tok != Tok::Char(b'}') {
                self.expect(Tok::Char(b','), "`,` or `}`")?;
            }
        }
        Ok(formals)
    }

    fn operation(&mut self, min: u8) -> Result<ExprId, Error> {
        let start = self.peek()?;
        let mut left = match start.tok {
            Tok::Char(sign @ (b'!' | b'-')) => {
                self.take()?;
                let strength = if sign == b'!' { level::NOT } else { level::NEGATE };
                let inner = self.deeper(|p| p.operation(strength))?;
                let expr = if sign == b'!' { Expr::Not(inner) } else { Expr::Negate(inner) };
                self.node(expr, start.span)
            }
            _ => self.application()?,
        };
        let mut nonassoc = 0;
        loop {
            let token = self.peek()?;
            if token.tok == Tok::Char(b'?') && level::HAS >= min {
                self.take()?;
                let path = self.attr_path()?.into_boxed_slice();
                left = self.node(Expr::HasAttr { base: left, path }, start.span);
                continue;
            }
            let Some((op, strength, side)) = operator(token.tok).filter(|o| o.1 >= min) else {
                return Ok(left);
            };
            if strength == nonassoc {
                return Err(Error::new(ErrorKind::Syntax("parentheses"), token.span));
            }
            self.take()?;
            nonassoc = if side == Side::None { strength } else { 0 };
            let tighter = if side == Side::Right { strength } else { strength + 1 };
            let right = self.deeper(|p| p.operation(tighter))?;
            left = self.node(Expr::Binary(op, left, right), start.span);
        }
    }

    fn application(&mut self) -> Result<ExprId, Error> {
        let start = self.peek()?.span;
        let mut function = self.selection()?;
        while self.starts_simple()? {
            let argument = self.selection()?;
            function = self.node(Expr::Apply(function, argument), start);
        }
        Ok(function)
    }

    fn starts_simple(&mut self) -> Result<bool, Error> {
        Ok(matches!(
            self.peek()?.tok,
            Tok::Name
                | Tok::Int
                | Tok::Float
                | Tok::Uri
                | Tok::Path
                | Tok::PathOpen
                | Tok::SearchPath
                | Tok::Quote
                | Tok::Indented
                | Tok::Rec
                | Tok::Let
                | Tok::Char(b'(' | b'[' | b'{')
        ))
    }

    fn selection(&mut self) -> Result<ExprId, Error> {
        let start = self.peek()?.span;
        let base = self.simple()?;
        let token = self.peek()?;
        if token.tok == Tok::Or {
            return Err(Error::new(ErrorKind::Unsupported(Construct::OrName), token.span));
        }
        if !self.skip(Tok::Char(b'.'))? {
            return Ok(base);
        }
        let path = self.attr_path()?.into_boxed_slice();
        let default = if self.skip(Tok::Or)? { Some(self.deeper(Self::selection)?) } else { None };
        Ok(self.node(Expr::Select { base, path, default }, start))
    }

    fn simple(&mut self) -> Result<ExprId, Error> {
        let token = self.peek()?;
        match token.tok {
            Tok::Name => {
                self.take()?;
                if self.source(token.span) == "__curPos" {
                    let refused = Expr::Refused(Construct::MagicName);
                    return Ok(self.node(refused, token.span));
                }
                let name = self.sym(token.span);
                Ok(self.node(Expr::Var(name, Cell::new(Slot::Unknown)), token.span))
            }
            Tok::Int | Tok::Float => self.number(),
            Tok::Quote => self.string(),
            Tok::Indented => self.indented_string(),
            Tok::Uri => {
                self.take()?;
                let text = SecretString::new(self.source(token.span));
                Ok(self.node(Expr::Str(text), token.span))
            }
            Tok::Path | Tok::PathOpen | Tok::SearchPath => self.path(),
            Tok::Char(b'(') => {
                self.take()?;
                let inner = self.expr()?;
                self.expect(Tok::Char(b')'), "`)`")?;
                Ok(inner)
            }
            Tok::Char(b'[') => self.list(),
            Tok::Char(b'{') | Tok::Rec => self.set(),
            Tok::Let => Err(Error::new(ErrorKind::Unsupported(Construct::LegacyLet), token.span)),
            _ => Err(Error::new(ErrorKind::Syntax("a value"), token.span)),
        }
    }

    fn number(&mut self) -> Result<ExprId, Error> {
        let token = self.take()?;
        let text = self.source(token.span);
        let wrong = Error::new(ErrorKind::Number, token.span);
        let expr = if token.tok == Tok::Int {
            Expr::Int(text.parse().map_err(|_| wrong)?)
        } else {
            let number: f64 = text.parse().map_err(|_| wrong)?;
            let mantissa = text.split(['e', 'E']).next().unwrap_or(text);
            let zero = !mantissa.bytes().any(|b| matches!(b, b'1'..=b'9'));
            if !(number.is_normal() || zero) {
                return Err(wrong);
            }
            Expr::Float(number)
        };
        Ok(self.node(expr, token.span))
    }

    /// Paths are parsed and refused only when they are needed: files with them still have attribute names.
    fn path(&mut self) -> Result<ExprId, Error> {
        let token = self.take()?;
        let construct = match token.tok {
            Tok::SearchPath => Construct::SearchPath,
            _ => Construct::Path,
        };
        if token.tok == Tok::Path && self.source(token.span).ends_with('/') {
            return Err(Error::new(ErrorKind::Syntax("a path without `/` at its end"), token.span));
        }
        if token.tok == Tok::PathOpen {
            while self.lexer.byte(self.lexer.at) == b'$'
                && self.lexer.byte(self.lexer.at + 1) == b'{'
            {
                self.lexer.at += 2;
                self.expr()?;
                self.expect(Tok::Char(b'}'), "`}`")?;
                let path = |b: u8| b != b'\'' && (is_name(b) || matches!(b, b'.' | b'+' | b'/'));
                while path(self.lexer.byte(self.lexer.at)) {
                    self.lexer.at += 1;
                }
            }
            self.last_end = self.lexer.at;
        }
        Ok(self.node(Expr::Refused(construct), token.span))
    }

    fn list(&mut self) -> Result<ExprId, Error> {
        let start = self.take()?.span;
        let mut items = Vec::new();
        while !self.skip(Tok::Char(b']'))? {
            if !self.starts_simple()? {
                let span = self.peek()?.span;
                return Err(Error::new(ErrorKind::Syntax("a list item or `]`"), span));
            }
            items.push(self.deeper(Self::selection)?);
        }
        Ok(self.node(Expr::List(items.into_boxed_slice()), start))
    }

    fn attr_path(&mut self) -> Result<Vec<Attr>, Error> {
        let mut path = vec![self.attr()?];
        while self.skip(Tok::Char(b'.'))? {
            path.push(self.attr()?);
        }
        Ok(path)
    }

    fn let_bindings(&mut self) -> Result<Bindings, Error> {
        let holder =
            self.ast.add(Expr::Set(Bindings { rec: true, ..Bindings::default() }), Span::default());
        self.bindings(holder, Tok::In)?;
        let bindings = self.ast.bindings_mut(holder).map(std::mem::take).unwrap_or_default();
        match bindings.dynamics.first() {
            Some((_, dynamic)) => Err(Error::new(ErrorKind::Syntax("a fixed name"), dynamic.span)),
            None => Ok(bindings),
        }
    }
}
