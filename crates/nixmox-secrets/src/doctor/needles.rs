//! Every current value as something to look for, all of them in one pass.

use std::io::{self, Read};

use aho_corasick::AhoCorasick;
use nixmox_tree::{SecretTree, Value};
use zeroize::Zeroizing;

/// The shortest value that is looked for, in bytes; a shorter one occurs by accident.
pub const MIN_LENGTH: usize = 8;
/// From here on a value is looked for though it has one kind of character alone.
const LONG: usize = 16;
/// A value of more bytes is looked for by a piece of it.
const WHOLE: usize = 256;
/// Length of that piece.
const PIECE: usize = 64;
/// How many different bytes a value has at least.
const MIN_DIFFERENT: usize = 5;
/// The most values of one fleet.
const MAX_VALUES: usize = 1_000_000;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;

/// The values of a fleet, to be looked for elsewhere; `{:?}` prints their number alone.
///
/// The automaton that finds them holds them in memory that is not wiped.
pub struct Needles {
    automaton: AhoCorasick,
    /// For each pattern the values that it stands for.
    of_pattern: Vec<Vec<usize>>,
    names: Vec<String>,
    longest: usize,
    left_out: usize,
}

/// A value that occurs in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// The names of the secrets that have this value.
    pub names: Vec<String>,
    /// The line where it starts, from 1.
    pub line: u64,
}

/// Why values cannot be looked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NeedlesError {
    /// There are more values than anybody has.
    #[error("more than {MAX_VALUES} values")]
    TooMany,
    /// The automaton would not fit into memory.
    #[error("too many values to look for at once")]
    Automaton,
}

impl std::fmt::Debug for Needles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Needles({})", self.names.len())
    }
}

impl Needles {
    /// Takes every value of a tree that is long enough to mean something.
    ///
    /// That is: at least [`MIN_LENGTH`] bytes, five different ones among them, and two kinds of characters (small and
    /// capital letters, digits, others) or 16 bytes. Of a value with several lines one line past the middle is looked
    /// for, which in a private key is secret; of one with more than 256 bytes a piece of its middle.
    ///
    /// # Errors
    ///
    /// [`NeedlesError`] when there are too many.
    pub fn of(tree: &SecretTree) -> Result<Self, NeedlesError> {
        let mut gathered = Gathered::default();
        gathered.tree(tree, "")?;
        let (patterns, of_pattern) = gathered.by_pattern();
        let longest = patterns.iter().map(|pattern| pattern.len()).max().unwrap_or(0);
        let automaton = AhoCorasick::new(patterns.iter().map(|pattern| pattern.as_slice()))
            .map_err(|_| NeedlesError::Automaton)?;
        let (names, left_out) = (gathered.names, gathered.left_out);
        Ok(Self { automaton, of_pattern, names, longest, left_out })
    }

