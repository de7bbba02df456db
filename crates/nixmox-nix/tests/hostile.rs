//! Hostile texts end in an error of the right kind: no overflow, no hang, no plaintext.

#![expect(clippy::expect_used, reason = "a test says what it expects by failing")]

use nixmox_nix::{
    Argument, Construct, ErrorKind, Limits, attr_names, eval, eval_master, line_col, masked_line,
    set, unset,
};
use nixmox_tree::Value;

fn deepest() -> Limits {
    Limits { depth: usize::MAX, ..Limits::default() }
}

/// Runs a text through everything and returns what its evaluation says.
#[track_caller]
fn kind(text: &str, limits: &Limits) -> Option<ErrorKind> {
    let error = eval(text, limits).err();
    let others = [eval_master(text, limits).err(), attr_names(text, limits).err()];
    for error in others.iter().chain([&error]).flatten() {
        assert!(error.span().end() <= text.len(), "{error:?}");
        assert!(line_col(text, error.span().start()).0 >= 1);
    }
    let _edits = (set(text, &["a"], &Value::Null, limits), unset(text, &["a"], limits));
    masked_line(text, 1);
    error.map(|error| error.kind())
}

#[test]
fn nesting_of_every_kind_is_bounded() {
    let many = 5_000;
    let nested = [
        ("(", "1", ")"),
        ("[ ", "1", " ]"),
        ("{ a = ", "1", "; }"),
        ("rec { a = ", "1", "; }"),
        ("a: ", "1", ""),
        ("{ a }: ", "1", ""),
        ("!", "true", ""),
        ("- ", "1", ""),
        ("if true then ", "1", " else 2"),
        ("if ", "true", " then true else false"),
        ("let a = 1; in ", "1", ""),
        ("let a = ", "1", "; in a"),
        ("with { }; ", "1", ""),
        ("assert true; ", "1", ""),
        ("\"${", "\"a\"", "}\""),
        ("''${", "''a''", "}''"),
        ("{ }.a or ", "1", ""),
        ("1 + ", "1", ""),
        ("", "1", " + 1"),
        ("[ ] ++ ", "[ ]", ""),
        ("{ } // ", "{ }", ""),
        ("true -> ", "true", ""),
        ("true && ", "true", ""),
        ("", "x: x", " (x: x)"),
        ("(x: x) ", "1", ""),
        ("", "{ }", " ? a"),
        ("{ ${", "\"a\"", "} = 1; }"),
        ("./a${", "\"a\"", "}"),
        ("a.", "a", ""),
        ("f (", "1", ")"),
    ];
    for (open, middle, close) in nested {
        let text = format!("{}{middle}{}", open.repeat(many), close.repeat(many));
        assert!(kind(&text, &deepest()).is_some(), "{open} {close}");
        // As deep as the largest limits allow, or nearly.
        let text = format!("{}{middle}{}", open.repeat(4_000), close.repeat(4_000));
        kind(&text, &deepest());
        kind(&open.repeat(many), &Limits::default());
    }
    let dotted = format!("{{ a{} = 1; }}", ".a".repeat(many));
    assert!(kind(&dotted, &deepest()).is_some());
    let comment = format!("{}1", "/* ".repeat(many));
    assert_eq!(kind(&comment, &deepest()), Some(ErrorKind::Unclosed("comment")));
}

#[test]
fn recursion_and_growth_are_bounded() {
    let check = |text: &str, expect: ErrorKind| {
        assert_eq!(kind(text, &Limits::default()), Some(expect), "{text}");
    };
    check("let f = x: f x; in f 1", ErrorKind::TooDeep);
    check("let f = x: 1 + f (x + 1); in f 1", ErrorKind::TooDeep);
    check("rec { a = b; b = a; }", ErrorKind::InfiniteRecursion);
    check("let s = { a = s; }; in s", ErrorKind::TooDeep);
    check("let l = [ l ]; in l == l", ErrorKind::TooDeep);
    check("let s = { __functor = s; }; in s 1", ErrorKind::TooDeep);
    check("let s = { __toString = _: s; }; in \"${s}\"", ErrorKind::TooDeep);
    check("builtins.genList (x: x) 9000000000", ErrorKind::TooManySteps);
    check(
        "builtins.foldl' (s: x: s + s) \"ab\" (builtins.genList (x: x) 60)",
        ErrorKind::TooManySteps,
    );
    check(
        "builtins.foldl' (s: x: s ++ s) [ 1 ] (builtins.genList (x: x) 60)",
        ErrorKind::TooManySteps,
    );
    check(
        "let l = builtins.genList (x: x) 3000; in builtins.concatMap (x: map (y: x) l) l",
        ErrorKind::TooManySteps,
    );
    let text = format!("let a = \"{}\"; in [ {} ]", "x".repeat(1 << 20), "\"${a}\" ".repeat(100));
    check(&text, ErrorKind::TooManySteps);
    let long = "x".repeat(9 << 20);
    check(&long, ErrorKind::TooLong);
}

