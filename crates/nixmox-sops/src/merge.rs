//! Three-way merges of documents, value by value, and of texts, line by line.

mod lines;
mod sequence;

use std::collections::{HashMap, HashSet};

use crate::documents::Documents;
use crate::error::Path;
use crate::node::{Comment, Entry, Item, Node};
use sequence::{Chunk, chunks};

pub use lines::{MARKS, MergedText, Passage, marked, merge_text};

/// Longest list that is merged by its elements; a longer one is one value.
const MAX_ITEMS: usize = 4_000;

/// Three versions of one file.
#[derive(Clone, Copy)]
pub struct Versions<'a> {
    /// What both sides started from; no documents when each made the file for itself.
    pub base: &'a Documents,
    /// What is merged into.
    pub ours: &'a Documents,
    /// What is merged.
    pub theirs: &'a Documents,
}

/// One of the two sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// What is merged into.
    Ours,
    /// What is merged.
    Theirs,
}

/// A value that both sides changed, each in its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// Which document of the file, from 0.
    pub document: usize,
    /// The value's path.
    pub path: Path,
    /// What the sides did.
    pub what: Disagreement,
}

/// How two sides disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Disagreement {
    /// Both changed it.
    Changed,
    /// Both made it.
    Added,
    /// We removed what they changed.
    WeRemoved,
    /// They removed what we changed.
    TheyRemoved,
    /// The files have other numbers of documents.
    Documents,
}

/// What came of a merge.
#[derive(Debug)]
pub struct Merged {
    /// Everything that either side changed; where they disagree and nothing was decided, ours.
    pub documents: Documents,
    /// Where they disagree and nothing was decided.
    pub conflicts: Vec<Conflict>,
}

/// Merges three versions of a file, value by value; comments and order come along.
///
/// A value that one side alone changed is taken from that side. Lists are merged by their elements, of which none
/// may stand next to another's change without one in between; a value of any other kind is one piece, however
/// long. `decide` is asked about every disagreement; what it leaves open stays ours and is returned as a conflict.
pub fn merge(versions: Versions<'_>, decide: &dyn Fn(&Conflict) -> Option<Side>) -> Merged {
    let [base, ours, theirs] = [versions.base, versions.ours, versions.theirs].map(|v| &v.docs);
    let mut merger = Merger { document: 0, path: Vec::new(), conflicts: Vec::new(), decide };
    let documents = if ours.len() == theirs.len() {
        let none = Vec::new();
        let pairs = ours.iter().zip(theirs).enumerate();
        pairs
            .map(|(index, (ours, theirs))| {
                merger.document = index;
                let base = base.get(index).unwrap_or(&none);
                merger.whole(base, ours, theirs)
            })
            .collect()
    } else {
        merger.documents(base, ours, theirs)
    };
    Merged { documents: Documents { docs: documents }, conflicts: merger.conflicts }
}

struct Merger<'d> {
    document: usize,
    path: Vec<String>,
    conflicts: Vec<Conflict>,
    decide: &'d dyn Fn(&Conflict) -> Option<Side>,
}

/// A key with its value and the comments before it.
#[derive(Clone, PartialEq)]
struct Slot<'a> {
    comments: Vec<&'a Comment>,
    node: &'a Node,
}

/// A map taken apart: its keys in order, what each has, and the comments behind the last.
struct Parts<'a> {
    keys: Vec<&'a str>,
    slots: HashMap<&'a str, Slot<'a>>,
    tail: Vec<&'a Comment>,
}

impl<'a> Parts<'a> {
    /// Takes a map apart; `None` when a key stands twice.
    fn of(entries: &'a [Entry]) -> Option<Self> {
        let mut parts = Self { keys: Vec::new(), slots: HashMap::new(), tail: Vec::new() };
        for entry in entries {
            match entry {
                Entry::Comment(comment) => parts.tail.push(comment),
                Entry::Pair(key, node) => {
                    let slot = Slot { comments: std::mem::take(&mut parts.tail), node };
                    parts.keys.push(key);
                    if parts.slots.insert(key, slot).is_some() {
                        return None;
                    }
                }
            }
        }
        Some(parts)
    }
}

