//! Where new bindings go, and what goes away with old ones.

use nixmox_tree::Value;
use zeroize::Zeroizing;

use super::{Change, write_path};
use crate::ast::{BindingSyntax, SetSyntax};
use crate::error::Span;
use crate::parse::push_wiped;
use crate::print::write_value;

fn line_start(text: &str, at: usize) -> usize {
    text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1)
}

/// Returns the blanks at the start of a line.
pub(super) fn indent(text: &str, at: usize) -> &str {
    let line = text.get(line_start(text, at)..).unwrap_or("");
    let end = line.find(|c: char| !matches!(c, ' ' | '\t')).unwrap_or(line.len());
    line.get(..end).unwrap_or("")
}

fn is_blank(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b' ' | b'\t' | b'\r'))
}

/// Removes a binding: its lines when nothing else is on them, else itself and the blanks before it.
pub(super) fn removal(text: &str, span: Span) -> Change {
    let start = line_start(text, span.start());
    let before = text.get(start..span.start()).unwrap_or("");
    let after = text.get(span.end()..).unwrap_or("");
    let gone = |from, to| Change { from, to, text: Zeroizing::new(String::new()) };
    let newline = after.find('\n');
    match newline.and_then(|newline| after.get(..newline)) {
        Some(rest) if is_blank(before) && is_blank(rest) => {
            gone(start, span.end() + rest.len() + 1)
        }
        _ => gone(
            span.start() - (before.len() - before.trim_end_matches([' ', '\t']).len()),
            span.end(),
        ),
    }
}

/// Inserts a binding behind an anchor, or at the end of a set.
pub(super) fn insertion(
    text: &str,
    set: &SetSyntax,
    anchor: Option<&BindingSyntax>,
    (path, value): (&[&str], &Value),
) -> Change {
    let binding = |indent: &str| {
        let mut out = Zeroizing::new(String::new());
        write_path(path, &mut out);
        push_wiped(&mut out, " = ");
        write_value(value, indent, false, &mut out);
        push_wiped(&mut out, ";");
        out
    };
    let at = |from, to, parts: [&str; 3]| {
        let mut out = Zeroizing::new(String::new());
        parts.iter().for_each(|part| push_wiped(&mut out, part));
        Change { from, to, text: out }
    };
    if let Some(anchor) = anchor.or(set.bindings.last()) {
        let indent = indent(text, anchor.span.start());
        let end = anchor.span.end();
        return match line_end_behind(text, end, set.span.end()) {
            Some(line_end) => at(line_end, line_end, [indent, &binding(indent), "\n"]),
            None => at(end, end, [" ", &binding(indent), ""]),
        };
    }
    let close = set.span.end() - 1;
    let outer = indent(text, set.span.start());
    if text.get(set.open..close).is_some_and(|inner| inner.trim_ascii().is_empty()) {
        let inner = format!("{outer}  ");
        let head = format!("\n{inner}");
        let tail = format!("\n{outer}");
        return at(set.open, close, [&head, &binding(&inner), &tail]);
    }
    let line = line_start(text, close);
    if line > set.open && text.get(line..close).is_some_and(is_blank) {
        let inner = format!("{}  ", indent(text, close));
        return at(line, line, [&inner, &binding(&inner), "\n"]);
    }
    at(close, close, ["", &binding(outer), " "])
}

/// Returns the start of the next line, when only blanks or a `#` comment stand before it and the set goes on there.
fn line_end_behind(text: &str, end: usize, set_end: usize) -> Option<usize> {
    let rest = text.get(end..set_end)?;
    let line = rest.get(..rest.find('\n')?)?;
    let line_comment = line.trim_ascii_start().starts_with('#');
    (is_blank(line) || line_comment).then_some(end + line.len() + 1)
}
