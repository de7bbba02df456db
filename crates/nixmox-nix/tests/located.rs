//! Values know where they are written: through `let`, `//`, `inherit`, functions, and imported files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use nixmox_nix::{
    Construct, Data, ErrorKind, File, Limits, Located, Place, bindings, eval_located,
};

const OTHERS: [(&str, &str); 7] = [
    ("lib/net.nix", "{ ip = \"10.0.0.1\"; }"),
    ("lib/f.nix", "{ name }: { host = name; n = 1; }"),
    ("lib/chain.nix", "import ./net.nix"),
    ("lib/loop.nix", "import ../lib/loop.nix"),
    ("lib/broken.nix", "{ a = ; }"),
    ("lib/free.nix", "outer"),
    ("lib/late.nix", "{ a = 1 + \"\"; }"),
];

fn read(name: &str) -> Option<String> {
    OTHERS.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
}

fn eval(text: &str) -> (Vec<File>, Result<Located, nixmox_nix::LocatedError>) {
    eval_located(("nixos/m.nix", text), &read, &Limits::default())
}

fn text(files: &[File], place: Place) -> String {
    let file = files.get(place.file).unwrap();
    let own = file.name.rsplit('/').next().unwrap().trim_end_matches(".nix");
    format!("{own}:{}:{}", place.span.start(), &file.text[place.span.range()])
}

/// Shows where the name and the value at a path of names are.
#[track_caller]
fn check(source: &str, path: &[&str], name: &str, value: &str) {
    let (files, found) = eval(source);
    let mut at = &found.unwrap();
    let mut found_name = String::new();
    for step in path {
        match &at.data {
            Data::Set(attrs) => {
                let attr = attrs.iter().find(|attr| attr.name == *step).unwrap();
                found_name = text(&files, attr.name_place);
                at = &attr.value;
            }
            Data::List(items) => at = items.get(step.parse::<usize>().unwrap()).unwrap(),
            other => panic!("{other:?} has no {step}"),
        }
    }
    let found_value = at.place.map_or("-".to_owned(), |place| text(&files, place));
    assert_eq!((found_name.as_str(), found_value.as_str()), (name, value), "{source}");
}

#[test]
fn through_the_means_of_one_file() {
    check("{ a = 1; }", &["a"], "m:2:a", "m:6:1");
    check("{ a.b.c = [ 1 2 ]; }", &["a", "b", "c", "1"], "m:6:c", "m:14:2");
    check("{ \"x y\" = \"z\"; }", &["x y"], "m:2:\"x y\"", "m:10:\"z\"");
    check("let v = \"x\"; in { a = v; }", &["a"], "m:18:a", "m:8:\"x\"");
    check("let v = { b = 2; }; in { a = v; }", &["a", "b"], "m:10:b", "m:14:2");
    check("{ a = 1; b = 2; } // { a = 3; }", &["a"], "m:23:a", "m:27:3");
    check("{ a = 1; b = 2; } // { a = 3; }", &["b"], "m:9:b", "m:13:2");
    check("let a = 1; in { inherit a; }", &["a"], "m:24:a", "m:8:1");
    check("rec { a = 1; b = a; }", &["b"], "m:13:b", "m:17:a");
    check("let l = [ 1 ]; in { a = l ++ [ 2 ]; }", &["a", "0"], "m:20:a", "m:10:1");
    check("{ a = let x = 1; in x + 1; }", &["a"], "m:2:a", "m:20:x + 1");
    check("let f = n: { v = n; w = 0; }; in { a = f 5; }", &["a", "w"], "m:20:w", "m:24:0");
    check("let f = n: { v = n; }; in { a = f 5; }", &["a", "v"], "m:13:v", "m:34:5");
    check("{ a = builtins.mapAttrs (n: v: v) { b = 1; }; }", &["a", "b"], "m:36:b", "-");
    check("{ ${\"a\"} = 1; }", &["a"], "m:2:${\"a\"}", "m:11:1");
    check("{ a = if true then 1 else 2; }", &["a"], "m:2:a", "m:6:if true then 1 else 2");
}

