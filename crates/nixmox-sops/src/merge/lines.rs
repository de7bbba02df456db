//! Three-way merges of texts by their lines.

use std::collections::HashMap;
use std::ops::Range;

use nixmox_tree::SecretString;
use zeroize::Zeroizing;

use super::Side;
use super::sequence::{Chunk, chunks, hunks, index};

/// What came of merging texts.
#[derive(Debug)]
pub struct MergedText {
    /// Everything that either side changed; where they disagree and nothing was decided, ours.
    pub text: SecretString,
    /// Where they disagree and nothing was decided.
    pub conflicts: Vec<Passage>,
}

/// A passage that both sides changed, each in its own way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Its lines in the merged text, from 1; empty where we removed it.
    pub merged: Range<usize>,
    /// Its lines in our text, from 1.
    pub ours: Range<usize>,
    /// Its lines in their text, from 1.
    pub theirs: Range<usize>,
}

/// Merges three versions of a text by their lines; `decide` is asked about every passage that both sides changed.
///
/// Time and memory grow with the length of the texts, whatever stands in them. The result lies in memory that is
/// wiped; lines are compared in place and not copied.
pub fn merge_text(
    [base, ours, theirs]: [&SecretString; 3],
    decide: &dyn Fn(&Passage) -> Option<Side>,
) -> MergedText {
    let texts = [base, ours, theirs].map(SecretString::expose);
    let lines = texts.map(|text| text.split_inclusive('\n').collect::<Vec<&str>>());
    let mut known = HashMap::new();
    let numbers = lines.each_ref().map(|lines| number(lines, &mut known));
    let [b, o, t] = numbers.each_ref().map(Vec::as_slice);
    let [_, ours, theirs] = &lines;
    let longest = texts.iter().map(|text| text.len() + 1).sum();
    let mut out = Out { text: Zeroizing::new(String::with_capacity(longest)), lines: 0 };
    let mut conflicts = Vec::new();
    for chunk in chunks(b, o, t) {
        match chunk {
            Chunk::Ours(range) => out.push(ours.get(range)),
            Chunk::Theirs(range) => out.push(theirs.get(range)),
            Chunk::Both { ours: of_ours, theirs: of_theirs, .. } => {
                let from_one = |range: &Range<usize>| range.start + 1..range.end + 1;
                let start = out.lines + 1;
                let mut passage = Passage {
                    merged: start..start + of_ours.len(),
                    ours: from_one(&of_ours),
                    theirs: from_one(&of_theirs),
                };
                match decide(&passage) {
                    Some(Side::Theirs) => out.push(theirs.get(of_theirs)),
                    Some(Side::Ours) => out.push(ours.get(of_ours)),
                    None => {
                        out.push(ours.get(of_ours));
                        passage.merged.end = out.lines + 1;
                        conflicts.push(passage);
                    }
                }
            }
        }
    }
    MergedText { text: SecretString::from(out.text), conflicts }
}

/// The lines between which [`marked`] puts what the sides disagree about.
pub const MARKS: [&str; 3] = ["<<<<<<< ours\n", "=======\n", ">>>>>>> theirs\n"];

/// Writes two versions of a text as one, as an editor shows it: where they differ, both stand between [`MARKS`].
pub fn marked(ours: &SecretString, theirs: &SecretString) -> SecretString {
    let lines =
        [ours, theirs].map(|text| text.expose().split_inclusive('\n').collect::<Vec<&str>>());
    let mut known = HashMap::new();
    let numbers = lines.each_ref().map(|lines| number(lines, &mut known));
    let [o, t] = numbers.each_ref().map(Vec::as_slice);
    let [ours, theirs] = &lines;
    let hunks = hunks(o, t);
    let marks = MARKS.iter().map(|mark| mark.len()).sum::<usize>();
    let lengths = lines.iter().flatten().map(|line| line.len() + 1).sum::<usize>();
    let longest = lengths + hunks.len() * marks;
    let mut out = Out { text: Zeroizing::new(String::with_capacity(longest)), lines: 0 };
    let [open, between, close] = MARKS;
    let mut at = 0;
    for hunk in hunks {
        let [before, after] = [hunk.before, hunk.after].map(|r| index(r.start)..index(r.end));
        out.push(ours.get(at..before.start));
        out.push(Some(&[open]));
        out.push(ours.get(before.clone()));
        out.push(Some(&[between]));
        out.push(theirs.get(after));
        out.push(Some(&[close]));
        at = before.end;
    }
    out.push(ours.get(at..));
    SecretString::from(out.text)
}

/// The merged text so far; it never grows beyond what was reserved, for growing would leave copies behind.
struct Out {
    text: Zeroizing<String>,
    lines: usize,
}

impl Out {
    fn push(&mut self, lines: Option<&[&str]>) {
        for line in lines.unwrap_or_default() {
            // The last line of one version may have no newline and stand in the middle now.
            if !self.text.is_empty() && !self.text.ends_with('\n') {
                self.text.push('\n');
            }
            self.text.push_str(line);
            self.lines += 1;
        }
    }
}

fn number<'a>(lines: &[&'a str], known: &mut HashMap<&'a str, u32>) -> Vec<u32> {
    let mut numbers = Vec::with_capacity(lines.len());
    for line in lines {
        let next = u32::try_from(known.len()).unwrap_or(u32::MAX);
        numbers.push(*known.entry(line).or_insert(next));
    }
    numbers
}
