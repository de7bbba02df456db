//! From text to terms.

use super::{SelectorError, Term};

/// The longest selector, in bytes.
pub const MAX_SELECTOR: usize = 4096;
/// The deepest nesting of `!` and parentheses.
const MAX_DEPTH: usize = 64;

pub(super) fn parse(text: &str) -> Result<Term, SelectorError> {
    if text.len() > MAX_SELECTOR {
        return Err(SelectorError::TooLong);
    }
    let mut parser = Parser { rest: text.chars().collect::<Vec<_>>(), at: 0, depth: 0 };
    let term = parser.or()?;
    match parser.peek() {
        None => Ok(term),
        Some(')') => Err(SelectorError::Parenthesis { at: parser.at + 1 }),
        Some(_) => Err(SelectorError::Character { at: parser.at + 1 }),
    }
}

struct Parser {
    rest: Vec<char>,
    at: usize,
    depth: usize,
}

impl Parser {
    /// Looks at the next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        while self.rest.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.rest.get(self.at).copied()
    }

    fn or(&mut self) -> Result<Term, SelectorError> {
        self.chain(|c| matches!(c, '|' | ','), Self::and, Term::Or)
    }

    fn and(&mut self) -> Result<Term, SelectorError> {
        self.chain(|c| c == '&', Self::not, Term::And)
    }

    fn chain(
        &mut self,
        joins: fn(char) -> bool,
        part: fn(&mut Self) -> Result<Term, SelectorError>,
        join: fn(Vec<Term>) -> Term,
    ) -> Result<Term, SelectorError> {
        let first = part(self)?;
        let mut more = Vec::new();
        while self.peek().is_some_and(joins) {
            self.at += 1;
            more.push(part(self)?);
        }
        if more.is_empty() {
            return Ok(first);
        }
        more.insert(0, first);
        Ok(join(more))
    }

    fn not(&mut self) -> Result<Term, SelectorError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(SelectorError::TooLong);
        }
        let term = match self.peek() {
            Some('!') => {
                self.at += 1;
                Term::Not(Box::new(self.not()?))
            }
            Some('(') => {
                self.at += 1;
                let inner = self.or()?;
                if self.peek() != Some(')') {
                    return Err(SelectorError::Parenthesis { at: self.at + 1 });
                }
                self.at += 1;
                inner
            }
            Some('@') => {
                self.at += 1;
                Term::Tag(self.word()?)
            }
            _ => Term::Name(self.word()?),
        };
        self.depth -= 1;
        Ok(term)
    }

    fn word(&mut self) -> Result<String, SelectorError> {
        let good = |c: &char| c.is_alphanumeric() || "-_.+:*?".contains(*c);
        let word: String = self.rest.iter().skip(self.at).take_while(|c| good(c)).collect();
        if word.is_empty() {
            return Err(SelectorError::NameExpected { at: self.at + 1 });
        }
        self.at += word.chars().count();
        Ok(word)
    }
}
