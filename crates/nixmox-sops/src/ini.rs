//! ini as go-ini reads and writes it for sops: sections of text values, one comment before each section and key.

mod read;
mod write;

use nixmox_tree::SecretBytes;
use zeroize::Zeroizing;

use crate::error::{Path, PlainError};
use crate::node::{Entry, Node};

/// The section of the keys that stand before the first section.
pub(crate) const DEFAULT: &str = "DEFAULT";

/// Reads a text; the section [`DEFAULT`] comes first, even when nothing is in it.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Entry>, PlainError> {
    read::read(bytes)
}

/// Writes sections; the path names what has no place in such a file.
pub(crate) fn write(sections: &[Entry]) -> Result<Zeroizing<Vec<u8>>, Path> {
    write::write(sections)
}

/// Puts the section that every text has before sections that were not read from one.
pub(crate) fn with_default(mut sections: Vec<Entry>) -> Vec<Entry> {
    if !matches!(sections.first(), Some(Entry::Pair(name, _)) if name == DEFAULT) {
        sections.insert(0, Entry::Pair(DEFAULT.to_owned(), Node::Map(Vec::new())));
    }
    sections
}

/// Takes the pairs of the metadata's section; a newline may stand there as the two characters `\n`.
pub(crate) fn metadata(section: Node) -> Vec<(String, Node)> {
    let Node::Map(entries) = section else { return Vec::new() };
    let pair = |entry| match entry {
        Entry::Pair(key, Node::Str(bytes)) => {
            let text = bytes.as_str().unwrap_or_default().replace("\\n", "\n");
            Some((key, Node::Str(SecretBytes::new(text))))
        }
        _ => None,
    };
    entries.into_iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::PlainErrorKind;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let sections = read(text.as_bytes()).expect("ini");
        let out = write(&sections).expect("prints");
        assert_eq!(String::from_utf8_lossy(&out), expect, "{text:?}");
        let again = write(&read(&out).expect("ini")).expect("prints");
        assert_eq!(again, out, "{text:?} reads back");
    }

    #[test]
    fn keys_are_aligned_and_comments_stand_before_them() {
        check("a=1\n\n[s]\nlong : 2\nb=\n", "a = 1\n\n[s]\nlong = 2\nb    = \n");
        check("; x\n# y\n[s] ; z\nk=v ; w\n", "; x\n# y\n; z\n[s]\n; w\nk = v\n");
        check("#  a\n;b\nk=1\n", "; a\n; b\nk = 1\n");
        check("[s]\nk=1\nk=2\n[s]\nk=3\n; lost\n", "[s]\nk = 2\n\n[s]\nk = 3\n");
        check("\u{feff}[s]\r\nk=1\r\n", "[s]\nk = 1\n");
        check("[a]\n[b]", "[a]\n\n[b]\n");
        check("[DEFAULT]\nk=1\n", "[DEFAULT]\nk = 1\n");
        check("", "");
    }

    #[test]
    fn quotes_are_taken_off_and_put_on_where_they_are_needed() {
        check("k = 'x'\nl = \"y z\"\nm = \" y\"\n", "k = x\nl = y z\nm = \" y\"\n");
        check("k = `a;b`\nl = a\"b\n", "k = `a;b`\nl = a\"b\n");
        check("k = \"\"\"a\nb\"\"\" # c\nl=1\n", "; c\nk = \"\"\"a\nb\"\"\"\nl = 1\n");
        check("k = a\\\n  b\\\n\nl=1\n", "k = ab\nl = 1\n");
        check(
            "`a=b` = 1\n\"c:d\" : 2\n\"\"\"e`f\"\"\" = 3\n",
            "`a=b`     = 1\n`c:d`     = 2\n\"\"\"e`f\"\"\" = 3\n",
        );
        check("- = 1\n- = 2\n", "- = 1\n- = 2\n");
    }

    #[test]
    fn faults_have_their_line() {
        #[track_caller]
        fn check(text: &str, line: usize) {
            let error = read(text.as_bytes()).err().expect("refused");
            assert_eq!((error.line, error.kind), (line, PlainErrorKind::Ini), "{text:?}");
        }
        check("[s]\nword\n", 2);
        check("[s\n", 1);
        check("[]\n", 1);
        check("\n= 1\n", 2);
        check("`a = 1\n", 1);
        check("a = `x\ny\n", 1);
    }
}
