//! Plaintext documents: what `sops -d` prints, and a tree to change.

use nixmox_tree::{SecretBytes, SecretTree, Value};

use crate::error::{MAX_BYTES, MAX_DEPTH, Path, PlainError, PlainErrorKind};
use crate::format::Format;
use crate::node::{Entry, Item, Node};
use crate::{dotenv, flat, format, ini, json, yaml};

/// Ordered plaintext documents with their comments; `{:?}` prints their number alone.
#[derive(Clone, PartialEq, Default)]
pub struct Documents {
    pub(crate) docs: Vec<Vec<Entry>>,
}

impl std::fmt::Debug for Documents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Documents({})", self.docs.len())
    }
}

/// How printed documents are indented; sops' own defaults are four spaces in YAML and a tab in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Indent {
    /// Spaces a level in YAML, 2 to 9; `None` for 4.
    pub yaml: Option<usize>,
    /// Spaces a level in JSON; `None` for a tab.
    pub json: Option<usize>,
    /// Spaces a level in the JSON of a binary file; `None` for a tab.
    pub binary: Option<usize>,
}

impl Indent {
    pub(crate) fn yaml_spaces(self) -> usize {
        self.yaml.unwrap_or(4)
    }

    pub(crate) fn json_indent(self, format: Format) -> json::Indent {
        let spaces = if format == Format::Binary { self.binary } else { self.json };
        spaces.map_or(json::Indent::Tab, |n| json::Indent::Spaces(n.min(16)))
    }
}

/// Why documents do not fit what is asked of them; values are named by their path alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// A value in the way is neither a map nor a list.
    #[error("value {0} is in the way")]
    InTheWay(Path),
    /// A list position is not a number, or the path is empty.
    #[error("no such position: {0}")]
    Position(Path),
    /// A text is not UTF-8.
    #[error("value {0} is not text")]
    NotText(Path),
    /// The documents have no form in that format.
    #[error("the documents have no form in that format")]
    Format,
    /// A value has no form in that format: nested too deeply for it, or not text.
    #[error("value {0} has no form in that format")]
    NoForm(Path),
}

impl Documents {
    /// Reads plaintext; an ini file is a map of sections, its keys before the first one in the section `DEFAULT`.
    ///
    /// # Errors
    ///
    /// [`PlainError`] with the place of the fault; a top-level key `sops` (dotenv: `sops_…`) is refused.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Self, PlainError> {
        if format == Format::Binary {
            if bytes.len() > MAX_BYTES {
                return Err(PlainError::at(0, PlainErrorKind::TooLarge));
            }
            return Ok(Self::binary(SecretBytes::new(bytes)));
        }
        let docs = format::read(bytes, format)?.docs;
        let reserved = |entry: &Entry| matches!(entry, Entry::Pair(key, _) if format.reserves(key));
        if docs.iter().flatten().any(reserved) {
            return Err(PlainError::at(0, PlainErrorKind::SopsKey));
        }
        Ok(Self { docs })
    }

    /// Makes one document of a tree.
    pub fn from_tree(tree: &SecretTree) -> Self {
        Self { docs: vec![tree_entries(tree)] }
    }

    /// Makes the document of a binary file: its bytes under the key `data`.
    pub fn binary(bytes: SecretBytes) -> Self {
        Self { docs: vec![vec![Entry::Pair("data".to_owned(), Node::Str(bytes))]] }
    }

    /// Counts the documents.
    pub fn len(&self) -> usize {
        self.docs.len()
    }

    /// Counts the comments of all documents, which a tree does not keep.
    pub fn comments(&self) -> usize {
        self.docs.iter().map(|doc| comments(doc)).sum()
    }

    /// Tells whether there is no document.
    pub fn is_empty(&self) -> bool {
        self.docs.is_empty()
    }

    /// Prints the documents as `sops -d` does.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Format`]: a NaN in JSON, anything but `data` in binary, several documents in all but YAML;
    /// [`ShapeError::NoForm`] for maps and lists in dotenv and in the sections of ini.
    pub fn to_bytes(&self, format: Format, indent: Indent) -> Result<SecretBytes, ShapeError> {
        match (format, self.docs.as_slice()) {
            (Format::Yaml, docs) => Ok(SecretBytes::from(yaml::write(docs, indent.yaml_spaces()))),
            (Format::Json, [doc]) => json::write(doc, indent.json_indent(format))
                .map(SecretBytes::from)
                .ok_or(ShapeError::Format),
            (Format::Binary, [doc]) => binary_of(doc).ok_or(ShapeError::Format),
            (Format::Dotenv, [doc]) => {
                dotenv::write(&shown(doc)).map(SecretBytes::from).map_err(ShapeError::NoForm)
            }
            (Format::Ini, [doc]) => {
                ini::write(&shown(doc)).map(SecretBytes::from).map_err(ShapeError::NoForm)
            }
            _ => Err(ShapeError::Format),
        }
    }

    /// Returns the first document without its comments; times become text, of duplicate keys the last counts.
    ///
    /// # Errors
    ///
    /// [`ShapeError::NotText`] when a string is not UTF-8.
    pub fn to_tree(&self) -> Result<SecretTree, ShapeError> {
        match self.docs.first() {
            Some(doc) => entries_tree(doc, &mut Vec::new()),
            None => Ok(SecretTree::new()),
        }
    }

    /// Returns a value of the first document; list positions are decimal numbers.
    ///
    /// # Errors
    ///
    /// [`ShapeError::NotText`] when a string in it is not UTF-8.
    pub fn get<S: AsRef<str>>(&self, path: &[S]) -> Result<Option<Value>, ShapeError> {
        let Some((first, rest)) = path.split_first() else {
            return self.to_tree().map(|tree| Some(Value::Tree(tree)));
        };
        let top = self.docs.iter().take(1).flatten().rev().find_map(|entry| match entry {
            Entry::Pair(key, node) if key == first.as_ref() => Some(node),
            _ => None,
        });
        let found = rest.iter().try_fold(top, |node, step| match node? {
            Node::List(items) => {
                let index: usize = step.as_ref().parse().ok()?;
                Some(list_nodes(items).nth(index))
            }
            map => Some(map.get(step.as_ref())),
        });
        let mut steps = path.iter().map(|s| s.as_ref().to_owned()).collect();
        found.flatten().map(|node| node_value(node, &mut steps)).transpose()
    }

    /// Returns the values of the first document as text, as `exec-env` gives them to a program.
    ///
    /// # Errors
    ///
    /// [`ShapeError::NoForm`] for a map or list.
    pub fn flat_values(&self) -> Result<Vec<(String, SecretBytes)>, ShapeError> {
        let doc = shown(self.docs.first().map_or(&[], Vec::as_slice));
        let value = |entry| match entry {
            Entry::Comment(_) => None,
            Entry::Pair(key, node) => Some(match flat::text(&node) {
                Some(text) => Ok((key, SecretBytes::from(text))),
                None => Err(ShapeError::NoForm(Path(vec![key]))),
            }),
        };
        doc.into_iter().filter_map(value).collect()
    }

    /// Sets a value of the first document; comments and the order of everything else stay.
    ///
    /// Maps on the way are made. A list position at or past the end appends.
    ///
    /// # Errors
    ///
    /// [`ShapeError::InTheWay`] or [`ShapeError::Position`]; then nothing has changed.
    pub fn set<S: AsRef<str>>(&mut self, path: &[S], value: &Value) -> Result<(), ShapeError> {
        if path.len() > MAX_DEPTH {
            return Err(ShapeError::Position(steps(path, MAX_DEPTH)));
        }
        if self.docs.is_empty() {
            self.docs.push(Vec::new());
        }
        let Some(doc) = self.docs.first_mut() else { return Ok(()) };
        set_in_map(doc, path, 0, value_node(value))
    }

    /// Removes a value of the first document and tells whether it was there; comments stay.
    pub fn unset<S: AsRef<str>>(&mut self, path: &[S]) -> bool {
        self.docs.first_mut().is_some_and(|doc| unset_in_map(doc, path))
    }
}

