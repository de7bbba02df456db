//! Laws of `set`, `unset` and `to_nix`, and what edits look like.

#![expect(clippy::expect_used, reason = "a test says what it expects by failing")]

use nixmox_nix::{EditError, Limits, eval, eval_master, set, to_nix, unset};
use nixmox_tree::{SecretTree, Value};
use proptest::prelude::*;

fn limits() -> Limits {
    Limits::default()
}

#[track_caller]
fn sets(text: &str, path: &[&str], value: Value, expect: &str) {
    let edited = set(text, path, &value, &limits()).expect("an edit");
    assert_eq!(edited.expose(), expect);
}

#[track_caller]
fn unsets(text: &str, path: &[&str], expect: &str) {
    let edited = unset(text, path, &limits()).expect("an edit");
    assert_eq!(edited.expose(), expect);
}

#[test]
fn values_are_replaced_where_they_stand() {
    let v = || Value::string("v");
    sets("{ a = 1; }", &["a"], v(), "{ a = \"v\"; }");
    sets("{ a = ( 1 ) /* why */; }", &["a"], v(), "{ a = \"v\" /* why */; }");
    sets("{ a.b = 1; a.c = 2; }", &["a", "c"], v(), "{ a.b = 1; a.c = \"v\"; }");
    sets("{ a = { b = 1; }; a.c = 2; }", &["a"], v(), "{ a = \"v\"; }");
    sets("{ a.b = 1; a.c = 2; }", &["a"], v(), "{ a = \"v\"; }");
    sets(
        "{ secrets, ... }: let x = 1; in { a = x; }",
        &["a"],
        v(),
        "{ secrets, ... }: let x = 1; in { a = \"v\"; }",
    );
    sets("{ \"a\".${\"b\"} = 1; }", &["a", "b"], v(), "{ \"a\".${\"b\"} = \"v\"; }");
}

#[test]
fn new_names_join_what_is_there() {
    let one = || Value::int(1);
    sets("{ }", &["a"], one(), "{\n  a = 1;\n}");
    sets("{}\n", &["a", "b c"], one(), "{\n  a = {\n    \"b c\" = 1;\n  };\n}\n");
    sets("{ a = 1; }", &["if"], one(), "{ a = 1; \"if\" = 1; }");
    sets("{\n  a = 1; # one\n  # end\n}", &["b"], one(), "{\n  a = 1; # one\n  b = 1;\n  # end\n}");
    sets(
        "{\n    a.b = 1;\n    c = 2;\n}",
        &["a", "d", "e"],
        one(),
        "{\n    a.b = 1;\n    a.d.e = 1;\n    c = 2;\n}",
    );
    sets(
        "{\n  a = {\n    x = 1;\n  };\n}",
        &["a", "y"],
        one(),
        "{\n  a = {\n    x = 1;\n    y = 1;\n  };\n}",
    );
    sets("{\n  # nothing yet\n}", &["a"], one(), "{\n  # nothing yet\n  a = 1;\n}");
    sets("{ /* nothing */ }", &["a"], one(), "{ /* nothing */ a = 1; }");
    let key = Value::string("-----BEGIN\nabc\n-----END\n");
    sets(
        "{\n  a = 1;\n}",
        &["k"],
        key,
        "{\n  a = 1;\n  k = ''\n    -----BEGIN\n    abc\n    -----END\n  '';\n}",
    );
}

#[test]
fn bindings_go_with_their_lines() {
    unsets("{\n  a = 1;\n  b = 2;\n}", &["a"], "{\n  b = 2;\n}");
    unsets("{ a = 1; b = 2; }", &["b"], "{ a = 1; }");
    unsets("{\n  a = 1; # why\n}", &["a"], "{\n # why\n}");
    unsets("{ a.b = 1; }", &["a", "b"], "{ a = { }; }");
    unsets("{ a.b = 1; a.c = 2; }", &["a", "b"], "{ a.c = 2; }");
    unsets("{ a.b = 1; a.c = 2; d = 3; }", &["a"], "{ d = 3; }");
}

#[track_caller]
fn refuses(text: &str, path: &[&str], expect: fn(&EditError) -> bool) {
    for result in [set(text, path, &Value::int(1), &limits()), unset(text, path, &limits())] {
        let error = result.expect_err("a refusal");
        assert!(expect(&error), "{text}: {error:?}");
    }
}