#[test]
fn through_other_files() {
    check("{ net = import ../lib/net.nix; }", &["net", "ip"], "net:2:ip", "net:7:\"10.0.0.1\"");
    check(
        "{ net = builtins.import ../lib/net.nix; }",
        &["net", "ip"],
        "net:2:ip",
        "net:7:\"10.0.0.1\"",
    );
    check("{ net = import ../lib/chain.nix; }", &["net", "ip"], "net:2:ip", "net:7:\"10.0.0.1\"");
    check("import ../lib/net.nix // { b = 1; }", &["b"], "m:27:b", "m:31:1");
    check(
        "{ s = import ../lib/f.nix { name = \"x\"; }; }",
        &["s", "host"],
        "f:12:host",
        "m:35:\"x\"",
    );
    check("{ s = import ../lib/f.nix { name = \"x\"; }; }", &["s", "n"], "f:25:n", "f:29:1");
}

#[test]
fn errors_are_in_their_file() {
    #[track_caller]
    fn check(source: &str, file: &str, kind: ErrorKind) {
        let (files, found) = eval(source);
        let error = found.unwrap_err();
        assert_eq!((files[error.file].name.as_str(), error.error.kind()), (file, kind), "{source}");
        assert!(error.error.span().end() <= files[error.file].text.len());
    }
    check("{ a = b; }", "nixos/m.nix", ErrorKind::UndefinedVariable);
    check("import ../lib/broken.nix", "lib/broken.nix", ErrorKind::Syntax("a value"));
    check("let outer = 1; in import ../lib/free.nix", "lib/free.nix", ErrorKind::UndefinedVariable);
    let kind = ErrorKind::Type { expected: "a number", found: "a string" };
    check("{ b = import ../lib/late.nix; }", "lib/late.nix", kind);
    let import = ErrorKind::Unsupported(Construct::Import);
    check("import ./missing.nix", "nixos/m.nix", import);
    check("import /etc/passwd", "nixos/m.nix", import);
    check("import <nixpkgs>", "nixos/m.nix", import);
    check(
        "let import = x: x; in import ../lib/net.nix",
        "nixos/m.nix",
        ErrorKind::Unsupported(Construct::Path),
    );
    check("{ a = ../lib/net.nix; }", "nixos/m.nix", ErrorKind::Unsupported(Construct::Path));
    check("x: x", "nixos/m.nix", ErrorKind::FunctionInData);
}

#[test]
fn what_is_not_needed_may_be_wrong() {
    check(
        "{ a = 1; } // (if false then import ../lib/broken.nix else { })",
        &["a"],
        "m:2:a",
        "m:6:1",
    );
    check("let x = import ./missing.nix; in { a = 1; }", &["a"], "m:35:a", "m:39:1");
}

#[test]
fn imports_that_never_end_do() {
    let (_, found) = eval("import ../lib/loop.nix");
    assert_eq!(found.unwrap_err().error.kind(), ErrorKind::InfiniteRecursion);
    let endless = |name: &str| Some(format!("import ./x{name}"));
    let (files, found) = eval_located(("a", "import ./x"), &endless, &Limits::default());
    assert!(found.is_err());
    assert!(files.len() <= nixmox_nix::MAX_FILES + 1);
}

#[test]
fn sharing_does_not_multiply_without_end() {
    let mut source = String::from("let a0 = [ 1 1 1 1 1 1 1 1 1 1 ]; ");
    for at in 1..12 {
        let items = format!("a{} ", at - 1).repeat(10);
        source.push_str(&format!("a{at} = [ {items}]; "));
    }
    source.push_str("in a11");
    let (_, found) = eval(&source);
    assert_eq!(found.unwrap_err().error.kind(), ErrorKind::TooManySteps);
}

#[test]
fn the_bindings_of_a_text() {
    let text = "{ a.b = 1; inherit c; d = { e = [ ]; }; }";
    let found = bindings(text, &Limits::default()).unwrap();
    let shown: Vec<_> = found
        .iter()
        .map(|b| (&text[b.path.range()], &text[b.name.range()], b.value.map(|v| &text[v.range()])))
        .collect();
    assert_eq!(
        shown,
        [
            ("e", "e", Some("[ ]")),
            ("a.b", "b", Some("1")),
            ("c", "c", None),
            ("d", "d", Some("{ e = [ ]; }")),
        ]
    );
}
