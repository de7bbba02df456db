use proptest::prelude::*;

use super::*;
use crate::{Format, Indent};
use nixmox_tree::SecretString;

fn yaml(text: &str) -> Documents {
    if text.is_empty() {
        return Documents::default();
    }
    Documents::parse(text.as_bytes(), Format::Yaml).expect("YAML")
}

fn printed(docs: &Documents) -> String {
    let bytes =
        docs.to_bytes(Format::Yaml, Indent { yaml: Some(2), ..Indent::default() }).expect("prints");
    bytes.as_str().expect("text").to_owned()
}

/// Merges three YAML texts; conflicts follow the result as `path: what`.
fn merged(base: &str, ours: &str, theirs: &str) -> String {
    let [base, ours, theirs] = [base, ours, theirs].map(yaml);
    let versions = Versions { base: &base, ours: &ours, theirs: &theirs };
    let Merged { documents, conflicts } = merge(versions, &|_| None);
    let said = conflicts.iter().map(|c| format!("! {}: {:?}\n", c.path, c.what));
    format!("{}{}", printed(&documents), said.collect::<String>())
}

#[track_caller]
fn check(base: &str, ours: &str, theirs: &str, expect: &str) {
    assert_eq!(merged(base, ours, theirs), expect);
}

#[test]
fn a_change_of_one_side_is_taken() {
    check("a: 1\nb: 1\n", "a: 2\nb: 1\n", "a: 1\nb: 2\n", "a: 2\nb: 2\n");
    check("a: 1\nb: 1\n", "a: 1\n", "a: 1\nb: 1\nc: 1\n", "a: 1\nc: 1\n");
    check("a: {x: 1}\n", "a: {x: 1, w: 2}\n", "a: {x: 1, z: 3}\n", "a:\n  x: 1\n  z: 3\n  w: 2\n");
    check("", "a: {x: 1}\n", "a: {w: 2}\n", "a:\n  w: 2\n  x: 1\n");
    check("a: 1\n", "a: 2\n", "a: 2\n", "a: 2\n");
}

#[test]
fn a_disagreement_keeps_ours_and_is_reported() {
    check("a: 1\n", "a: 2\n", "a: 3\n", "a: 2\n! a: Changed\n");
    check("x: 0\n", "x: 0\na: 2\n", "x: 0\na: 3\n", "x: 0\na: 2\n! a: Added\n");
    check("a: 1\nb: 1\n", "b: 1\n", "a: 2\nb: 1\n", "b: 1\n! a: WeRemoved\n");
    check("a: 1\nb: 1\n", "a: 2\nb: 1\n", "b: 1\n", "a: 2\nb: 1\n! a: TheyRemoved\n");
    check("a: 1\n", "a: {b: 1}\n", "a: {b: 2}\n", "a:\n  b: 1\n! a: Changed\n");
    check("a: 1\n", "a: '1'\n", "a: true\n", "a: \"1\"\n! a: Changed\n");
    check("a: 1\n", "a: 2\n---\nb: 1\n", "a: 3\n", "a: 2\n---\nb: 1\n! at the top: Documents\n");
}

