//! What is made, kept, made anew, and dropped.

use std::sync::Mutex;

use nixmox_generate::{Exposed, Place, Records, Why, due, exposed, public, split, stale};
use nixmox_tree::Value;

use crate::site::{Echo, Site, item};

/// A site with most kinds, quick to make.
fn full() -> Site {
    let mut site = Site::new();
    site.write("g.user", "app")
        .declare("g.pw", "type=password length=20 every=90d")
        .declare("g.phrase", "type=passphrase words=5")
        .declare("g.each", "type=hex bytes=16 perHost=true")
        .declare("g.id", "type=uuid")
        .declare("g.ssh", "type=ssh-ed25519")
        .declare("g.wg", "type=wireguard perHost=true")
        .declare("g.age", "type=age")
        .declare("g._ca", "type=ca validity=10y")
        .declare("g.tls", "type=certificate ca=g._ca names=[{{host}}.x.org] perHost=true")
        .declare("g.bcrypt", "type=bcrypt of=g.pw cost=4")
        .declare("g.scram", "type=scram-sha-256 of=g.pw")
        .declare("g.crypt", "type=sha512-crypt of=g.pw rounds=5000")
        .declare("g.url", "type=template text={{g.user}}:{{g.pw}}@{{a.wg.public}}")
        .declare("g.mine", "type=template text={{host}}={{g.each}} perHost=true");
    site
}

#[test]
fn the_same_numbers_and_time_make_the_same_values() {
    let (mut one, mut other) = (full(), full());
    one.settle(&[]);
    other.settle(&[]);
    assert_eq!(one.values(), other.values());
    assert_eq!(one.records, other.records);
    assert_eq!(Records::from_tree(&one.records.to_tree()), Ok(one.records.clone()));
}

#[test]
fn each_host_has_its_own_where_that_is_said() {
    let mut site = full();
    let notes = site.settle(&[]);
    assert_eq!(notes.len(), 10 + 2 * 4);
    assert!(notes.values().all(|why| *why == Why::New));
    assert_ne!(site.value("a.each"), site.value("b.each"));
    assert_eq!(site.value("a.mine"), format!("a={}", site.value("a.each")));
    assert_eq!(site.value("b.mine"), format!("b={}", site.value("b.each")));
    let url = site.value("g.url");
    assert_eq!(url, format!("app:{}@{}", site.value("g.pw"), site.value("a.wg.public")));
    assert!(!site.values().contains_key("g.each"));
    assert!(!site.values().keys().any(|path| path.contains("_generate")));
}

#[test]
fn a_hosts_own_value_is_not_replaced() {
    let mut site = full();
    site.write("b.each", "written");
    site.settle(&[]);
    assert_eq!(site.value("b.each"), "written");
    assert!(site.records.get(&item("g", "each", Some("b"))).is_none());
    assert_eq!(site.value("b.mine"), "b=written", "a reference of b's means what b has");
}

#[test]
fn nothing_changes_by_itself() {
    let mut site = full();
    site.settle(&[]);
    let before = site.records.clone();
    site.now = "2036-01-01T00:00:00Z".parse().unwrap();
    site.write("g.other", "new");
    assert!(site.settle(&[]).is_empty());
    assert_eq!(site.records, before);
    assert!(site.with(None, stale).unwrap().is_empty());
}

#[test]
fn what_is_made_from_a_value_follows_it() {
    let mut site = full();
    site.settle(&[]);
    let before = site.values();
    let notes = site.settle(&["g.pw"]);
    let expect = [
        ("g.bcrypt", Why::Inputs),
        ("g.crypt", Why::Inputs),
        ("g.pw", Why::Asked),
        ("g.scram", Why::Inputs),
        ("g.url", Why::Inputs),
    ];
    assert_eq!(notes, expect.map(|(name, why)| (name.to_owned(), why)).into());
    let after = site.values();
    let changed: Vec<_> = after.iter().filter(|(path, value)| before[*path] != **value).collect();
    let changed: Vec<&str> = changed.iter().map(|(path, _)| path.as_str()).collect();
    assert_eq!(changed, ["g.bcrypt", "g.crypt", "g.pw", "g.scram", "g.url"]);
    // A certificate follows its authority.
    let notes = site.settle(&["g._ca"]);
    let names: Vec<&str> = notes.keys().map(String::as_str).collect();
    assert_eq!(names, ["g._ca", "g.tls for a", "g.tls for b"]);
    // And a written value is an input like any other.
    site.write("g.user", "other");
    let notes = site.settle(&[]);
    assert_eq!(notes, [("g.url".to_owned(), Why::Inputs)].into());
    // A host's own by the host's name alone.
    let notes = site.settle(&["g.wg for b"]);
    assert_eq!(notes, [("g.wg for b".to_owned(), Why::Asked)].into());
}