impl Merger<'_> {
    /// Says that the sides disagree at the current path, and asks whose version counts.
    fn disagree(&mut self, what: Disagreement) -> Side {
        let conflict = Conflict { document: self.document, path: Path(self.path.clone()), what };
        (self.decide)(&conflict).unwrap_or_else(|| {
            self.conflicts.push(conflict);
            Side::Ours
        })
    }

    /// Merges files of which one has more documents than the other.
    fn documents(
        &mut self,
        base: &[Vec<Entry>],
        ours: &[Vec<Entry>],
        theirs: &[Vec<Entry>],
    ) -> Vec<Vec<Entry>> {
        let side = match () {
            () if base == ours => Side::Theirs,
            () if base == theirs => Side::Ours,
            () => self.disagree(Disagreement::Documents),
        };
        if side == Side::Ours { ours.to_vec() } else { theirs.to_vec() }
    }

    fn whole(&mut self, base: &[Entry], ours: &[Entry], theirs: &[Entry]) -> Vec<Entry> {
        match () {
            () if ours == theirs || base == theirs => ours.to_vec(),
            () if base == ours => theirs.to_vec(),
            () => self.map(base, ours, theirs),
        }
    }

    fn map(&mut self, base: &[Entry], ours: &[Entry], theirs: &[Entry]) -> Vec<Entry> {
        let parts = [base, ours, theirs].map(Parts::of);
        let [Some(base), Some(mut ours_parts), Some(mut theirs_parts)] = parts else {
            // With a key twice there is no telling which of them a change belongs to.
            let side = self.disagree(Disagreement::Changed);
            return if side == Side::Ours { ours.to_vec() } else { theirs.to_vec() };
        };
        let mut out = Vec::with_capacity(ours.len().max(theirs.len()));
        for key in order(&base.keys, &ours_parts.keys, &theirs_parts.keys) {
            let (o, t) = (ours_parts.slots.remove(key), theirs_parts.slots.remove(key));
            self.path.push(key.to_owned());
            if let Some((comments, node)) = self.slot(base.slots.get(key), o, t) {
                out.extend(comments.into_iter().map(Entry::Comment));
                out.push(Entry::Pair(key.to_owned(), node));
            }
            self.path.pop();
        }
        let tail = comments(&base.tail, &ours_parts.tail, &theirs_parts.tail);
        out.extend(tail.into_iter().map(Entry::Comment));
        out
    }

    /// Merges one key of a map; `None` when it goes.
    fn slot(
        &mut self,
        base: Option<&Slot<'_>>,
        ours: Option<Slot<'_>>,
        theirs: Option<Slot<'_>>,
    ) -> Option<(Vec<Comment>, Node)> {
        let owned = |slot: &Slot<'_>| {
            (slot.comments.iter().map(|c| (*c).clone()).collect(), slot.node.clone())
        };
        match (base, ours, theirs) {
            (_, None, None) => None,
            (None, Some(only), None) | (None, None, Some(only)) => Some(owned(&only)),
            (Some(base), Some(ours), None) => match () {
                () if *base == ours => None,
                () => match self.disagree(Disagreement::TheyRemoved) {
                    Side::Ours => Some(owned(&ours)),
                    Side::Theirs => None,
                },
            },
            (Some(base), None, Some(theirs)) => match () {
                () if *base == theirs => None,
                () => match self.disagree(Disagreement::WeRemoved) {
                    Side::Ours => None,
                    Side::Theirs => Some(owned(&theirs)),
                },
            },
            (base, Some(ours), Some(theirs)) => {
                let before = base.map(|b| b.comments.as_slice()).unwrap_or_default();
                let comments = comments(before, &ours.comments, &theirs.comments);
                Some((comments, self.node(base.map(|b| b.node), ours.node, theirs.node)))
            }
        }
    }

    fn node(&mut self, base: Option<&Node>, ours: &Node, theirs: &Node) -> Node {
        if ours == theirs || base == Some(theirs) {
            return ours.clone();
        }
        if base == Some(ours) {
            return theirs.clone();
        }
        match (base, ours, theirs) {
            (Some(Node::Map(b)), Node::Map(o), Node::Map(t)) => Node::Map(self.map(b, o, t)),
            (None, Node::Map(o), Node::Map(t)) => Node::Map(self.map(&[], o, t)),
            (Some(Node::List(b)), Node::List(o), Node::List(t)) => self.list(b, o, t),
            _ => self.either(base.is_some(), ours, theirs),
        }
    }

    fn either(&mut self, was_there: bool, ours: &Node, theirs: &Node) -> Node {
        let what = if was_there { Disagreement::Changed } else { Disagreement::Added };
        match self.disagree(what) {
            Side::Ours => ours.clone(),
            Side::Theirs => theirs.clone(),
        }
    }

    /// Merges lists by their elements; where both sides changed the same part, the list is one value.
    fn list(&mut self, base: &[Item], ours: &[Item], theirs: &[Item]) -> Node {
        let whole = [ours, theirs].map(|items| Node::List(items.to_vec()));
        let merged = (base.len() + ours.len() + theirs.len() <= MAX_ITEMS).then(|| {
            let mut known: Vec<&Item> = Vec::new();
            let tokens = [base, ours, theirs].map(|items| number(items, &mut known));
            let [b, o, t] = tokens.each_ref().map(Vec::as_slice);
            let mut out = Vec::new();
            for chunk in chunks(b, o, t) {
                out.extend_from_slice(match chunk {
                    Chunk::Ours(range) => ours.get(range)?,
                    Chunk::Theirs(range) => theirs.get(range)?,
                    Chunk::Both { .. } => return None,
                });
            }
            Some(Node::List(out))
        });
        merged.flatten().unwrap_or_else(|| {
            let [ours, theirs] = whole;
            self.either(true, &ours, &theirs)
        })
    }
}

