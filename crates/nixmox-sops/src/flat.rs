//! Trees in files that have none: metadata as `age__list_0__map_enc`, and values as text.

use std::collections::BTreeMap;

use nixmox_tree::SecretBytes;
use zeroize::Zeroizing;

use crate::error::{MAX_RECIPIENTS, Path};
use crate::format::Block;
use crate::node::{Entry, Item, Node};
use crate::{number, time};

const MAP: &str = "__map_";
const LIST: &str = "__list_";
/// Deepest nesting of metadata: a list of groups, a list of keys, a field.
const MAX_LEVELS: usize = 8;

/// Returns a leaf as text without type; null and containers have none.
pub(crate) fn text(node: &Node) -> Option<Zeroizing<Vec<u8>>> {
    Some(match node {
        Node::Null | Node::List(_) | Node::Map(_) => return None,
        Node::Str(bytes) => Zeroizing::new(bytes.expose().to_vec()),
        Node::Bool(truth) => Zeroizing::new(truth.to_string().into_bytes()),
        Node::Int(number) => Zeroizing::new(number.to_string().into_bytes()),
        Node::Float(number) => Zeroizing::new(float(**number).into_bytes()),
        Node::Time(text) => Zeroizing::new(time::without_fraction(text.expose()).into_bytes()),
    })
}

/// Prints a number so that it is not taken for an integer.
fn float(number: f64) -> String {
    if !number.is_finite() {
        return number::plain_float(number).to_string();
    }
    let text = number::yaml_float(number).replace('e', "E");
    if text.contains(['.', 'E']) { text } else { text + ".0" }
}

/// Turns every leaf that is not text into text; the path names a null.
pub(crate) fn as_text(node: &Node) -> Option<Node> {
    match node {
        Node::Str(_) => Some(node.clone()),
        leaf => text(leaf).map(|text| Node::Str(SecretBytes::from(text))),
    }
}

/// Writes a block of metadata as pairs, in the order of their names.
pub(crate) fn pairs(block: &Node) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    if let Node::Map(entries) = block {
        for entry in entries {
            if let Entry::Pair(name, node) = entry {
                flatten(name.clone(), node, &mut out);
            }
        }
    }
    out
}

fn flatten(name: String, node: &Node, out: &mut BTreeMap<String, String>) {
    match node {
        Node::Map(entries) => {
            for entry in entries {
                if let Entry::Pair(key, node) = entry {
                    flatten(format!("{name}{MAP}{key}"), node, out);
                }
            }
        }
        Node::List(items) => {
            let nodes = items.iter().filter_map(|item| match item {
                Item::Node(node) => Some(node),
                Item::Comment(_) => None,
            });
            for (index, node) in nodes.enumerate() {
                flatten(format!("{name}{LIST}{index}"), node, out);
            }
        }
        leaf => {
            let text = text(leaf).unwrap_or_default();
            out.insert(name, String::from_utf8_lossy(&text).into_owned());
        }
    }
}

/// A tree that is put together from pairs.
enum Part {
    Leaf(Node),
    Map(BTreeMap<String, Part>),
    List(BTreeMap<usize, Part>),
}

#[derive(Clone, Copy)]
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Puts metadata together.
pub(crate) fn block(pairs: Vec<(String, Node)>) -> Block {
    if pairs.is_empty() {
        return Block::None;
    }
    let mut top = BTreeMap::new();
    for (name, node) in pairs {
        let added = steps(&name).and_then(|(first, rest)| match top.get_mut(first) {
            None => {
                top.insert(first.to_owned(), chain(&rest, node));
                Some(())
            }
            Some(part) => add(part, &rest, node),
        });
        if added.is_none() {
            return Block::Malformed;
        }
    }
    finish(Part::Map(top)).map_or(Block::Malformed, Block::Found)
}

fn steps(name: &str) -> Option<(&str, Vec<Step<'_>>)> {
    let next = |text: &str| match (text.find(MAP), text.find(LIST)) {
        (Some(map), Some(list)) => Some(map.min(list)),
        (map, list) => map.or(list),
    };
    let (first, mut rest) = name.split_at_checked(next(name).unwrap_or(name.len()))?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        let (after, is_map) = match rest.strip_prefix(MAP) {
            Some(after) => (after, true),
            None => (rest.strip_prefix(LIST)?, false),
        };
        let (word, left) = after.split_at_checked(next(after).unwrap_or(after.len()))?;
        rest = left;
        let plain = word.bytes().all(|byte| byte.is_ascii_digit());
        steps.push(match word.parse() {
            _ if is_map => Step::Key(word),
            Ok(index) if plain && index < MAX_RECIPIENTS => Step::Index(index),
            _ => return None,
        });
    }
    (steps.len() <= MAX_LEVELS).then_some((first, steps))
}

