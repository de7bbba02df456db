//! Text from hosts, made harmless.

/// The longest line that is kept of what a host says.
const MAX_LINE: usize = 2000;

/// Returns a line without anything that a terminal would act upon; what is not UTF-8 is replaced.
pub(crate) fn printable(line: &[u8]) -> String {
    let line = line.get(..MAX_LINE).unwrap_or(line);
    let text = String::from_utf8_lossy(line);
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !hidden(*c)).collect()
}

/// Returns the last lines of a text, each printable; empty ones are left out.
pub(crate) fn last_lines(bytes: &[u8], count: usize) -> Vec<String> {
    let lines: Vec<_> =
        bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
    let first = lines.len().saturating_sub(count);
    lines.into_iter().skip(first).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_told_nothing() {
        assert_eq!(printable(b"a\x1b[31mred\x07\tb\r"), "a[31mred b");
        assert_eq!(printable("x\u{202e}y\u{9b}z".as_bytes()), "xyz");
        assert_eq!(printable(b"\xff"), "\u{fffd}");
        assert_eq!(printable(&[b'x'; 5000]).len(), MAX_LINE);
    }

    #[test]
    fn the_last_lines_are_kept() {
        assert_eq!(last_lines(b"a\n\nb\nc\n", 2), ["b", "c"]);
        assert_eq!(last_lines(b"", 2), Vec::<String>::new());
    }
}
