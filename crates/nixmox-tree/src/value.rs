use std::collections::BTreeMap;
use std::collections::btree_map;
use std::fmt;

use zeroize::Zeroizing;

use crate::SecretString;

/// One secret value: what JSON can say, with integers and floats told apart.
///
/// `{:?}` shows the shape (types and names), never a value.
#[derive(Clone)]
pub enum Value {
    /// Nothing: JSON's and Nix's `null`.
    Null,
    /// A truth value.
    Bool(Zeroizing<bool>),
    /// A 64-bit integer, as in Nix.
    Int(Zeroizing<i64>),
    /// A floating-point number, as in Nix.
    Float(Zeroizing<f64>),
    /// Text.
    String(SecretString),
    /// Values in order.
    List(Vec<Value>),
    /// Values by name.
    Tree(SecretTree),
}

impl Value {
    /// Makes a text value.
    pub fn string(text: impl Into<String>) -> Self {
        Self::String(SecretString::new(text))
    }

    /// Makes an integer value.
    pub fn int(number: i64) -> Self {
        Self::Int(Zeroizing::new(number))
    }

    /// Makes a floating-point value.
    pub fn float(number: f64) -> Self {
        Self::Float(Zeroizing::new(number))
    }

    /// Makes a truth value.
    pub fn bool(truth: bool) -> Self {
        Self::Bool(Zeroizing::new(truth))
    }

    /// Returns the plaintext of a text value.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text.expose()),
            _ => None,
        }
    }

    /// Returns the tree when the value is one.
    pub fn as_tree(&self) -> Option<&SecretTree> {
        match self {
            Self::Tree(tree) => Some(tree),
            _ => None,
        }
    }

    /// Names the type, in Nix's words.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float",
            Self::String(_) => "string",
            Self::List(_) => "list",
            Self::Tree(_) => "set",
        }
    }
}

impl PartialEq for Value {
    /// Compares type and content; text in constant time. `NaN` equals itself, so that a tree equals its clone.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => **a == **b,
            (Self::Int(a), Self::Int(b)) => **a == **b,
            (Self::Float(a), Self::Float(b)) => a.to_bits() == b.to_bits(),
            (Self::String(a), Self::String(b)) => a == b,
            (Self::List(a), Self::List(b)) => a == b,
            (Self::Tree(a), Self::Tree(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List(items) => f.debug_list().entries(items).finish(),
            Self::Tree(tree) => tree.fmt(f),
            leaf => f.write_str(leaf.type_name()),
        }
    }
}

impl From<SecretTree> for Value {
    fn from(tree: SecretTree) -> Self {
        Self::Tree(tree)
    }
}

impl From<SecretString> for Value {
    fn from(text: SecretString) -> Self {
        Self::String(text)
    }
}

/// Values by name, in byte order of the names.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretTree(BTreeMap<String, Value>);