/// Puts sops' word for nothing where null would stand, for formats that have none.
fn shown(entries: &[Entry]) -> Vec<Entry> {
    let show = |entry: &Entry| match entry {
        Entry::Pair(key, Node::Null) => Entry::Pair(key.clone(), Node::str("<nil>")),
        Entry::Pair(key, Node::Map(entries)) => Entry::Pair(key.clone(), Node::Map(shown(entries))),
        entry => entry.clone(),
    };
    entries.iter().map(show).collect()
}

fn binary_of(doc: &[Entry]) -> Option<SecretBytes> {
    match doc {
        [Entry::Pair(key, Node::Str(bytes))] if key == "data" => Some(bytes.clone()),
        _ => None,
    }
}

fn list_nodes(items: &[Item]) -> impl Iterator<Item = &Node> {
    items.iter().filter_map(|item| match item {
        Item::Node(node) => Some(node),
        Item::Comment(_) => None,
    })
}

fn tree_entries(tree: &SecretTree) -> Vec<Entry> {
    tree.iter().map(|(name, value)| Entry::Pair(name.clone(), value_node(value))).collect()
}

fn value_node(value: &Value) -> Node {
    match value {
        Value::Null => Node::Null,
        Value::Bool(truth) => Node::Bool(truth.clone()),
        Value::Int(number) => Node::Int(number.clone()),
        Value::Float(number) => Node::Float(number.clone()),
        Value::String(text) => Node::Str(SecretBytes::from(text)),
        Value::List(values) => {
            Node::List(values.iter().map(|value| Item::Node(value_node(value))).collect())
        }
        Value::Tree(tree) => Node::Map(tree_entries(tree)),
    }
}

fn entries_tree(entries: &[Entry], path: &mut Vec<String>) -> Result<SecretTree, ShapeError> {
    let mut tree = SecretTree::new();
    for entry in entries {
        if let Entry::Pair(key, node) = entry {
            path.push(key.clone());
            tree.insert(key.clone(), node_value(node, path)?);
            path.pop();
        }
    }
    Ok(tree)
}

