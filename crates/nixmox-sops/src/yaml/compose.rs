//! From events and marks to a tree with comments.

use std::collections::{HashMap, HashSet};

use nixmox_tree::SecretString;
use saphyr_parser::{Event, ScalarStyle};

use super::lex::{Mark, Piece, lex};
use super::resolve;
use crate::error::{MAX_BYTES, MAX_DEPTH, MAX_NODES, PlainError, PlainErrorKind};
use crate::node::{Comment, Entry, Item, Node};

/// The documents of a YAML text, and what a sealed file should not have.
#[derive(Default)]
pub(crate) struct Composed {
    pub(crate) docs: Vec<Vec<Entry>>,
    pub(crate) aliases: bool,
    pub(crate) tags: bool,
}

/// Reads a YAML stream.
pub(crate) fn compose(bytes: &[u8]) -> Result<Composed, PlainError> {
    if bytes.len() > MAX_BYTES {
        return Err(PlainError::at(0, PlainErrorKind::TooLarge));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PlainError::at(0, PlainErrorKind::Utf8))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (pieces, marks) = lex(text, 4 * MAX_NODES)?;
    let mut composer = Composer {
        pieces: &pieces,
        marks: &marks,
        last: None,
        anchors: HashMap::new(),
        nodes: 0,
        out: Composed::default(),
    };
    while let Some(piece) = composer.next() {
        if matches!(piece.event, Event::DocumentStart(_)) {
            let doc = composer.document()?;
            composer.out.docs.push(doc);
        }
    }
    if composer.out.docs.is_empty() {
        return Err(PlainError::at(0, PlainErrorKind::Empty));
    }
    Ok(composer.out)
}

struct Composer<'p, 't> {
    pieces: &'p [Piece<'t>],
    marks: &'p [Mark<'t>],
    /// The event taken last.
    last: Option<&'p Piece<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
    out: Composed,
}

/// Where a container stands: how deep, and the column of the map above it.
#[derive(Clone, Copy)]
struct Above {
    depth: usize,
    column: Option<usize>,
}

type Step<T> = Result<T, PlainError>;

impl<'p, 't> Composer<'p, 't> {
    fn next(&mut self) -> Option<&'p Piece<'t>> {
        let (first, rest) = self.pieces.split_first()?;
        self.pieces = rest;
        self.last = Some(first);
        Some(first)
    }

    fn peek(&self) -> Option<&'p Piece<'t>> {
        self.pieces.first()
    }

    /// Takes the comments up to `limit` that `wanted` accepts, stopping at the first other mark.
    fn comments(&mut self, limit: usize, wanted: impl Fn(&Mark<'t>) -> bool) -> Vec<Comment> {
        let mut found = Vec::new();
        while let Some((mark, rest)) = self.marks.split_first() {
            let Some(text) = mark.comment.filter(|_| mark.start < limit && wanted(mark)) else {
                break;
            };
            self.marks = rest;
            found.push(Comment { text: SecretString::new(text), inline: false });
        }
        found
    }

    /// Takes the comments before `limit`, and what dashes stand between them.
    fn comments_before(&mut self, limit: usize) -> Vec<Comment> {
        let mut found = self.comments(limit, |_| true);
        while let Some((mark, rest)) = self.marks.split_first() {
            if mark.start >= limit {
                break;
            }
            self.marks = rest;
            found.extend(self.comments(limit, |_| true));
        }
        found
    }

    /// Takes the comment behind what was just built, on its last line.
    fn trailing(&mut self) -> Vec<Comment> {
        let Some((line, end)) = self.last.map(|last| (last.end_line, last.end)) else {
            return Vec::new();
        };
        // Inside brackets, what stands behind the closing one is not the last element's.
        let limit = self.peek().map_or(usize::MAX, |next| next.start);
        self.comments(limit, |m| m.line == line && !m.own_line && m.start >= end)
    }

    /// Takes the comments at the end of a block: those at least as far right as the block.
    fn closing(&mut self, column: usize) -> Vec<Comment> {
        let ends = |e: &Event<'_>| {
            matches!(e, Event::MappingEnd | Event::SequenceEnd | Event::DocumentEnd)
        };
        let next = self.pieces.iter().find(|piece| !ends(&piece.event));
        let limit = match next.map(|piece| (&piece.event, piece.start)) {
            Some((Event::StreamEnd, _)) | None => usize::MAX,
            Some((_, start)) => start,
        };
        self.comments(limit, |m| m.own_line && m.column >= column)
    }

