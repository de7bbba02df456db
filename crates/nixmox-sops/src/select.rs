//! Places in a document as sops' command line names them, and what can be done there.

use nixmox_tree::SecretBytes;

use crate::documents::{Documents, Indent, ShapeError};
use crate::error::{MAX_DEPTH, Path, PlainError, PlainErrorKind};
use crate::format::Format;
use crate::node::{Entry, Item, Node};
use crate::{json, yaml};

/// A place in the first document, such as `["a"][0]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TreePath(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Why a text names no place, or a place is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SelectError {
    /// The text is not of the form `["a"][0]`.
    #[error("not a path: it is written like [\"a\"][0]")]
    Syntax,
    /// No value has this name.
    #[error("component ['{}'] not found", .0.escape_debug())]
    NotFound(String),
    /// A list is shorter.
    #[error("component [{0}] accesses out of bounds")]
    OutOfBounds(usize),
    /// A name where a list is, or a position where a map is.
    #[error("{0} is neither a map with such a name nor a list with such a position")]
    Kind(Path),
    /// The path is too deep.
    #[error("the path is too deep")]
    TooDeep,
}

impl TreePath {
    /// Reads `["a"][0]`; names stand in double or single quotes, positions without.
    ///
    /// # Errors
    ///
    /// [`SelectError::Syntax`] and [`SelectError::TooDeep`].
    pub fn parse(text: &str) -> Result<Self, SelectError> {
        let mut steps = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (step, after) = step(rest).ok_or(SelectError::Syntax)?;
            steps.push(step);
            rest = after;
        }
        if steps.len() > MAX_DEPTH { Err(SelectError::TooDeep) } else { Ok(Self(steps)) }
    }

    /// Tells whether it names the whole document.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the name that it starts with.
    pub fn first_key(&self) -> Option<&str> {
        match self.0.first() {
            Some(Step::Key(key)) => Some(key),
            _ => None,
        }
    }

    fn path(&self, depth: usize) -> Path {
        let step = |step: &Step| match step {
            Step::Key(key) => key.clone(),
            Step::Index(index) => index.to_string(),
        };
        Path(self.0.iter().take(depth).map(step).collect())
    }
}

fn step(text: &str) -> Option<(Step, &str)> {
    let inside = text.strip_prefix('[')?;
    for quote in ['"', '\''] {
        if let Some(name) = inside.strip_prefix(quote) {
            let (name, after) = name.split_once(&*format!("{quote}]"))?;
            return Some((Step::Key(name.to_owned()), after));
        }
    }
    let (number, after) = inside.split_once(']')?;
    let plain = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    Some((Step::Index(number.parse().ok().filter(|_| plain)?), after))
}

/// A value that was taken out of a document.
#[derive(Clone)]
pub struct Extract(Node);

impl std::fmt::Debug for Extract {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extract")
    }
}

impl Extract {
    /// Prints it as sops does: text as it is, a map as a file of that format, all else as a value of it.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] when the format has no such value.
    pub fn to_bytes(&self, format: Format, indent: Indent) -> Result<SecretBytes, ShapeError> {
        let out = match (&self.0, format) {
            (Node::Str(bytes), _) => return Ok(bytes.clone()),
            (Node::Map(entries), _) => {
                return Documents { docs: vec![entries.clone()] }.to_bytes(format, indent);
            }
            (node, Format::Yaml) => Some(yaml::write_value(node, indent.yaml_spaces())),
            (node, Format::Json) => json::write_value(node, indent.json_indent(format)),
            _ => None,
        };
        out.map(SecretBytes::from).ok_or(ShapeError::Format)
    }
}

/// A value for a document, read from JSON.
#[derive(Clone)]
pub struct NewValue(Node);

impl std::fmt::Debug for NewValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewValue")
    }
}

impl NewValue {
    /// Reads JSON as sops' `set` does: a lone number is a float, and a list is not taken.
    ///
    /// # Errors
    ///
    /// [`PlainError`] with the place of the fault.
    pub fn parse(json: &[u8]) -> Result<Self, PlainError> {
        match json::read_value(json)? {
            // The conversion is exact for what fits, and as sops' for the rest.
            Node::Int(number) => {
                let float = number.to_string().parse().unwrap_or(f64::NAN);
                Ok(Self(Node::float(float)))
            }
            Node::List(_) => Err(PlainError::at(1, PlainErrorKind::NotAMap)),
            node => Ok(Self(node)),
        }
    }
}

