//! A line of a secret text that may be shown.

use crate::ast::{AttrName, Expr, Names};
use crate::error::{Error, Span};
use crate::{Limits, limited, on_own_stack, parse};

const MASK: char = '•';

/// Returns a line (from 1) for display, with everything that could be a value replaced by `•`.
///
/// Spaces and the punctuation of Nix stay, and the names of attributes left of the first `=`; when the text does not
/// parse, no letter stays. A line that does not exist is empty.
pub fn masked_line(text: &str, line: usize) -> String {
    let Some(at) = line.checked_sub(1) else { return String::new() };
    let Some(shown) = text.split('\n').nth(at) else { return String::new() };
    let start = text.split('\n').take(at).map(|line| line.len() + 1).sum();
    let kept = kept(text, start, shown);
    let parsed = kept.is_some();
    let kept = kept.unwrap_or_default();
    let masked = shown.char_indices().map(|(offset, c)| match (kept.get(offset).copied(), c) {
        (Some(Part::Name), _) => c,
        // The quotes of a text are its first and last characters.
        (_, '"' | '\'') => c,
        (_, '\t' | '\r') => ' ',
        (Some(Part::Text), _) => MASK,
        (_, ' ' | '{' | '}' | '[' | ']' | '(' | ')' | '=' | ';' | ':' | ',') => c,
        (_, '.') if parsed => c,
        _ => MASK,
    });
    masked.collect()
}

#[derive(Clone, Copy)]
enum Part {
    Code,
    Name,
    Text,
}

/// What every byte of a line is; none when the text does not parse.
fn kept(text: &str, start: usize, line: &str) -> Option<Vec<Part>> {
    let limits = limited(text, &Limits::default()).ok()?;
    let first_value = start + line.find('=').unwrap_or(0);
    let parts = on_own_stack(limits.depth, || -> Result<_, Error> {
        let options = parse::Options { depth: limits.depth, syntax: true };
        let ast = parse::parse(text, &mut Names::default(), options)?;
        let mut parts = vec![Part::Code; line.len()];
        let mut mark = |span: Span, part: Part| {
            let from = span.start().max(start) - start;
            let to = span.end().min(start + line.len()).saturating_sub(start);
            parts.iter_mut().take(to).skip(from).for_each(|byte| *byte = part);
        };
        // Outer texts first: a line in a text is marked whole, whatever is interpolated.
        let is_text = |expr: &Expr| matches!(expr, Expr::Str(_) | Expr::Text(_));
        let mut texts: Vec<Span> =
            ast.nodes().iter().filter(|node| is_text(&node.expr)).map(|node| node.span).collect();
        texts.sort_unstable_by_key(|span| span.start());
        let mut marked = 0;
        for span in texts.into_iter().filter(|span| span.end() > start) {
            if span.end() > marked {
                marked = span.end();
                mark(span, Part::Text);
            }
        }
        let plain = |span: Span| {
            text.as_bytes().get(span.start()).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        };
        let bindings = ast.syntax.iter().flat_map(|set| &set.bindings);
        for attr in bindings.filter(|b| b.value.is_some()).flat_map(|b| &b.path) {
            let before = attr.span.start() >= start && attr.span.end() <= first_value;
            if before && matches!(attr.name, AttrName::Static(_)) && plain(attr.span) {
                mark(attr.span, Part::Name);
            }
        }
        Ok(parts)
    });
    parts.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, line: usize, expect: &str) {
        assert_eq!(masked_line(text, line), expect, "{text:?}");
    }

    #[test]
    fn names_stay_and_values_go() {
        check("{ a.b-c = \"x=y; z\"; }", 1, "{ a.b-c = \"••••••\"; }");
        check("{ password = hunter2; }", 1, "{ password = •••••••; }");
        check("{ a = 1; secret = 2; }", 1, "{ a = •; •••••• = •; }");
        check("{\n  a =\n  hunter2;\n}", 3, "  •••••••;");
        check("{ \"quoted\" = 1; }", 1, "{ \"••••••\" = •; }");
        check("{ a = if hunter2\n then { b = 1; } else 2; }", 1, "{ a = •• •••••••");
        check("{ x = a.hunter2; }", 1, "{ x = •.•••••••; }");
        check("{ a = \"x ${ { b = 1; } } y\"; }", 1, "{ a = \"•••••••••••••••••••\"; }");
    }

    #[test]
    fn in_a_text_that_does_not_parse_no_letter_stays() {
        check("{ password = hunter2", 1, "{ •••••••• = •••••••");
        check("{ pass.word = \"p@ss", 1, "{ ••••••••• = \"••••");
    }

    #[test]
    fn lines_of_a_text_are_values() {
        check("{ k = ''\n  a = b;\n''; }", 2, "••••••••");
        check("{ k = \"\n a = b;\n\"; }", 2, "•••••••");
    }

    #[test]
    fn control_characters_never_pass() {
        check("{ a\t=\u{1b}[2J;\r", 1, "{ • =•[••; ");
        check("{ a = \"\u{1b}\u{202e}\"; }", 1, "{ a = \"••\"; }");
        check("{ }", 2, "");
        check("{ }", 0, "");
    }
}
