//! Two versions of a sealed file, or of what a host is delivered, held against each other.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_sops::Format;
use nixmox_tree::{SecretString, SecretTree, Value};

use super::plain_text;
use super::sketch::{Line, Sketch};

/// What became of a value or a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// It was not there.
    Added,
    /// It is another.
    Changed,
    /// It is not there any more.
    Removed,
}

impl What {
    /// Names it for scripts.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        }
    }
}

/// One value that is not what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct ValueChange {
    /// Its path.
    pub path: Vec<String>,
    /// What became of it.
    pub what: What,
    /// Whether it stands in the file in the clear now.
    pub clear: bool,
    /// What it was, when that could be opened.
    pub before: Option<SecretString>,
    /// What it is, when that could be opened.
    pub after: Option<SecretString>,
}

/// How one sealed file differs from what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct FileChange {
    /// What became of the file.
    pub what: What,
    /// Whether values were compared; otherwise ciphertext was.
    pub opened: bool,
    /// Whether not one of several values kept its ciphertext: then it tells nothing about values.
    pub sealed_anew: bool,
    /// Whether the file is sealed as one piece and was not opened.
    pub whole: bool,
    /// Recipients by their labels that were added.
    pub new_recipients: Vec<String>,
    /// Recipients by their labels that were removed.
    pub former_recipients: Vec<String>,
    /// Values that differ, in order of their paths.
    pub values: Vec<ValueChange>,
    /// Whether comments differ, or of a Nix master the text around the values.
    pub comments: bool,
    /// Rules for sealed files that it breaks now and did not before.
    pub findings: Vec<String>,
}

impl FileChange {
    /// Tells whether there is anything to say about the file.
    pub fn is_any(&self) -> bool {
        self.what != What::Changed
            || self.sealed_anew
            || self.comments
            || !(self.new_recipients.is_empty()
                && self.former_recipients.is_empty()
                && self.values.is_empty()
                && self.findings.is_empty())
    }
}

/// Holds two versions of a file against each other; `None` when it is in neither.
pub fn compare(before: Option<&Sketch>, after: Option<&Sketch>) -> Option<FileChange> {
    let what = match (before, after) {
        (None, None) => return None,
        (None, Some(_)) => What::Added,
        (Some(_), None) => What::Removed,
        (Some(_), Some(_)) => What::Changed,
    };
    let opened = before.is_none_or(|s| s.opened) && after.is_none_or(|s| s.opened);
    let [old, new] = [before, after].map(|sketch| Side::of(sketch, opened));
    let names = |sketch: Option<&Sketch>| -> BTreeSet<String> {
        sketch.map(|s| s.recipients.iter().cloned().collect()).unwrap_or_default()
    };
    let found = |sketch: Option<&Sketch>| -> BTreeSet<String> {
        sketch.map(|s| s.findings.iter().cloned().collect()).unwrap_or_default()
    };
    let (old_names, new_names) = (names(before), names(after));
    let ciphers = |side: &Side<'_>| -> BTreeSet<_> {
        let lines = side.values.values();
        lines.filter(|l| l.sealed).filter_map(|l| l.cipher.clone()).collect()
    };
    let (old_ciphers, new_ciphers) = (ciphers(&old), ciphers(&new));
    let nothing_kept = old_ciphers.is_disjoint(&new_ciphers);
    let several = old_ciphers.len() > 1 && new_ciphers.len() > 1;
    let sealed_anew = what == What::Changed && !opened && several && nothing_kept;
    let is_whole = |sketch: Option<&Sketch>| sketch.is_some_and(|s| s.format == Format::Binary);
    Some(FileChange {
        what,
        opened,
        sealed_anew,
        whole: !opened && (is_whole(before) || is_whole(after)),
        new_recipients: new_names.difference(&old_names).cloned().collect(),
        former_recipients: old_names.difference(&new_names).cloned().collect(),
        values: values(&old, &new, opened),
        comments: old.comments != new.comments,
        findings: found(after).difference(&found(before)).cloned().collect(),
    })
}

/// One version, by place.
struct Side<'a> {
    values: BTreeMap<(usize, &'a [String]), &'a Line>,
    comments: Vec<Option<&'a String>>,
}

impl<'a> Side<'a> {
    fn of(sketch: Option<&'a Sketch>, opened: bool) -> Self {
        let lines = sketch.map(|s| s.lines.as_slice()).unwrap_or_default();
        let (values, comments): (Vec<&Line>, Vec<&Line>) = lines.iter().partition(|l| l.is_value());
        let mark = |line: &&'a Line| {
            if opened { line.print.as_ref() } else { line.cipher.as_ref() }
        };
        Self {
            values: values.into_iter().map(|l| ((l.document, l.path.as_slice()), l)).collect(),
            comments: comments.iter().map(mark).collect(),
        }
    }
}

fn values(old: &Side<'_>, new: &Side<'_>, opened: bool) -> Vec<ValueChange> {
    let places: BTreeSet<_> = old.values.keys().chain(new.values.keys()).collect();
    let mut changes = Vec::new();
    for place in places {
        let (before, after) = (old.values.get(place), new.values.get(place));
        let same = |(before, after): (&&Line, &&Line)| {
            let equal = if opened {
                before.print.is_some() && before.value == after.value || before.print == after.print
            } else {
                before.cipher == after.cipher
            };
            equal && before.kind == after.kind && before.sealed == after.sealed
        };
        let what = match (before, after) {
            (None, _) => What::Added,
            (_, None) => What::Removed,
            (Some(before), Some(after)) if same((before, after)) => continue,
            _ => What::Changed,
        };
        changes.push(ValueChange {
            path: place.1.to_vec(),
            what,
            clear: after.is_some_and(|line| !line.sealed),
            before: before.and_then(|line| line.value.clone()),
            after: after.and_then(|line| line.value.clone()),
        });
    }
    changes
}

/// Holds two trees against each other, leaf by leaf.
pub fn compare_trees(before: &SecretTree, after: &SecretTree) -> Vec<ValueChange> {
    let [old, new] = [before, after].map(|tree| {
        let mut leaves: BTreeMap<Vec<String>, &Value> = BTreeMap::new();
        tree.for_each_leaf(&mut |path, value| {
            leaves.insert(path.iter().map(|name| (*name).to_owned()).collect(), value);
        });
        leaves
    });
    let places: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let differing = places.into_iter().filter_map(|path| {
        let (before, after) = (old.get(path), new.get(path));
        let what = match (before, after) {
            (None, _) => What::Added,
            (_, None) => What::Removed,
            (before, after) if before == after => return None,
            _ => What::Changed,
        };
        let text = |value: Option<&&Value>| value.map(|value| plain_text(value));
        let (before, after) = (text(before), text(after));
        Some(ValueChange { path: path.clone(), what, clear: false, before, after })
    });
    differing.collect()
}