#[test]
fn with_a_key_twice_a_map_is_one_value() {
    let json = |text: &str| Documents::parse(text.as_bytes(), Format::Json).expect("JSON");
    let [base, ours, theirs] =
        [r#"{"a": 1}"#, r#"{"a": 1, "a": 2}"#, r#"{"a": 1, "b": 1}"#].map(json);
    let versions = Versions { base: &base, ours: &ours, theirs: &theirs };
    let Merged { documents, conflicts } = merge(versions, &|_| None);
    assert_eq!((documents, conflicts.len()), (ours, 1));
}

#[test]
fn what_was_decided_is_no_conflict() {
    let [base, ours, theirs] = ["a: 1\nb: 1\n", "a: 2\nb: 2\n", "a: 3\n"].map(yaml);
    let versions = Versions { base: &base, ours: &ours, theirs: &theirs };
    let done = merge(versions, &|_| Some(Side::Theirs));
    assert_eq!((printed(&done.documents).as_str(), done.conflicts.len()), ("a: 3\n", 0));
    let half = merge(versions, &|c| (c.path.0 == ["b"]).then_some(Side::Theirs));
    assert_eq!((printed(&half.documents).as_str(), half.conflicts.len()), ("a: 2\n", 1));
}

#[test]
fn lists_are_merged_by_their_elements() {
    check("a: [1, 2, 3]\n", "a: [0, 2, 3]\n", "a: [1, 2, 4]\n", "a:\n  - 0\n  - 2\n  - 4\n");
    check("a: [1, 2]\n", "a: [9, 2]\n", "a: [1, 8]\n", "a:\n  - 9\n  - 8\n");
    check("a: [1]\n", "a: [1, 2]\n", "a: [1, 3]\n", "a:\n  - 1\n  - 2\n! a: Changed\n");
    check("a: [1]\n", "a: [1, 2]\n", "a: [1, 2]\nb: 1\n", "a:\n  - 1\n  - 2\nb: 1\n");
}

#[test]
fn comments_come_along_and_are_never_lost() {
    check("# x\na: 1\n", "# x\na: 2\n", "# y\na: 1\n", "# y\na: 2\n");
    check("a: 1\nb: 1\n", "a: 1\n# o\nb: 1\n", "a: 1\n# t\nb: 1\n", "a: 1\n# o\n# t\nb: 1\n");
    check("a: 1\n", "a: 1 # o\n", "a: 1 # t\n", "# t\na: 1 # o\n");
    check("a: 1\n", "# new\nb: 2\na: 1\n", "a: 3\n", "# new\nb: 2\na: 3\n");
    check("# x\na: 1\nb: 1\n", "b: 1\n", "# y\na: 1\nb: 1\n", "b: 1\n! a: WeRemoved\n");
}

#[test]
fn the_order_is_that_of_the_side_that_changed_it() {
    check("a: 1\nb: 1\n", "a: 1\nb: 1\n", "b: 1\na: 1\n", "b: 1\na: 1\n");
    check("a: 1\nc: 1\n", "a: 1\nb: 1\nc: 1\n", "a: 1\nc: 1\nd: 1\n", "a: 1\nb: 1\nc: 1\nd: 1\n");
}

fn text(base: &str, ours: &str, theirs: &str) -> (String, Vec<Passage>) {
    let [base, ours, theirs] = [base, ours, theirs].map(SecretString::new);
    let merged = merge_text([&base, &ours, &theirs], &|_| None);
    (merged.text.expose().to_owned(), merged.conflicts)
}

#[test]
fn lines_are_merged_where_only_one_side_changed_them() {
    let (merged, conflicts) = text("a\nb\nc\n", "A\nb\nc\n", "a\nb\nC\n");
    assert_eq!((merged.as_str(), conflicts.len()), ("A\nb\nC\n", 0));
    let (merged, conflicts) = text("a\nb\nc\n", "a\nX\nc\n", "a\nY\nZ\nc\n");
    let passage = Passage { merged: 2..3, ours: 2..3, theirs: 2..4 };
    assert_eq!((merged.as_str(), conflicts), ("a\nX\nc\n", vec![passage]));
    // Both append: which of the two comes first is nobody's guess.
    assert_eq!(text("a\n", "a\nx\n", "a\ny\n").1.len(), 1);
    assert_eq!(text("a", "a\nx", "a"), ("a\nx".to_owned(), vec![]));
    assert_eq!(text("a\nb", "a\nb", "a\nb\n").0, "a\nb\n");
}

#[test]
fn an_editor_sees_both_sides_between_marks() {
    let [ours, theirs] = ["a\nb\nc\n", "a\nB\nc"].map(SecretString::new);
    let text = marked(&ours, &theirs);
    let expect = "a\n<<<<<<< ours\nb\nc\n=======\nB\nc\n>>>>>>> theirs\n";
    assert_eq!(text.expose(), expect);
    assert_eq!(marked(&ours, &ours).expose(), ours.expose());
}

#[test]
fn hostile_texts_come_to_an_end() {
    // Lines that occur everywhere, and none that occurs twice in order: the worst for most algorithms.
    let repeated: String = (0..60_000).map(|n| ["a\n", "b\n", "\n"][n % 3]).collect();
    let shuffled: String = (0..60_000_u64).map(|n| format!("{}\n", n * 7_919 % 60_013)).collect();
    let reversed: String = shuffled.lines().rev().map(|line| format!("{line}\n")).collect();
    text(&repeated, &repeated.replace("b\n", "c\n"), &repeated.replace("a\n", "c\n"));
    text(&shuffled, &reversed, &repeated);
}

fn lines() -> impl Strategy<Value = String> {
    prop::collection::vec("[a-d]{0,1}\n", 0..12).prop_map(|lines| lines.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn texts_that_one_side_left_alone_are_the_others(base in lines(), other in lines()) {
        prop_assert_eq!(text(&base, &other, &base), (other.clone(), vec![]));
        prop_assert_eq!(text(&base, &base, &other), (other.clone(), vec![]));
        prop_assert_eq!(text(&base, &other, &other), (other, vec![]));
    }

    /// Whoever merges the other way round sees the same conflicts, and without any the same text.
    #[test]
    fn merging_texts_is_symmetric(base in lines(), ours in lines(), theirs in lines()) {
        let (one, at_one) = text(&base, &ours, &theirs);
        let (other, at_other) = text(&base, &theirs, &ours);
        prop_assert_eq!(at_one.len(), at_other.len());
        if at_one.is_empty() {
            prop_assert_eq!(one, other);
        }
    }
}
