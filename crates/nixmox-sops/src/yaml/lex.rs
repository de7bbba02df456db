//! What the parser's events leave out: comments, and where the dashes of a block sequence stand.

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::error::{MAX_DEPTH, PlainError, PlainErrorKind};

/// One event with the place in the text where it starts and ends.
pub(super) struct Piece<'t> {
    pub(super) event: Event<'t>,
    /// Byte offsets; what stands in `start..end` belongs to the event.
    pub(super) start: usize,
    pub(super) end: usize,
    /// Line (from 0) of the start and of the end, and the column of the start.
    pub(super) line: usize,
    pub(super) end_line: usize,
    pub(super) column: usize,
    /// Whether a container is written with brackets.
    pub(super) flow: bool,
}

/// A comment or the dash of a sequence, between the events.
pub(super) struct Mark<'t> {
    pub(super) start: usize,
    pub(super) line: usize,
    pub(super) column: usize,
    /// The text after `#`; `None` for a dash.
    pub(super) comment: Option<&'t str>,
    /// Whether nothing but space stands before it on its line.
    pub(super) own_line: bool,
}

/// Runs the parser and collects events and marks, both in the order of the text.
pub(super) fn lex(text: &str, limit: usize) -> Result<(Vec<Piece<'_>>, Vec<Mark<'_>>), PlainError> {
    let mut pieces = Vec::new();
    let mut marks = Vec::new();
    let mut place = Place::default();
    let (mut done, mut depth) = (0, 0_usize);
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| {
            let kind = PlainErrorKind::Yaml;
            PlainError { line: e.marker().line(), column: e.marker().col() + 1, kind }
        })?;
        if pieces.len() >= limit {
            return Err(PlainError::at(span.start.line(), PlainErrorKind::TooManyNodes));
        }
        // Checked here already: the parser's own time grows with the square of the depth.
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(PlainError::at(span.start.line(), PlainErrorKind::TooDeep));
        }
        let start = place.byte_of(text, span.start.index());
        let end = end_of(text, &event, start, || place.clone().byte_of(text, span.end.index()));
        let flow = span.end.index() > span.start.index()
            && matches!(event, Event::SequenceStart(..) | Event::MappingStart(..))
            && text.get(..end).is_some_and(|t| t.ends_with(['[', '{']));
        scan_gap(text, done, start, &mut marks);
        done = done.max(end);
        let line = span.start.line().saturating_sub(1);
        let broken = text.get(start..end).map_or(0, |t| t.trim_end().matches('\n').count());
        pieces.push(Piece {
            event,
            start,
            end,
            line,
            end_line: line + broken,
            column: span.start.col(),
            flow,
        });
    }
    scan_gap(text, done, text.len(), &mut marks);
    number_lines(text, &mut marks);
    Ok((pieces, marks))
}

/// Finds the true end of an event: the parser counts a comment behind a quote or a bracket as part of it.
fn end_of(text: &str, event: &Event<'_>, start: usize, reported: impl Fn() -> usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    match event {
        Event::Scalar(_, ScalarStyle::DoubleQuoted, ..) => {
            // Tags and anchors may stand before the quote.
            let open = rest.find('"').unwrap_or(0);
            let mut bytes = rest.bytes().enumerate().skip(open + 1);
            while let Some((at, byte)) = bytes.next() {
                match byte {
                    b'\\' => drop(bytes.next()),
                    b'"' => return start + at + 1,
                    _ => {}
                }
            }
            reported()
        }
        Event::Scalar(_, ScalarStyle::SingleQuoted, ..) => {
            let open = rest.find('\'').unwrap_or(0);
            let mut bytes = rest.bytes().enumerate().skip(open + 1).peekable();
            while let Some((at, byte)) = bytes.next() {
                if byte == b'\'' && bytes.next_if(|(_, next)| *next == b'\'').is_none() {
                    return start + at + 1;
                }
            }
            reported()
        }
        Event::SequenceEnd | Event::MappingEnd => {
            start + usize::from(rest.starts_with([']', '}']) && reported() > start)
        }
        // A block mapping's start may reach to its first key; what stands between is not its own.
        Event::SequenceStart(..) | Event::MappingStart(..) => {
            let end = reported();
            if text.get(..end).is_some_and(|t| t.ends_with(['[', '{'])) { end } else { start }
        }
        Event::DocumentStart(true) => end_of_line_mark(rest, start),
        Event::DocumentStart(false) | Event::DocumentEnd | Event::StreamEnd => start,
        _ => reported(),
    }
}

fn end_of_line_mark(rest: &str, start: usize) -> usize {
    if rest.starts_with("---") { start + 3 } else { start }
}

/// Turns the parser's character counts into byte offsets; they never go far back.
#[derive(Default, Clone)]
struct Place {
    chars: usize,
    byte: usize,
}

impl Place {
    fn byte_of(&mut self, text: &str, chars: usize) -> usize {
        if chars < self.chars {
            // The parser may report a start before the end it reported last.
            let back = text.get(..self.byte).unwrap_or_default();
            let gone =
                back.chars().rev().take(self.chars - chars).map(char::len_utf8).sum::<usize>();
            self.byte -= gone;
            self.chars = chars;
            return self.byte;
        }
        let rest = text.get(self.byte..).unwrap_or_default();
        let step: usize = rest.chars().take(chars - self.chars).map(char::len_utf8).sum();
        self.byte += step;
        self.chars = chars;
        self.byte
    }
}

fn scan_gap<'t>(text: &'t str, from: usize, to: usize, marks: &mut Vec<Mark<'t>>) {
    let Some(gap) = text.get(from..to) else { return };
    let mut at = 0;
    let mut blank =
        text.get(..from).is_none_or(|t| t.is_empty() || t.ends_with([' ', '\t', '\n', '\r']));
    while let Some(rest) = gap.get(at..).filter(|rest| !rest.is_empty()) {
        let next = rest.chars().next().unwrap_or('\n');
        let mut push = |comment, own_line| {
            marks.push(Mark { start: from + at, line: 0, column: 0, comment, own_line });
        };
        let mut width = next.len_utf8();
        match next {
            '#' if blank => {
                width = rest.find('\n').unwrap_or(rest.len());
                let line = rest.get(1..width).unwrap_or_default().trim_end_matches('\r');
                let before = text.get(..from + at).unwrap_or_default();
                let own = before.trim_end_matches([' ', '\t']);
                push(Some(line), own.is_empty() || own.ends_with(['\n', '\r']));
            }
            '-' if blank
                && rest
                    .get(1..)
                    .is_none_or(|r| r.is_empty() || r.starts_with([' ', '\t', '\n', '\r'])) =>
            {
                push(None, false);
            }
            _ => {}
        }
        blank = next.is_whitespace();
        at += width;
    }
}

fn number_lines(text: &str, marks: &mut [Mark<'_>]) {
    let (mut at, mut line, mut line_start) = (0, 0, 0);
    for mark in marks {
        for (offset, _) in text.get(at..mark.start).unwrap_or_default().match_indices('\n') {
            line += 1;
            line_start = at + offset + 1;
        }
        at = mark.start;
        mark.line = line;
        mark.column = text.get(line_start..at).map_or(0, |t| t.chars().count());
    }
}
