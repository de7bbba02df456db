//! Three-way merges of sequences, over the differences that `imara-diff` finds.

use std::ops::Range;

use imara_diff::{Algorithm, Diff, Hunk, Token};

/// A piece of the merged sequence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunk {
    /// Taken from ours: changed there alone, by both in the same way, or not at all.
    Ours(Range<usize>),
    /// Taken from theirs: changed there alone.
    Theirs(Range<usize>),
    /// Changed by both, each in its own way.
    Both {
        /// What it was.
        base: Range<usize>,
        /// What we made of it.
        ours: Range<usize>,
        /// What they made of it.
        theirs: Range<usize>,
    },
}

/// Merges two sequences that come from one; equal elements have equal numbers.
///
/// Changes that touch count as changes of the same place when one of them inserts there: nothing says which of two
/// new neighbours comes first.
pub(crate) fn chunks(base: &[u32], ours: &[u32], theirs: &[u32]) -> Vec<Chunk> {
    let [left, right] = [ours, theirs].map(|side| hunks(base, side));
    let mut out = Vec::new();
    let (mut left, mut right) = (left.as_slice(), right.as_slice());
    // Where each sequence is read up to; between hunks all three advance together.
    let (mut at, mut at_ours, mut at_theirs) = (0, 0, 0);
    loop {
        let (l, r) = (left.first(), right.first());
        let start = match (l, r) {
            (None, None) => break,
            (Some(one), None) | (None, Some(one)) => one.before.start,
            (Some(l), Some(r)) => l.before.start.min(r.before.start),
        };
        let start = index(start);
        let stable = start.saturating_sub(at);
        push_ours(&mut out, at_ours..at_ours + stable);
        (at, at_ours, at_theirs) = (start, at_ours + stable, at_theirs + stable);
        let (taken_left, taken_right, end) = cluster(left, right);
        let ours_end = end_of(left, taken_left, (at, at_ours), end);
        let theirs_end = end_of(right, taken_right, (at, at_theirs), end);
        let (of_ours, of_theirs) = (at_ours..ours_end, at_theirs..theirs_end);
        match (taken_left, taken_right) {
            (_, 0) => push_ours(&mut out, of_ours),
            (0, _) => out.push(Chunk::Theirs(of_theirs)),
            _ if ours.get(of_ours.clone()) == theirs.get(of_theirs.clone()) => {
                push_ours(&mut out, of_ours);
            }
            _ => out.push(Chunk::Both { base: at..end, ours: of_ours, theirs: of_theirs }),
        }
        left = left.get(taken_left..).unwrap_or_default();
        right = right.get(taken_right..).unwrap_or_default();
        (at, at_ours, at_theirs) = (end, ours_end, theirs_end);
    }
    push_ours(&mut out, at_ours..ours.len());
    out
}

fn push_ours(out: &mut Vec<Chunk>, range: Range<usize>) {
    match out.last_mut() {
        _ if range.is_empty() => {}
        Some(Chunk::Ours(last)) if last.end == range.start => last.end = range.end,
        _ => out.push(Chunk::Ours(range)),
    }
}

/// Gathers the hunks of both sides that meet, beginning with the first; returns how many of each side they are, and
/// where in the base they end.
fn cluster(left: &[Hunk], right: &[Hunk]) -> (usize, usize, usize) {
    let (mut taken_left, mut taken_right) = (0, 0);
    let mut place: Option<Range<u32>> = None;
    loop {
        let next = |hunks: &[Hunk], taken: usize| hunks.get(taken).map(|hunk| hunk.before.clone());
        let (l, r) = (next(left, taken_left), next(right, taken_right));
        let meets = |range: &Range<u32>| place.as_ref().is_none_or(|place| meet(place, range));
        let from_left = match (&l, &r) {
            (Some(l), Some(r)) => l.start <= r.start,
            (l, _) => l.is_some(),
        };
        // Two hunks of one side never meet without one of the other's between.
        let (first, second) = if from_left { (l, r) } else { (r, l) };
        let (range, is_left) = match (first.filter(&meets), second.filter(&meets)) {
            (Some(range), _) => (range, from_left),
            (None, Some(range)) => (range, !from_left),
            (None, None) => break,
        };
        if is_left {
            taken_left += 1;
        } else {
            taken_right += 1;
        }
        place = Some(match place {
            None => range,
            Some(place) => place.start.min(range.start)..place.end.max(range.end),
        });
    }
    (taken_left, taken_right, place.map_or(0, |place| index(place.end)))
}

/// Tells whether two changes of the base are changes of the same place.
fn meet(one: &Range<u32>, other: &Range<u32>) -> bool {
    let touch = one.start <= other.end && other.start <= one.end;
    let overlap = one.start < other.end && other.start < one.end;
    overlap || (touch && (one.is_empty() || other.is_empty()))
}

/// Returns where a side is after the hunks of a cluster: behind the last of them, and as far on as the base is.
fn end_of(hunks: &[Hunk], taken: usize, (at, at_side): (usize, usize), end: usize) -> usize {
    match hunks.get(..taken).and_then(<[Hunk]>::last) {
        Some(last) => index(last.after.end) + end.saturating_sub(index(last.before.end)),
        None => at_side + end.saturating_sub(at),
    }
}

/// Finds where `after` differs from `before`.
pub(crate) fn hunks(before: &[u32], after: &[u32]) -> Vec<Hunk> {
    let tokens = |side: &[u32]| side.iter().copied().map(Token).collect::<Vec<_>>();
    let count = before.iter().chain(after).max().map_or(0, |most| most.saturating_add(1));
    let mut diff = Diff::default();
    diff.compute_with(Algorithm::Histogram, &tokens(before), &tokens(after), count);
    diff.hunks().collect()
}

pub(crate) fn index(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