fn chain(steps: &[Step<'_>], node: Node) -> Part {
    match steps.split_first() {
        None => Part::Leaf(node),
        Some((Step::Key(key), rest)) => {
            Part::Map(BTreeMap::from([((*key).to_owned(), chain(rest, node))]))
        }
        Some((Step::Index(index), rest)) => {
            Part::List(BTreeMap::from([(*index, chain(rest, node))]))
        }
    }
}

/// Adds a leaf; nothing when something of another kind stands there, or the same name did.
fn add(part: &mut Part, steps: &[Step<'_>], node: Node) -> Option<()> {
    let (first, rest) = steps.split_first()?;
    match (part, first) {
        (Part::Map(map), Step::Key(key)) => match map.get_mut(*key) {
            Some(part) => add(part, rest, node),
            None => {
                map.insert((*key).to_owned(), chain(rest, node));
                Some(())
            }
        },
        (Part::List(list), Step::Index(index)) => match list.get_mut(index) {
            Some(part) => add(part, rest, node),
            None => {
                list.insert(*index, chain(rest, node));
                Some(())
            }
        },
        _ => None,
    }
}

fn finish(part: Part) -> Option<Node> {
    Some(match part {
        Part::Leaf(node) => node,
        Part::Map(map) => {
            let entry = |(key, part)| Some(Entry::Pair(key, finish(part)?));
            Node::Map(map.into_iter().map(entry).collect::<Option<_>>()?)
        }
        Part::List(list) => {
            // A list has no gaps.
            let gap = list.keys().enumerate().any(|(place, index)| place != *index);
            let items = list.into_values().map(|part| finish(part).map(Item::Node));
            Node::List(items.collect::<Option<_>>().filter(|_| !gap)?)
        }
    })
}

/// Finds the first place where a file that was written says something else than it should.
pub(crate) fn difference(wanted: &[Entry], found: &[Entry], path: &mut Path) -> bool {
    let pairs = |entries: &[Entry]| -> Vec<(String, Node)> {
        let pair = |entry: &Entry| match entry {
            Entry::Pair(key, node) => Some((key.clone(), node.clone())),
            Entry::Comment(_) => None,
        };
        entries.iter().filter_map(pair).collect()
    };
    let (wanted, found) = (pairs(wanted), pairs(found));
    for (index, (key, node)) in wanted.iter().enumerate() {
        path.0.push(key.clone());
        let other = found.get(index).filter(|(name, _)| name == key).map(|(_, node)| node);
        let differs = match (node, other) {
            (Node::Map(wanted), Some(Node::Map(found))) => difference(wanted, found, path),
            (Node::Str(wanted), Some(Node::Str(found))) => wanted.expose() != found.expose(),
            _ => true,
        };
        if differs {
            return true;
        }
        path.0.pop();
    }
    found.len() != wanted.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(names: &[&str]) -> Option<Node> {
        let pairs = names.iter().map(|name| ((*name).to_owned(), Node::str("x"))).collect();
        match block(pairs) {
            Block::Found(node) => Some(node),
            Block::None | Block::Malformed => None,
        }
    }

    #[test]
    fn what_is_flattened_comes_back() {
        let names = ["age__list_0__map_enc", "age__list_0__map_recipient", "mac", "version"];
        let node = found(&names).expect("a block");
        assert_eq!(pairs(&node).into_keys().collect::<Vec<_>>(), names);
        let groups = "key_groups__list_1__map_age__list_0__map_enc";
        assert!(found(&[groups]).is_none(), "a list that starts at 1");
        assert!(found(&["key_groups__list_0__map_age__list_0__map_enc", groups]).is_some());
    }

    #[test]
    fn contradictions_are_refused() {
        for names in [
            &["a__list_0", "a__map_b"][..],
            &["a", "a__map_b"],
            &["a__map_b", "a"],
            &["a__list_0", "a__list_0"],
            &["a__list_x"],
            &["a__list_-1"],
            &["a__list_+0"],
            &["a__list_99999999999999999999"],
            &["a__list_1000000"],
        ] {
            assert!(found(names).is_none(), "{names:?}");
        }
        let deep = format!("a{}", "__map_b".repeat(100));
        assert!(found(&[&deep]).is_none());
    }

    #[test]
    fn numbers_print_as_sops_prints_them() {
        for (number, expect) in [(1.0, "1.0"), (2.5, "2.5"), (1e6, "1E+06"), (1e-7, "1E-07")] {
            assert_eq!(float(number), expect);
        }
    }
}
