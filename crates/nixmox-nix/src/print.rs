//! Data as Nix text.

use nixmox_tree::{SecretString, SecretTree, Value};
use zeroize::Zeroizing;

use crate::parse::push_wiped;

const KEYWORDS: [&str; 10] =
    ["if", "then", "else", "assert", "with", "let", "in", "rec", "inherit", "or"];

/// Writes data as Nix text, indented by two spaces, names in byte order.
///
/// Text with several lines becomes an indented string where that says the same. What Nix cannot say (text with a NUL,
/// floats that are not finite) comes out as text that [`eval`](crate::eval) refuses.
pub fn to_nix(value: &Value) -> SecretString {
    let mut out = Zeroizing::new(String::new());
    write_value(value, "", false, &mut out);
    push_wiped(&mut out, "\n");
    out.into()
}

/// Writes a value whose further lines are indented by `indent`; an `argument` stands in a list.
pub(crate) fn write_value(
    value: &Value,
    indent: &str,
    argument: bool,
    out: &mut Zeroizing<String>,
) {
    match value {
        Value::Null => push_wiped(out, "null"),
        Value::Bool(truth) => push_wiped(out, if **truth { "true" } else { "false" }),
        Value::Int(number) => write_int(**number, argument, out),
        Value::Float(number) => write_float(**number, argument, out),
        Value::String(text) if is_block(text.expose()) => write_block(text.expose(), indent, out),
        Value::String(text) => write_text(text.expose(), out),
        Value::List(items) => write_list(items, indent, out),
        Value::Tree(tree) => write_tree(tree, indent, out),
    }
}

fn write_int(number: i64, argument: bool, out: &mut Zeroizing<String>) {
    let text = Zeroizing::new(number.to_string());
    match number {
        i64::MIN => push_wiped(out, "(-9223372036854775807 - 1)"),
        ..0 if argument => write_parts(out, &["(", &text, ")"]),
        _ => push_wiped(out, &text),
    }
}

fn write_float(number: f64, argument: bool, out: &mut Zeroizing<String>) {
    if number == 0.0 && number.is_sign_negative() {
        return push_wiped(out, "(0.0 * (-1))");
    }
    let text = Zeroizing::new(format!("{:?}", number.abs()));
    let (mantissa, exponent) = text.split_at(text.find('e').unwrap_or(text.len()));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    match (number < 0.0, argument) {
        (true, true) => write_parts(out, &["(-", mantissa, point, exponent, ")"]),
        (true, false) => write_parts(out, &["-", mantissa, point, exponent]),
        (false, _) => write_parts(out, &[mantissa, point, exponent]),
    }
}

fn write_parts(out: &mut Zeroizing<String>, parts: &[&str]) {
    parts.iter().for_each(|part| push_wiped(out, part));
}

fn write_list(items: &[Value], indent: &str, out: &mut Zeroizing<String>) {
    if items.is_empty() {
        return push_wiped(out, "[ ]");
    }
    let inner = format!("{indent}  ");
    push_wiped(out, "[\n");
    for item in items {
        push_wiped(out, &inner);
        write_value(item, &inner, true, out);
        push_wiped(out, "\n");
    }
    write_parts(out, &[indent, "]"]);
}

fn write_tree(tree: &SecretTree, indent: &str, out: &mut Zeroizing<String>) {
    if tree.is_empty() {
        return push_wiped(out, "{ }");
    }
    let inner = format!("{indent}  ");
    push_wiped(out, "{\n");
    for (name, value) in tree {
        push_wiped(out, &inner);
        write_name(name, out);
        push_wiped(out, " = ");
        write_value(value, &inner, false, out);
        push_wiped(out, ";\n");
    }
    write_parts(out, &[indent, "}"]);
}

/// Writes an attribute's name, in quotes when it needs them.
pub(crate) fn write_name(name: &str, out: &mut Zeroizing<String>) {
    let plain = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(crate::lex::is_name)
        && !KEYWORDS.contains(&name);
    if plain {
        push_wiped(out, name);
    } else {
        write_text(name, out);
    }
}

fn write_text(text: &str, out: &mut Zeroizing<String>) {
    push_wiped(out, "\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => push_wiped(out, "\\\""),
            '\\' => push_wiped(out, "\\\\"),
            '\n' => push_wiped(out, "\\n"),
            '\r' => push_wiped(out, "\\r"),
            '\t' => push_wiped(out, "\\t"),
            '$' if chars.peek() == Some(&'{') => push_wiped(out, "\\$"),
            c => push_wiped(out, c.encode_utf8(&mut [0; 4])),
        }
    }
    push_wiped(out, "\"");
}

/// Tells whether a text can stand in an indented string without any escape.
fn is_block(text: &str) -> bool {
    let odd = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    let blank = |line: &str| !line.is_empty() && line.bytes().all(|b| b == b' ');
    text.ends_with('\n')
        && !text.contains(odd)
        && !["''", "${", "'$", "$'"].iter().any(|special| text.contains(special))
        && !text.lines().any(blank)
        && text.lines().any(|line| !line.is_empty() && !line.starts_with(' '))
}

fn write_block(text: &str, indent: &str, out: &mut Zeroizing<String>) {
    push_wiped(out, "''\n");
    for line in text.lines() {
        if !line.is_empty() {
            write_parts(out, &[indent, "  ", line]);
        }
        push_wiped(out, "\n");
    }
    write_parts(out, &[indent, "''"]);
}
