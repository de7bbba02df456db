//! What may stand in a host's sealed file.
//!
//! sops seals neither `null`, nor an empty string, set or list, so anybody could add, move or remove them unseen;
//! and it leaves names that end in `_unencrypted` in the clear. sops-nix delivers strings only. So every leaf of a
//! host's file is a non-empty string, and what cannot be one is refused.

use std::fmt::{self, Write as _};

use nixmox_tree::{SecretString, SecretTree, Value};
use zeroize::Zeroizing;

/// Bytes of the longest integer.
const INT: usize = 24;
/// Bytes of the longest float: the least one has over 320 digits when it is written without an exponent.
const FLOAT: usize = 352;

/// Why a delivered value cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Unsealable {
    /// An empty string, which sops stores unsealed.
    EmptyString,
    /// An empty list, which sops stores unsealed.
    EmptyList,
    /// `null` or an empty set inside a list, which sops stores unsealed.
    EmptyItem,
    /// A name ending in `_unencrypted`, which sops takes as an order to store the value in the clear.
    UnencryptedName,
    /// A name with a colon, behind which sops' seal cannot tell where the path is split.
    ColonInName,
    /// `sops` as a top-level name, where sops keeps its metadata.
    ReservedName,
    /// An empty name, or one with control characters.
    BadName,
}

impl fmt::Display for Unsealable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EmptyString => "sops cannot seal an empty string",
            Self::EmptyList => "sops cannot seal an empty list",
            Self::EmptyItem => "sops cannot seal null or an empty set in a list",
            Self::UnencryptedName => "sops leaves names ending in `_unencrypted` in the clear",
            Self::ColonInName => "a name must not hold a colon: sops seals paths joined with it",
            Self::ReservedName => "sops keeps its own data under the name `sops`",
            Self::BadName => "a name must not be empty or hold control characters",
        })
    }
}

/// A value that cannot be sealed, with its path.
pub(crate) type Refused = (String, Unsealable);

/// Turns delivered values into the tree of strings that a host's file holds.
///
/// Numbers and truth values become text as sops prints them: no exponent, and `1` for `1.0`. A name that is `null` is not delivered: that is how a
/// host declines what its group would give it.
pub(crate) fn sealable(delivered: SecretTree) -> Result<SecretTree, Refused> {
    if delivered.get("sops").is_some() {
        return Err(("sops".to_owned(), Unsealable::ReservedName));
    }
    if stays(&delivered) { Ok(delivered) } else { set(&delivered, &mut Vec::new()) }
}

/// Tells whether a tree can be sealed just as it is, as nearly every one can.
fn stays(tree: &SecretTree) -> bool {
    tree.iter().all(|(name, value)| name_problem(name).is_none() && leaf_stays(value))
}

fn leaf_stays(value: &Value) -> bool {
    match value {
        Value::String(text) => !text.is_empty(),
        Value::List(items) => !items.is_empty() && items.iter().all(leaf_stays),
        Value::Tree(below) => !below.is_empty() && stays(below),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => false,
    }
}

fn name_problem(name: &str) -> Option<Unsealable> {
    match name {
        n if n.is_empty() || n.chars().any(char::is_control) => Some(Unsealable::BadName),
        n if n.contains(':') => Some(Unsealable::ColonInName),
        n if n.ends_with("_unencrypted") => Some(Unsealable::UnencryptedName),
        _ => None,
    }
}

fn set(tree: &SecretTree, path: &mut Vec<String>) -> Result<SecretTree, Refused> {
    let mut sealed = SecretTree::new();
    for (name, value) in tree {
        path.push(name.clone());
        if let Some(problem) = name_problem(name) {
            return Err(refuse(path, problem));
        }
        match value {
            Value::Null => {}
            Value::Tree(below) if below.is_empty() => {}
            value => match leaf(value, path)? {
                // All that was in it is declined.
                Value::Tree(below) if below.is_empty() => {}
                leaf => drop(sealed.insert(name.clone(), leaf)),
            },
        }
        path.pop();
    }
    Ok(sealed)
}