    fn document(&mut self) -> Step<Vec<Entry>> {
        self.anchors.clear();
        let Some(top) = self.next() else { return Ok(Vec::new()) };
        let mut entries = Vec::new();
        match &top.event {
            Event::MappingStart(anchor, tag) => {
                self.oddities(*anchor, tag.is_some());
                let map = self.map(top, Above { depth: 1, column: None })?;
                if let Node::Map(found) = map {
                    entries = found;
                }
            }
            Event::Scalar(text, ScalarStyle::Plain, 0, None) if text.is_empty() => {
                entries.extend(self.comments_before(top.start).into_iter().map(Entry::Comment));
            }
            _ => return Err(fail(top, PlainErrorKind::NotAMap)),
        }
        entries.extend(self.closing(0).into_iter().map(Entry::Comment));
        Ok(entries)
    }

    fn oddities(&mut self, anchor: usize, tag: bool) {
        self.out.aliases |= anchor > 0;
        self.out.tags |= tag;
    }

    fn count(&mut self, nodes: usize, at: &Piece<'_>) -> Step<()> {
        self.nodes = self.nodes.saturating_add(nodes);
        if self.nodes > MAX_NODES {
            return Err(fail(at, PlainErrorKind::TooManyNodes));
        }
        Ok(())
    }

    /// Builds the value whose first event is next.
    fn value(&mut self, above: Above) -> Step<Node> {
        let Some(piece) = self.next() else { return Ok(Node::Null) };
        self.count(1, piece)?;
        let (node, anchor) = match &piece.event {
            Event::Scalar(text, style, anchor, tag) => {
                self.oddities(*anchor, tag.is_some());
                let node = resolve::scalar(text, *style, tag.as_deref());
                (node.map_err(|kind| fail(piece, kind))?, *anchor)
            }
            Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag) => {
                self.oddities(*anchor, tag.is_some());
                if above.depth >= MAX_DEPTH {
                    return Err(fail(piece, PlainErrorKind::TooDeep));
                }
                let above = Above { depth: above.depth + 1, ..above };
                let is_map = matches!(piece.event, Event::MappingStart(..));
                let node = if is_map { self.map(piece, above)? } else { self.list(piece, above)? };
                (node, *anchor)
            }
            Event::Alias(anchor) => return self.alias(*anchor, piece, above),
            _ => return Err(fail(piece, PlainErrorKind::Yaml)),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn alias(&mut self, anchor: usize, piece: &Piece<'_>, above: Above) -> Step<Node> {
        self.out.aliases = true;
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(fail(piece, PlainErrorKind::Alias));
        };
        let (nodes, depth) = (node.count(), node.depth());
        if above.depth + depth > MAX_DEPTH {
            return Err(fail(piece, PlainErrorKind::TooDeep));
        }
        self.count(nodes, piece)?;
        self.anchors.get(&anchor).cloned().ok_or_else(|| fail(piece, PlainErrorKind::Alias))
    }

    fn map(&mut self, start: &Piece<'t>, above: Above) -> Step<Node> {
        let mut entries = Vec::new();
        let mut keys = HashSet::new();
        let mut column = None;
        while let Some(key) = self.next() {
            if matches!(key.event, Event::MappingEnd) {
                let comments = match column {
                    Some(column) if !start.flow => self.closing(column),
                    _ => self.comments_before(key.start),
                };
                entries.extend(comments.into_iter().map(Entry::Comment));
                break;
            }
            entries.extend(self.comments_before(key.start).into_iter().map(Entry::Comment));
            column.get_or_insert(key.column);
            let name = self.key(key)?;
            // Like sops, only the first document is held to it.
            if self.out.docs.is_empty() && !keys.insert(name.clone()) {
                return Err(fail(key, PlainErrorKind::DuplicateKey));
            }
            self.count(name.len() / 16, key)?;
            self.pair(key, name, Above { column, ..above }, &mut entries)?;
        }
        Ok(Node::Map(entries))
    }

