//! Differential test: random expressions mean to the evaluator what they mean to a real Nix.
//!
//! Needs `nix-instantiate`, from Debian's package `nix-bin`.

#![expect(clippy::disallowed_methods, reason = "the judge is a program")]
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test says what it expects by failing"
)]

mod generate;

use std::io::Write;
use std::process::{Command, Stdio};

use generate::Generator;
use nixmox_nix::{ErrorKind, Limits, eval};
use nixmox_tree::{SecretTree, Value};

/// A real Nix without a store, a daemon or a configuration.
struct Nix {
    home: tempfile::TempDir,
}

impl Nix {
    fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a temporary directory") }
    }

    /// Evaluates an expression; none when Nix fails.
    fn eval(&self, expr: &str) -> Option<serde_json::Value> {
        let mut child = Command::new("nix-instantiate")
            .args(["--store", "dummy://", "--eval", "--strict", "--json", "-"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.home.path())
            .env("NIX_CONF_DIR", self.home.path())
            .current_dir(self.home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("nix-instantiate runs; install the package nix-bin");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(expr.as_bytes()).expect("nix reads");
        drop(stdin);
        let output = child.wait_with_output().expect("nix ends");
        // Nix cuts text inside a character and then writes JSON that is none.
        let json = || {
            let not_unicode = serde_json::Value::String("half a character".to_owned());
            serde_json::from_slice(&output.stdout).unwrap_or(not_unicode)
        };
        output.status.success().then(json)
    }

    /// Evaluates many expressions in few processes.
    fn eval_all(&self, exprs: &[&str]) -> Vec<Option<serde_json::Value>> {
        let list: String = exprs.iter().map(|expr| format!("(\n{expr}\n)\n")).collect();
        match (self.eval(&format!("[\n{list}]")), exprs) {
            (Some(serde_json::Value::Array(items)), _) => items.into_iter().map(Some).collect(),
            (_, [] | [_]) => vec![None; exprs.len()],
            _ => {
                let (left, right) = exprs.split_at(exprs.len() / 2);
                let mut all = self.eval_all(left);
                all.extend(self.eval_all(right));
                all
            }
        }
    }
}

/// Old versions of Nix write six digits of a float, and `1.0` as `1`.
fn same(ours: &Value, nix: &serde_json::Value) -> bool {
    use serde_json::Value as Json;
    match (ours, nix) {
        (Value::Null, Json::Null) => true,
        (Value::Bool(a), Json::Bool(b)) => **a == *b,
        (Value::Int(a), Json::Number(b)) => b.as_i64() == Some(**a),
        (Value::Float(a), Json::Number(b)) => {
            let b = b.as_f64().expect("a number");
            (**a - b).abs() <= 1e-5 * a.abs().max(b.abs())
        }
        (Value::String(a), Json::String(b)) => a.expose() == b,
        (Value::List(a), Json::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Tree(a), Json::Object(b)) => {
            let equal = |tree: &SecretTree| {
                tree.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
            };
            a.len() == b.len() && equal(a)
        }
        _ => false,
    }
}

/// What may be refused although Nix has a value for it.
fn is_refusal(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::Unsupported(_)
            | ErrorKind::Overflow
            | ErrorKind::HalfCharacter
            | ErrorKind::OutOfRange
            | ErrorKind::NotAnOrder
            | ErrorKind::TooDeep
            | ErrorKind::TooManySteps
    )
}

#[derive(Default, Debug)]
struct Tally {
    same: usize,
    both_fail: usize,
    refused: usize,
    wrong: Vec<String>,
}

fn compare(nix: &Nix, exprs: &[String]) -> Tally {
    let mut tally = Tally::default();
    let results: Vec<_> = exprs.iter().map(|expr| eval(expr, &Limits::default())).collect();
    let evaluated = |wanted: bool| {
        let all = exprs.iter().zip(&results).filter(move |(_, ours)| ours.is_ok() == wanted);
        all.map(|(expr, ours)| (expr.as_str(), ours)).collect::<Vec<_>>()
    };
    for chunk in evaluated(true).chunks(64) {
        let texts: Vec<&str> = chunk.iter().map(|(expr, _)| *expr).collect();
        for ((expr, ours), theirs) in chunk.iter().zip(nix.eval_all(&texts)) {
            match (ours, &theirs) {
                (Ok(ours), Some(nix)) if same(ours, nix) => tally.same += 1,
                _ => tally.wrong.push(format!("{expr}\n  nix: {theirs:?}")),
            }
        }
    }
    for (expr, ours) in evaluated(false) {
        let Err(error) = ours else { continue };
        match nix.eval(&format!("[ (\n{expr}\n) ]")) {
            None => tally.both_fail += 1,
            Some(_) if is_refusal(error.kind()) => tally.refused += 1,
            Some(value) => {
                tally
                    .wrong
                    .push(format!("{expr}\n  ours: {error} {:?}\n  nix: {value}", error.span()));
            }
        }
    }
    tally
}

fn run(seeds: std::ops::Range<u64>, wrong: u64) {
    let nix = Nix::new();
    let exprs: Vec<String> = seeds
        .map(|seed| {
            let mut generator = Generator::new(seed, wrong);
            let fuel = 1 + seed % 5;
            generator.any(fuel)
        })
        .collect();
    let tally = compare(&nix, &exprs);
    println!(
        "{} expressions: {} same, {} fail in both, {} refused",
        exprs.len(),
        tally.same,
        tally.both_fail,
        tally.refused
    );
    assert!(
        tally.wrong.is_empty(),
        "{} disagree:\n{}",
        tally.wrong.len(),
        tally.wrong.join("\n---\n")
    );
    assert!(tally.refused * 50 < exprs.len(), "{} of {} refused", tally.refused, exprs.len());
}

#[test]
fn well_typed_expressions_mean_what_nix_says() {
    run(0..2400, 0);
}

#[test]
fn expressions_with_mistakes_fail_where_nix_fails() {
    run(10_000..11_600, 30);
}