#[test]
fn long_runs_are_scanned_once() {
    for piece in
        ["1+", "a.", "a-", "x:", "a/", "''", "$", "'", "\\", "<a", "~/", "1.", "\"", "{", "-"]
    {
        kind(&piece.repeat(200_000), &Limits::default());
    }
    let scopes = format!("{}{}", "let a = 1; b = a; in ".repeat(1_000), "[ a b ]");
    assert_eq!(kind(&scopes, &Limits::default()), None);
}

#[test]
fn errors_hold_no_text() {
    let texts = [
        "{ password = hunter2; }",
        "{ a = throw \"hunter2\"; }",
        "{ a = abort \"hunter2\"; }",
        "{ a = \"hunter2; }",
        "{ hunter2 = 1; hunter2 = 2; }",
        "{ a = { }.hunter2; }",
        "{ a = \"hunter2\" + 1; }",
        "({ hunter2 }: 1) { }",
        "({ }: 1) { hunter2 = 1; }",
        "{ a = builtins.hunter2; }",
        "{ a = ./hunter2; }",
        "{ a = builtins.fromJSON \"hunter2\"; }",
        "hunter2",
        "{ a = hunter2 \u{1b}",
    ];
    for text in texts {
        let error = eval(text, &Limits::default()).expect_err("a refusal");
        let said = format!(
            "{error} {error:?} {:?}",
            set(text, &["x", "y"], &Value::Null, &Limits::default())
        );
        assert!(!said.contains("hunter2"), "{said}");
        let (line, _) = line_col(text, error.span().start());
        assert!(!masked_line(text, line).contains('\u{1b}'));
    }
}

#[track_caller]
fn says(text: &str, expect: ErrorKind, place: &str) {
    let error = eval_master(text, &Limits::default()).expect_err("a refusal");
    assert_eq!(error.kind(), expect, "{text}");
    assert_eq!(text.get(error.span().range()), Some(place), "{text}");
}

#[test]
fn errors_say_what_and_where() {
    let unsupported = ErrorKind::Unsupported;
    says("{ a = ./x; }", unsupported(Construct::Path), "./x");
    says("{ a = <nixpkgs>; }", unsupported(Construct::SearchPath), "<nixpkgs>");
    says("{ a = import ./x; }", unsupported(Construct::Import), "import");
    says("{ a = builtins.readFile \"/x\"; }", unsupported(Construct::ReadFile), "readFile");
    says("{ a = builtins.fetchurl \"x\"; }", unsupported(Construct::Fetch), "fetchurl");
    says("{ a = derivation { }; }", unsupported(Construct::Store), "derivation");
    says("{ a = builtins.getEnv \"x\"; }", unsupported(Construct::Impure), "getEnv");
    says("{ a = builtins.trace 1 2; }", unsupported(Construct::Trace), "trace");
    says("{ a = builtins.match \"a\" \"a\"; }", unsupported(Construct::Regex), "match");
    says(
        "{ a = builtins.attrNames builtins; }",
        unsupported(Construct::BuiltinsSet),
        "builtins.attrNames builtins",
    );
    says("{ a = (x: x) == (x: x); }", unsupported(Construct::FunctionEquality), "x: x) == (x: x");
    says("let { body = 1; }", unsupported(Construct::LegacyLet), "let");
    says("{ lib, ... }: { a = lib.x; }", ErrorKind::NotAvailable(Argument::Lib), "lib");
    says("args: { a = args.pkgs.x; }", ErrorKind::NotAvailable(Argument::Pkgs), "pkgs");
    says("{ password = hunter2; }", ErrorKind::UndefinedVariable, "hunter2");
    says("{ a = { }.b; }", ErrorKind::MissingAttribute, "b");
    says("{ a.b = 1; a.b = 2; }", ErrorKind::DuplicateAttribute, "b");
    says("{ a = 1 / 0; }", ErrorKind::DivisionByZero, "1 / 0");
    says("[ 1 ]", ErrorKind::NotASet("a list"), "[ 1 ]");
}

#[test]
fn an_argument_that_is_not_needed_may_be_missing() {
    let text = "{ secrets, lib, pkgs, ... }: { a = 1; b = secrets.a + 1; c = if false then lib.x else 3; }";
    let tree = eval_master(text, &Limits::default()).expect("a master");
    assert_eq!(tree.get("b"), Some(&Value::int(2)));
    let tree = eval_master("args: { a = args.secrets.b; b = args ? lib; }", &Limits::default());
    assert_eq!(tree.expect("a master").get("a"), Some(&Value::bool(true)));
}

#[test]
fn names_need_no_values() {
    let text =
        "{ common = { lib, ... }: { imports = [ ./x.nix ]; }; h1 = abort \"\"; \"h 2\".a = <x>; }";
    let names = attr_names(text, &Limits::default()).expect("names");
    let places: Vec<_> =
        names.iter().map(|n| (n.name.as_str(), text.get(n.span.range()))).collect();
    assert_eq!(places, [("common", Some("common")), ("h 2", Some("\"h 2\"")), ("h1", Some("h1"))]);
    let function = attr_names("{ lib, ... }: { }", &Limits::default()).expect_err("no set");
    assert_eq!(function.kind(), ErrorKind::NotASet("a function"));
}
