//! What a scalar means: go-yaml's table, which is neither YAML 1.1 nor 1.2.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use nixmox_tree::SecretString;
use saphyr_parser::{ScalarStyle, Tag};
use zeroize::Zeroizing;

use crate::error::PlainErrorKind;
use crate::node::Node;
use crate::time::yaml_timestamp;

/// What a plain scalar without a tag resolves to.
pub(super) enum Plain {
    Str,
    Null,
    Bool(bool),
    Int(i64),
    /// Between `i64` and `u64`: YAML reads it, sops cannot keep it.
    TooBig,
    Float(f64),
    Time(Zeroizing<String>),
    Merge,
}

/// Resolves the text of a plain scalar.
pub(super) fn plain(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Plain::Null,
        "true" | "True" | "TRUE" => return Plain::Bool(true),
        "false" | "False" | "FALSE" => return Plain::Bool(false),
        "<<" => return Plain::Merge,
        ".nan" | ".NaN" | ".NAN" => return Plain::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => {
            return Plain::Float(f64::INFINITY);
        }
        "-.inf" | "-.Inf" | "-.INF" => return Plain::Float(f64::NEG_INFINITY),
        _ => {}
    }
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return Plain::Str;
    }
    number(text)
}

fn number(text: &str) -> Plain {
    if let Some(time) = yaml_timestamp(text) {
        return Plain::Time(time);
    }
    if text.len() > 400 {
        // Longer than any number that is not out of range; spares the copies below.
        return Plain::Str;
    }
    let bare = Zeroizing::new(text.replace('_', ""));
    let (negative, size) = match bare.as_bytes().first() {
        Some(b'-') => (true, bare.get(1..).unwrap_or_default()),
        Some(b'+') => (false, bare.get(1..).unwrap_or_default()),
        _ => (false, bare.as_str()),
    };
    if let Some(found) = integer(negative, size) {
        return found;
    }
    if is_float(size) {
        match bare.parse::<f64>() {
            Ok(number) if number.is_finite() => return Plain::Float(number),
            _ => {}
        }
    }
    Plain::Str
}

fn integer(negative: bool, size: &str) -> Option<Plain> {
    let lower = size.get(..2).map(str::to_ascii_lowercase);
    let (radix, digits) = match lower.as_deref() {
        Some("0x") => (16, size.get(2..)?),
        Some("0o") => (8, size.get(2..)?),
        Some("0b") => (2, size.get(2..)?),
        _ if size.len() > 1 && size.starts_with('0') => (8, size.get(1..)?),
        _ => (10, size),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let size = i128::from_str_radix(digits, radix).ok()?;
    let number = if negative { -size } else { size };
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => Some(Plain::Int(number)),
        (_, Ok(_)) => Some(Plain::TooBig),
        _ => None,
    }
}

/// `(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, the sign already gone.
fn is_float(size: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match size.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, exponent.strip_prefix(['+', '-']).unwrap_or(exponent))
        }
        None => (size, "0"),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    !exponent.is_empty()
        && digits(exponent)
        && digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
}

/// Resolves a scalar with its style and tag to a leaf.
pub(super) fn scalar(
    text: &str,
    style: ScalarStyle,
    tag: Option<&Tag>,
) -> Result<Node, PlainErrorKind> {
    let core = tag.filter(|tag| tag.is_yaml_core_schema()).map(|tag| tag.suffix.as_str());
    let quoted = style != ScalarStyle::Plain;
    match core {
        Some("str") => return Ok(Node::str(text)),
        Some("binary") => {
            let packed: String = text.split_ascii_whitespace().collect();
            let bytes = BASE64_STANDARD.decode(packed).map_err(|_| PlainErrorKind::Tag)?;
            return Ok(Node::str(bytes));
        }
        None if quoted || tag.is_some_and(|tag| tag.suffix.is_empty()) => {
            return Ok(Node::str(text));
        }
        _ => {}
    }
    let node = match plain(text) {
        Plain::Null => Node::Null,
        Plain::Bool(truth) => Node::bool(truth),
        Plain::Int(number) => match core {
            // Every i64 has a nearest float; sops takes it too.
            Some("float") => Node::float(text.parse().map_err(|_| PlainErrorKind::Tag)?),
            _ => Node::int(number),
        },
        Plain::TooBig => return Err(PlainErrorKind::IntegerTooBig),
        Plain::Float(number) => Node::float(number),
        Plain::Time(time) => Node::Time(SecretString::from(time)),
        Plain::Str | Plain::Merge => Node::str(text),
    };
    let fits = match (core, &node) {
        (Some("int"), Node::Int(_))
        | (Some("float"), Node::Float(_))
        | (Some("bool"), Node::Bool(_))
        | (Some("null"), Node::Null)
        | (Some("timestamp"), Node::Time(_)) => true,
        (Some("int" | "float" | "bool" | "null" | "timestamp"), _) => false,
        _ => true,
    };
    if fits { Ok(node) } else { Err(PlainErrorKind::Tag) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let found = match plain(text) {
            Plain::Str => "str".to_owned(),
            Plain::Null => "null".to_owned(),
            Plain::Bool(truth) => truth.to_string(),
            Plain::Int(number) => number.to_string(),
            Plain::TooBig => "too big".to_owned(),
            Plain::Float(number) => format!("{number:?}"),
            Plain::Time(time) => (*time).clone(),
            Plain::Merge => "merge".to_owned(),
        };
        assert_eq!(found, expect, "{text}");
    }

    #[test]
    fn scalars_resolve_as_in_go_yaml() {
        check("yes", "str");
        check("0755", "493");
        check("0o17", "15");
        check("0x1F", "31");
        check("-0b101", "-5");
        check("08", "8.0");
        check("1_000", "1000");
        check("1.", "1.0");
        check(".5", "0.5");
        check("-.5e-3", "-0.0005");
        check("1e400", "str");
        check("18446744073709551615", "too big");
        check("18446744073709551616", "1.8446744073709552e19");
        check("2024-01-02", "2024-01-02T00:00:00Z");
        check("12:30:45", "str");
        check("+", "str");
        check("-", "str");
        check(".", "str");
        check("<<", "merge");
    }
}
