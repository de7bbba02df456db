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
    let kept = kept(text, start, shown).unwrap_or_default();
    let within = |spans: &[Span], at: usize| spans.iter().any(|span| span.range().contains(&at));
    let masked = shown.char_indices().map(|(offset, c)| match c {
        _ if within(&kept.names, start + offset) => c,
        '\t' => ' ',
        // The quotes of a text are its first and last characters.
        '"' | '\'' => c,
        _ if within(&kept.texts, start + offset) => MASK,
        ' ' | '{' | '}' | '[' | ']' | '(' | ')' | '=' | ';' | ':' | ',' => c,
        '.' if kept.parsed => c,
        '\r' => ' ',
        _ => MASK,
    });
    masked.collect()
}

#[derive(Default)]
struct Kept {
    parsed: bool,
    names: Vec<Span>,
    texts: Vec<Span>,
}

/// What may be shown of a line; none when the text does not parse.
fn kept(text: &str, start: usize, line: &str) -> Option<Kept> {
    let limits = limited(text, &Limits::default()).ok()?;
    let first_value = start + line.find('=')?;
    on_own_stack(|| -> Result<Kept, Error> {
        let options = parse::Options { depth: limits.depth, syntax: true };
        let ast = parse::parse(text, &mut Names::default(), options)?;
        let attrs = ast.syntax.iter().flat_map(|set| &set.bindings);
        let attrs = attrs.filter(|binding| binding.value.is_some()).flat_map(|b| &b.path);
        let plain = |span: Span| {
            text.as_bytes().get(span.start()).is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_')
        };
        let names = attrs.filter_map(|attr| {
            let before = attr.span.start() >= start && attr.span.end() <= first_value;
            let fixed = matches!(attr.name, AttrName::Static(_));
            (before && fixed && plain(attr.span)).then_some(attr.span)
        });
        let is_text = |expr: &Expr| matches!(expr, Expr::Str(_) | Expr::Text(_));
        let end = start + line.len();
        let texts = ast.nodes().iter().filter(|node| is_text(&node.expr)).map(|node| node.span);
        let texts = texts.filter(|span| span.start() < end && span.end() > start);
        Ok(Kept { parsed: true, names: names.collect(), texts: texts.collect() })
    })
    .ok()
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