    fn key(&mut self, piece: &Piece<'t>) -> Step<String> {
        let Event::Scalar(text, style, anchor, tag) = &piece.event else {
            return Err(fail(piece, PlainErrorKind::NonStringKey));
        };
        let merge = tag.as_ref().is_some_and(|t| t.is_yaml_core_schema() && t.suffix == "merge");
        self.oddities(*anchor, tag.is_some());
        let node = if merge {
            Node::str(text.as_bytes())
        } else {
            resolve::scalar(text, *style, tag.as_deref()).map_err(|kind| fail(piece, kind))?
        };
        if *anchor > 0 {
            self.anchors.insert(*anchor, node.clone());
        }
        let name = node.as_str().ok_or_else(|| fail(piece, PlainErrorKind::NonStringKey))?;
        Ok(name.to_owned())
    }

    /// Adds a key's value with the comments around it; those behind it come before it.
    fn pair(
        &mut self,
        key: &Piece<'t>,
        name: String,
        above: Above,
        entries: &mut Vec<Entry>,
    ) -> Step<()> {
        let Some(piece) = self.peek() else { return Ok(()) };
        let line = key.end_line;
        let mut before = self.comments(piece.start, |m| m.line == line && !m.own_line);
        let mut node;
        if is_block(piece) {
            node = self.value(above)?;
        } else {
            let on_line = before.len();
            before.extend(self.comments_before(piece.start));
            node = self.value(above)?;
            if is_scalar(piece) {
                before.iter_mut().take(on_line).for_each(|c| c.inline = true);
                let behind = self.trailing();
                before.extend(behind.into_iter().map(|c| Comment { inline: true, ..c }));
            } else {
                before.extend(hoist(self.trailing(), &mut node));
            }
        }
        entries.extend(before.into_iter().map(Entry::Comment));
        entries.push(Entry::Pair(name, node));
        Ok(())
    }

    fn list(&mut self, start: &Piece<'t>, above: Above) -> Step<Node> {
        let mut items = Vec::new();
        let mut column = None;
        while let Some(piece) = self.peek() {
            if matches!(piece.event, Event::SequenceEnd) {
                self.next();
                let comments = match column {
                    // A list may start at the column of its key: there, comments are the map's.
                    Some(dash) if !start.flow => {
                        self.closing(dash + usize::from(above.column == Some(dash)))
                    }
                    _ => self.comments_before(piece.start),
                };
                items.extend(comments.into_iter().map(Item::Comment));
                break;
            }
            if !start.flow {
                items.extend(self.comments(piece.start, |_| true).into_iter().map(Item::Comment));
                if let Some((dash, rest)) = self.marks.split_first()
                    && dash.start < piece.start
                {
                    column.get_or_insert(dash.column);
                    self.marks = rest;
                }
            }
            self.item(piece, Above { column: None, ..above }, &mut items)?;
        }
        Ok(Node::List(items))
    }

    fn item(&mut self, piece: &Piece<'t>, above: Above, items: &mut Vec<Item>) -> Step<()> {
        let mut comments = Vec::new();
        let mut node;
        if is_block(piece) {
            node = self.value(above)?;
        } else {
            comments = self.comments_before(piece.start);
            node = self.value(above)?;
            let behind = self.trailing();
            comments.extend(if is_scalar(piece) { behind } else { hoist(behind, &mut node) });
        }
        items.extend(comments.into_iter().map(Item::Comment));
        items.push(Item::Node(node));
        Ok(())
    }
}

/// Puts the comment behind a bracketed container in front of its content; an empty one keeps nothing.
fn hoist(comments: Vec<Comment>, node: &mut Node) -> Vec<Comment> {
    match node {
        Node::List(items) if !items.is_empty() => {
            items.splice(0..0, comments.into_iter().map(Item::Comment));
            Vec::new()
        }
        Node::Map(entries) if !entries.is_empty() => {
            entries.splice(0..0, comments.into_iter().map(Entry::Comment));
            Vec::new()
        }
        _ => comments,
    }
}

fn is_scalar(piece: &Piece<'_>) -> bool {
    matches!(piece.event, Event::Scalar(..) | Event::Alias(_))
}

fn is_block(piece: &Piece<'_>) -> bool {
    !piece.flow && matches!(piece.event, Event::SequenceStart(..) | Event::MappingStart(..))
}

fn fail(piece: &Piece<'_>, kind: PlainErrorKind) -> PlainError {
    PlainError { line: piece.line + 1, column: piece.column + 1, kind }
}
