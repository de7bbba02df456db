//! Merges the text of a Nix master: line by line, or change by change where both sides changed the same lines.

use std::collections::BTreeMap;
use std::ops::Range;

use nixmox_sops::{Disagreement, Documents, Passage, Side, Versions, merge_text};
use nixmox_tree::{SecretString, SecretTree, Value};

use super::{Clash, Decide, Place};
use crate::Error;
use crate::master::{self, Form};

/// Three versions of a text.
#[derive(Clone, Copy)]
pub(super) struct Texts<'a> {
    pub(super) base: &'a SecretString,
    pub(super) ours: &'a SecretString,
    pub(super) theirs: &'a SecretString,
}

/// A merged text, and what is left to settle in it.
pub(super) struct Merged {
    pub(super) text: SecretString,
    pub(super) clashes: Vec<Clash>,
    pub(super) names: Vec<Vec<String>>,
}

type Evaluate<'a> = dyn Fn(&SecretString) -> Result<SecretTree, Error> + 'a;

/// Merges three texts; what comes out evaluates, or it is ours and clashes as a whole.
pub(super) fn merge(texts: Texts<'_>, decide: &Decide<'_>, evaluate: &Evaluate<'_>) -> Merged {
    let Texts { base, ours, theirs } = texts;
    let line = |passage: &Passage| Place::Line(passage.merged.start);
    let merged = merge_text([base, ours, theirs], &|passage| decide(&line(passage)));
    let sound = evaluate(&merged.text).is_ok();
    if sound && merged.conflicts.is_empty() {
        return Merged { text: merged.text, clashes: Vec::new(), names: Vec::new() };
    }
    let trees = [base, ours, theirs].map(|text| evaluate(text).ok());
    let names = match &trees {
        [base, Some(ours), Some(theirs)] => {
            let nothing = SecretTree::new();
            let trees = [base.as_ref().unwrap_or(&nothing), ours, theirs];
            let (tree, names) = merge_trees(trees);
            if let (true, Some(text)) = (names.is_empty(), replayed(texts, trees, &tree, evaluate))
            {
                return Merged { text, clashes: Vec::new(), names: Vec::new() };
            }
            names
        }
        _ => Vec::new(),
    };
    if sound {
        let clash = |passage: Passage| Clash {
            place: line(&passage),
            what: Disagreement::Changed,
            ours: lines(ours, passage.ours),
            theirs: lines(theirs, passage.theirs),
        };
        let clashes = merged.conflicts.into_iter().map(clash).collect();
        return Merged { text: merged.text, clashes, names };
    }
    let (text, clashes) = match decide(&Place::Whole) {
        Some(Side::Ours) => (ours, Vec::new()),
        Some(Side::Theirs) => (theirs, Vec::new()),
        None => {
            let what = Disagreement::Changed;
            (ours, vec![Clash { place: Place::Whole, what, ours: None, theirs: None }])
        }
    };
    Merged { text: text.clone(), clashes, names }
}

fn lines(text: &SecretString, range: Range<usize>) -> Option<SecretString> {
    let lines = text.expose().split_inclusive('\n').skip(range.start.saturating_sub(1));
    let some: String = lines.take(range.len()).collect();
    (!range.is_empty()).then(|| SecretString::new(some))
}

/// Merges what the texts evaluate to; returns also the paths of what both sides changed.
fn merge_trees(trees: [&SecretTree; 3]) -> (SecretTree, Vec<Vec<String>>) {
    let [base, ours, theirs] = trees.map(Documents::from_tree);
    let versions = Versions { base: &base, ours: &ours, theirs: &theirs };
    let merged = nixmox_sops::merge(versions, &|_| None);
    let names = merged.conflicts.into_iter().map(|conflict| conflict.path.0).collect();
    (merged.documents.to_tree().unwrap_or_default(), names)
}

/// Puts together what two sides changed in the same lines, such as two values that both appended to one set.
///
/// Only where one of them did nothing but set and remove values one by one, as `set` and `unset` do: if doing the
/// same to the common text gives its text to the byte, doing it to the other's text loses nothing.
fn replayed(
    texts: Texts<'_>,
    [base, ours, theirs]: [&SecretTree; 3],
    wanted: &SecretTree,
    evaluate: &Evaluate<'_>,
) -> Option<SecretString> {
    let replay = |(tree, text): (&SecretTree, &SecretString), onto: &SecretString| {
        let changes = changes(base, tree);
        let again = carry_out(&changes, texts.base).filter(|again| again == text);
        let done = again.and_then(|_| carry_out(&changes, onto))?;
        evaluate(&done).is_ok_and(|tree| tree == *wanted).then_some(done)
    };
    replay((theirs, texts.theirs), texts.ours).or_else(|| replay((ours, texts.ours), texts.theirs))
}

/// Lists the leaves that another tree has otherwise; without a value, it has none.
fn changes<'a>(
    before: &'a SecretTree,
    after: &'a SecretTree,
) -> Vec<(Vec<&'a str>, Option<&'a Value>)> {
    let [old, new] = [before, after].map(|tree| {
        let mut leaves = BTreeMap::new();
        tree.for_each_leaf(&mut |path, value| {
            leaves.insert(path.to_vec(), value);
        });
        leaves
    });
    let gone = old.keys().filter(|path| !new.contains_key(*path));
    let gone = gone.map(|path| (path.clone(), None));
    let other = new.iter().filter(|(path, value)| old.get(*path) != Some(value));
    gone.chain(other.map(|(path, value)| (path.clone(), Some(*value)))).collect()
}

fn carry_out(changes: &[(Vec<&str>, Option<&Value>)], text: &SecretString) -> Option<SecretString> {
    changes.iter().try_fold(text.clone(), |text, (path, value)| {
        match value {
            Some(value) => master::set(Form::Nix, &text, path, value),
            None => master::unset(Form::Nix, &text, path),
        }
        .ok()
    })
}
