use std::io;

use anstyle::Style;
use unicode_width::UnicodeWidthChar;

use crate::terminal::{HEADING, columns, escape};

/// Space between two columns.
const GAP: usize = 2;
/// A column is never made narrower than this, however narrow the terminal.
const NARROWEST: usize = 6;

/// One cell: text that is escaped on entry, and a style.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// Makes a cell in `style`.
    pub fn styled(text: &str, style: Style) -> Self {
        Self { text: escape(text).into_owned(), style }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::styled(text, Style::new())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

/// Rows in aligned columns; what does not fit a terminal is cut with `…`.
///
/// ```
/// use nixmox_cli::terminal::Table;
///
/// let mut table = Table::new(["HOST", "KEY"]);
/// table.row(["db", "SHA256:47DEQpj8"]);
/// let mut out = anstream::StripStream::new(Vec::new());
/// table.write(&mut out, None).unwrap();
/// assert_eq!(out.into_inner(), b"HOST  KEY\ndb    SHA256:47DEQpj8\n");
/// ```
#[derive(Clone, Debug)]
pub struct Table<const N: usize> {
    rows: Vec<[Cell; N]>,
}

impl<const N: usize> Table<N> {
    /// Makes a table with these headings.
    pub fn new(headings: [&str; N]) -> Self {
        Self { rows: vec![headings.map(|text| Cell::styled(text, HEADING))] }
    }

    /// Makes a table without headings.
    pub fn bare() -> Self {
        Self { rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<C: Into<Cell>>(&mut self, cells: [C; N]) {
        self.rows.push(cells.map(Into::into));
    }

    /// Writes the rows, cut to `width` columns if one is given.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn io::Write, width: Option<usize>) -> io::Result<()> {
        let widths = self.widths(width);
        for row in &self.rows {
            let last = row.iter().rposition(|cell| !cell.text.is_empty());
            for (i, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if Some(i) > last {
                    break;
                }
                let (shown, style) = (cut(&cell.text, width), cell.style);
                write!(out, "{style}{shown}{style:#}")?;
                if Some(i) < last {
                    let pad = width.saturating_sub(columns(&shown)).saturating_add(GAP);
                    write!(out, "{:pad$}", "")?;
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// Tells whether nothing has to be cut for so many columns.
    pub fn fits(&self, width: Option<usize>) -> bool {
        self.widths(width) == self.widths(None)
    }

    /// Finds the width of each column, taking from the widest until all fit.
    fn widths(&self, limit: Option<usize>) -> [usize; N] {
        let mut widths = [0; N];
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = columns(&cell.text).max(*width);
            }
        }
        let Some(limit) = limit else { return widths };
        let gaps = GAP.saturating_mul(N.saturating_sub(1));
        let room = limit.saturating_sub(gaps);
        while widths.iter().sum::<usize>() > room {
            let excess = widths.iter().sum::<usize>().saturating_sub(room);
            let mut sorted = widths;
            sorted.sort_unstable();
            let widest = sorted.last().copied().unwrap_or(0);
            let second = sorted.iter().rev().find(|&&w| w < widest).copied().unwrap_or(0);
            if widest <= NARROWEST {
                break;
            }
            let floor = second.max(NARROWEST).max(widest.saturating_sub(excess));
            // Equal widest columns give a column at a time, the last one first.
            let step = if floor == widest { widest.saturating_sub(1) } else { floor };
            if let Some(column) = widths.iter_mut().rev().find(|w| **w == widest) {
                *column = step;
            }
        }
        widths
    }
}

/// Cuts `text` to `width` columns, the last of which is then `…`.
fn cut(text: &str, width: usize) -> String {
    if columns(text) <= width {
        return text.to_owned();
    }
    let mut room = width.saturating_sub(1);
    let mut shown = String::new();
    for c in text.chars() {
        let Some(left) = room.checked_sub(c.width().unwrap_or(0)) else { break };
        room = left;
        shown.push(c);
    }
    shown.push('…');
    shown
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plain<const N: usize>(table: &Table<N>, width: Option<usize>) -> String {
        let mut out = anstream::StripStream::new(Vec::new());
        table.write(&mut out, width).unwrap();
        String::from_utf8(out.into_inner()).unwrap()
    }

    #[test]
    fn columns_line_up() {
        let mut table = Table::new(["HOST", "STATE", "FILE"]);
        table.row(["a", "unchanged", "nodes/a"]);
        table.row(["漢字", "new", ""]);
        assert_eq!(
            plain(&table, None),
            "HOST  STATE      FILE\na     unchanged  nodes/a\n漢字  new\n"
        );
    }

    #[test]
    fn the_widest_column_gives_way() {
        let mut table = Table::bare();
        table.row(["short", "a very long path to a file"]);
        assert_eq!(plain(&table, Some(20)), "short  a very long …\n");
        assert!(!table.fits(Some(32)) && table.fits(Some(33)) && table.fits(None));
    }

    #[test]
    fn cells_are_escaped() {
        let mut table = Table::bare();
        table.row(["a\x1b[2J\n"]);
        assert_eq!(plain(&table, None), "a\\u{1b}[2J\\n\n");
    }

    #[test]
    fn cut_counts_columns() {
        #[track_caller]
        fn check(text: &str, width: usize, expect: &str) {
            assert_eq!(cut(text, width), expect);
        }
        check("abc", 3, "abc");
        check("abcd", 3, "ab…");
        check("漢字漢字", 5, "漢字…");
        check("漢字漢字", 4, "漢…");
        check("abc", 0, "…");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_asked(
            rows in prop::collection::vec(prop::array::uniform3("\\PC{0,40}"), 0..6),
            width in 22_usize..120,
        ) {
            let mut table = Table::bare();
            for row in &rows {
                table.row([row[0].as_str(), row[1].as_str(), row[2].as_str()]);
            }
            for line in plain(&table, Some(width)).lines() {
                prop_assert!(columns(line) <= width, "{line:?}");
            }
        }
    }
}
