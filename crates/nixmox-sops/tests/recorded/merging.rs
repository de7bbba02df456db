//! Generated merges of sealed files: two sides change random trees, and nothing of either is lost in silence.

use std::collections::BTreeMap;

use nixmox_sops::{
    Conflict, DecryptedFile, Documents, EncryptedFile, Format, Keep, SealOptions, Side, Versions,
    merge, seal,
};
use nixmox_tree::{SecretTree, Value};
use proptest::prelude::*;

use crate::common::*;

/// One change of a tree.
#[derive(Debug, Clone)]
enum Edit {
    Set(Vec<String>, Value),
    Remove(Vec<String>),
}

fn name() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c", "d", "e f", "g.h"]).prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(name(), 1..4)
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => "[a-z\n #:-]{1,6}".prop_map(Value::string),
        1 => any::<i64>().prop_map(Value::int),
        1 => any::<bool>().prop_map(Value::bool),
        2 => prop::collection::vec("[a-c]{1,2}".prop_map(Value::string), 1..5).prop_map(Value::List),
    ]
}

fn edits(most: usize) -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        3 => (path(), value()).prop_map(|(path, value)| Edit::Set(path, value)),
        1 => path().prop_map(Edit::Remove),
    ];
    prop::collection::vec(edit, 0..most)
}

fn edited(tree: &SecretTree, edits: &[Edit]) -> SecretTree {
    let mut tree = tree.clone();
    for edit in edits {
        match edit {
            // A value in the way makes it no change.
            Edit::Set(path, value) => drop(tree.insert_at(path, value.clone())),
            Edit::Remove(path) => drop(tree.remove_at(path)),
        }
    }
    tree
}

/// Every leaf by its path.
fn leaves(tree: &SecretTree) -> BTreeMap<Vec<String>, Value> {
    let mut found = BTreeMap::new();
    tree.for_each_leaf(&mut |path, value| {
        found.insert(path.iter().map(|name| (*name).to_owned()).collect(), value.clone());
    });
    found
}

fn sealed(tree: &SecretTree, format: Format, keep: Keep<'_>, seed: u64) -> Vec<u8> {
    sealed_documents(&Documents::from_tree(tree), format, keep, seed)
}

fn sealed_documents(docs: &Documents, format: Format, keep: Keep<'_>, seed: u64) -> Vec<u8> {
    let options = SealOptions::new([age_recipient(1)]);
    seal(docs, (format, &options), keep, &mut rng(seed), now()).expect("seals")
}

fn opened(bytes: &[u8], format: Format) -> DecryptedFile {
    EncryptedFile::parse(bytes, format).expect("parses").open(&age_identity(1)).expect("opens")
}

/// The ciphertext of every value.
fn ciphers(bytes: &[u8], format: Format) -> BTreeMap<Vec<String>, Vec<u8>> {
    let mut found = BTreeMap::new();
    EncryptedFile::parse(bytes, format).expect("parses").for_each_leaf(&mut |leaf| {
        found.insert(leaf.path.to_vec(), leaf.bytes.to_vec());
    });
    found
}

/// Tells whether a conflict says something about a path: it is at it, above it or below it.
fn covers(conflicts: &[Conflict], path: &[String]) -> bool {
    conflicts.iter().any(|c| path.starts_with(&c.path.0) || c.path.0.starts_with(path))
}

