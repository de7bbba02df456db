//! Reads ini line by line.

use std::collections::HashMap;

use nixmox_tree::SecretBytes;
use zeroize::Zeroizing;

use super::DEFAULT;
use crate::error::{MAX_BYTES, MAX_NODES, PlainError, PlainErrorKind};
use crate::node::{Comment, Entry, Node};

const DELIMITERS: [char; 2] = ['=', ':'];
const MARKS: [char; 2] = ['#', ';'];

/// One section with its keys, each with the comment before it.
struct Section {
    name: String,
    comment: Zeroizing<String>,
    keys: Vec<Key>,
    places: HashMap<String, usize>,
    /// How many keys were called `-`, which numbers them.
    counted: usize,
}

struct Key {
    name: String,
    value: Zeroizing<String>,
    comment: Zeroizing<String>,
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, PlainError> {
    if bytes.len() > MAX_BYTES {
        return Err(PlainError::at(0, PlainErrorKind::TooLarge));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PlainError::at(0, PlainErrorKind::Utf8))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader = Reader { rest: text, line: 0, comment: Zeroizing::default() };
    let mut sections = vec![Section::new(DEFAULT)];
    let mut nodes = 0;
    while let Some(line) = reader.next() {
        let at = reader.line;
        let fail = |kind| PlainError::at(at, kind);
        nodes += 1;
        if nodes > MAX_NODES {
            return Err(fail(PlainErrorKind::TooManyNodes));
        }
        let line = line.trim_start();
        let read = match line.chars().next() {
            None => Some(()),
            Some('#' | ';') => {
                reader.comment.push_str(line);
                Some(())
            }
            Some('[') => reader.section(line).map(|section| sections.push(section)),
            Some(_) => sections.last_mut().and_then(|section| reader.key(line, section)),
        };
        read.ok_or_else(|| fail(PlainErrorKind::Ini))?;
    }
    Ok(sections.into_iter().map(Section::entry).collect())
}

struct Reader<'t> {
    rest: &'t str,
    line: usize,
    /// What comments said since the last key or section.
    comment: Zeroizing<String>,
}

impl<'t> Reader<'t> {
    /// Returns the next line with its end.
    fn next(&mut self) -> Option<&'t str> {
        let end = self.rest.find('\n').map_or(self.rest.len(), |at| at + 1);
        let (line, rest) = self.rest.split_at_checked(end).filter(|_| end > 0)?;
        (self.rest, self.line) = (rest, self.line + 1);
        Some(line)
    }

    fn take_comment(&mut self) -> Zeroizing<String> {
        let comment = std::mem::take(&mut self.comment);
        Zeroizing::new(comment.trim().to_owned())
    }

    /// Notes what stands behind a value or section, if it is a comment.
    fn trailing(&mut self, text: &str) {
        if let Some(at) = text.find(MARKS) {
            self.comment.push_str(text.get(at..).unwrap_or_default());
        }
    }

    fn section(&mut self, line: &str) -> Option<Section> {
        let (name, after) = line.strip_prefix('[')?.rsplit_once(']')?;
        self.trailing(after);
        let comment = self.take_comment();
        (!name.is_empty()).then(|| Section { comment, ..Section::new(name) })
    }

    fn key(&mut self, line: &str, section: &mut Section) -> Option<()> {
        let (name, value) = split_key(line)?;
        let name = match name {
            "-" => {
                section.counted += 1;
                format!("#{}", section.counted)
            }
            name => name.to_owned(),
        };
        let value = self.value(value)?;
        let comment = self.take_comment();
        (!name.is_empty()).then(|| section.set(Key { name, value, comment }))
    }

    fn value(&mut self, text: &str) -> Option<Zeroizing<String>> {
        let text = text.trim_start();
        let quote = match text {
            "" => return Some(Zeroizing::default()),
            _ if text.len() > 3 && text.starts_with("\"\"\"") => "\"\"\"",
            _ if text.starts_with('`') => "`",
            _ => return self.plain(text.trim()),
        };
        let inside = text.get(quote.len()..)?;
        match inside.rsplit_once(quote) {
            Some((value, _)) => Some(Zeroizing::new(value.to_owned())),
            None => self.lines_until(inside, quote),
        }
    }

    /// Reads a value over several lines, up to the last quote of the first line that has one.
    fn lines_until(&mut self, first: &str, quote: &str) -> Option<Zeroizing<String>> {
        let mut value = Zeroizing::new(first.to_owned());
        loop {
            let line = self.next()?;
            if let Some((before, after)) = line.rsplit_once(quote) {
                value.push_str(before);
                self.trailing(after.trim_end());
                return Some(value);
            }
            value.push_str(line);
        }
    }

    fn plain(&mut self, text: &str) -> Option<Zeroizing<String>> {
        if let Some(first) = text.strip_suffix('\\') {
            return Some(self.continued(first));
        }
        let value = match text.find(MARKS) {
            Some(at) => {
                self.trailing(text);
                text.get(..at)?.trim()
            }
            None => text,
        };
        Some(Zeroizing::new(unquoted(value).to_owned()))
    }

    /// Joins lines that end in a backslash.
    fn continued(&mut self, first: &str) -> Zeroizing<String> {
        let mut value = Zeroizing::new(first.to_owned());
        while let Some(line) = self.next() {
            let line = line.trim();
            match line.strip_suffix('\\') {
                Some(more) => value.push_str(more),
                None => {
                    value.push_str(line);
                    break;
                }
            }
        }
        value
    }
}