fn leaf(value: &Value, path: &mut Vec<String>) -> Result<Value, Refused> {
    Ok(match value {
        Value::String(text) if text.is_empty() => {
            return Err(refuse(path, Unsealable::EmptyString));
        }
        Value::String(text) => Value::String(text.clone()),
        Value::Bool(truth) => Value::string(if **truth { "true" } else { "false" }),
        Value::Int(number) => text(**number, INT),
        Value::Float(number) => text(**number, FLOAT),
        Value::List(items) if items.is_empty() => return Err(refuse(path, Unsealable::EmptyList)),
        Value::List(items) => Value::List(list(items, path)?),
        Value::Tree(tree) => Value::Tree(set(tree, path)?),
        Value::Null => return Err(refuse(path, Unsealable::EmptyItem)),
    })
}

/// Writes a number as text, in memory that is wiped and large enough from the start.
fn text(number: impl fmt::Display, longest: usize) -> Value {
    let mut text = Zeroizing::new(String::with_capacity(longest));
    // Writing to a string cannot fail.
    let _ = write!(text, "{number}");
    Value::String(SecretString::from(text))
}

fn list(items: &[Value], path: &mut Vec<String>) -> Result<Vec<Value>, Refused> {
    let mut sealed = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        path.push(format!("[{index}]"));
        let value = leaf(item, path)?;
        if value.as_tree().is_some_and(SecretTree::is_empty) {
            return Err(refuse(path, Unsealable::EmptyItem));
        }
        sealed.push(value);
        path.pop();
    }
    Ok(sealed)
}

fn refuse(path: &[String], problem: Unsealable) -> Refused {
    (path.join(".").replace(".[", "["), problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(value: Value) -> SecretTree {
        [("k".to_owned(), value)].into_iter().collect()
    }

    #[track_caller]
    fn check(value: Value, expect: Value) {
        assert_eq!(sealable(tree(value)), Ok(tree(expect)));
    }

    #[track_caller]
    fn refused(value: Value, path: &str, problem: Unsealable) {
        assert_eq!(sealable(tree(value)), Err((path.to_owned(), problem)));
    }

    #[test]
    fn leaves_become_strings() {
        check(Value::int(-5432), Value::string("-5432"));
        check(Value::bool(true), Value::string("true"));
        check(Value::float(1.5), Value::string("1.5"));
        check(Value::List(vec![Value::int(1)]), Value::List(vec![Value::string("1")]));
        check(tree(Value::int(1)).into(), tree(Value::string("1")).into());
    }

    #[test]
    fn null_declines_a_value() {
        assert_eq!(sealable(tree(Value::Null)), Ok(SecretTree::new()));
        assert_eq!(sealable(tree(tree(Value::Null).into())), Ok(SecretTree::new()));
    }

    #[test]
    fn what_sops_leaves_in_the_clear_is_refused() {
        refused(Value::string(""), "k", Unsealable::EmptyString);
        refused(Value::List(vec![]), "k", Unsealable::EmptyList);
        refused(Value::List(vec![Value::Null]), "k[0]", Unsealable::EmptyItem);
        refused(Value::List(vec![tree(Value::Null).into()]), "k[0]", Unsealable::EmptyItem);
        let named =
            |name: &str| [(name.to_owned(), Value::int(1))].into_iter().collect::<SecretTree>();
        refused(named("a_unencrypted").into(), "k.a_unencrypted", Unsealable::UnencryptedName);
        refused(named("a:b").into(), "k.a:b", Unsealable::ColonInName);
        refused(named("").into(), "k.", Unsealable::BadName);
        refused(named("a\u{1b}").into(), "k.a\u{1b}", Unsealable::BadName);
        let top = sealable(named("sops"));
        assert_eq!(top, Err(("sops".to_owned(), Unsealable::ReservedName)));
    }
}