/// What one side did is in the result, unless a conflict was reported there.
fn nothing_is_lost(
    (base, side, merged): (&SecretTree, &SecretTree, &SecretTree),
    conflicts: &[Conflict],
    other: &SecretTree,
) -> Result<(), TestCaseError> {
    let [base, side, merged, other] = [base, side, merged, other].map(leaves);
    for path in base.keys().chain(side.keys()) {
        if base.get(path) == side.get(path) || covers(conflicts, path) {
            continue;
        }
        let list = |leaves: &BTreeMap<_, _>| matches!(leaves.get(path), Some(Value::List(_)));
        if list(&base) && list(&side) && list(&other) {
            // Merged by elements: the law for those is that of texts, which are merged in the same way.
            continue;
        }
        let below = |leaves: &BTreeMap<Vec<String>, Value>| {
            leaves.keys().any(|other| other != path && other.starts_with(path))
        };
        match (side.get(path), merged.get(path)) {
            (wanted, found) if wanted == found => {}
            // An empty set is a leaf until the other side puts something into it.
            (Some(Value::Tree(tree)), None) if tree.is_empty() && below(&merged) => {}
            (None, Some(Value::Tree(tree))) if tree.is_empty() => {}
            (wanted, found) => prop_assert!(false, "{path:?}: {wanted:?} became {found:?}"),
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn nothing_of_either_side_is_lost_without_a_word(
        start in edits(12), ours in edits(6), theirs in edits(6),
    ) {
        let base = edited(&SecretTree::new(), &start);
        let (ours, theirs) = (edited(&base, &ours), edited(&base, &theirs));
        for format in [Format::Yaml, Format::Json] {
            let first = sealed(&base, format, Keep::Nothing, 1);
            let first_open = opened(&first, format);
            let ours_bytes = sealed(&ours, format, Keep::Everything(&first_open), 2);
            let theirs_bytes = sealed(&theirs, format, Keep::Everything(&first_open), 3);
            let (mut a, b) = (opened(&ours_bytes, format), opened(&theirs_bytes, format));
            let versions = Versions {
                base: first_open.documents(),
                ours: a.documents(),
                theirs: b.documents(),
            };
            let merged = merge(versions, &|_| None);
            prop_assert!(a.take_nonces(&b));
            let bytes = sealed_documents(&merged.documents, format, Keep::Values(&a), 4);
            // It opens, which checks its MAC, and holds what was merged.
            let result = opened(&bytes, format).documents().to_tree().expect("text");
            prop_assert_eq!(&result, &merged.documents.to_tree().expect("text"));
            nothing_is_lost((&base, &ours, &result), &merged.conflicts, &theirs)?;
            nothing_is_lost((&base, &theirs, &result), &merged.conflicts, &ours)?;
            // At a conflict ours stays.
            for conflict in &merged.conflicts {
                prop_assert_eq!(result.at(&conflict.path.0), ours.at(&conflict.path.0));
            }
            // What one of the sides has there keeps that side's ciphertext.
            let sides = [(&ours, &ours_bytes), (&theirs, &theirs_bytes)];
            let sides = sides.map(|(tree, bytes)| (leaves(tree), ciphers(bytes, format)));
            let now = ciphers(&bytes, format);
            for (path, value) in leaves(&result) {
                let known = sides.iter().filter(|(tree, _)| tree.get(&path) == Some(&value));
                let mut known = known.filter_map(|(_, ciphers)| ciphers.get(&path)).peekable();
                let single = !matches!(value, Value::List(_) | Value::Tree(_) | Value::Null);
                if single && known.peek().is_some() {
                    prop_assert!(known.any(|cipher| Some(cipher) == now.get(&path)), "{:?}", path);
                }
            }
        }
    }

    #[test]
    fn what_is_decided_is_taken(start in edits(12), ours in edits(6), theirs in edits(6)) {
        let base = edited(&SecretTree::new(), &start);
        let (ours, theirs) = (edited(&base, &ours), edited(&base, &theirs));
        let [b, o, t] = [&base, &ours, &theirs].map(Documents::from_tree);
        let versions = Versions { base: &b, ours: &o, theirs: &t };
        let open = merge(versions, &|_| None).conflicts;
        for (side, tree) in [(Side::Ours, &ours), (Side::Theirs, &theirs)] {
            let merged = merge(versions, &|_| Some(side));
            prop_assert!(merged.conflicts.is_empty());
            let merged = merged.documents.to_tree().expect("text");
            for conflict in &open {
                prop_assert_eq!(merged.at(&conflict.path.0), tree.at(&conflict.path.0));
            }
        }
        // The other way round the same conflicts are seen.
        let swapped = Versions { base: &b, ours: &t, theirs: &o };
        prop_assert_eq!(merge(swapped, &|_| None).conflicts.len(), open.len());
    }
}

#[test]
fn another_data_key_gives_no_nonces() {
    let tree = edited(&SecretTree::new(), &[Edit::Set(vec!["a".into()], Value::string("x"))]);
    let [one, other] = [1, 2].map(|seed| sealed(&tree, Format::Yaml, Keep::Nothing, seed));
    let (mut one, other) = (opened(&one, Format::Yaml), opened(&other, Format::Yaml));
    assert!(!one.take_nonces(&other));
}
