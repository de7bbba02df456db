use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

/// A file as it may be shown, with the beginnings of its lines.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) name: String,
    text: String,
    lines: Vec<usize>,
}

/// Tells whether a terminal would obey or hide a character.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Writes what a terminal would obey or hide as escapes; line ends stay.
pub(super) fn visible(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => "\n".to_owned(),
        c if is_hidden(c) => c.escape_default().to_string(),
        c => c.to_string(),
    };
    text.chars().map(shown).collect()
}

/// As [`visible`], but every byte stays where it is.
fn in_place(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => out.push(c),
            '\r' => out.push(' '),
            c if is_hidden(c) => out.extend(std::iter::repeat_n('?', c.len_utf8())),
            c => out.push(c),
        }
    }
    out
}

impl Shown {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let starts = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name: visible(name), text: in_place(text), lines }
    }

    /// Cuts a range to its first line: a picture of a whole set would be all bars.
    pub(super) fn first_line(&self, range: Range<usize>) -> Range<usize> {
        let start = range.start.min(self.text.len());
        let text = self.text.get(start..range.end.min(self.text.len())).unwrap_or_default();
        let length = text.lines().next().map_or(0, |line| line.trim_end().len());
        start..start.saturating_add(length)
    }

    fn line(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).saturating_sub(1)
    }

    fn start(&self, line: usize) -> usize {
        self.lines.get(line).copied().unwrap_or(self.text.len())
    }
}

impl SourceCode for Shown {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let end = span.offset().saturating_add(span.len()).min(self.text.len());
        let line = self.line(span.offset());
        let first = line.saturating_sub(before);
        let start = if before == 0 { span.offset() } else { self.start(first) };
        let last = self.line(end.max(span.offset())).saturating_add(after);
        let until = if after == 0 { end } else { self.start(last.saturating_add(1)) };
        let text = self.text.get(start..until.max(start)).ok_or(MietteError::OutOfBounds)?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let begin = self.text.get(self.start(first)..start).unwrap_or_default();
        let column = begin.chars().count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            text.as_bytes(),
            (start, text.len()).into(),
            first,
            column,
            text.lines().count(),
        )))
    }
}
