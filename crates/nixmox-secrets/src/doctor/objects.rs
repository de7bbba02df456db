//! Everything that a git repository ever held, as `git cat-file --batch --batch-all-objects` prints it.

use std::io::{self, BufRead, Read};

use super::{Needles, Occurrence};

/// The most objects with a value in them that are listed; the rest is counted.
pub const MAX_OBJECT_HITS: usize = 200;
/// The longest line before an object.
const MAX_HEADER: u64 = 256;

/// An object that holds a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectHit {
    /// Its name in git.
    pub id: String,
    /// Whether it is a file's content; else it is the text of a commit or a tag.
    pub is_file: bool,
    /// The values in it, each at its first line.
    pub found: Vec<Occurrence>,
}

/// What came of a search.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Searched {
    /// Objects with a value in them, the first [`MAX_OBJECT_HITS`] of them.
    pub hits: Vec<ObjectHit>,
    /// How many more there are.
    pub more: usize,
    /// How many objects were looked at.
    pub objects: u64,
}

/// Why a stream cannot be searched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObjectsError {
    /// It cannot be read, or ends within an object.
    #[error("the objects cannot be read")]
    Read(#[from] io::Error),
    /// What git prints is not understood.
    #[error("git prints something else than objects")]
    Form,
}

/// Looks for values in the objects of a git repository; directories hold none.
///
/// `progress` is called with the number of objects so far. No object is held in memory, whatever its size.
///
/// # Errors
///
/// [`ObjectsError`] when the stream ends early or is something else.
pub fn objects(
    needles: &Needles,
    from: &mut dyn BufRead,
    progress: &mut dyn FnMut(u64),
) -> Result<Searched, ObjectsError> {
    let mut searched = Searched::default();
    let mut header = Vec::with_capacity(128);
    loop {
        header.clear();
        let mut start = from.take(MAX_HEADER);
        if start.read_until(b'\n', &mut header)? == 0 {
            return Ok(searched);
        }
        let Some((id, kind, size)) = parse(&header)? else { continue };
        let mut content = from.take(size);
        let found = match kind {
            "blob" | "commit" | "tag" => needles.scan(&mut content)?,
            _ => Vec::new(),
        };
        // What is not searched is passed by; what is missing shows.
        let rest = content.limit();
        let passed = io::copy(&mut content, &mut io::sink())?;
        let mut end = [0];
        from.read_exact(&mut end)?;
        if passed != rest || end != *b"\n" {
            return Err(ObjectsError::Form);
        }
        searched.objects += 1;
        progress(searched.objects);
        if found.is_empty() {
            continue;
        }
        if searched.hits.len() < MAX_OBJECT_HITS {
            searched.hits.push(ObjectHit { id: id.to_owned(), is_file: kind == "blob", found });
        } else {
            searched.more += 1;
        }
    }
}

/// Reads the line before an object: its name, kind and size. Nothing for one that is missing.
fn parse(header: &[u8]) -> Result<Option<(&str, &str, u64)>, ObjectsError> {
    let line = std::str::from_utf8(header).ok().and_then(|line| line.strip_suffix('\n'));
    let mut words = line.ok_or(ObjectsError::Form)?.split(' ');
    let is_id =
        |id: &&str| (40..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit());
    let id = words.next().filter(is_id).ok_or(ObjectsError::Form)?;
    match (words.next(), words.next(), words.next()) {
        (Some("missing"), None, None) => Ok(None),
        (Some(kind), Some(size), None) => {
            let size = size.parse().map_err(|_| ObjectsError::Form)?;
            Ok(Some((id, kind, size)))
        }
        _ => Err(ObjectsError::Form),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nixmox_tree::{SecretTree, Value};

    fn run(text: &[u8]) -> Result<Searched, String> {
        let tree: SecretTree =
            [("a".to_owned(), Value::string("correct-horse"))].into_iter().collect();
        let needles = Needles::of(&tree).unwrap();
        objects(&needles, &mut io::BufReader::with_capacity(7, text), &mut |_| {})
            .map_err(|error| error.to_string())
    }

    #[test]
    fn files_and_texts_are_searched_and_directories_are_not() {
        let id = "0123456789012345678901234567890123456789";
        let text = "x\ncorrect-horse";
        let object = |kind: &str| format!("{id} {kind} {}\n{text}\n", text.len());
        let stream = ["blob", "tree", "commit", "tag"].map(object).concat();
        let stream = format!("{stream}{id} missing\n{id} blob 0\n\n");
        let searched = run(stream.as_bytes()).unwrap();
        let hits: Vec<_> = searched.hits.iter().map(|h| (h.is_file, h.found[0].line)).collect();
        assert_eq!(hits, [(true, 2), (false, 2), (false, 2)]);
        assert_eq!((searched.objects, searched.more), (5, 0));
    }

    #[test]
    fn other_streams_are_refused() {
        let id = "0123456789012345678901234567890123456789";
        for text in [
            "x\n".to_owned(),
            format!("{id} blob\n"),
            format!("{id} blob -1\n"),
            format!("{id} blob 5\nabc"),
            format!("{id} blob 3\nabcd\n"),
            format!("{id} blob 99999999999999999999\n"),
            "--evil blob 1\na\n".to_owned(),
            "a".repeat(1000),
        ] {
            run(text.as_bytes()).unwrap_err();
        }
        assert_eq!(run(b""), Ok(Searched::default()));
    }
}
