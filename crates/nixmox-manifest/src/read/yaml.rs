use std::collections::HashMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::{Budget, MAX_DEPTH, Wrong, sorted};
use crate::source::{Data, Entry, Node, Place};

const WHAT: &str = "YAML";

pub(super) fn read(text: &str) -> Result<Node, Wrong> {
    // The scanner drops a byte order mark without counting it.
    let mark = text.len().saturating_sub(text.trim_start_matches('\u{feff}').len());
    let body = text.get(mark..).unwrap_or_default();
    let offsets = Offsets::new(body, mark);
    let mut composer = Composer { offsets, anchors: HashMap::new(), budget: Budget::default() };
    let mut events = Vec::new();
    for event in Parser::new_from_str(body) {
        let (event, span) = event.map_err(|error| {
            let at = composer.offsets.byte(error.marker().index());
            Wrong::new(WHAT, error.info().to_owned(), at..at)
        })?;
        if events.len() > super::MAX_NODES.saturating_mul(2) {
            return Err(Wrong::new(WHAT, "there is too much in it", 0..0));
        }
        events.push((event, span));
    }
    let mut events = events.into_iter().peekable();
    let mut root = None;
    while let Some((event, span)) = events.next() {
        if !matches!(event, Event::DocumentStart(_)) {
            continue;
        }
        if root.is_some() {
            let range = composer.offsets.range(span);
            return Err(Wrong::new(WHAT, "only one document is read", range));
        }
        root = Some(composer.node(&mut events)?);
    }
    root.ok_or_else(|| Wrong::new(WHAT, "nothing is in it", 0..0))
}

/// The scanner counts characters; places count bytes.
struct Offsets {
    /// Byte offsets of all characters; none when each is one byte.
    table: Option<Vec<usize>>,
    /// Bytes before the text.
    skipped: usize,
    end: usize,
}

impl Offsets {
    fn new(text: &str, skipped: usize) -> Self {
        let table = (!text.is_ascii()).then(|| text.char_indices().map(|(at, _)| at).collect());
        Self { table, skipped, end: text.len() }
    }

    fn byte(&self, index: usize) -> usize {
        let at = match &self.table {
            None => index.min(self.end),
            Some(table) => table.get(index).copied().unwrap_or(self.end),
        };
        at.saturating_add(self.skipped)
    }

    fn range(&self, span: Span) -> Range<usize> {
        let (start, end) = (self.byte(span.start.index()), self.byte(span.end.index()));
        start..end.max(start)
    }
}

struct Composer {
    offsets: Offsets,
    anchors: HashMap<usize, Data>,
    budget: Budget,
}

type Events<'t> = std::iter::Peekable<std::vec::IntoIter<(Event<'t>, Span)>>;