impl Documents {
    /// Takes a copy of a value out of the first document.
    ///
    /// # Errors
    ///
    /// [`SelectError`] when it is not there.
    pub fn extract(&self, path: &TreePath) -> Result<Extract, SelectError> {
        let mut at = Node::Map(self.docs.first().cloned().unwrap_or_default());
        for (depth, step) in path.0.iter().enumerate() {
            let place = find(&mut at, step);
            let node = place.map_err(|()| SelectError::Kind(path.path(depth)))?;
            at = std::mem::replace(node.ok_or_else(|| missing(step))?, Node::Null);
        }
        Ok(Extract(at))
    }

    /// Sets a value of the first document; what is missing on the way is made, a position past the end appends.
    ///
    /// # Errors
    ///
    /// [`SelectError::Kind`] when something of another kind is in the way; then nothing has changed.
    pub fn set_at(&mut self, path: &TreePath, value: &NewValue) -> Result<(), SelectError> {
        if self.docs.is_empty() {
            self.docs.push(Vec::new());
        }
        let Some(doc) = self.docs.first_mut() else { return Ok(()) };
        with_root(doc, |root| {
            let mut at = root;
            for (depth, step) in path.0.iter().enumerate() {
                let rest = path.0.get(depth + 1..).unwrap_or_default();
                let there = find(at, step).map_err(|()| SelectError::Kind(path.path(depth)))?;
                if there.is_none() {
                    append(at, step, wrapped(rest, value.0.clone()));
                    return Ok(());
                }
                at = match find(at, step) {
                    Ok(Some(next)) => next,
                    _ => return Err(SelectError::Kind(path.path(depth))),
                };
            }
            if path.is_empty() {
                return Err(SelectError::Syntax);
            }
            *at = value.0.clone();
            Ok(())
        })
    }

    /// Tells whether a value of the first document is that one already.
    pub fn holds(&self, path: &TreePath, value: &NewValue) -> bool {
        self.extract(path).is_ok_and(|found| found.0 == value.0)
    }

    /// Removes a value of the first document; comments stay.
    ///
    /// # Errors
    ///
    /// [`SelectError`] when it is not there.
    pub fn unset_at(&mut self, path: &TreePath) -> Result<(), SelectError> {
        let (last, above) = path.0.split_last().ok_or(SelectError::Syntax)?;
        let Some(doc) = self.docs.first_mut() else { return Err(missing(last)) };
        with_root(doc, |root| {
            let mut at = root;
            for (depth, step) in above.iter().enumerate() {
                let found = find(at, step).map_err(|()| SelectError::Kind(path.path(depth)))?;
                at = found.ok_or_else(|| missing(step))?;
            }
            remove(at, last)
                .map_err(|()| SelectError::Kind(path.path(above.len())))?
                .ok_or_else(|| missing(last))
        })
    }
}

/// Lets a document be a node for a while.
fn with_root<T>(doc: &mut Vec<Entry>, change: impl FnOnce(&mut Node) -> T) -> T {
    let mut root = Node::Map(std::mem::take(doc));
    let result = change(&mut root);
    if let Node::Map(entries) = root {
        *doc = entries;
    }
    result
}

fn missing(step: &Step) -> SelectError {
    match step {
        Step::Key(key) => SelectError::NotFound(key.clone()),
        Step::Index(index) => SelectError::OutOfBounds(*index),
    }
}

/// Finds what a step leads to; an error when the node is of another kind than the step.
fn find<'n>(node: &'n mut Node, step: &Step) -> Result<Option<&'n mut Node>, ()> {
    match (node, step) {
        (Node::Map(entries), Step::Key(key)) => {
            Ok(entries.iter_mut().rev().find_map(|entry| match entry {
                Entry::Pair(name, node) if name == key => Some(node),
                _ => None,
            }))
        }
        (Node::List(items), Step::Index(index)) => {
            let nodes = items.iter_mut().filter_map(|item| match item {
                Item::Node(node) => Some(node),
                Item::Comment(_) => None,
            });
            Ok(nodes.into_iter().nth(*index))
        }
        _ => Err(()),
    }
}

fn append(node: &mut Node, step: &Step, value: Node) {
    match (node, step) {
        (Node::Map(entries), Step::Key(key)) => entries.push(Entry::Pair(key.clone(), value)),
        (Node::List(items), _) => items.push(Item::Node(value)),
        _ => {}
    }
}

