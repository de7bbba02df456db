//! JSON as Nix writes and reads it.

use nixmox_tree::{SecretString, SecretTree, Value};
use zeroize::Zeroizing;

use crate::parse::push_wiped;

/// How deep data may be nested.
pub(crate) const DEPTH: usize = 128;

/// Writes compact JSON with names in byte order; none when there is a float, which versions of Nix write differently.
pub(crate) fn write(value: &Value) -> Option<Zeroizing<String>> {
    let mut out = Zeroizing::new(String::new());
    write_value(value, &mut out)?;
    Some(out)
}

fn write_value(value: &Value, out: &mut Zeroizing<String>) -> Option<()> {
    match value {
        Value::Null => push_wiped(out, "null"),
        Value::Bool(truth) => push_wiped(out, if **truth { "true" } else { "false" }),
        Value::Int(number) => push_wiped(out, &Zeroizing::new(number.to_string())),
        Value::Float(_) => return None,
        Value::String(text) => write_text(text.expose(), out),
        Value::List(items) => {
            push_wiped(out, "[");
            for (at, item) in items.iter().enumerate() {
                push_wiped(out, if at > 0 { "," } else { "" });
                write_value(item, out)?;
            }
            push_wiped(out, "]");
        }
        Value::Tree(tree) => {
            push_wiped(out, "{");
            for (at, (name, value)) in tree.iter().enumerate() {
                push_wiped(out, if at > 0 { "," } else { "" });
                write_text(name, out);
                push_wiped(out, ":");
                write_value(value, out)?;
            }
            push_wiped(out, "}");
        }
    }
    Some(())
}

fn write_text(text: &str, out: &mut Zeroizing<String>) {
    push_wiped(out, "\"");
    let mut buffer = [0; 4];
    for c in text.chars() {
        match c {
            '"' => push_wiped(out, "\\\""),
            '\\' => push_wiped(out, "\\\\"),
            '\n' => push_wiped(out, "\\n"),
            '\r' => push_wiped(out, "\\r"),
            '\t' => push_wiped(out, "\\t"),
            c if u32::from(c) < 0x20 => push_wiped(out, &format!("\\u{:04x}", u32::from(c))),
            c => push_wiped(out, c.encode_utf8(&mut buffer)),
        }
    }
    push_wiped(out, "\"");
}

/// Reads JSON; none for what is not JSON, or has names twice, a NUL, or a number without exact meaning.
pub(crate) fn read(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text };
    let value = reader.value(0)?;
    reader.blank();
    reader.rest.is_empty().then_some(value)
}

struct Reader<'t> {
    rest: &'t str,
}

impl Reader<'_> {
    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn skip(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > DEPTH {
            return None;
        }
        self.blank();
        match self.rest.bytes().next()? {
            b'n' => self.skip("null").then_some(Value::Null),
            b't' => self.skip("true").then(|| Value::bool(true)),
            b'f' => self.skip("false").then(|| Value::bool(false)),
            b'"' => self.text().map(|text| Value::String(SecretString::from(text))),
            b'[' => self.list(depth),
            b'{' => self.tree(depth),
            _ => self.number(),
        }
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        self.skip("[");
        let mut items = Vec::new();
        self.blank();
        if self.skip("]") {
            return Some(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blank();
            if self.skip("]") {
                return Some(Value::List(items));
            }
            if !self.skip(",") {
                return None;
            }
        }
    }

    fn tree(&mut self, depth: usize) -> Option<Value> {
        self.skip("{");
        let mut tree = SecretTree::new();
        self.blank();
        if self.skip("}") {
            return Some(tree.into());
        }
        loop {
            self.blank();
            let name = self.text()?;
            self.blank();
            if !self.skip(":") {
                return None;
            }
            let value = self.value(depth + 1)?;
            if tree.insert(name.as_str(), value).is_some() {
                return None;
            }
            self.blank();
            if self.skip("}") {
                return Some(tree.into());
            }
            if !self.skip(",") {
                return None;
            }
        }
    }

    fn text(&mut self) -> Option<Zeroizing<String>> {
        if !self.skip("\"") {
            return None;
        }
        let mut out = Zeroizing::new(String::new());
        loop {
            let end = self.rest.find(|c: char| c == '"' || c == '\\' || u32::from(c) < 0x20)?;
            let (plain, rest) = self.rest.split_at(end);
            push_wiped(&mut out, plain);
            self.rest = rest;
            if self.skip("\"") {
                return Some(out);
            }
            if !self.skip("\\") {
                return None;
            }
            let c = self.escape()?;
            push_wiped(&mut out, c.encode_utf8(&mut [0; 4]));
        }
    }

    fn escape(&mut self) -> Option<char> {
        let escaped = self.rest.chars().next()?;
        self.rest = self.rest.get(escaped.len_utf8()..)?;
        Some(match escaped {
            '"' | '\\' | '/' => escaped,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.unit()?;
                if !(0xd800..0xdc00).contains(&unit) {
                    return char::from_u32(unit).filter(|c| *c != '\0');
                }
                let low = if self.skip("\\u") { self.unit()? } else { 0 };
                if !(0xdc00..0xe000).contains(&low) {
                    return None;
                }
                char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))?
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u32> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten()
    }

    /// `-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?`
    fn number(&mut self) -> Option<Value> {
        let whole = self.rest;
        let digits = |reader: &mut Self| {
            let before = reader.rest.len();
            reader.rest = reader.rest.trim_start_matches(|c: char| c.is_ascii_digit());
            before > reader.rest.len()
        };
        self.skip("-");
        if !self.skip("0") && !digits(self) {
            return None;
        }
        let mut float = false;
        if self.skip(".") {
            float = true;
            if !digits(self) {
                return None;
            }
        }
        if self.skip("e") || self.skip("E") {
            float = true;
            let _sign = self.skip("+") || self.skip("-");
            if !digits(self) {
                return None;
            }
        }
        let text = whole.get(..whole.len() - self.rest.len())?;
        if !float {
            return text.parse().ok().map(Value::int);
        }
        let number: f64 = text.parse().ok()?;
        number.is_finite().then(|| Value::float(number))
    }
}
