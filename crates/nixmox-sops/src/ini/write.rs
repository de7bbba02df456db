//! Writes ini: keys of a section aligned, an empty line between sections.

use zeroize::Zeroizing;

use super::DEFAULT;
use crate::error::Path;
use crate::flat;
use crate::node::{Comment, Entry, Node};

pub(super) fn write(sections: &[Entry]) -> Result<Zeroizing<Vec<u8>>, Path> {
    let mut out = Zeroizing::new(String::new());
    let sections = sections.iter().filter_map(|entry| match entry {
        Entry::Pair(name, node) => Some((name, node)),
        Entry::Comment(_) => None,
    });
    let mut sections = sections.enumerate().peekable();
    while let Some((index, (name, node))) = sections.next() {
        let Node::Map(entries) = node else { return Err(Path(vec![name.clone()])) };
        let first = entries.iter().position(|entry| matches!(entry, Entry::Pair(..)));
        let (comments, keys) = entries.split_at(first.unwrap_or(entries.len()));
        comment(comments, &mut out);
        if index > 0 || !name.eq_ignore_ascii_case(DEFAULT) {
            out.push('[');
            out.push_str(name);
            out.push_str("]\n");
        } else if keys.is_empty() {
            continue;
        }
        write_keys(name, keys, &mut out)?;
        if sections.peek().is_some() {
            out.push('\n');
        }
    }
    Ok(Zeroizing::new(std::mem::take(&mut *out).into_bytes()))
}

fn write_keys(section: &str, entries: &[Entry], out: &mut Zeroizing<String>) -> Result<(), Path> {
    let names = entries.iter().filter_map(|entry| match entry {
        Entry::Pair(name, _) => Some(quoted_key(name).len()),
        Entry::Comment(_) => None,
    });
    let width = names.max().unwrap_or(0);
    let mut rest = entries;
    while let Some((Entry::Pair(name, node), after)) = rest.split_first() {
        let next = after.iter().position(|entry| matches!(entry, Entry::Pair(..)));
        let (comments, after) = after.split_at(next.unwrap_or(after.len()));
        rest = after;
        let fail = || Path(vec![section.to_owned(), name.clone()]);
        let bytes = flat::text(node).ok_or_else(fail)?;
        let value = std::str::from_utf8(&bytes).map_err(|_| fail())?;
        comment(comments, out);
        let name = quoted_key(name);
        out.push_str(&name);
        out.extend(std::iter::repeat_n(' ', width.saturating_sub(name.len())));
        out.push_str(" = ");
        quoted_value(value, out);
        out.push('\n');
    }
    Ok(())
}

fn quoted_key(name: &str) -> String {
    let number = name.strip_prefix('#').unwrap_or_default();
    if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) {
        // The reader numbers keys of this name; written as the number they would be comments.
        "-".to_owned()
    } else if name.contains(['"', '=', ':']) {
        format!("`{name}`")
    } else if name.contains('`') {
        format!("\"\"\"{name}\"\"\"")
    } else {
        name.to_owned()
    }
}

fn quoted_value(value: &str, out: &mut Zeroizing<String>) {
    let quote = if value.contains('\n') && value.contains("\"\"\"") && !value.contains('`') {
        // The usual quotes would end within the value.
        "`"
    } else if value.contains(['\n', '`']) {
        "\"\"\""
    } else if value.contains(['#', ';']) {
        "`"
    } else if value.trim().len() != value.len() {
        "\""
    } else {
        ""
    };
    out.push_str(quote);
    out.push_str(value);
    out.push_str(quote);
}

/// Writes comments before what they belong to; a line that has its own mark keeps it.
fn comment(comments: &[Entry], out: &mut Zeroizing<String>) {
    let comments = comments.iter().filter_map(|entry| match entry {
        Entry::Comment(Comment { text, .. }) => Some(text.expose()),
        Entry::Pair(..) => None,
    });
    for line in comments.flat_map(|text| text.split('\n')).map(str::trim) {
        let (mark, text) = match line.split_at_checked(1) {
            Some((mark @ ("#" | ";"), text)) => (mark, text.trim()),
            _ => (";", line),
        };
        if !text.is_empty() {
            out.push_str(mark);
            out.push(' ');
            out.push_str(text);
            out.push('\n');
        }
    }
}