#[test]
fn what_is_not_written_as_a_set_is_refused() {
    refuses("{ a = 1; }", &["a", "b"], |e| matches!(e, EditError::InTheWay { depth: 1, .. }));
    refuses("{ a = { } // { }; }", &["a", "b"], |e| {
        matches!(e, EditError::Computed { depth: 1, .. })
    });
    refuses("x: x.y", &["a"], |e| matches!(e, EditError::Computed { depth: 0, .. }));
    refuses("let a = 1; in { inherit a; }", &["a"], |e| {
        matches!(e, EditError::Inherited { depth: 1, .. })
    });
    refuses("{ ${\"a\" + \"\"} = 1; }", &["a"], |e| matches!(e, EditError::ComputedName { .. }));
    refuses("{ a = hunter2", &["a"], |e| matches!(e, EditError::Text(_)));
    refuses("{ }", &[], |e| matches!(e, EditError::EmptyPath));
    let nul = set("{ }", &["a"], &Value::string("\0"), &limits());
    assert_eq!(nul.err(), Some(EditError::Unwritable));
    let used = set("let x = 1; in rec { y = x; }", &["x"], &Value::int(2), &limits());
    assert!(matches!(used, Err(EditError::NameInUse { .. })));
    assert_eq!(unset("{ }", &["a"], &limits()).err(), Some(EditError::Missing));
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c", "if", "x-y", "a b", "ä", "1", "$", "${", "\"", "", "'"]).prop_map(str::to_owned),
        1 => "[^\0]{0,6}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[^\0]{0,20}", "[ a'$\\{\\}\\\\\"\n\t\r]{0,16}", "([ a-z'$]{0,5}\n){1,4}",]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::bool),
        any::<i64>().prop_map(Value::int),
        prop::num::f64::NORMAL.prop_map(Value::float),
        Just(Value::float(-0.0)),
        text().prop_map(Value::string),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            tree_of(inner).prop_map(Value::Tree),
        ]
    })
}

fn tree_of(values: impl Strategy<Value = Value>) -> impl Strategy<Value = SecretTree> {
    // `outPath` and `__toString` collapse a set, which is Nix's doing and not an edit's.
    let entry =
        (name(), values).prop_filter("a plain name", |(n, _)| n != "outPath" && n != "__toString");
    prop::collection::vec(entry, 0..5).prop_map(|entries| entries.into_iter().collect())
}

/// Writes a tree as a person might: dotted, nested, on one line or many, with comments.
fn written(tree: &SecretTree, style: u64) -> String {
    let (open, sep, close) = match style % 4 {
        0 => ("{ ", " ", "}"),
        1 => ("{\n", " # c\n", "\n}"),
        2 => ("{\n\n", "\n /* d */\n", " }"),
        _ => ("{", "", "}"),
    };
    let mut out = open.to_owned();
    let quoted = |name: &str| {
        let tree: SecretTree = [(name.to_owned(), Value::Null)].into_iter().collect();
        let text = to_nix(&tree.into());
        text.expose().trim_start_matches("{\n  ").trim_end_matches(" = null;\n}\n").to_owned()
    };
    for (at, (name, value)) in tree.iter().enumerate() {
        match value {
            Value::Tree(below) if !below.is_empty() && (style >> at) & 1 == 1 => {
                for (inner, value) in below.iter() {
                    let value = match value {
                        Value::Tree(tree) => written(tree, style / 5),
                        other => to_nix(other).expose().trim_end().to_owned(),
                    };
                    out.push_str(&format!("{}.{} = {value};{sep}", quoted(name), quoted(inner)));
                }
            }
            Value::Tree(below) => {
                out.push_str(&format!("{} = {};{sep}", quoted(name), written(below, style / 3)));
            }
            other => out.push_str(&format!(
                "{} = {};{sep}",
                quoted(name),
                to_nix(other).expose().trim_end()
            )),
        }
    }
    out.push_str(close);
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn printed_data_is_the_data(value in value()) {
        let text = to_nix(&value);
        prop_assert_eq!(eval(text.expose(), &limits()), Ok(value), "{}", text.expose());
    }

    #[test]
    fn set_is_insert_and_unset_is_remove(
        tree in tree_of(value()),
        style in any::<u64>(),
        path in prop::collection::vec(name(), 1..4),
        value in value(),
    ) {
        let text = format!("# head\n{{ secrets, ... }}: {}\n# tail\n", written(&tree, style));
        prop_assert_eq!(eval_master(&text, &limits()), Ok(tree.clone()), "{}", text);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        prop_assume!(path.iter().all(|name| !["outPath", "__toString"].contains(name)));
        let mut expected = tree.clone();
        match set(&text, &path, &value, &limits()) {
            Ok(edited) => {
                let inserted = expected.insert_at(&path, value);
                prop_assert!(inserted.is_ok());
                prop_assert_eq!(eval_master(edited.expose(), &limits()), Ok(expected.clone()), "{}\n{}", text, edited.expose());
                let head = edited.expose().starts_with("# head\n{ secrets, ... }: {");
                let tail = edited.expose().ends_with("}\n# tail\n");
                prop_assert!(head && tail);
                let undone = unset(edited.expose(), &path, &limits()).expect("what was set can be removed");
                expected.remove_at(&path);
                prop_assert_eq!(eval_master(undone.expose(), &limits()), Ok(expected), "{}\n{}", edited.expose(), undone.expose());
            }
            Err(EditError::InTheWay { depth, .. }) => {
                let refused = expected.insert_at(&path, value).expect_err("in the way as well");
                prop_assert_eq!(refused.depth + 1, depth);
            }
            Err(EditError::Computed { .. }) => {
                // A negative number is an expression to Nix.
                prop_assert!(expected.insert_at(&path, value).is_err());
            }
            Err(other) => prop_assert!(false, "{:?}\n{}", other, text),
        }
        let mut removed = tree;
        let gone = removed.remove_at(&path).is_some();
        match unset(&text, &path, &limits()) {
            Ok(edited) => {
                prop_assert!(gone);
                prop_assert_eq!(eval_master(edited.expose(), &limits()), Ok(removed), "{}\n{}", text, edited.expose());
            }
            Err(_) => prop_assert!(!gone, "{}", text),
        }
    }
}
