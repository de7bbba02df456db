//! Writes a tree as go-yaml's encoder writes it: block style, no wrapping, comments on lines of their own.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::style::{Style, is_break, is_printable, style_of};
use crate::node::{Comment, Entry, Item, Node};
use crate::number::yaml_float;

/// Writes documents, separated by `---`.
pub(crate) fn write(docs: &[Vec<Entry>], indent: usize) -> Zeroizing<Vec<u8>> {
    let mut writer =
        Writer { out: Zeroizing::new(String::with_capacity(room(docs))), best: indent.clamp(2, 9) };
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

/// Writes one value that stands for itself.
pub(crate) fn write_value(node: &Node, indent: usize) -> Zeroizing<Vec<u8>> {
    let mut writer = Writer { out: Zeroizing::new(String::new()), best: indent.clamp(2, 9) };
    match node {
        Node::List(items) if has_nodes(items) => writer.list(items, 0, true),
        leaf => writer.leaf(leaf, writer.best, 0, &[]),
    }
    Zeroizing::new(std::mem::take(&mut *writer.out).into_bytes())
}

/// Estimates how much there is to write, so that the text need not move while it grows.
fn room(docs: &[Vec<Entry>]) -> usize {
    docs.iter().map(|doc| entries_room(doc)).sum()
}

fn entries_room(entries: &[Entry]) -> usize {
    let entry = |entry: &Entry| match entry {
        Entry::Comment(comment) => comment.text.len() + 8,
        Entry::Pair(key, node) => key.len() + 8 + node_room(node),
    };
    entries.iter().map(entry).sum()
}

fn node_room(node: &Node) -> usize {
    match node {
        Node::Str(bytes) => bytes.expose().len() + 8,
        // With the indentation of an armored key, the one string of many lines that there always is.
        Node::Map(entries) => entries_room(entries) + 128,
        Node::List(items) => {
            let item = |item: &Item| match item {
                Item::Comment(comment) => comment.text.len() + 8,
                Item::Node(node) => node_room(node) + 8,
            };
            items.iter().map(item).sum()
        }
        _ => 32,
    }
}

struct Writer {
    out: Zeroizing<String>,
    best: usize,
}

impl Writer {
    /// Returns the next multiple of the indentation, where a block below `indent` starts.
    fn deeper(&self, indent: usize) -> usize {
        self.best * ((indent + self.best) / self.best)
    }

    fn pad(&mut self, column: usize) {
        const SPACES: &str = "                ";
        let mut left = column;
        while left > 0 {
            let some = SPACES.get(..left).unwrap_or(SPACES);
            self.out.push_str(some);
            left -= some.len();
        }
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
                    for comment in node.strays() {
                        self.comment_line(comment, indent);
                        fresh_line = true;
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