/// Takes off a pair of quotes around a value that has no other of that kind.
fn unquoted(value: &str) -> &str {
    let inside = |quote: char| {
        let inside = value.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inside.contains(quote)).then_some(inside)
    };
    inside('\'').or_else(|| inside('"')).unwrap_or(value)
}

/// Splits a line into its key, quotes taken off, and what follows the delimiter.
fn split_key(line: &str) -> Option<(&str, &str)> {
    let quote = match line {
        _ if line.len() > 6 && line.starts_with("\"\"\"") => "\"\"\"",
        _ if line.starts_with('"') => "\"",
        _ if line.starts_with('`') => "`",
        _ => {
            let (name, value) = line.split_once(DELIMITERS)?;
            return Some((name.trim(), value));
        }
    };
    let (name, after) = line.get(quote.len()..)?.split_once(quote)?;
    let (_, value) = after.split_once(DELIMITERS)?;
    Some((name.trim(), value))
}

impl Section {
    fn new(name: &str) -> Self {
        let (comment, keys, places) = (Zeroizing::default(), Vec::new(), HashMap::new());
        Self { name: name.to_owned(), comment, keys, places, counted: 0 }
    }

    /// Adds a key, or gives one that was there its new value and comment.
    fn set(&mut self, key: Key) {
        let next = self.keys.len();
        let place = *self.places.entry(key.name.clone()).or_insert(next);
        match self.keys.get_mut(place) {
            Some(old) => *old = key,
            None => self.keys.push(key),
        }
    }

    fn entry(self) -> Entry {
        let mut entries: Vec<_> = comment(&self.comment).into_iter().collect();
        for key in self.keys {
            let value = SecretBytes::new(key.value.as_bytes());
            entries.push(Entry::Pair(key.name, Node::Str(value)));
            entries.extend(comment(&key.comment));
        }
        Entry::Pair(self.name, Node::Map(entries))
    }
}

/// Takes the mark off a comment; those of its further lines stay.
fn comment(text: &str) -> Option<Entry> {
    let text = match text.chars().next()? {
        ';' => text.trim_start_matches([';', ' ']),
        '#' => text.trim_start_matches(['#', ' ']),
        _ => text,
    };
    (!text.is_empty()).then(|| Entry::Comment(Comment::new(text)))
}
