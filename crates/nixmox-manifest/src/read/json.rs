use jsonc_parser::ast::Value;
use jsonc_parser::common::{Range, Ranged};
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use super::{Budget, MAX_DEPTH, Wrong, sorted};
use crate::source::{Data, Entry, Node, Place};

const WHAT: &str = "JSON";

/// Strict JSON is judged by `serde_json`, which bounds depth; the other parser then adds the places.
pub(super) fn read(text: &str) -> Result<Node, Wrong> {
    if let Err(error) = serde_json::from_str::<serde::de::IgnoredAny>(text) {
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        let at = offset(text, error.line(), error.column());
        return Err(Wrong::new(WHAT, message, at..at));
    }
    let options = ParseOptions {
        allow_comments: false,
        allow_loose_object_property_names: false,
        allow_trailing_commas: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        ..ParseOptions::default()
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &options).map_err(|error| {
        let range = error.range();
        Wrong::new(WHAT, error.kind().to_string(), range.start..range.end)
    })?;
    let value = parsed.value.ok_or_else(|| Wrong::new(WHAT, "nothing is in it", 0..0))?;
    node(&value, &mut Budget::default())
}

/// Finds the byte offset of a line and a column that counts bytes, both from 1.
fn offset(text: &str, line: usize, column: usize) -> usize {
    let before = line.saturating_sub(1);
    let start: usize = text.split_inclusive('\n').take(before).map(str::len).sum();
    let mut at = start.saturating_add(column.saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(at) {
        at = at.saturating_sub(1);
    }
    at
}

fn place(range: Range) -> Place {
    Place::new(0, range.start..range.end)
}

fn node(value: &Value<'_>, budget: &mut Budget) -> Result<Node, Wrong> {
    let range = value.range();
    let wrong = |message: &str| Wrong::new(WHAT, message, range.start..range.end);
    if !budget.node() || budget.depth > MAX_DEPTH {
        return Err(wrong("this is nested too deeply, or there is too much of it"));
    }
    let data = match value {
        Value::NullKeyword(_) => Data::Null,
        Value::BooleanLit(literal) => Data::Bool(literal.value),
        Value::StringLit(literal) => Data::Text(literal.value.clone().into_owned()),
        Value::NumberLit(literal) => match literal.value.parse::<i64>() {
            Ok(number) => Data::Int(number),
            Err(_) => Data::Float(literal.value.parse().map_err(|_| wrong("not a number"))?),
        },
        Value::Array(array) => {
            budget.depth = budget.depth.saturating_add(1);
            let items = array.elements.iter().map(|item| node(item, budget));
            let items = items.collect::<Result<_, _>>()?;
            budget.depth = budget.depth.saturating_sub(1);
            Data::List(items)
        }
        Value::Object(object) => {
            budget.depth = budget.depth.saturating_add(1);
            let mut entries = Vec::with_capacity(object.properties.len());
            for property in &object.properties {
                let name = property.name.clone().into_string();
                let key = place(property.name.range());
                entries.push(Entry { name, key, node: node(&property.value, budget)? });
            }
            budget.depth = budget.depth.saturating_sub(1);
            let twice = |at: Place| Wrong::new(WHAT, "this name stands twice", at.range());
            sorted(entries).map_err(twice)?
        }
    };
    Ok(Node { data, place: place(range) })
}
