//! Writes a tree as go-yaml's encoder writes it: block style, no wrapping, comments on lines of their own.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::resolve::{Plain, plain};
use crate::node::{Comment, Entry, Item, Node};
use crate::number::yaml_float;

/// Writes documents, separated by `---`.
pub(crate) fn write(docs: &[Vec<Entry>], indent: usize) -> Zeroizing<Vec<u8>> {
    let mut writer = Writer { out: Zeroizing::new(String::new()), best: indent.clamp(2, 9) };
    for (index, doc) in docs.iter().enumerate() {
        if index > 0 {
            writer.out.push_str("---\n");
        }
        if doc.iter().any(|entry| matches!(entry, Entry::Pair(..))) {
            writer.map(doc, 0, true);
        } else {
            for entry in doc {
                if let Entry::Comment(comment) = entry {
                    writer.comment_line(comment, 0);
                }
            }
            writer.out.push_str("{}\n");
        }
    }
    Zeroizing::new(std::mem::take(&mut *writer.out).into_bytes())
}

struct Writer {
    out: Zeroizing<String>,
    best: usize,
}

/// How a string is written.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Style {
    Plain,
    Single,
    Double,
    Literal,
}

impl Writer {
    /// Returns the next multiple of the indentation, where a block below `indent` starts.
    fn deeper(&self, indent: usize) -> usize {
        self.best * ((indent + self.best) / self.best)
    }

    fn pad(&mut self, column: usize) {
        self.out.extend(std::iter::repeat_n(' ', column));
    }

    fn comment_line(&mut self, comment: &Comment, indent: usize) {
        // A line break inside a comment must not end it.
        for line in comment.text.expose().split(is_break) {
            self.pad(indent);
            self.out.push('#');
            self.comment_text(line);
            self.out.push('\n');
        }
    }

    fn inline(&mut self, comments: &[&Comment]) {
        for (index, comment) in comments.iter().enumerate() {
            self.out.push_str(if index == 0 { " #" } else { " # " });
            let text = comment.text.expose();
            for (index, line) in text.split(is_break).enumerate() {
                if index > 0 {
                    self.out.push(' ');
                }
                self.comment_text(line);
            }
        }
    }

    /// Writes the text of a comment without what YAML does not allow in one.
    fn comment_text(&mut self, line: &str) {
        self.out.extend(line.chars().map(|c| match c {
            '\t' => c,
            c if c.is_control() || c == '\u{feff}' => '\u{fffd}',
            c => c,
        }));
    }

    /// Writes the entries of a block map at `indent`; the first one where the pen already stands, if so.
    fn map(&mut self, entries: &[Entry], indent: usize, mut fresh_line: bool) {
        let mut inline = Vec::new();
        for entry in entries {
            match entry {
                Entry::Comment(comment) if comment.inline => inline.push(comment),
                Entry::Comment(comment) => self.comment_line(comment, indent),
                Entry::Pair(key, node) => {
                    if !is_leaf(node) {
                        // Nothing can stand behind a container's key but a comment on the next line.
                        for comment in inline.drain(..) {
                            self.comment_line(comment, indent);
                            fresh_line = true;
                        }
                    }
                    if fresh_line {
                        self.pad(indent);
                    }
                    fresh_line = true;
                    self.key(key, indent);
                    self.value(node, indent, &inline);
                    inline.clear();
                }
            }
        }
        for comment in inline {
            self.comment_line(comment, indent);
        }
    }

    fn key(&mut self, key: &str, indent: usize) {
        let style = style_of(key);
        if style == Style::Literal || key.len() > 128 {
            self.out.push_str("? ");
            self.string(key, style, self.deeper(indent), &[]);
            if style != Style::Literal {
                self.out.push('\n');
            }
            self.pad(indent);
        } else {
            self.string(key, style, indent, &[]);
        }
        self.out.push(':');
    }

    /// Writes what follows a key and its colon, to the end of the line.
    fn value(&mut self, node: &Node, indent: usize, inline: &[&Comment]) {
        match node {
            Node::Map(entries) if has_pairs(entries) => {
                self.out.push('\n');
                self.map(entries, self.deeper(indent), true);
            }
            Node::List(items) if has_nodes(items) => {
                self.out.push('\n');
                self.list(items, self.deeper(indent), true);
            }
            leaf => {
                self.out.push(' ');
                self.leaf(leaf, self.deeper(indent), indent, inline);
            }
        }
    }

    fn list(&mut self, items: &[Item], indent: usize, mut fresh_line: bool) {
        for item in items {
            match item {
                Item::Comment(comment) => self.comment_line(comment, indent),
                Item::Node(node) => {
                    if fresh_line {
                        for comment in leading(node) {
                            self.comment_line(comment, indent);
                        }
                        self.pad(indent);
                    }
                    fresh_line = true;
                    self.out.push_str("- ");
                    match node {
                        Node::Map(entries) if has_pairs(entries) => {
                            let skip = leading(node).count();
                            self.map(entries.get(skip..).unwrap_or_default(), indent + 2, false);
                        }
                        Node::List(below) if has_nodes(below) => {
                            let skip = leading(node).count();
                            let rest = below.get(skip..).unwrap_or_default();
                            self.nested_list(rest, indent + 2);
                        }
                        leaf => self.leaf(leaf, indent + 2, indent, &[]),
                    }
                }
            }
        }
    }

