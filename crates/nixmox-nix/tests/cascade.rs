//! The recorded cascade cases: what Nix made of a master before the cascade is what the evaluator makes of it.

#![expect(clippy::disallowed_methods, reason = "the recorded cases are files")]
#![expect(clippy::expect_used, reason = "a test says what it expects by failing")]

use nixmox_nix::{Argument, Construct, ErrorKind, Limits, eval_master};
use nixmox_tree::{SecretTree, Value};

const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/cascade");

fn from_json(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::Null,
        Json::Bool(truth) => Value::bool(*truth),
        Json::Number(number) => number
            .as_i64()
            .map_or_else(|| Value::float(number.as_f64().expect("a number")), Value::int),
        Json::String(text) => Value::string(text.as_str()),
        Json::Array(items) => Value::List(items.iter().map(from_json).collect()),
        Json::Object(tree) => {
            let entries = tree.iter().map(|(name, value)| (name.clone(), from_json(value)));
            Value::Tree(entries.collect::<SecretTree>())
        }
    }
}

/// JSON does not tell `1.0` from `1`, and old versions of Nix write six digits of a float.
fn same(a: &Value, b: &Value) -> bool {
    let number = |value: &Value| match value {
        Value::Int(n) => n.to_string().parse::<f64>().ok(),
        Value::Float(n) => Some(**n),
        _ => None,
    };
    match (a, b) {
        (Value::Float(_), _) | (_, Value::Float(_)) => {
            let (a, b) = (number(a).unwrap_or(f64::NAN), number(b).unwrap_or(f64::NAN));
            (a - b).abs() <= 1e-5 * a.abs().max(b.abs())
        }
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Tree(a), Value::Tree(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((an, a), (bn, b))| an == bn && same(a, b))
        }
        _ => a == b,
    }
}

#[test]
fn masters_evaluate_as_in_nix() {
    let mut agreed = 0;
    let mut refused = Vec::new();
    for case in std::fs::read_dir(CASES).expect("fixtures/cascade") {
        let case = case.expect("a readable directory").path();
        let Ok(text) = std::fs::read_to_string(case.join("secrets.nix")) else { continue };
        let Ok(raw) = std::fs::read_to_string(case.join("secrets.raw.json")) else { continue };
        let raw = from_json(&serde_json::from_str(&raw).expect("JSON"));
        let ours = eval_master(&text, &Limits::default());
        match ours {
            Ok(ours) => assert!(same(&ours.into(), &raw), "{}", case.display()),
            Err(error) => {
                let name = case.file_name().map(|name| name.to_string_lossy().into_owned());
                refused.push((name.unwrap_or_default(), error.kind()));
                continue;
            }
        }
        agreed += 1;
    }
    refused.sort_by(|a, b| a.0.cmp(&b.0));
    let lib = ErrorKind::NotAvailable(Argument::Lib);
    let expected = [
        ("27-mkmerge-nodes", lib),
        ("28-mkmerge-inside", lib),
        ("67-path-value-store-leak", ErrorKind::Unsupported(Construct::Path)),
        ("75-toplevel-mkif", lib),
    ];
    assert_eq!(refused, expected.map(|(name, kind)| (name.to_owned(), kind)));
    assert_eq!(agreed, 56);
}

#[track_caller]
fn refused(case: &str, kind: ErrorKind) {
    let text = std::fs::read_to_string(format!("{CASES}/{case}/secrets.nix")).expect("the case");
    let error = eval_master(&text, &Limits::default()).expect_err("a refusal");
    assert_eq!(error.kind(), kind, "{case}");
}

#[test]
fn what_needs_nixpkgs_or_the_disk_is_refused() {
    refused("22-args", ErrorKind::NotAvailable(Argument::Lib));
    refused("27-mkmerge-nodes", ErrorKind::NotAvailable(Argument::Lib));
    refused("28-mkmerge-inside", ErrorKind::NotAvailable(Argument::Lib));
    refused("75-toplevel-mkif", ErrorKind::NotAvailable(Argument::Lib));
    refused("67-path-value-store-leak", ErrorKind::Unsupported(Construct::Path));
    refused("21-infinite-selfref", ErrorKind::InfiniteRecursion);
    refused("32-function-value", ErrorKind::FunctionInData);
}
