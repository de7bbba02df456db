//! JSON as Go reads and writes it: ordered, duplicates kept, integers apart from floats.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use zeroize::Zeroizing;

use crate::error::{MAX_BYTES, MAX_DEPTH, MAX_NODES, PlainError, PlainErrorKind};
use crate::node::{Entry, Item, Node};
use crate::number::json_float;

/// The document of a JSON text.
pub(crate) struct Read {
    pub(crate) entries: Vec<Entry>,
    /// Whether something follows it, which sops does not look at.
    pub(crate) trailing: bool,
}

/// Reads the first document of a JSON text.
pub(crate) fn read(bytes: &[u8]) -> Result<Read, PlainError> {
    match read_any(bytes)? {
        (Node::Map(entries), trailing) => Ok(Read { entries, trailing }),
        _ => Err(PlainError::at(1, PlainErrorKind::NotAMap)),
    }
}

/// Reads a text that is one value and nothing else.
pub(crate) fn read_value(bytes: &[u8]) -> Result<Node, PlainError> {
    match read_any(bytes)? {
        (node, false) => Ok(node),
        (_, true) => Err(PlainError::at(1, PlainErrorKind::Json)),
    }
}

fn read_any(bytes: &[u8]) -> Result<(Node, bool), PlainError> {
    if bytes.len() > MAX_BYTES {
        return Err(PlainError::at(0, PlainErrorKind::TooLarge));
    }
    let text = String::from_utf8_lossy(bytes);
    let mended = mend(&text);
    let text = mended.as_ref().map_or(text.as_ref(), |text| text.as_str());
    let limit = Limit { nodes: Cell::new(0), hit: Cell::new(None) };
    let mut reader = serde_json::Deserializer::from_str(text);
    let seed = Seed { limit: &limit, depth: 0 };
    match seed.deserialize(&mut reader) {
        Ok(node) => Ok((node, reader.end().is_err())),
        Err(e) => {
            let empty = text.trim().is_empty();
            let kind = if empty { PlainErrorKind::Empty } else { PlainErrorKind::Json };
            let kind = limit.hit.get().unwrap_or(kind);
            Err(PlainError { line: e.line(), column: e.column(), kind })
        }
    }
}

/// Replaces what Go takes and serde_json does not: half surrogate pairs, and `-0` as an integer.
fn mend(text: &str) -> Option<Zeroizing<String>> {
    if !text.contains("\\u") && !may_have_negative_zero(text) {
        return None;
    }
    let mut out = Zeroizing::new(String::with_capacity(text.len() + 16));
    let (mut rest, mut quoted) = (text, false);
    while let Some(at) = rest.find(['"', '\\', '-']) {
        let (before, found) = rest.split_at(at);
        out.push_str(before);
        let taken = match found.as_bytes() {
            [b'"', ..] => {
                quoted = !quoted;
                out.push('"');
                1
            }
            [b'\\', b'u', ..] if quoted => surrogate(found, &mut out),
            [b'\\', ..] => {
                let width = 1 + found.chars().nth(1).map_or(0, char::len_utf8);
                out.push_str(found.get(..width).unwrap_or(found));
                width
            }
            [b'-', b'0', after @ ..]
                if !quoted && !matches!(after.first(), Some(b'.' | b'e' | b'E' | b'0'..=b'9')) =>
            {
                out.push_str("0 ");
                2
            }
            _ => {
                out.push('-');
                1
            }
        };
        rest = found.get(taken..).unwrap_or_default();
    }
    out.push_str(rest);
    Some(out)
}

/// Tells whether `-0` stands where a number may begin; in a date it stands behind a digit.
fn may_have_negative_zero(text: &str) -> bool {
    let before = |at: usize| at.checked_sub(1).and_then(|at| text.as_bytes().get(at));
    text.match_indices("-0").any(|(at, _)| !before(at).is_some_and(u8::is_ascii_alphanumeric))
}