    /// Writes a list whose first dash stands behind another; its leading comments are written already.
    fn nested_list(&mut self, items: &[Item], indent: usize) {
        self.list(items, indent, false);
    }

    fn leaf(&mut self, node: &Node, indent: usize, above: usize, inline: &[&Comment]) {
        match node {
            Node::Str(bytes) => match bytes.as_str() {
                Some(text) => {
                    let style = style_of(text);
                    self.hinted(text, style, (indent, above), inline);
                    if style == Style::Literal {
                        return;
                    }
                }
                None => {
                    self.out.push_str("!!binary ");
                    BASE64_STANDARD.encode_string(bytes.expose(), &mut self.out);
                }
            },
            Node::Null => self.out.push_str("null"),
            Node::Bool(truth) => self.out.push_str(if **truth { "true" } else { "false" }),
            Node::Int(number) => {
                let text = Zeroizing::new(number.to_string());
                self.out.push_str(&text);
            }
            Node::Float(number) => self.out.push_str(&yaml_float(**number)),
            Node::Time(text) => self.out.push_str(text.expose()),
            Node::Map(_) => self.out.push_str("{}"),
            Node::List(_) => self.out.push_str("[]"),
        }
        self.inline(inline);
        self.out.push('\n');
    }

    fn string(&mut self, text: &str, style: Style, indent: usize, inline: &[&Comment]) {
        self.hinted(text, style, (indent, indent.saturating_sub(self.best)), inline);
    }

    /// Writes a string; a literal one at `indent` below a block at `above`, with the line break that ends it.
    fn hinted(
        &mut self,
        text: &str,
        style: Style,
        (indent, above): (usize, usize),
        inline: &[&Comment],
    ) {
        match style {
            Style::Plain => self.out.push_str(text),
            Style::Single => {
                self.out.push('\'');
                self.out.push_str(&Zeroizing::new(text.replace('\'', "''")));
                self.out.push('\'');
            }
            Style::Double => self.double(text),
            Style::Literal => {
                self.out.push('|');
                if text.starts_with([' ', '\n']) {
                    let hint = u32::try_from(indent - above).unwrap_or(1);
                    self.out.extend(char::from_digit(hint, 10));
                }
                if !text.ends_with('\n') {
                    self.out.push('-');
                } else if text == "\n" || text.ends_with("\n\n") {
                    self.out.push('+');
                }
                self.inline(inline);
                self.out.push('\n');
                for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
                    if !line.is_empty() {
                        self.pad(indent);
                        self.out.push_str(line);
                    }
                    self.out.push('\n');
                }
            }
        }
    }

    fn double(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            let short = match c {
                '\0' => '0',
                '\u{7}' => 'a',
                '\u{8}' => 'b',
                '\t' => 't',
                '\n' => 'n',
                '\u{b}' => 'v',
                '\u{c}' => 'f',
                '\r' => 'r',
                '\u{1b}' => 'e',
                '"' => '"',
                '\\' => '\\',
                '\u{85}' => 'N',
                '\u{2028}' => 'L',
                '\u{2029}' => 'P',
                c if is_printable(c) => {
                    self.out.push(c);
                    continue;
                }
                c => {
                    let code = u32::from(c);
                    let escaped = Zeroizing::new(match code {
                        0..=0xff => format!("\\x{code:02X}"),
                        0x100..=0xffff => format!("\\u{code:04X}"),
                        _ => format!("\\U{code:08X}"),
                    });
                    self.out.push_str(&escaped);
                    continue;
                }
            };
            self.out.extend(['\\', short]);
        }
        self.out.push('"');
    }
}

fn has_pairs(entries: &[Entry]) -> bool {
    entries.iter().any(|entry| matches!(entry, Entry::Pair(..)))
}

fn has_nodes(items: &[Item]) -> bool {
    items.iter().any(|item| matches!(item, Item::Node(_)))
}

fn is_leaf(node: &Node) -> bool {
    match node {
        Node::Map(entries) => !has_pairs(entries),
        Node::List(items) => !has_nodes(items),
        _ => true,
    }
}

/// Goes through the comments that open a container, at any level: inside a list they stand before its dash.
fn leading(node: &Node) -> Box<dyn Iterator<Item = &Comment> + '_> {
    match node {
        Node::Map(entries) => Box::new(entries.iter().map_while(|entry| match entry {
            Entry::Comment(comment) if !comment.inline => Some(comment),
            _ => None,
        })),
        Node::List(items) => Box::new(items.iter().map_while(|item| match item {
            Item::Comment(comment) => Some(comment),
            Item::Node(_) => None,
        })),
        _ => Box::new(std::iter::empty()),
    }
}

