//! What is a declaration, and what only looks like one.

use nixmox_generate::{Declarations, DeclareError, GenerateError, KEY, NAMES};
use nixmox_tree::{SecretTree, Value};

use crate::site::Site;

#[track_caller]
fn check(parameters: &str, expect: &str) {
    let mut site = Site::new();
    site.declare("g.x", parameters);
    let found = site.find().map(|_| String::new()).unwrap_or_else(|error| error.to_string());
    assert_eq!(found, expect, "{parameters}");
}

#[test]
fn what_is_wrong_is_said_without_values() {
    let bad = |name: &str, wanted: &str| format!("`{name}` of `g.x` is not {wanted}");
    check("type=password", "");
    let names = NAMES.join(", ");
    check("type=hunter2", &format!("`type` of `g.x` is none of {names}"));
    check("length=1", &format!("`type` of `g.x` is none of {names}"));
    check("type=hex lenght=4", "`g.x` has a parameter `lenght`, which its type does not");
    check("type=uuid of=g.y", "`g.x` has a parameter `of`, which its type does not");
    check("type=bcrypt", "`g.x` lacks the parameter `of`");
    let number = "a number within the bounds that the manual names";
    for parameters in ["length=7", "length=1025", "length=-1", "length=x"] {
        check(&format!("type=password {parameters}"), &bad("length", number));
    }
    check("type=bcrypt of=g.y cost=31", &bad("cost", number));
    check(
        "type=password alphabet=aab",
        &bad("alphabet", "at least ten different printable ASCII characters"),
    );
    let reference = "a reference to a secret: HOST-OR-GROUP.NAME, such as web.token";
    check("type=bcrypt of=hunter2", &bad("of", reference));
    check("type=uuid every=soon", &bad("every", "a span of time such as 12h, 90d, 6w or 2y"));
    check("type=uuid perHost=yes", &bad("perHost", "true or false"));
    check("type=ca validity=1d renew=2d", &bad("renew", "shorter than the validity"));
    check(
        "type=command command=[x] outputs=[a,b] public=[c]",
        &bad("public", "a list of names that `outputs` has"),
    );
    check("type=template text={{g}}", &bad("text", "a text with references such as {{web.token}}"));
}

#[test]
fn a_declaration_stands_alone_and_has_a_name() {
    let mut site = Site::new();
    site.declare("g.x", "type=uuid").write("g.x.y", "z");
    assert!(matches!(site.find(), Err(DeclareError::Company { .. })));
    let mut site = Site::new();
    site.write("g._generate", "x");
    assert!(matches!(site.find(), Err(DeclareError::NoName { .. })));
    let mut site = Site::new();
    site.write("g.x._generate", "uuid");
    assert!(matches!(site.find(), Err(DeclareError::NotASet { .. })));
    let mut site = Site::new();
    site.declare("g.\"a:b\"", "type=uuid");
    assert!(matches!(site.find(), Err(DeclareError::Name { .. })));
    let declared: SecretTree = [(KEY.to_owned(), SecretTree::new().into())].into_iter().collect();
    let mut site = Site::new();
    let list = Value::List(vec![declared.into()]);
    site.nodes.insert_at(&["g", "x"], list).unwrap();
    assert!(matches!(site.find(), Err(DeclareError::InAList { .. })));
    assert!(Declarations::any(&site.nodes));
}

#[test]
fn references_lead_somewhere_and_in_no_circle() {
    let fails = |site: &mut Site| site.try_settle(None, &|_| false).unwrap_err();
    let mut site = Site::new();
    site.declare("g.x", "type=bcrypt of=g.nothing");
    assert!(matches!(fails(&mut site), GenerateError::NoSuchSecret { .. }));
    site.declare("g.x", "type=bcrypt of=g.set").write("g.set.a", "b");
    assert!(matches!(fails(&mut site), GenerateError::NotText { type_name: "set", .. }));
    site.declare("g.x", "type=template text={{host}}");
    assert!(matches!(fails(&mut site), GenerateError::NoHost { .. }));
    site.declare("g.each", "type=uuid perHost=true").declare("g.x", "type=bcrypt of=g.each");
    assert!(matches!(fails(&mut site), GenerateError::ForEachHost { .. }));
    site.declare("g.x", "type=certificate ca=g.set.a names=[x.org]");
    assert!(matches!(fails(&mut site), GenerateError::NotACa { .. }));
    site.declare("g.x", "type=command command=[true]");
    assert!(matches!(fails(&mut site), GenerateError::NoSandbox { .. }));
    let mut site = Site::new();
    site.declare("g.x", "type=template text={{a.y}}");
    site.declare("a.y", "type=sha512-crypt of=g.z");
    site.declare("g.z", "type=template text=<{{g.x}}>");
    assert_eq!(
        fails(&mut site).to_string(),
        "generated values depend on each other in a circle: \
         `a.y` needs `g.z` needs `g.x` needs `a.y`"
    );
    assert!(site.records.is_empty());
}

#[test]
fn hashes_refuse_what_their_readers_would_read_otherwise() {
    for (kind, secret, why) in [
        ("bcrypt", "x".repeat(72), "bcrypt takes no more than 71 bytes"),
        ("bcrypt", "a\0b".to_owned(), "it holds a NUL"),
        ("sha512-crypt", "a\0b".to_owned(), "it holds a NUL"),
        ("scram-sha-256", "pä".to_owned(), "it has characters other than printable ASCII"),
    ] {
        let mut site = Site::new();
        site.write("g.pw", &secret).declare("g.x", &format!("type={kind} of=g.pw"));
        let error = site.try_settle(None, &|_| false).unwrap_err().to_string();
        let expect = format!("the secret that `g.x` is of cannot be hashed so: {why}");
        assert_eq!(error, expect);
    }
    let mut site = Site::new();
    site.write("g.pw", &"x".repeat(71)).declare("g.x", "type=bcrypt of=g.pw cost=4");
    site.settle(&[]);
}