impl Composer {
    fn node(&mut self, events: &mut Events<'_>) -> Result<Node, Wrong> {
        let Some((event, span)) = events.next() else {
            return Err(Wrong::new(WHAT, "it ends too early", 0..0));
        };
        let range = self.offsets.range(span);
        let wrong = |message: &str| Wrong::new(WHAT, message, range.clone());
        if !self.budget.node() || self.budget.depth > MAX_DEPTH {
            return Err(wrong("this is nested too deeply, or there is too much of it"));
        }
        let mut end = range.end;
        let (data, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let core = |tag: &saphyr_parser::Tag| {
                    tag.is_yaml_core_schema().then(|| tag.suffix.clone())
                };
                let data = match (tag, style) {
                    (None, ScalarStyle::Plain) => plain(&text),
                    (None, _) => Data::Text(text.into_owned()),
                    (Some(tag), _) => match core(&tag).as_deref() {
                        Some("str") => Data::Text(text.into_owned()),
                        _ => return Err(wrong("tags are not read here")),
                    },
                };
                (data, anchor)
            }
            Event::SequenceStart(anchor, None) => {
                let (items, last) = self.list(events)?;
                end = last.max(end);
                (Data::List(items), anchor)
            }
            Event::MappingStart(anchor, None) => {
                let (entries, last) = self.map(events)?;
                end = last.max(end);
                let twice = |at: Place| Wrong::new(WHAT, "this name stands twice", at.range());
                (sorted(entries).map_err(twice)?, anchor)
            }
            Event::Alias(anchor) => (self.alias(anchor, &range)?, 0),
            _ => return Err(wrong("tags are not read here")),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, data.clone());
        }
        Ok(Node { data, place: Place::new(0, range.start..end) })
    }

    /// An alias is its anchor's value once more, and counts as much.
    fn alias(&mut self, anchor: usize, range: &Range<usize>) -> Result<Data, Wrong> {
        let wrong = |message: &str| Wrong::new(WHAT, message, range.clone());
        let Some(data) = self.anchors.get(&anchor).cloned() else {
            return Err(wrong("this alias is inside of what it names"));
        };
        let (nodes, depth) = size(&data);
        self.budget.nodes = self.budget.nodes.saturating_add(nodes);
        if self.budget.nodes > super::MAX_NODES
            || self.budget.depth.saturating_add(depth) > MAX_DEPTH
        {
            return Err(wrong("this alias makes it too large"));
        }
        Ok(data)
    }

    fn list(&mut self, events: &mut Events<'_>) -> Result<(Vec<Node>, usize), Wrong> {
        self.budget.depth = self.budget.depth.saturating_add(1);
        let mut items: Vec<Node> = Vec::new();
        loop {
            if matches!(events.peek(), Some((Event::SequenceEnd, _)) | None) {
                break;
            }
            items.push(self.node(events)?);
        }
        self.budget.depth = self.budget.depth.saturating_sub(1);
        Ok((items, self.end(events)))
    }

    fn map(&mut self, events: &mut Events<'_>) -> Result<(Vec<Entry>, usize), Wrong> {
        self.budget.depth = self.budget.depth.saturating_add(1);
        let mut entries: Vec<Entry> = Vec::new();
        loop {
            match events.peek() {
                Some((Event::MappingEnd, _)) | None => break,
                Some((Event::Scalar(..) | Event::Alias(_), _)) => {}
                Some((_, span)) => {
                    let range = self.offsets.range(*span);
                    return Err(Wrong::new(WHAT, "a name must be a text", range));
                }
            }
            let key = self.node(events)?;
            let name = match key.data {
                Data::Text(text) if text == "<<" => {
                    let range = key.place.range();
                    return Err(Wrong::new(WHAT, "merge keys are not read here", range));
                }
                Data::Text(text) => text,
                Data::Int(number) => number.to_string(),
                _ => {
                    let range = key.place.range();
                    return Err(Wrong::new(WHAT, "a name must be a text", range));
                }
            };
            entries.push(Entry { name, key: key.place, node: self.node(events)? });
        }
        self.budget.depth = self.budget.depth.saturating_sub(1);
        Ok((entries, self.end(events)))
    }

    /// Takes the event that closes a collection; only brackets have an end of their own.
    fn end(&self, events: &mut Events<'_>) -> usize {
        events.next().map_or(0, |(_, span)| match span.is_empty() {
            true => 0,
            false => self.offsets.range(span).end,
        })
    }
}

fn size(data: &Data) -> (usize, usize) {
    let below = |nodes: &mut dyn Iterator<Item = &Node>| {
        nodes.fold((1_usize, 0_usize), |(count, depth), node| {
            let (more, deep) = size(&node.data);
            (count.saturating_add(more), depth.max(deep))
        })
    };
    let (count, depth) = match data {
        Data::List(items) => below(&mut items.iter()),
        Data::Map(entries) => below(&mut entries.iter().map(|entry| &entry.node)),
        _ => return (1, 0),
    };
    (count, depth.saturating_add(1))
}

/// A plain scalar in YAML's core schema.
fn plain(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        "true" | "True" | "TRUE" => return Data::Bool(true),
        "false" | "False" | "FALSE" => return Data::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let starts = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    if !starts {
        return Data::Text(text.to_owned());
    }
    let radix = |prefix: &str, radix| {
        let rest = text.strip_prefix(prefix)?;
        i64::from_str_radix(rest, radix).ok().filter(|_| !rest.starts_with(['-', '+']))
    };
    if let Some(number) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| text.parse().ok()) {
        return Data::Int(number);
    }
    let numeric = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    match text.parse::<f64>() {
        Ok(number) if numeric && number.is_finite() => Data::Float(number),
        _ => Data::Text(text.to_owned()),
    }
}