fn node_value(node: &Node, path: &mut Vec<String>) -> Result<Value, ShapeError> {
    Ok(match node {
        Node::Null => Value::Null,
        Node::Bool(truth) => Value::Bool(truth.clone()),
        Node::Int(number) => Value::Int(number.clone()),
        Node::Float(number) => Value::Float(number.clone()),
        Node::Time(text) => Value::String(text.clone()),
        Node::Str(bytes) => {
            let text = bytes.as_str().ok_or_else(|| ShapeError::NotText(Path(path.clone())))?;
            Value::string(text)
        }
        Node::Map(entries) => Value::Tree(entries_tree(entries, path)?),
        Node::List(items) => {
            let mut values = Vec::with_capacity(items.len());
            for (index, node) in list_nodes(items).enumerate() {
                path.push(index.to_string());
                values.push(node_value(node, path)?);
                path.pop();
            }
            Value::List(values)
        }
    })
}

fn steps<S: AsRef<str>>(path: &[S], depth: usize) -> Path {
    Path(path.iter().take(depth + 1).map(|s| s.as_ref().to_owned()).collect())
}

/// Makes the maps that a path below a new key needs.
fn wrap_node<S: AsRef<str>>(path: &[S], node: Node) -> Node {
    path.iter()
        .rev()
        .fold(node, |node, key| Node::Map(vec![Entry::Pair(key.as_ref().to_owned(), node)]))
}

fn set_in_map<S: AsRef<str>>(
    entries: &mut Vec<Entry>,
    path: &[S],
    depth: usize,
    node: Node,
) -> Result<(), ShapeError> {
    let Some(key) = path.get(depth).map(AsRef::as_ref) else {
        return Err(ShapeError::Position(steps(path, depth)));
    };
    let below = path.get(depth + 1..).unwrap_or_default();
    let found = entries.iter_mut().rev().find_map(|entry| match entry {
        Entry::Pair(name, node) if name == key => Some(node),
        _ => None,
    });
    match found {
        Some(old) if below.is_empty() => *old = node,
        Some(old) => return set_below(old, path, depth + 1, node),
        None => entries.push(Entry::Pair(key.to_owned(), wrap_node(below, node))),
    }
    Ok(())
}

fn set_below<S: AsRef<str>>(
    at: &mut Node,
    path: &[S],
    depth: usize,
    node: Node,
) -> Result<(), ShapeError> {
    let items = match at {
        Node::Map(entries) => return set_in_map(entries, path, depth, node),
        Node::List(items) => items,
        _ => return Err(ShapeError::InTheWay(steps(path, depth.saturating_sub(1)))),
    };
    let index = path.get(depth).and_then(|step| step.as_ref().parse::<usize>().ok());
    let Some(index) = index else { return Err(ShapeError::Position(steps(path, depth))) };
    let below = path.get(depth + 1..).unwrap_or_default();
    let found = items.iter_mut().filter_map(|item| match item {
        Item::Node(node) => Some(node),
        Item::Comment(_) => None,
    });
    match found.into_iter().nth(index) {
        Some(old) if below.is_empty() => *old = node,
        Some(old) => return set_below(old, path, depth + 1, node),
        None => items.push(Item::Node(wrap_node(below, node))),
    }
    Ok(())
}

fn unset_in_map<S: AsRef<str>>(entries: &mut Vec<Entry>, path: &[S]) -> bool {
    let Some((key, below)) = path.split_first() else { return false };
    let is_it = |entry: &Entry| matches!(entry, Entry::Pair(name, _) if name == key.as_ref());
    let Some(index) = entries.iter().rposition(is_it) else { return false };
    if below.is_empty() {
        entries.remove(index);
        return true;
    }
    match entries.get_mut(index) {
        Some(Entry::Pair(_, node)) => unset_below(node, below),
        _ => false,
    }
}

fn unset_below<S: AsRef<str>>(at: &mut Node, path: &[S]) -> bool {
    let items = match at {
        Node::Map(entries) => return unset_in_map(entries, path),
        Node::List(items) => items,
        _ => return false,
    };
    let Some((step, below)) = path.split_first() else { return false };
    let Ok(wanted) = step.as_ref().parse::<usize>() else { return false };
    let is_node = |(_, item): &(usize, &Item)| matches!(item, Item::Node(_));
    let Some(index) = items.iter().enumerate().filter(is_node).nth(wanted).map(|(i, _)| i) else {
        return false;
    };
    if below.is_empty() {
        items.remove(index);
        return true;
    }
    match items.get_mut(index) {
        Some(Item::Node(node)) => unset_below(node, below),
        _ => false,
    }
}
/// Counts the comments of a map, however deep.
fn comments(entries: &[Entry]) -> usize {
    fn of_node(node: &Node) -> usize {
        match node {
            Node::Map(entries) => comments(entries),
            Node::List(items) => items
                .iter()
                .map(|item| match item {
                    Item::Comment(_) => 1,
                    Item::Node(node) => of_node(node),
                })
                .sum(),
            _ => 0,
        }
    }
    let count = |entry: &Entry| match entry {
        Entry::Comment(_) => 1,
        Entry::Pair(_, node) => of_node(node),
    };
    entries.iter().map(count).sum()
}
