//! One way through a document, for opening, sealing and checking alike.

use crate::error::Path;
use crate::node::{Comment, Entry, Item, Node};
use crate::rule::Selector;

/// What is done at each leaf and comment.
pub(crate) trait Visit {
    type Error;

    /// Handles a leaf (neither a map nor a list); `aad` is what a sealed value is bound to.
    fn leaf(&mut self, at: &At<'_>, leaf: &Node) -> Result<Item, Self::Error>;

    /// Handles a comment; in a list, it may come back as a value.
    fn comment(&mut self, at: &At<'_>, comment: &Comment) -> Result<Item, Self::Error>;

    /// Tells whether comments of a container that has nothing else are moved before it; a section keeps its own.
    fn moves_strays(&self) -> bool;

    /// Says that the way leads too deep.
    fn too_deep(&self, path: Path) -> Self::Error;
}

/// Where a leaf or comment stands.
pub(crate) struct At<'a> {
    steps: &'a [Step<'a>],
    /// The keys on the path, each followed by a colon.
    pub(crate) aad: &'a str,
    /// Whether the selection rule seals it.
    pub(crate) sealed: bool,
    pub(crate) in_list: bool,
}

impl At<'_> {
    pub(crate) fn path(&self) -> Path {
        path(self.steps)
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

/// Names a place in a document.
pub(crate) fn path(steps: &[Step<'_>]) -> Path {
    Path(
        steps
            .iter()
            .map(|step| match step {
                Step::Key(key) => (*key).to_owned(),
                Step::Index(index) => index.to_string(),
            })
            .collect(),
    )
}

/// Goes through a document in order and builds the one that `visit` makes of it.
pub(crate) fn walk<V: Visit>(
    entries: &[Entry],
    selector: &Selector,
    visit: &mut V,
) -> Result<Vec<Entry>, V::Error> {
    let mut walker = Walker { selector, visit, steps: Vec::new(), aad: String::new() };
    walker.map(entries, false)
}

struct Walker<'s, 'a, V> {
    selector: &'s Selector,
    visit: &'s mut V,
    steps: Vec<Step<'a>>,
    aad: String,
}

impl<'a, V: Visit> Walker<'_, 'a, V> {
    fn map(&mut self, entries: &'a [Entry], hit: bool) -> Result<Vec<Entry>, V::Error> {
        let mut out = Vec::with_capacity(entries.len());
        // Whether a comment right before the next item matches.
        let mut pending = false;
        for entry in entries {
            if let Entry::Pair(_, node) = entry {
                for stray in self.strays(node) {
                    match self.comment(stray, hit, &mut pending, false)? {
                        Item::Comment(comment) => out.push(Entry::Comment(comment)),
                        Item::Node(_) => {}
                    }
                }
            }
            out.push(match entry {
                Entry::Comment(comment) => {
                    match self.comment(comment, hit, &mut pending, false)? {
                        Item::Comment(comment) => Entry::Comment(comment),
                        Item::Node(_) => continue,
                    }
                }
                Entry::Pair(key, node) => {
                    let hit = hit || std::mem::take(&mut pending) || self.selector.key_hits(key);
                    let length = self.aad.len();
                    self.aad.push_str(key);
                    self.aad.push(':');
                    self.steps.push(Step::Key(key));
                    let made = self.value(node, hit, false)?;
                    self.steps.pop();
                    self.aad.truncate(length);
                    match made {
                        Item::Node(node) => Entry::Pair(key.clone(), node),
                        Item::Comment(_) => continue,
                    }
                }
            });
        }
        Ok(out)
    }

    fn list(&mut self, items: &'a [Item], hit: bool) -> Result<Vec<Item>, V::Error> {
        let mut out = Vec::with_capacity(items.len());
        let mut pending = false;
        for (index, item) in items.iter().enumerate() {
            let made = match item {
                Item::Comment(comment) => self.comment(comment, hit, &mut pending, true)?,
                Item::Node(node) => {
                    for stray in self.strays(node) {
                        out.push(self.comment(stray, hit, &mut pending, true)?);
                    }
                    self.steps.push(Step::Index(index));
                    let made = self.value(node, hit || std::mem::take(&mut pending), true)?;
                    self.steps.pop();
                    made
                }
            };
            out.push(made);
        }
        Ok(out)
    }

    fn strays(&self, node: &'a Node) -> impl Iterator<Item = &'a Comment> + use<'a, V> {
        node.strays().take(if self.visit.moves_strays() { usize::MAX } else { 0 })
    }

    fn value(&mut self, node: &'a Node, hit: bool, in_list: bool) -> Result<Item, V::Error> {
        if self.steps.len() > crate::error::MAX_DEPTH {
            return Err(self.visit.too_deep(path(&self.steps)));
        }
        Ok(match node {
            Node::Map(_) | Node::List(_) if self.strays(node).next().is_some() => match node {
                Node::Map(_) => Item::Node(Node::Map(Vec::new())),
                _ => Item::Node(Node::List(Vec::new())),
            },
            Node::Map(entries) => Item::Node(Node::Map(self.map(entries, hit)?)),
            Node::List(items) => Item::Node(Node::List(self.list(items, hit)?)),
            leaf => {
                let at = At {
                    steps: &self.steps,
                    aad: &self.aad,
                    sealed: self.selector.seals(hit),
                    in_list,
                };
                self.visit.leaf(&at, leaf)?
            }
        })
    }

    fn comment(
        &mut self,
        comment: &'a Comment,
        hit: bool,
        pending: &mut bool,
        in_list: bool,
    ) -> Result<Item, V::Error> {
        let matches = self.selector.comment_hits(comment.text.expose());
        let own = matches && self.selector.comment_counts_itself();
        let hit = hit || *pending || own;
        *pending |= matches;
        let at = At {
            steps: &self.steps,
            // A comment at the top is bound to a lone colon.
            aad: if self.aad.is_empty() { ":" } else { &self.aad },
            sealed: self.selector.seals(hit),
            in_list,
        };
        self.visit.comment(&at, comment)
    }
}
