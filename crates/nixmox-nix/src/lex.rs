//! Nix's tokens, outside of strings: the longest match of the rules in Nix's own scanner.

use crate::error::{Error, ErrorKind, Span};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tok {
    End,
    Name,
    Int,
    Float,
    Uri,
    Path,
    /// The start of a path with an interpolation, up to its `${`.
    PathOpen,
    SearchPath,
    Quote,
    /// `''`, with the spaces and the newline that may follow it.
    Indented,
    Interpolation,
    If,
    Then,
    Else,
    Assert,
    With,
    Let,
    In,
    Rec,
    Inherit,
    Or,
    Ellipsis,
    Equal,
    NotEqual,
    LessEqual,
    MoreEqual,
    And,
    OrOr,
    Implies,
    Update,
    Concat,
    /// Any other single character of the grammar.
    Char(u8),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub(crate) tok: Tok,
    pub(crate) span: Span,
}

pub(crate) struct Lexer<'t> {
    text: &'t str,
    pub(crate) at: usize,
    /// Where the run of path characters ends that the scanner is in, so that a long run is looked through once.
    path_run: usize,
    scheme_run: usize,
}

fn is_name_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_'
}

pub(crate) fn is_name(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'_' | b'\'' | b'-')
}

fn is_path(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+')
}

fn is_scheme(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')
}

fn is_uri(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"%/?:@&=+$,-_.!~*'".contains(&b)
}

impl<'t> Lexer<'t> {
    pub(crate) fn new(text: &'t str) -> Self {
        Self { text, at: 0, path_run: 0, scheme_run: 0 }
    }

