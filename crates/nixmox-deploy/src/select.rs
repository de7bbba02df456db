//! Which nodes are meant.

mod glob;
mod parse;

use std::collections::{BTreeMap, BTreeSet};

use nixmox_topology::NodeName;
use thiserror::Error;

pub use parse::MAX_SELECTOR;

/// Which nodes are meant, as somebody wrote it.
///
/// | written | means |
/// |---|---|
/// | `web1` | the node or every node of the group of that name |
/// | `web*`, `db-?` | every node and group that the pattern fits |
/// | `@edge` | every node with that tag; a pattern, too |
/// | `*` | every node |
/// | `a, b` and `a \| b` | what either means |
/// | `a & b` | what both mean |
/// | `!a` | every node that `a` does not mean |
/// | `(a \| b) & !c` | parentheses group |
///
/// `!` binds tighter than `&`, which binds tighter than `|`.
///
/// ```
/// use std::collections::BTreeMap;
/// use nixmox_deploy::{Labels, Selector};
/// use nixmox_topology::NodeName;
///
/// let labels = |group: &str, tag: &str| Labels { groups: [group.into()].into(), tags: [tag.into()].into() };
/// let nodes = BTreeMap::from([
///     (NodeName::parse("w1")?, labels("web", "old")),
///     (NodeName::parse("w2")?, labels("web", "new")),
/// ]);
/// let chosen = Selector::parse("web & !@old")?.select(&nodes)?;
/// assert_eq!(chosen.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(Term);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Name(String),
    Tag(String),
    Not(Box<Term>),
    And(Vec<Term>),
    Or(Vec<Term>),
}

/// What a node is called besides its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Labels {
    /// The groups that it belongs to, those above others included.
    pub groups: BTreeSet<String>,
    /// Its tags.
    pub tags: BTreeSet<String>,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    ///
    /// [`SelectorError`] says what does not fit, and where.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::parse(text).map(Self)
    }

    /// Joins selectors: what any of them means.
    pub fn any(selectors: impl IntoIterator<Item = Self>) -> Self {
        Self(Term::Or(selectors.into_iter().map(|selector| selector.0).collect()))
    }

    /// Means every node.
    pub fn all() -> Self {
        Self(Term::Name("*".to_owned()))
    }

    /// Picks the nodes that are meant.
    ///
    /// # Errors
    ///
    /// [`SelectorError::Unknown`] for a name or tag that fits nothing, because it is mistyped more often than not.
    pub fn select(
        &self,
        nodes: &BTreeMap<NodeName, Labels>,
    ) -> Result<BTreeSet<NodeName>, SelectorError> {
        self.0.select(nodes)
    }
}

impl Term {
    fn select(
        &self,
        nodes: &BTreeMap<NodeName, Labels>,
    ) -> Result<BTreeSet<NodeName>, SelectorError> {
        match self {
            Self::Name(pattern) => fitting(nodes, pattern, |name, labels| {
                glob::fits(pattern, name) || labels.groups.iter().any(|g| glob::fits(pattern, g))
            }),
            Self::Tag(pattern) => fitting(nodes, &format!("@{pattern}"), |_, labels| {
                labels.tags.iter().any(|tag| glob::fits(pattern, tag))
            }),
            Self::Not(term) => {
                let not = term.select(nodes)?;
                Ok(nodes.keys().filter(|node| !not.contains(*node)).cloned().collect())
            }
            Self::And(terms) => {
                let mut left: BTreeSet<NodeName> = nodes.keys().cloned().collect();
                for term in terms {
                    let right = term.select(nodes)?;
                    left.retain(|node| right.contains(node));
                }
                Ok(left)
            }
            Self::Or(terms) => {
                let mut found = BTreeSet::new();
                for term in terms {
                    found.extend(term.select(nodes)?);
                }
                Ok(found)
            }
        }
    }
}