/// Copies one `\uXXXX`, or a pair of them, or `\ufffd` for a half without its other half.
fn surrogate(found: &str, out: &mut String) -> usize {
    let unit = |text: Option<&str>| {
        let digits = text?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 4)
    };
    match unit(found.get(..6)) {
        Some(0xd800..=0xdbff) => {
            if let Some(0xdc00..=0xdfff) = unit(found.get(6..12)) {
                out.push_str(found.get(..12).unwrap_or_default());
                return 12;
            }
            out.push_str("\\ufffd");
            6
        }
        Some(0xdc00..=0xdfff) => {
            out.push_str("\\ufffd");
            6
        }
        _ => {
            out.push_str("\\u");
            2
        }
    }
}

struct Limit {
    nodes: Cell<usize>,
    hit: Cell<Option<PlainErrorKind>>,
}

#[derive(Clone, Copy)]
struct Seed<'l> {
    limit: &'l Limit,
    depth: usize,
}

impl Seed<'_> {
    fn count<E: Error>(self) -> Result<(), E> {
        let nodes = self.limit.nodes.get() + 1;
        self.limit.nodes.set(nodes);
        if nodes > MAX_NODES {
            self.limit.hit.set(Some(PlainErrorKind::TooManyNodes));
            return Err(E::custom("limit"));
        }
        Ok(())
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            self.limit.hit.set(Some(PlainErrorKind::TooDeep));
            return Err(E::custom("limit"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Node, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Node, E> {
        Ok(Node::bool(truth))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Node, E> {
        Ok(Node::int(number))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Node, E> {
        // Beyond 64 bits with sign, Go goes on with a float; decimal text is the exact way there.
        Ok(match i64::try_from(number) {
            Ok(number) => Node::int(number),
            Err(_) => Node::float(number.to_string().parse().map_err(E::custom)?),
        })
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Node, E> {
        Ok(Node::float(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Node, E> {
        Ok(Node::str(text))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Node, E> {
        Ok(Node::str(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let below = self.deeper()?;
        let mut items = Vec::new();
        while let Some(node) = list.next_element_seed(below)? {
            below.count()?;
            items.push(Item::Node(node));
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let below = self.deeper()?;
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            below.count()?;
            entries.push(Entry::Pair(key, map.next_value_seed(below)?));
        }
        Ok(Node::Map(entries))
    }
}

/// Writes a document; comments are dropped. `None` when a number has no JSON form.
pub(crate) fn write(entries: &[Entry], indent: Indent) -> Option<Zeroizing<Vec<u8>>> {
    let mut writer = Writer { out: Zeroizing::new(String::new()), indent };
    writer.map(entries, 0)?;
    writer.out.push('\n');
    Some(Zeroizing::new(std::mem::take(&mut *writer.out).into_bytes()))
}

/// Writes one value without a newline behind it; `None` when a number has no JSON form.
pub(crate) fn write_value(node: &Node, indent: Indent) -> Option<Zeroizing<Vec<u8>>> {
    let mut writer = Writer { out: Zeroizing::new(String::new()), indent };
    writer.value(node, 0)?;
    Some(Zeroizing::new(std::mem::take(&mut *writer.out).into_bytes()))
}

/// How JSON is indented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Indent {
    Tab,
    Spaces(usize),
}

struct Writer {
    out: Zeroizing<String>,
    indent: Indent,
}

impl Writer {
    fn line(&mut self, depth: usize) {
        self.out.push('\n');
        match self.indent {
            Indent::Tab => self.out.extend(std::iter::repeat_n('\t', depth)),
            Indent::Spaces(n) => self.out.extend(std::iter::repeat_n(' ', n * depth)),
        }
    }

    fn map(&mut self, entries: &[Entry], depth: usize) -> Option<()> {
        self.out.push('{');
        let mut first = true;
        for entry in entries {
            let Entry::Pair(key, node) = entry else { continue };
            if !std::mem::replace(&mut first, false) {
                self.out.push(',');
            }
            self.line(depth + 1);
            self.string(key);
            self.out.push_str(": ");
            self.value(node, depth + 1)?;
        }
        if !first {
            self.line(depth);
        }
        self.out.push('}');
        Some(())
    }

    fn list(&mut self, items: &[Item], depth: usize) -> Option<()> {
        self.out.push('[');
        let mut first = true;
        for item in items {
            let Item::Node(node) = item else { continue };
            if !std::mem::replace(&mut first, false) {
                self.out.push(',');
            }
            self.line(depth + 1);
            self.value(node, depth + 1)?;
        }
        if !first {
            self.line(depth);
        }
        self.out.push(']');
        Some(())
    }

    fn value(&mut self, node: &Node, depth: usize) -> Option<()> {
        match node {
            Node::Map(entries) => return self.map(entries, depth),
            Node::List(items) => return self.list(items, depth),
            Node::Null => self.out.push_str("null"),
            Node::Bool(truth) => self.out.push_str(if **truth { "true" } else { "false" }),
            Node::Int(number) => self.out.push_str(&Zeroizing::new(number.to_string())),
            Node::Float(number) => self.out.push_str(&json_float(**number)?),
            Node::Time(text) => self.string(text.expose()),
            Node::Str(bytes) => match bytes.as_str() {
                Some(text) => self.string(text),
                None => self
                    .string(&Zeroizing::new(String::from_utf8_lossy(bytes.expose()).into_owned())),
            },
        }
        Some(())
    }

    /// Writes a string with Go's escapes, which keep it harmless inside HTML and JavaScript.
    fn string(&mut self, text: &str) {
        self.out.push('"');
        let mut rest = text;
        // A byte that may need an escape begins a character, so that texts can be split there.
        while let Some(at) = rest.bytes().position(may_need_escape) {
            self.out.push_str(rest.get(..at).unwrap_or_default());
            let mut chars = rest.get(at..).unwrap_or_default().chars();
            let Some(c) = chars.next() else { break };
            rest = chars.as_str();
            let short = match c {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                '\u{8}' => "\\b",
                '\u{c}' => "\\f",
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => "",
                _ => {
                    self.out.push(c);
                    continue;
                }
            };
            if short.is_empty() {
                self.out.push_str(&Zeroizing::new(format!("\\u{:04x}", u32::from(c))));
            } else {
                self.out.push_str(short);
            }
        }
        self.out.push_str(rest);
        self.out.push('"');
    }
}

/// Tells a byte that begins a character with an escape; 0xe2 begins U+2028 and U+2029, and many others.
fn may_need_escape(byte: u8) -> bool {
    matches!(byte, 0..=0x1f | b'"' | b'\\' | b'<' | b'>' | b'&' | 0xe2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let entries = read(text.as_bytes()).expect("JSON");
        let out = write(&entries.entries, Indent::Spaces(0)).expect("finite");
        assert_eq!(String::from_utf8_lossy(&out).replace('\n', ""), expect);
    }

    #[test]
    fn numbers_and_strings_survive_as_in_go() {
        check(
            r#"{"a":-0,"b":-0.0,"c":1.0,"d":18446744073709551615}"#,
            r#"{"a": 0,"b": -0,"c": 1,"d": 18446744073709552000}"#,
        );
        check(
            r#"{"a":"\ud800x\udc00","b":"\ud83d\ude00"}"#,
            "{\"a\": \"\u{fffd}x\u{fffd}\",\"b\": \"😀\"}",
        );
        check(r#"{"a":1,"a":2} rest"#, r#"{"a": 1,"a": 2}"#);
        check(r#"{"-0":"-0 \\-0"}"#, r#"{"-0": "-0 \\-0"}"#);
    }

    #[test]
    fn depth_is_limited() {
        let deep = format!("{}1{}", "{\"a\":".repeat(65), "}".repeat(65));
        assert_eq!(read(deep.as_bytes()).err().map(|e| e.kind), Some(PlainErrorKind::TooDeep));
        let far = "[".repeat(100_000);
        assert!(read(far.as_bytes()).is_err());
    }
}