impl SecretTree {
    /// Makes an empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the value of `name` at the top of this tree.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// Returns the value of `name` for change.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut Value> {
        self.0.get_mut(name)
    }

    /// Sets `name` and returns what it had.
    pub fn insert(&mut self, name: impl Into<String>, value: Value) -> Option<Value> {
        self.0.insert(name.into(), value)
    }

    /// Removes `name` and returns what it had.
    pub fn remove(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    /// Returns the value at the end of `path`, going through trees only; an empty path has none.
    pub fn at<S: AsRef<str>>(&self, path: &[S]) -> Option<&Value> {
        let (last, above) = path.split_last()?;
        above
            .iter()
            .try_fold(self, |tree, name| tree.get(name.as_ref())?.as_tree())?
            .get(last.as_ref())
    }

    /// Sets the value at the end of `path`, making the trees on the way, and returns what was there.
    ///
    /// # Errors
    ///
    /// [`InTheWay`] when a name on the way (or none, for an empty path) already holds something that is not a tree;
    /// then nothing has changed.
    pub fn insert_at<S: AsRef<str>>(
        &mut self,
        path: &[S],
        value: Value,
    ) -> Result<Option<Value>, InTheWay> {
        let Some((first, below)) = path.split_first() else { return Err(InTheWay { depth: 0 }) };
        if below.is_empty() {
            return Ok(self.insert(first.as_ref(), value));
        }
        if !self.0.contains_key(first.as_ref()) {
            let mut fresh = Self::new();
            fresh.insert_at(below, value)?;
            self.insert(first.as_ref(), fresh.into());
            return Ok(None);
        }
        match self.get_mut(first.as_ref()) {
            Some(Value::Tree(tree)) => {
                tree.insert_at(below, value).map_err(|e| InTheWay { depth: e.depth + 1 })
            }
            _ => Err(InTheWay { depth: 0 }),
        }
    }

    /// Removes the value at the end of `path` and returns it; trees that become empty stay.
    pub fn remove_at<S: AsRef<str>>(&mut self, path: &[S]) -> Option<Value> {
        match path {
            [] => None,
            [name] => self.remove(name.as_ref()),
            [first, below @ ..] => match self.get_mut(first.as_ref()) {
                Some(Value::Tree(tree)) => tree.remove_at(below),
                _ => None,
            },
        }
    }

    /// Goes through names and values in byte order of the names.
    pub fn iter(&self) -> btree_map::Iter<'_, String, Value> {
        self.0.iter()
    }

    /// Counts the names at the top.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Tells whether there are no names.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Calls `visit` with the path and the value of every leaf: whatever is not a non-empty tree.
    pub fn for_each_leaf<'a>(&'a self, visit: &mut dyn FnMut(&[&'a str], &'a Value)) {
        fn walk<'a>(
            tree: &'a SecretTree,
            path: &mut Vec<&'a str>,
            visit: &mut dyn FnMut(&[&'a str], &'a Value),
        ) {
            for (name, value) in tree.iter() {
                path.push(name);
                match value {
                    Value::Tree(below) if !below.is_empty() => walk(below, path, visit),
                    leaf => visit(path, leaf),
                }
                path.pop();
            }
        }
        walk(self, &mut Vec::new(), visit);
    }
}

impl fmt::Debug for SecretTree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl FromIterator<(String, Value)> for SecretTree {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(entries: I) -> Self {
        Self(entries.into_iter().collect())
    }
}

impl IntoIterator for SecretTree {
    type Item = (String, Value);
    type IntoIter = btree_map::IntoIter<String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a SecretTree {
    type Item = (&'a String, &'a Value);
    type IntoIter = btree_map::Iter<'a, String, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// A name on the way to a new value already holds something that is not a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InTheWay {
    /// How many names of the path lead to it: 0 is the first name.
    pub depth: usize,
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that is not a set is in the way")
    }
}

impl std::error::Error for InTheWay {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> SecretTree {
        let mut tree = SecretTree::new();
        tree.insert_at(&["a", "b"], Value::string("hunter2")).expect("free");
        tree.insert("n", Value::int(7));
        tree.insert("l", Value::List(vec![Value::Null, Value::float(1.5), Value::bool(true)]));
        tree
    }

    #[test]
    fn debug_shows_the_shape_without_values() {
        assert_eq!(
            format!("{:?}", sample()),
            r#"{"a": {"b": string}, "l": [null, float, bool], "n": int}"#
        );
    }

    #[test]
    fn a_leaf_in_the_way_changes_nothing() {
        let mut tree = sample();
        let refused = tree.insert_at(&["a", "b", "c"], Value::Null);
        assert_eq!(refused, Err(InTheWay { depth: 1 }));
        assert_eq!(tree, sample());
    }

    #[test]
    fn removing_keeps_the_rest() {
        let mut tree = sample();
        assert_eq!(tree.remove_at(&["a", "b"]), Some(Value::string("hunter2")));
        assert_eq!(tree.remove_at(&["a", "b"]), None);
        assert_eq!(tree.at(&["n"]), Some(&Value::int(7)));
    }

    #[test]
    fn leaves_are_visited_in_byte_order() {
        let tree = sample();
        let mut seen = Vec::new();
        tree.for_each_leaf(&mut |path, _| seen.push(path.join(".")));
        assert_eq!(seen, ["a.b", "l", "n"]);
    }

    #[test]
    fn nan_equals_itself_and_types_differ() {
        assert_eq!(Value::float(f64::NAN), Value::float(f64::NAN));
        assert_ne!(Value::int(1), Value::float(1.0));
    }
}