/// Makes the maps and lists that a path below something new needs.
fn wrapped(steps: &[Step], value: Node) -> Node {
    steps.iter().rev().fold(value, |node, step| match step {
        Step::Key(key) => Node::Map(vec![Entry::Pair(key.clone(), node)]),
        Step::Index(_) => Node::List(vec![Item::Node(node)]),
    })
}

fn remove(node: &mut Node, step: &Step) -> Result<Option<()>, ()> {
    match (node, step) {
        (Node::Map(entries), Step::Key(key)) => {
            let is_it = |entry: &Entry| matches!(entry, Entry::Pair(name, _) if name == key);
            let at = entries.iter().rposition(is_it);
            Ok(at.map(|at| drop(entries.remove(at))))
        }
        (Node::List(items), Step::Index(index)) => {
            let is_node = |(_, item): &(usize, &Item)| matches!(item, Item::Node(_));
            let at = items.iter().enumerate().filter(is_node).nth(*index).map(|(at, _)| at);
            Ok(at.map(|at| drop(items.remove(at))))
        }
        _ => Err(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn docs() -> Documents {
        Documents::parse(b"a: 1\nl:\n  # c\n  - x\n  - w\nm:\n  k: v\n", Format::Yaml)
            .expect("YAML")
    }

    #[track_caller]
    fn changed(path: &str, value: &str, expect: Result<&str, SelectError>) {
        let mut docs = docs();
        let path = TreePath::parse(path).expect("a path");
        let value = NewValue::parse(value.as_bytes()).expect("JSON");
        let set = docs.set_at(&path, &value);
        let text = docs.to_bytes(Format::Yaml, Indent::default()).expect("prints");
        let text = text.as_str().expect("text").replace("    ", "  ");
        assert_eq!(set.map(|()| text), expect.map(str::to_owned));
    }

    #[test]
    fn paths_are_read_as_sops_writes_them() {
        let parse = |text: &str| TreePath::parse(text).map(|path| path.path(9).0);
        let names = |names: &[&str]| Ok(names.iter().map(|n| (*n).to_owned()).collect());
        assert_eq!(parse("[\"a\"][0]['b c']"), names(&["a", "0", "b c"]));
        assert_eq!(parse("[\"a[0]\"]"), names(&["a[0]"]));
        assert_eq!(parse(""), names(&[]));
        for wrong in ["a", "[a]", "[\"a\"", "[\"a\"]x", "[-1]", "[]", "[\"a]", "[+1]"] {
            assert_eq!(parse(wrong), Err(SelectError::Syntax), "{wrong}");
        }
        assert_eq!(parse(&"[0]".repeat(65)), Err(SelectError::TooDeep));
    }

    #[test]
    fn values_are_set_where_they_belong() {
        let rest = "l:\n  # c\n  - x\n  - w\nm:\n  k: v\n";
        changed("[\"a\"]", "\"q\"", Ok(&format!("a: q\n{rest}")));
        changed("[\"z\"][0][\"x\"]", "true", Ok(&format!("a: 1\n{rest}z:\n  - x: true\n")));
        changed("[\"m\"][\"j\"]", "null", Ok(&format!("a: 1\n{rest}  j: null\n")));
        changed("[\"l\"][9]", "\"z\"", Ok("a: 1\nl:\n  # c\n  - x\n  - w\n  - z\nm:\n  k: v\n"));
        changed("[\"a\"][\"b\"]", "1", Err(SelectError::Kind(Path(vec!["a".to_owned()]))));
        changed("[\"l\"][\"0\"]", "1", Err(SelectError::Kind(Path(vec!["l".to_owned()]))));
        assert!(NewValue::parse(b"[1]").is_err());
        assert!(NewValue::parse(b"1, 2").is_err());
        assert!(NewValue::parse(b"x").is_err());
    }

    #[test]
    fn what_is_missing_is_named() {
        let extract = |path: &str| docs().extract(&TreePath::parse(path).expect("a path")).err();
        assert_eq!(extract("[\"no\"]"), Some(SelectError::NotFound("no".to_owned())));
        assert_eq!(extract("[\"l\"][2]"), Some(SelectError::OutOfBounds(2)));
        assert_eq!(extract("[\"l\"][1]"), None);
        let unset = |path: &str| docs().unset_at(&TreePath::parse(path).expect("a path"));
        assert_eq!(unset("[\"m\"][\"k\"]"), Ok(()));
        assert_eq!(unset("[\"m\"][\"x\"]"), Err(SelectError::NotFound("x".to_owned())));
    }
}