/// Chooses the style that go-yaml's encoder and emitter choose together.
fn style_of(text: &str) -> Style {
    if is_sealed_word(text) {
        return Style::Plain;
    }
    let seen = Seen::of(text);
    if text.contains('\n') {
        let block = !seen.trailing_space && !seen.space_break && !seen.special;
        return if block { Style::Literal } else { Style::Double };
    }
    if !matches!(plain(text), Plain::Str) || is_old(text) {
        return Style::Double;
    }
    let single = !seen.break_space && !seen.space_break && !seen.tab && !seen.special;
    let bare = single && !seen.edge_space && !seen.breaks && !seen.indicators;
    match (bare, single) {
        (true, _) => Style::Plain,
        (false, true) => Style::Single,
        (false, false) => Style::Double,
    }
}

/// Tells a sealed value, which is by far the most common string, without the full analysis.
fn is_sealed_word(text: &str) -> bool {
    text.starts_with("ENC[")
        && text.bytes().all(|b| {
            b.is_ascii_alphanumeric()
                || matches!(b, b'+' | b'/' | b'=' | b',' | b':' | b'[' | b']' | b'_')
        })
        && !text.ends_with(':')
}

/// What stands in a string, as libyaml's `analyze_scalar` sees it.
#[derive(Default)]
struct Seen {
    indicators: bool,
    special: bool,
    tab: bool,
    breaks: bool,
    edge_space: bool,
    trailing_space: bool,
    break_space: bool,
    space_break: bool,
}

impl Seen {
    fn of(text: &str) -> Self {
        let mut seen = Self {
            indicators: text.starts_with("---") || text.starts_with("..."),
            ..Self::default()
        };
        let (mut before, mut chars) = (None, text.chars().peekable());
        while let Some(c) = chars.next() {
            let followed = chars.peek().is_none_or(|next| is_blank(*next));
            let preceded = before.is_none_or(is_blank);
            seen.indicators |= match c {
                ':' => followed,
                '#' => preceded,
                '?' | '-' => before.is_none() && followed,
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%'
                | '@' | '`' => before.is_none(),
                _ => false,
            };
            seen.tab |= c == '\t';
            seen.special |= c != '\t' && !is_printable(c);
            let edge = before.is_none() || chars.peek().is_none();
            if c == ' ' {
                seen.edge_space |= edge;
                seen.trailing_space |= chars.peek().is_none();
                seen.break_space |= before.is_some_and(is_break);
            } else if is_break(c) {
                seen.breaks = true;
                seen.edge_space |= edge;
                seen.space_break |= before == Some(' ');
            }
            before = Some(c);
        }
        seen
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t') || is_break(c)
}

fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

/// Tells what only YAML 1.1 takes for a truth value or a number to the base of sixty.
fn is_old(text: &str) -> bool {
    const WORDS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    let cased = |word: &str| {
        text == word || text == word.to_ascii_uppercase() || {
            let mut chars = word.chars();
            let first = chars.next().map(|c| c.to_ascii_uppercase());
            first.into_iter().chain(chars).eq(text.chars())
        }
    };
    text.len() <= 3 && WORDS.into_iter().any(cased) || is_base60(text)
}

/// `[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?`
fn is_base60(text: &str) -> bool {
    let size = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = size.split(':');
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit() || b == b'_');
    let first = parts.next().unwrap_or_default();
    if !first.starts_with(|c: char| c.is_ascii_digit()) || !digits(first) {
        return false;
    }
    let sixty = |part: &str| match part.as_bytes() {
        [b] => b.is_ascii_digit(),
        [b'0'..=b'5', b] => b.is_ascii_digit(),
        _ => false,
    };
    let Some((last, middle)) =
        parts.collect::<Vec<_>>().split_last().map(|(l, m)| (*l, m.to_vec()))
    else {
        return false;
    };
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    middle.into_iter().all(sixty) && sixty(whole) && digits(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, style: Style) {
        assert_eq!(style_of(text), style, "{text:?}");
    }

    #[test]
    fn strings_are_quoted_as_go_yaml_does() {
        check("hello", Style::Plain);
        check("", Style::Double);
        check(" ", Style::Single);
        check("x: y", Style::Single);
        check("x #y", Style::Single);
        check("it's", Style::Plain);
        check("'it", Style::Single);
        check("yes", Style::Double);
        check("Off", Style::Double);
        check("oFF", Style::Plain);
        check("1:30", Style::Double);
        check("1:60:1", Style::Plain);
        check("2024-01-02", Style::Double);
        check("<<", Style::Double);
        check("a\tb", Style::Double);
        check("a\nb", Style::Literal);
        check("a \nb", Style::Double);
        check("a\r\nb", Style::Double);
        check("---x", Style::Single);
        check("😀", Style::Double);
        check("é", Style::Plain);
        check("ENC[AES256_GCM,data:a+/=,iv:b=,tag:c=,type:str]", Style::Plain);
    }
}
