use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Budget, Wrong, sorted};
use crate::source::{Data, Entry, Node, Place};

const WHAT: &str = "TOML";

/// The parser bounds depth itself.
pub(super) fn read(text: &str) -> Result<Node, Wrong> {
    let table = DeTable::parse(text).map_err(|error| {
        Wrong::new(WHAT, error.message().to_owned(), error.span().unwrap_or(0..0))
    })?;
    let range = table.span();
    let data = map(table.get_ref(), &mut Budget::default())?;
    Ok(Node { data, place: Place::new(0, range) })
}

fn map(table: &DeTable<'_>, budget: &mut Budget) -> Result<Data, Wrong> {
    let mut entries = Vec::with_capacity(table.len());
    for (key, value) in table {
        let place = Place::new(0, key.span());
        let node = node(value, budget)?;
        entries.push(Entry { name: key.get_ref().clone().into_owned(), key: place, node });
    }
    sorted(entries).map_err(|at| Wrong::new(WHAT, "this name stands twice", at.range()))
}

fn node(value: &Spanned<DeValue<'_>>, budget: &mut Budget) -> Result<Node, Wrong> {
    let range = value.span();
    let wrong = |message: &str| Wrong::new(WHAT, message, range.clone());
    if !budget.node() {
        return Err(wrong("there is too much in it"));
    }
    let data = match value.get_ref() {
        DeValue::String(text) => Data::Text(text.clone().into_owned()),
        DeValue::Integer(number) => {
            let digits = number.as_str().replace('_', "");
            let parsed = i64::from_str_radix(&digits, number.radix());
            Data::Int(parsed.map_err(|_| wrong("this number is too large"))?)
        }
        DeValue::Float(number) => {
            let digits = number.as_str().replace('_', "");
            Data::Float(digits.parse().map_err(|_| wrong("this is not a number"))?)
        }
        DeValue::Boolean(truth) => Data::Bool(*truth),
        DeValue::Datetime(time) => Data::Text(time.to_string()),
        DeValue::Array(items) => {
            Data::List(items.iter().map(|item| node(item, budget)).collect::<Result<_, _>>()?)
        }
        DeValue::Table(table) => map(table, budget)?,
    };
    Ok(Node { data, place: Place::new(0, first_line(range)) })
}

/// The place of `[a.b]` tables is their header.
fn first_line(range: Range<usize>) -> Range<usize> {
    range
}