    /// Counts the values that are looked for.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Tells whether nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Counts the values that are too short or too plain to be looked for.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// Looks for the values in a stream, and returns the first occurrence of each, in order.
    ///
    /// Of the stream no more is held than a piece.
    ///
    /// # Errors
    ///
    /// What reading the stream gives.
    pub fn scan(&self, from: &mut dyn Read) -> io::Result<Vec<Occurrence>> {
        let mut found = Vec::new();
        let mut seen = vec![false; self.of_pattern.len()];
        let overlap = self.longest.saturating_sub(1);
        let mut window = Zeroizing::new(vec![0_u8; overlap.saturating_add(CHUNK)]);
        let (mut kept, mut lines) = (0, 1);
        loop {
            let free = window.get_mut(kept..).unwrap_or_default();
            let read = match from.read(free) {
                Ok(0) => return Ok(found),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let full = window.get(..kept.saturating_add(read)).unwrap_or_default();
            self.in_window((full, kept), lines, &mut seen, &mut found);
            let drop = full.len().saturating_sub(overlap);
            lines += newlines(full.get(..drop).unwrap_or_default());
            kept = full.len().saturating_sub(drop);
            window.copy_within(drop..drop.saturating_add(kept), 0);
        }
    }

    /// Looks for what ends in the new part of a window, behind what was kept of the last one.
    fn in_window(
        &self,
        (window, kept): (&[u8], usize),
        lines: u64,
        seen: &mut [bool],
        found: &mut Vec<Occurrence>,
    ) {
        if self.is_empty() {
            return;
        }
        for hit in self.automaton.find_overlapping_iter(window).filter(|hit| hit.end() > kept) {
            let index = hit.pattern().as_usize();
            let Some(seen) = seen.get_mut(index).filter(|seen| !**seen) else { continue };
            *seen = true;
            let names = self.of_pattern.get(index).map(Vec::as_slice).unwrap_or_default();
            let names = names.iter().filter_map(|name| self.names.get(*name).cloned()).collect();
            let line = lines + newlines(window.get(..hit.start()).unwrap_or_default());
            found.push(Occurrence { names, line });
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.iter().filter(|byte| **byte == b'\n').count()).unwrap_or(u64::MAX)
}

/// Values on their way into the automaton.
#[derive(Default)]
struct Gathered {
    /// Each pattern with the number of its value.
    patterns: Vec<(Zeroizing<Vec<u8>>, usize)>,
    names: Vec<String>,
    left_out: usize,
}

impl Gathered {
    /// Takes every pattern once, with all values that it stands for.
    fn by_pattern(&mut self) -> (Vec<Zeroizing<Vec<u8>>>, Vec<Vec<usize>>) {
        self.patterns.sort_by(|(a, _), (b, _)| a.as_slice().cmp(b.as_slice()));
        let (mut patterns, mut values) =
            (Vec::<Zeroizing<Vec<u8>>>::new(), Vec::<Vec<usize>>::new());
        for (pattern, value) in self.patterns.drain(..) {
            match values.last_mut().filter(|_| patterns.last() == Some(&pattern)) {
                Some(same) => same.push(value),
                None => {
                    patterns.push(pattern);
                    values.push(vec![value]);
                }
            }
        }
        (patterns, values)
    }

    fn tree(&mut self, tree: &SecretTree, above: &str) -> Result<(), NeedlesError> {
        for (name, value) in tree {
            let path = if above.is_empty() { name.clone() } else { format!("{above}.{name}") };
            self.value(value, path)?;
        }
        Ok(())
    }

    fn value(&mut self, value: &Value, path: String) -> Result<(), NeedlesError> {
        match value {
            Value::Tree(tree) => self.tree(tree, &path),
            Value::List(items) => items
                .iter()
                .enumerate()
                .try_for_each(|(index, item)| self.value(item, format!("{path}[{index}]"))),
            Value::String(text) => self.text(text.expose(), path),
            Value::Int(number) => self.text(&Zeroizing::new(number.to_string()), path),
            Value::Float(number) => self.text(&Zeroizing::new(number.to_string()), path),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn text(&mut self, text: &str, path: String) -> Result<(), NeedlesError> {
        if self.names.len() >= MAX_VALUES {
            return Err(NeedlesError::TooMany);
        }
        let piece = piece(text.trim());
        if !is_meaningful(piece) {
            self.left_out += 1;
            return Ok(());
        }
        let index = self.names.len();
        self.names.push(path);
        let mut add = |pattern: &[u8]| {
            self.patterns.push((Zeroizing::new(pattern.to_vec()), index));
        };
        add(piece.as_bytes());
        // As it stands inside JSON, Nix and many a program's quotes.
        if piece.contains(['"', '\\']) {
            let escaped = Zeroizing::new(piece.replace('\\', "\\\\").replace('"', "\\\""));
            add(escaped.as_bytes());
        }
        Ok(())
    }
}

/// Chooses what of a value is looked for.
fn piece(text: &str) -> &str {
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.starts_with("-----")).collect();
    let middle = lines.len() * 3 / 5;
    let line = match lines.get(middle) {
        Some(line) if text.contains('\n') && line.len() >= LONG => line,
        _ if text.contains('\n') => {
            lines.iter().copied().max_by_key(|line| line.len()).unwrap_or_default()
        }
        _ => text,
    };
    if line.len() <= WHOLE {
        return line;
    }
    let floor = |mut at: usize| {
        while !line.is_char_boundary(at) {
            at = at.saturating_sub(1);
        }
        at
    };
    let start = floor(line.len() / 2);
    line.get(start..floor(start.saturating_add(PIECE))).unwrap_or(line)
}

fn is_meaningful(piece: &str) -> bool {
    let bytes = piece.as_bytes();
    let mut different = [false; 256];
    for byte in bytes {
        if let Some(seen) = different.get_mut(usize::from(*byte)) {
            *seen = true;
        }
    }
    let has = |kind: fn(&u8) -> bool| usize::from(bytes.iter().any(kind));
    let kinds = has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(|byte| !byte.is_ascii_alphanumeric());
    bytes.len() >= MIN_LENGTH
        && different.iter().filter(|seen| **seen).count() >= MIN_DIFFERENT
        && (kinds >= 2 || bytes.len() >= LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needles(values: &[(&str, &str)]) -> Needles {
        let tree = values.iter().map(|(name, text)| ((*name).to_owned(), Value::string(*text)));
        Needles::of(&tree.collect()).unwrap()
    }

    /// Gives a few bytes at a time, as a pipe may.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(into.len());
            into[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    #[test]
    fn values_are_found_wherever_a_read_ends() {
        let needles =
            needles(&[("a", "correct-horse"), ("b", "correct-horse"), ("c", "B4ttery-st4ple")]);
        let text = b"x\ny correct-horse\n\ncorrect-horse B4ttery-st4ple";
        for step in 1..text.len() + 1 {
            let found = needles.scan(&mut Slow(text, step)).unwrap();
            let short: Vec<_> = found.iter().map(|o| (o.names.join(","), o.line)).collect();
            assert_eq!(short, [("a,b".to_owned(), 2), ("c".to_owned(), 4)], "{step}");
        }
    }

    #[test]
    fn long_streams_are_searched_to_their_end() {
        let needles = needles(&[("a", "correct-horse")]);
        let mut text = b"line\n".repeat(100_000);
        text.extend(b"correct-horse");
        let found = needles.scan(&mut text.as_slice()).unwrap();
        assert_eq!(found.iter().map(|o| o.line).collect::<Vec<_>>(), [100_001]);
        assert_eq!(needles.scan(&mut &text[..text.len() - 1]).unwrap(), []);
    }

    #[test]
    fn what_says_nothing_is_left_out() {
        #[track_caller]
        fn check(value: &str, expect: bool) {
            let needles = needles(&[("a", value)]);
            assert_eq!((needles.len(), needles.left_out()), if expect { (1, 0) } else { (0, 1) });
        }
        check("hunter2", false);
        check("database", false);
        check("12345678", false);
        check("aaaaaaa1", false);
        check("hunter22", true);
        check("correcthorsebatterystaple", true);
        check("", false);
    }

    #[test]
    fn a_private_key_is_found_by_its_secret_line() {
        let mut rng = <rand_chacha::ChaCha20Rng as rand_core::SeedableRng>::from_seed([3; 32]);
        let key = nixmox_hostkey::HostKey::generate(&mut rng);
        let other = nixmox_hostkey::HostKey::generate(&mut rng);
        let needles = needles(&[("key", key.to_openssh("root@a").expose())]);
        let found = |text: &str| needles.scan(&mut text.as_bytes()).unwrap().len();
        assert_eq!(found(key.to_openssh("another comment").expose()), 1);
        assert_eq!(found(&key.to_openssh("x").expose().replace('\n', "\n    ")), 1);
        assert_eq!(found(other.to_openssh("root@a").expose()), 0);
        assert_eq!(found(&key.public().to_openssh("root@a")), 0);
    }

    #[test]
    fn long_and_quoted_values_are_found() {
        let long: String = (0..2000_u32).filter_map(|n| char::from_digit(n * n % 36, 36)).collect();
        let found = |value: &str, text: &str| {
            needles(&[("a", value)]).scan(&mut text.as_bytes()).unwrap().len()
        };
        assert_eq!(found(&long, &format!("x{long}x")), 1);
        assert_eq!(found("a\"b\\c-d1", r#"{"x":"a\"b\\c-d1"}"#), 1);
        assert_eq!(found(&"ü1ö2".repeat(200), &"ü1ö2".repeat(200)), 1);
    }
}