fn fitting(
    nodes: &BTreeMap<NodeName, Labels>,
    written: &str,
    fits: impl Fn(&str, &Labels) -> bool,
) -> Result<BTreeSet<NodeName>, SelectorError> {
    let found = nodes.iter().filter(|(name, labels)| fits(name.as_str(), labels));
    let found: BTreeSet<NodeName> = found.map(|(name, _)| name.clone()).collect();
    if found.is_empty() && written != "*" {
        return Err(SelectorError::Unknown { name: written.to_owned() });
    }
    Ok(found)
}

/// What is wrong with a selector.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SelectorError {
    /// Nothing fits.
    #[error("no node, group or tag fits `{name}`")]
    Unknown {
        /// The name as it was written.
        name: String,
    },
    /// Something else belongs here.
    #[error("a name belongs at character {at} of the selector")]
    NameExpected {
        /// Which character, from 1.
        at: usize,
    },
    /// A parenthesis is missing, or one too many.
    #[error("the parentheses do not match at character {at} of the selector")]
    Parenthesis {
        /// Which character, from 1.
        at: usize,
    },
    /// A character has no meaning.
    #[error("character {at} of the selector has no meaning")]
    Character {
        /// Which one, from 1.
        at: usize,
    },
    /// It is longer or nested deeper than anybody writes.
    #[error("the selector is too long")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> BTreeMap<NodeName, Labels> {
        let node = |name: &str, groups: &[&str], tags: &[&str]| {
            let words = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
            let labels = Labels { groups: words(groups), tags: words(tags) };
            (NodeName::parse(name).unwrap(), labels)
        };
        BTreeMap::from([
            node("db1", &["db", "all"], &["slow"]),
            node("w1", &["web", "all"], &["edge"]),
            node("w2", &["web", "all"], &[]),
        ])
    }

    #[track_caller]
    fn check(text: &str, expect: Result<&[&str], SelectorError>) {
        let found = Selector::parse(text).and_then(|selector| selector.select(&nodes()));
        let found =
            found.as_ref().map(|nodes| nodes.iter().map(NodeName::as_str).collect::<Vec<_>>());
        assert_eq!(found, expect.as_ref().map(|nodes| nodes.to_vec()), "{text}");
    }

    #[test]
    fn names_groups_patterns_and_tags() {
        check("w1", Ok(&["w1"]));
        check("web", Ok(&["w1", "w2"]));
        check("w*", Ok(&["w1", "w2"]));
        check("?b1", Ok(&["db1"]));
        check("@edge", Ok(&["w1"]));
        check("@e*", Ok(&["w1"]));
        check("*", Ok(&["db1", "w1", "w2"]));
    }

    #[test]
    fn and_or_not() {
        check("web & !@edge", Ok(&["w2"]));
        check("db|w1", Ok(&["db1", "w1"]));
        check("db , w1", Ok(&["db1", "w1"]));
        check("!web", Ok(&["db1"]));
        check("!!w1", Ok(&["w1"]));
        check("db1 | web & @edge", Ok(&["db1", "w1"]));
        check("(db1 | web) & @edge", Ok(&["w1"]));
        check("w1 & w2", Ok(&[]));
    }

    #[test]
    fn what_fits_nothing_is_mistyped() {
        check("wbe", Err(SelectorError::Unknown { name: "wbe".into() }));
        check("!@egde", Err(SelectorError::Unknown { name: "@egde".into() }));
    }

    #[test]
    fn what_is_no_selector() {
        check("", Err(SelectorError::NameExpected { at: 1 }));
        check("a &", Err(SelectorError::NameExpected { at: 4 }));
        check("(a", Err(SelectorError::Parenthesis { at: 3 }));
        check("w1)", Err(SelectorError::Parenthesis { at: 3 }));
        check("w1 w2", Err(SelectorError::Character { at: 4 }));
        check("w1;", Err(SelectorError::Character { at: 3 }));
        check(&"!".repeat(5000), Err(SelectorError::TooLong));
    }
}
