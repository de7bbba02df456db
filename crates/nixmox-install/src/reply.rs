//! What the part on the machine answers: lines of `NAME=VALUE`, which nothing vouches for.

use nixmox_deploy::Output;

/// The longest value that is kept.
const MAX_VALUE: usize = 8 << 10;
/// How many lines are read.
const MAX_LINES: usize = 4096;

/// Lines of `NAME=VALUE`, and whatever follows or precedes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Reply {
    lines: Vec<(String, String)>,
}

impl Reply {
    /// Reads all lines of that form; others are passed over.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let pair = |line: &str| {
            let (name, value) = line.split_once('=')?;
            let good = |c: char| c.is_ascii_lowercase() || c == '_';
            let fits = !name.is_empty() && name.chars().all(good) && value.len() <= MAX_VALUE;
            fits.then(|| (name.to_owned(), printable(value)))
        };
        Self { lines: text.lines().take(MAX_LINES).filter_map(pair).collect() }
    }

    /// Returns the value of a name; nothing when it is empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let own = self.lines.iter().filter(|(own, _)| own == name);
        { own }.map(|(_, value)| value.as_str()).find(|value| !value.is_empty())
    }

    /// Returns every value of a name that is not empty.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let own = self.lines.iter().filter(move |(own, _)| own == name);
        own.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Returns a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.text(name) == Some(value)
    }
}

/// Returns a text without anything that a terminal would act upon.
pub(crate) fn printable(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars().filter(|c| !hidden(*c)).collect()
}

/// Splits an answer into what precedes the first empty line, and what follows it.
pub(crate) fn split(output: &Output) -> (&[u8], &[u8]) {
    let bytes = output.stdout.as_slice();
    match bytes.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => {
            (bytes.get(..at + 1).unwrap_or_default(), bytes.get(at + 2..).unwrap_or_default())
        }
        None => (bytes, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_that_form_are_read() {
        let reply = Reply::parse(b"boot_id=x\nnoise\njob=a b\njob=c\nempty=\nBad=1\nmemory=12\n");
        assert_eq!(reply.text("boot_id"), Some("x"));
        assert_eq!(reply.all("job").collect::<Vec<_>>(), ["a b", "c"]);
        assert_eq!(reply.text("empty"), None);
        assert_eq!(reply.text("Bad"), None);
        assert_eq!(reply.number("memory"), Some(12));
    }

    #[test]
    fn nothing_reaches_a_terminal() {
        let reply = Reply::parse("os=a\x1b[31m\u{202e}b\n".as_bytes());
        assert_eq!(reply.text("os"), Some("a[31mb"));
        assert_eq!(Reply::parse(format!("os={}", "x".repeat(9000)).as_bytes()).text("os"), None);
    }
}