/// Numbers items so that equal ones have equal numbers.
fn number<'a>(items: &'a [Item], known: &mut Vec<&'a Item>) -> Vec<u32> {
    let mut numbers = Vec::with_capacity(items.len());
    for item in items {
        let found = known.iter().position(|other| *other == item);
        let number = found.unwrap_or_else(|| {
            known.push(item);
            known.len() - 1
        });
        numbers.push(u32::try_from(number).unwrap_or(u32::MAX));
    }
    numbers
}

/// Puts the keys of both sides into one order: that of the side that changed it, ours when both did; what only the
/// other has follows the key that it follows there.
fn order<'k>(base: &[&str], ours: &[&'k str], theirs: &[&'k str]) -> Vec<&'k str> {
    let (first, second) = if base == ours { (theirs, ours) } else { (ours, theirs) };
    let known: HashSet<&str> = first.iter().copied().collect();
    let mut after: HashMap<Option<&str>, Vec<&'k str>> = HashMap::new();
    let mut last = None;
    for key in second {
        if known.contains(key) {
            last = Some(*key);
        } else {
            after.entry(last).or_default().push(key);
        }
    }
    let mut out = after.remove(&None).unwrap_or_default();
    for key in first {
        out.push(key);
        out.extend(after.remove(&Some(*key)).unwrap_or_default());
    }
    out
}

/// Merges the comments of one place. They are no values: where both sides changed them, all are kept.
fn comments(base: &[&Comment], ours: &[&Comment], theirs: &[&Comment]) -> Vec<Comment> {
    let owned = |comments: &[&Comment]| comments.iter().map(|c| (*c).clone()).collect();
    if ours == theirs || base == theirs {
        return owned(ours);
    }
    if base == ours {
        return owned(theirs);
    }
    let mut out: Vec<Comment> = owned(ours);
    let new = theirs.iter().filter(|c| !base.contains(c) && !ours.contains(c));
    // Only one comment can stand behind a value; another one goes before it.
    let apart = new.map(|c| Comment { inline: false, ..(*c).clone() });
    let kept: Vec<Comment> = apart.collect();
    let behind = out.iter().position(|c| c.inline).unwrap_or(out.len());
    out.splice(behind..behind, kept);
    out
}

#[cfg(test)]
mod tests;