#[test]
fn a_changed_declaration_makes_another_value_and_a_changed_age_does_not() {
    let mut site = full();
    site.settle(&[]);
    site.declare("g.pw", "type=password length=20 every=1y");
    assert!(site.settle(&[]).is_empty());
    site.declare("g.id", "type=hex");
    site.declare("g.crypt", "type=sha512-crypt of=g.pw rounds=6000");
    let notes = site.settle(&[]);
    let expect = [("g.crypt", Why::Declaration), ("g.id", Why::Declaration)];
    assert_eq!(notes, expect.map(|(name, why)| (name.to_owned(), why)).into());
}

#[test]
fn what_is_not_declared_any_more_is_dropped() {
    let mut site = full();
    site.settle(&[]);
    site.remove("g.wg").remove("g.url").write("g.id", "written");
    let notes = site.settle(&[]);
    let names: Vec<&str> = notes.keys().map(String::as_str).collect();
    assert_eq!(names, ["g.id", "g.url", "g.wg for a", "g.wg for b"]);
    assert!(notes.values().all(|why| *why == Why::Dropped));
    assert_eq!(site.value("g.id"), "written");
    let mut site = full();
    site.settle(&[]);
    let before = site.records.clone();
    assert!(site.with(None, |request| public(request, "a")).get("wg").is_some());
    site.nodes.remove("g");
    site.settle(&[]);
    assert!(site.records.is_empty() && !before.is_empty());
}

#[test]
fn age_and_end_tell_what_is_due() {
    let mut site = full();
    site.settle(&[]);
    let when = |path: &str, host: Option<&str>| {
        let item = item("g", path, host);
        site.with(None, |request| {
            let declaration = request.declared.get(&item.place).unwrap();
            due(declaration, request.records.get(&item).unwrap()).map(|at| at.to_string())
        })
    };
    assert_eq!(when("pw", None).as_deref(), Some("2026-04-02T03:04:05Z"));
    assert_eq!(when("id", None), None);
    // A third of a year before the year is over.
    assert_eq!(when("tls", Some("a")).as_deref(), Some("2026-09-02T11:04:05Z"));
}

#[test]
fn public_parts_are_those_of_the_kinds_alone() {
    let mut site = full();
    site.settle(&[]);
    let parts = site.with(None, |request| public(request, "a"));
    let mut names = Vec::new();
    parts.for_each_leaf(&mut |path, _| names.push(path.join(".")));
    let expect = ["_ca.cert", "age.public", "ssh.public", "tls.ca", "tls.cert", "wg.public"];
    assert_eq!(names, expect);
    let own = parts.at(&["wg", "public"]).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(own, Some(site.value("a.wg.public")));
}

#[test]
fn a_text_shows_what_stands_in_it_and_a_hash_does_not() {
    let mut site = Site::new();
    site.write("g._user", "app")
        .declare("g._pw", "type=password")
        .declare("g._other", "type=password")
        .declare("g.hash", "type=bcrypt of=g._other cost=4")
        .declare("g._inner", "type=template text={{g._user}}:{{g._pw}}")
        .declare("a.wg", "type=wireguard")
        .declare("b.url", "type=template text=//{{g._inner}}@{{a.wg.public}}");
    site.settle(&[]);
    let found = site.with(None, |request| exposed(request, "b")).unwrap();
    let place = |path: &str| {
        let mut path = split(path).unwrap();
        Place { level: path.remove(0), path }
    };
    let items = ["g.hash", "b.url", "g._inner", "g._pw"]
        .map(|path| nixmox_generate::Item { place: place(path), host: None });
    let written = [place("g._user")];
    assert_eq!(found, Exposed { items: items.into(), written: written.into() });
}

#[test]
fn a_command_is_given_its_inputs_and_gives_its_outputs() {
    let mut site = Site::new();
    site.write("g.user", "a\"b")
        .declare("g.x", "type=command command=[any,words] inputs.who=g.user");
    let echo = Echo(Mutex::default(), None);
    site.try_settle(Some(&echo), &|_| false).unwrap();
    let input = echo.0.lock().unwrap().pop().unwrap();
    assert!(input.starts_with(r#"{"host":null,"inputs":{"who":"a\"b"},"seed":""#), "{input}");
    assert_eq!(site.value("g.x"), input.trim_end());

    let parts = "type=command command=[x] outputs=[key,pub] public=[pub] perHost=true";
    let outcome = |printed| {
        let mut site = Site::new();
        site.declare("g.x", parts);
        let echo = Echo(Mutex::default(), Some(printed));
        site.try_settle(Some(&echo), &|_| false).map(|_| site)
    };
    let site = outcome(r#"{"key": "k", "pub": "p"}"#).unwrap();
    assert_eq!((site.value("a.x.key"), site.value("b.x.pub")), ("k".into(), "p".into()));
    let parts = site.with(None, |request| public(request, "a"));
    assert_eq!(parts.at(&["x", "pub"]), Some(&Value::string("p")));
    assert_eq!(parts.at(&["x", "key"]), None);
    for printed in [
        "",
        "x",
        "{}",
        r#"{"key": "k"}"#,
        r#"{"key": "k", "pub": 1}"#,
        r#"{"key": "k", "pub": ""}"#,
        r#"{"key": "k", "pub": "p", "more": "m"}"#,
    ] {
        assert!(outcome(printed).is_err(), "{printed}");
    }
}
