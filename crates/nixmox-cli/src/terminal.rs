//! What a terminal shows: escaped text, widths, styles, tables.

use std::borrow::Cow;
use std::io::IsTerminal;

use anstyle::{AnsiColor, Style};
use rustix::fd::AsFd;
use rustix::termios::tcgetwinsize;
use unicode_width::UnicodeWidthStr;

pub use anstream::{AutoStream, ColorChoice, stderr, stdout};

pub use crate::table::{Cell, Table};

/// Style of `error:`.
pub const ERROR: Style = AnsiColor::Red.on_default().bold();
/// Style of `warning:`.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Style of `hint:`, and of what a person may type.
pub const HINT: Style = AnsiColor::Cyan.on_default();
/// Style of what went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Style of headings.
pub const HEADING: Style = Style::new().bold();
/// Style of what matters less.
pub const DIM: Style = Style::new().dimmed();

/// Decides for the whole program whether colours are shown.
///
/// [`ColorChoice::Auto`] asks `NO_COLOR`, `CLICOLOR_FORCE`, `TERM` and whether the stream is a terminal, in the way
/// of <https://bixense.com/clicolors/>; it holds for [`stdout`] and [`stderr`] of this module.
pub fn choose_color(choice: ColorChoice) {
    choice.write_global();
}

/// Makes every character visible that moves the cursor, hides, or reorders text.
///
/// That is: control characters (C0, C1, DEL), bidirectional controls, zero-width and other invisible characters.
/// Every string that comes from a repository goes through this before a terminal sees it.
///
/// ```
/// use nixmox_cli::terminal::escape;
///
/// assert_eq!(escape("wifi.psk"), "wifi.psk");
/// assert_eq!(escape("a\x1b[2Jb\u{202e}c"), r"a\u{1b}[2Jb\u{202e}c");
/// ```
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len().saturating_add(16));
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c if is_hidden(c) => shown.extend(c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Tells whether a terminal would obey or hide this character rather than show it.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Returns how many columns `text` takes, which must be [escaped](escape) already.
pub fn columns(text: &str) -> usize {
    text.width()
}

/// Returns the width of the terminal that `stream` is, if it is one and knows.
pub fn width(stream: impl AsFd + IsTerminal) -> Option<usize> {
    if !stream.is_terminal() {
        return None;
    }
    let columns = tcgetwinsize(stream).ok()?.ws_col;
    (columns > 0).then_some(usize::from(columns))
}

/// Counts in words: `1 host`, `2 hosts`, `3 entries`, `4 boxes`.
pub fn plural(n: usize, noun: &str) -> String {
    if n == 1 {
        return format!("1 {noun}");
    }
    let ends = |endings: &[&str]| endings.iter().any(|ending| noun.ends_with(ending));
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{n} {stem}ies"),
        _ if ends(&["s", "x", "z", "ch", "sh"]) => format!("{n} {noun}es"),
        _ => format!("{n} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escape_shows_what_hides() {
        #[track_caller]
        fn check(input: &str, expect: &str) {
            assert_eq!(escape(input), expect);
        }
        check("", "");
        check("plain ünïcode 漢字 🦀", "plain ünïcode 漢字 🦀");
        check("a\nb\r\tc", r"a\nb\r\tc");
        check("\x1b]0;title\x07", r"\u{1b}]0;title\u{7}");
        check("\u{9b}31m", r"\u{9b}31m");
        check("\x7f\0", r"\u{7f}\u{0}");
        check("user\u{202e}toor\u{2066}", r"user\u{202e}toor\u{2066}");
        check("ad\u{200b}min\u{feff}", r"ad\u{200b}min\u{feff}");
        check("tag\u{e0041}\u{e01ef}", r"tag\u{e0041}\u{e01ef}");
        check("soft\u{ad}hyphen\u{61c}", r"soft\u{ad}hyphen\u{61c}");
    }

    #[test]
    fn plural_counts() {
        #[track_caller]
        fn check(n: usize, noun: &str, expect: &str) {
            assert_eq!(plural(n, noun), expect);
        }
        check(0, "host", "0 hosts");
        check(1, "host", "1 host");
        check(2, "host", "2 hosts");
        check(2, "key", "2 keys");
        check(3, "entry", "3 entries");
        check(1, "entry", "1 entry");
        check(2, "box", "2 boxes");
        check(2, "match", "2 matches");
    }

    #[test]
    fn no_terminal_has_no_width() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(width(file), None);
    }

    proptest! {
        #[test]
        fn escaped_text_holds_nothing_hidden(text in any::<String>()) {
            prop_assert!(!escape(&text).chars().any(is_hidden));
        }

        #[test]
        fn escaping_is_done_once(text in any::<String>()) {
            let once = escape(&text).into_owned();
            prop_assert_eq!(escape(&once), once.as_str());
        }
    }
}
