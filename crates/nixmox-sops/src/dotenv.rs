//! dotenv as sops reads and writes it: no quotes, no trimming, and a newline is the two characters `\n`.

use nixmox_tree::SecretBytes;
use zeroize::Zeroizing;

use crate::error::{MAX_BYTES, MAX_NODES, Path, PlainError, PlainErrorKind};
use crate::flat;
use crate::node::{Comment, Entry, Node};

/// What the names of metadata start with.
pub(crate) const PREFIX: &str = "sops_";

/// Reads the lines of a text, empty ones left out.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<Entry>, PlainError> {
    if bytes.len() > MAX_BYTES {
        return Err(PlainError::at(0, PlainErrorKind::TooLarge));
    }
    let mut entries = Vec::new();
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let fail = |kind| PlainError::at(index + 1, kind);
        if entries.len() >= MAX_NODES {
            return Err(fail(PlainErrorKind::TooManyNodes));
        }
        entries.push(entry(line).map_err(fail)?);
    }
    Ok(entries)
}

fn entry(line: &[u8]) -> Result<Entry, PlainErrorKind> {
    let text = |bytes| std::str::from_utf8(bytes).map_err(|_| PlainErrorKind::Utf8);
    if let Some(comment) = line.strip_prefix(b"#") {
        return Ok(Entry::Comment(Comment::new(text(comment)?)));
    }
    let at = line.iter().position(|byte| *byte == b'=').ok_or(PlainErrorKind::Dotenv)?;
    let (key, value) = line.split_at(at);
    let value = value.get(1..).unwrap_or_default();
    Ok(Entry::Pair(text(key)?.to_owned(), Node::Str(SecretBytes::from(unescape(value)))))
}

/// Takes the prefix off an entry of the metadata.
pub(crate) fn unprefixed(entry: Entry) -> Option<(String, Node)> {
    match entry {
        Entry::Pair(key, node) => Some((key.strip_prefix(PREFIX)?.to_owned(), node)),
        Entry::Comment(_) => None,
    }
}

/// Writes entries; the path names what has no place in such a file.
pub(crate) fn write(entries: &[Entry]) -> Result<Zeroizing<Vec<u8>>, Path> {
    let mut out = Zeroizing::new(Vec::new());
    for entry in entries {
        match entry {
            Entry::Comment(comment) => {
                for line in comment.text.expose().split('\n') {
                    out.push(b'#');
                    out.extend_from_slice(line.as_bytes());
                    out.push(b'\n');
                }
            }
            Entry::Pair(key, node) => {
                let value = flat::text(node).ok_or_else(|| Path(vec![key.clone()]))?;
                out.extend_from_slice(key.as_bytes());
                out.push(b'=');
                escape(&value, &mut out);
                out.push(b'\n');
            }
        }
    }
    Ok(out)
}

fn unescape(value: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut rest = value;
    while let Some((first, after)) = rest.split_first() {
        rest = match after.strip_prefix(b"n") {
            Some(after) if *first == b'\\' => {
                out.push(b'\n');
                after
            }
            _ => {
                out.push(*first);
                after
            }
        };
    }
    out
}

fn escape(value: &[u8], out: &mut Vec<u8>) {
    for byte in value {
        match byte {
            b'\n' => out.extend_from_slice(b"\\n"),
            byte => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expect: &str) {
        let entries = read(text.as_bytes()).expect("dotenv");
        let out = write(&entries).expect("prints");
        assert_eq!(String::from_utf8_lossy(&out), expect);
    }

    #[test]
    fn lines_are_kept_as_they_are() {
        check("# c\n\nexport A= x \"q\" # no\n", "# c\nexport A= x \"q\" # no\n");
        check("A=a=b\\nc\\\\n\r", "A=a=b\\nc\\\\n\r\n");
        check("=v\n #x=1", "=v\n #x=1\n");
        check("", "");
    }

    #[test]
    fn faults_have_their_line() {
        let error = read(b"A=1\nword\n").err().expect("refused");
        assert_eq!((error.line, error.kind), (2, PlainErrorKind::Dotenv));
        let error = read(b"A=1\n\xff=1\n").err().expect("refused");
        assert_eq!((error.line, error.kind), (2, PlainErrorKind::Utf8));
    }
}
