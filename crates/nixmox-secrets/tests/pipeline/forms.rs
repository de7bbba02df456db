//! Masters in Nix and in YAML, and edits of them by path.

use nixmox_cascade::explain;
use nixmox_secrets::{Error, Form, TextProblem, master};
use nixmox_sops::{EncryptedFile, Format, SealError};
use nixmox_tree::{SecretString, Value};

use crate::site::*;

fn text(text: &str) -> SecretString {
    SecretString::new(text)
}

#[track_caller]
fn set(form: Form, before: &str, path: &str, value: &str, after: &str) {
    let path: Vec<&str> = path.split('.').collect();
    let changed = master::set(form, &text(before), &path, &Value::string(value)).unwrap();
    assert_eq!(changed.expose(), after);
}

#[track_caller]
fn unset(form: Form, before: &str, path: &str, after: &str) {
    let path: Vec<&str> = path.split('.').collect();
    assert_eq!(master::unset(form, &text(before), &path).unwrap().expose(), after);
}

#[test]
fn a_value_is_set_and_the_rest_stays() {
    let nix = "{\n  # why\n  nodes.web.token = \"a\"; # inline\n}\n";
    set(Form::Nix, nix, "nodes.web.token", "b", &nix.replace("\"a\"", "\"b\""));
    let yaml = "# why\nnodes:\n    web:\n        # inline\n        token: a\n        other: x\n";
    set(Form::Yaml, yaml, "nodes.web.token", "b", &yaml.replace(": a", ": b"));
    set(
        Form::Yaml,
        yaml,
        "nodes.w1.a.b",
        "c",
        &format!("{yaml}    w1:\n        a:\n            b: c\n"),
    );
}

#[test]
fn a_value_is_unset_and_takes_what_it_leaves_empty_along() {
    unset(
        Form::Nix,
        "{\n  nodes.web.a = \"1\";\n  nodes.web.b = \"2\";\n}\n",
        "nodes.web.a",
        "{\n  nodes.web.b = \"2\";\n}\n",
    );
    let yaml = "a: 1\nnodes:\n    web:\n        k:\n            x: y\n    w1:\n        z: 1\n";
    unset(Form::Yaml, yaml, "nodes.web.k.x", "a: 1\nnodes:\n    w1:\n        z: 1\n");
    unset(
        Form::Yaml,
        "a: 1\nnodes:\n    w1:\n        l:\n            - x\n",
        "nodes.w1.l.0",
        "a: 1\n",
    );
    for form in [Form::Nix, Form::Yaml] {
        let before = text(if form == Form::Nix { NIX } else { YAML });
        let error = master::unset(form, &before, &["nodes", "web", "none"]).unwrap_err();
        assert!(
            matches!(&error, Error::NoSuchSecret { path } if path == "nodes.web.none"),
            "{error:?}"
        );
    }
}

#[test]
fn edits_by_path_reach_the_hosts() {
    for form in [Form::Nix, Form::Yaml] {
        let mut site = Site::with_secrets(form);
        let path = ["nodes", "w2", "fresh"];
        site.try_change(&mut |text| master::set(form, text, &path, &Value::string("new")).unwrap())
            .unwrap();
        assert_eq!(site.values("w2", W2).get("fresh").unwrap().as_str(), Some("new"));
        site.try_change(&mut |text| master::unset(form, text, &path).unwrap()).unwrap();
        assert_eq!(site.values("w2", W2).get("fresh"), None);
        assert_eq!(site.check().problems, []);
    }
}

#[test]
fn everything_can_be_taken_out_again() {
    let mut site = Site::new(Form::Yaml);
    site.edit("nodes:\n    w1:\n        a: b\n");
    let path = ["nodes", "w1", "a"];
    site.try_change(&mut |text| master::unset(Form::Yaml, text, &path).unwrap()).unwrap();
    assert!(!site.has(W1));
    assert_eq!(site.check().problems, []);
}

#[test]
fn both_forms_explain_alike() {
    for (form, text) in [(Form::Nix, NIX), (Form::Yaml, YAML)] {
        let site = Site::new(form);
        let tree = master::evaluate(form, &SecretString::new(text), None).unwrap();
        let nodes = master::nodes(&tree).unwrap();
        let why = explain(site.fleet().topology(), &nodes, "w1", &["token"]).unwrap();
        assert_eq!(why.leaves[0].from, "w1");
        assert_eq!(why.leaves[0].shadowed[0].node, "web");
    }
}

#[test]
fn a_yaml_master_is_sealed_leaf_by_leaf_and_its_comments_with_it() {
    let site = Site::with_secrets(Form::Yaml);
    let sealed = site.text(MASTER);
    assert!(sealed.contains("token: ENC[") && sealed.contains("#ENC["));
    let file = EncryptedFile::parse(sealed.as_bytes(), Format::Yaml).unwrap();
    assert_eq!(file.audit(), []);
    let opened = file.open(&site.admin.identities()).unwrap();
    let plain = opened.documents().to_bytes(Format::Yaml, nixmox_sops::Indent::default()).unwrap();
    assert_eq!(plain.as_str(), Some(YAML));
}

#[test]
fn a_yaml_master_with_bare_empties_is_refused_by_name() {
    for (value, host) in [("\"\"", false), ("null", true), ("{}", true), ("[]", false)] {
        // At a reference value, which nothing but the master holds.
        let mut site = Site::new(Form::Yaml);
        let result = site.try_edit(&format!("ref: {value}\nnodes:\n    w1:\n        a: b\n"));
        match result {
            Err(Error::Seal { path, source: SealError::Clear(at) }) => {
                assert_eq!((path.as_str(), at.to_string()), (MASTER, "ref".to_owned()));
            }
            other => panic!("{value}: {other:?}"),
        }
        let result = site.try_edit(&format!("nodes:\n    w1:\n        a: {value}\n"));
        match result {
            Err(Error::Seal { source: SealError::Clear(_), .. }) => assert!(host, "{value}"),
            Err(Error::Unsealable { .. }) => assert!(!host, "{value}"),
            other => panic!("{value}: {other:?}"),
        }
        assert!(!site.has(MASTER));
    }
}

#[test]
fn a_yaml_master_is_one_document() {
    let mut site = Site::new(Form::Yaml);
    let result = site.try_edit("nodes:\n    w1:\n        a: b\n---\nmore: 1\n");
    assert!(matches!(result, Err(Error::Text(TextProblem::SeveralDocuments))), "{result:?}");
}

#[test]
fn numbers_and_truth_values_are_delivered_as_text() {
    for (form, text) in [
        (Form::Nix, "{ nodes.w1 = { i = -5; f = 1.5; t = true; l = [ 1 \"x\" ]; }; }"),
        (
            Form::Yaml,
            "nodes:\n    w1:\n        i: -5\n        f: 1.5\n        t: true\n        l:\n            - 1\n            - x\n",
        ),
    ] {
        let mut site = Site::new(form);
        site.edit(text);
        let values = site.values("w1", W1);
        for (name, expect) in [("i", "-5"), ("f", "1.5"), ("t", "true")] {
            assert_eq!(values.get(name).unwrap().as_str(), Some(expect));
        }
        let list = vec![Value::string("1"), Value::string("x")];
        assert_eq!(values.get("l"), Some(&Value::List(list)));
    }
}