    pub(crate) fn text(&self) -> &'t str {
        self.text
    }

    /// Returns the byte at an offset; 0 after the end, since a text with a NUL is refused before.
    pub(crate) fn byte(&self, at: usize) -> u8 {
        self.text.as_bytes().get(at).copied().unwrap_or(0)
    }

    fn run(&self, from: usize, fits: fn(u8) -> bool) -> usize {
        let rest = self.text.as_bytes().get(from..).unwrap_or(&[]);
        from + rest.iter().position(|b| !fits(*b)).unwrap_or(rest.len())
    }

    fn skip_blank(&mut self) -> Result<(), Error> {
        loop {
            match (self.byte(self.at), self.byte(self.at + 1)) {
                (b' ' | b'\t' | b'\r' | b'\n', _) => self.at += 1,
                (b'#', _) => self.at = self.run(self.at, |b| !matches!(b, b'\r' | b'\n')),
                (b'/', b'*') => {
                    let body = self.at + 2;
                    let end = self.text.get(body..).and_then(|rest| rest.find("*/"));
                    let Some(end) = end else {
                        let span = Span::new(self.at, body);
                        return Err(Error::new(ErrorKind::Unclosed("comment"), span));
                    };
                    self.at = body + end + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    /// Reads the next token.
    pub(crate) fn next(&mut self) -> Result<Token, Error> {
        self.skip_blank()?;
        let start = self.at;
        let (tok, end) = self.longest(start)?;
        self.at = end;
        Ok(Token { tok, span: Span::new(start, end) })
    }

    fn longest(&mut self, start: usize) -> Result<(Tok, usize), Error> {
        let first = self.byte(start);
        if first == 0 {
            return Ok((Tok::End, start));
        }
        let mut best = self.symbol(start);
        if is_name_start(first) {
            best = self.word(start);
        } else if first.is_ascii_digit() || first == b'.' {
            best = longer(best, self.number(start));
        }
        if is_path(first) || matches!(first, b'/' | b'~') {
            best = longer(best, self.path(start));
        } else if first == b'<' {
            best = longer(best, self.search_path(start));
        }
        if first.is_ascii_alphabetic() {
            best = longer(best, self.uri(start));
        }
        best.ok_or_else(|| {
            let width =
                self.text.get(start..).and_then(|t| t.chars().next()).map_or(1, char::len_utf8);
            Error::new(ErrorKind::Character, Span::new(start, start + width))
        })
    }

    fn word(&self, start: usize) -> Option<(Tok, usize)> {
        let end = self.run(start, is_name);
        let tok = match self.text.get(start..end)? {
            "if" => Tok::If,
            "then" => Tok::Then,
            "else" => Tok::Else,
            "assert" => Tok::Assert,
            "with" => Tok::With,
            "let" => Tok::Let,
            "in" => Tok::In,
            "rec" => Tok::Rec,
            "inherit" => Tok::Inherit,
            "or" => Tok::Or,
            _ => Tok::Name,
        };
        Some((tok, end))
    }

    /// `[1-9][0-9]*\.[0-9]*` or `0?\.[0-9]+`, each with an exponent or without; else digits.
    fn number(&self, start: usize) -> Option<(Tok, usize)> {
        let digits = self.run(start, |b| b.is_ascii_digit());
        let int = (digits > start).then_some((Tok::Int, digits));
        if self.byte(digits) != b'.' {
            return int;
        }
        let fraction = self.run(digits + 1, |b| b.is_ascii_digit());
        let whole = digits - start;
        let is_float = if whole > 0 && self.byte(start) != b'0' {
            true
        } else {
            (whole == 0 || whole == 1) && fraction > digits + 1
        };
        if !is_float {
            return int;
        }
        let mut end = fraction;
        if matches!(self.byte(end), b'e' | b'E') {
            let signed = end + 1 + usize::from(matches!(self.byte(end + 1), b'+' | b'-'));
            let exponent = self.run(signed, |b| b.is_ascii_digit());
            if exponent > signed {
                end = exponent;
            }
        }
        Some((Tok::Float, end))
    }

    fn path(&mut self, start: usize) -> Option<(Tok, usize)> {
        let slash = if self.byte(start) == b'~' {
            start + 1
        } else {
            if self.path_run < start {
                self.path_run = start;
            }
            if self.path_run == start {
                self.path_run = self.run(start, is_path);
            }
            self.path_run
        };
        if self.byte(slash) != b'/' {
            return None;
        }
        let mut end = slash;
        while self.byte(end) == b'/' && is_path(self.byte(end + 1)) {
            end = self.run(end + 1, is_path);
        }
        let dollar = |at: usize| self.byte(at) == b'$' && self.byte(at + 1) == b'{';
        if end == slash {
            return dollar(slash + 1).then_some((Tok::PathOpen, slash + 1));
        }
        let trailing = usize::from(self.byte(end) == b'/');
        let tok = if dollar(end) || dollar(end + trailing) { Tok::PathOpen } else { Tok::Path };
        Some((tok, end + trailing))
    }

    fn search_path(&self, start: usize) -> Option<(Tok, usize)> {
        let mut end = self.run(start + 1, is_path);
        if end == start + 1 {
            return None;
        }
        while self.byte(end) == b'/' && is_path(self.byte(end + 1)) {
            end = self.run(end + 1, is_path);
        }
        (self.byte(end) == b'>').then_some((Tok::SearchPath, end + 1))
    }

    fn uri(&mut self, start: usize) -> Option<(Tok, usize)> {
        if self.scheme_run <= start {
            self.scheme_run = self.run(start, is_scheme);
        }
        let colon = self.scheme_run;
        (self.byte(colon) == b':' && is_uri(self.byte(colon + 1)))
            .then(|| (Tok::Uri, self.run(colon + 1, is_uri)))
    }

    fn symbol(&self, start: usize) -> Option<(Tok, usize)> {
        let one = self.byte(start);
        let two = match (one, self.byte(start + 1)) {
            (b'=', b'=') => Some(Tok::Equal),
            (b'!', b'=') => Some(Tok::NotEqual),
            (b'<', b'=') => Some(Tok::LessEqual),
            (b'>', b'=') => Some(Tok::MoreEqual),
            (b'&', b'&') => Some(Tok::And),
            (b'|', b'|') => Some(Tok::OrOr),
            (b'-', b'>') => Some(Tok::Implies),
            (b'/', b'/') => Some(Tok::Update),
            (b'+', b'+') => Some(Tok::Concat),
            (b'$', b'{') => Some(Tok::Interpolation),
            (b'\'', b'\'') => return Some((Tok::Indented, self.indented_open(start))),
            (b'.', b'.') if self.byte(start + 2) == b'.' => {
                return Some((Tok::Ellipsis, start + 3));
            }
            _ => None,
        };
        match one {
            _ if two.is_some() => two.map(|tok| (tok, start + 2)),
            b'"' => Some((Tok::Quote, start + 1)),
            _ if b"{}[]().,;:?@=!<>+-*/".contains(&one) => Some((Tok::Char(one), start + 1)),
            _ => None,
        }
    }

    fn indented_open(&self, start: usize) -> usize {
        let spaces = self.run(start + 2, |b| b == b' ');
        if self.byte(spaces) == b'\n' { spaces + 1 } else { start + 2 }
    }
}

/// The longer match wins; the first rule wins a tie.
fn longer(a: Option<(Tok, usize)>, b: Option<(Tok, usize)>) -> Option<(Tok, usize)> {
    match (a, b) {
        (Some(a), Some(b)) if b.1 > a.1 => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}
