//! Files, places in them, and untyped values that know their places.

use std::ops::Range;

/// A range of one of the files that a manifest was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    file: u32,
    start: u32,
    end: u32,
}

fn clip(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn wide(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

impl Place {
    pub(crate) fn new(file: usize, range: Range<usize>) -> Self {
        Self { file: clip(file), start: clip(range.start), end: clip(range.end.max(range.start)) }
    }

    /// Returns the position of the file in [`Sources::files`].
    pub fn file(self) -> usize {
        wide(self.file)
    }

    /// Returns the bytes that are meant.
    pub fn range(self) -> Range<usize> {
        wide(self.start)..wide(self.end)
    }
}

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Its name, for messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// The files that a manifest was read from: itself, and what it imports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    pub(crate) fn new(files: Vec<SourceFile>) -> Self {
        Self { files }
    }

    pub(crate) fn one(name: &str, text: &str) -> Self {
        Self::new(vec![SourceFile { name: name.to_owned(), text: text.to_owned() }])
    }

    /// Lists the files; the manifest itself is the first.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// Returns the file of a place.
    pub fn file(&self, place: Place) -> Option<&SourceFile> {
        self.files.get(place.file())
    }

    /// Returns the text of a place.
    pub fn text(&self, place: Place) -> &str {
        self.file(place).and_then(|file| file.text.get(place.range())).unwrap_or_default()
    }

    /// Returns line and column of a place's first character, both from 1; the column counts characters.
    pub fn line_col(&self, place: Place) -> (usize, usize) {
        let text = self.file(place).map_or("", |file| file.text.as_str());
        let mut at = place.range().start.min(text.len());
        while !text.is_char_boundary(at) {
            at = at.saturating_sub(1);
        }
        let before = text.get(..at).unwrap_or_default();
        let line = before.matches('\n').count().saturating_add(1);
        let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count());
        (line, column.saturating_add(1))
    }
}

/// An untyped value and where it is written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) data: Data,
    pub(crate) place: Place,
}

#[derive(Debug, Clone)]
pub(crate) enum Data {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    /// Where the name is written.
    pub(crate) key: Place,
    pub(crate) node: Node,
}

impl Node {
    pub(crate) fn type_name(&self) -> &'static str {
        match self.data {
            Data::Null => "null",
            Data::Bool(_) => "a truth value",
            Data::Int(_) => "a whole number",
            Data::Float(_) => "a number with a point",
            Data::Text(_) => "a text",
            Data::List(_) => "a list",
            Data::Map(_) => "a set",
        }
    }

    pub(crate) fn to_json(&self) -> serde_json::Value {
        use serde_json::Value;
        match &self.data {
            Data::Null => Value::Null,
            Data::Bool(truth) => Value::Bool(*truth),
            Data::Int(number) => Value::from(*number),
            Data::Float(number) => Value::from(*number),
            Data::Text(text) => Value::String(text.clone()),
            Data::List(items) => Value::Array(items.iter().map(Self::to_json).collect()),
            Data::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.name.clone(), entry.node.to_json()));
                Value::Object(pairs.collect())
            }
        }
    }
}
