//! Laws that hold for every document.

use nixmox_sops::{
    DecryptError, Documents, EncryptedFile, Format, Indent, Keep, Recipient, Rule, SealError,
    SealOptions, seal,
};
use nixmox_tree::{SecretTree, Value};
use proptest::prelude::*;

use crate::common::*;

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => ".{0,24}".prop_map(Value::string),
        2 => prop::collection::vec(
            prop_oneof![Just(" "), Just("\n"), Just("#"), Just(":"), Just("- "), Just("\t"), Just("a"),
                Just("\u{85}"), Just("\u{feff}"), Just("'"), Just("\""), Just("|"), Just("\r"), Just("😀"),
                Just("ENC["), Just("---"), Just("0x1"), Just("null"), Just("!"), Just("&"), Just("*")],
            0..8,
        ).prop_map(|parts| Value::string(parts.concat())),
        1 => any::<i64>().prop_map(Value::int),
        1 => any::<f64>().prop_filter("JSON", |f| f.is_finite()).prop_map(Value::float),
        1 => any::<bool>().prop_map(Value::bool),
        1 => Just(Value::Null),
    ]
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z_]{1,6}",
        2 => ".{0,12}",
        1 => prop::sample::select(vec!["y", "null", "1", "a:b", "# x", "? x", "<<", "", " ", "x\ny", "-"])
            .prop_map(str::to_owned),
        1 => "[a-z]{129,140}",
    ]
    .prop_filter("reserved", |key| key != "sops")
}

fn tree() -> impl Strategy<Value = SecretTree> {
    let value = leaf().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::List),
            prop::collection::btree_map(key(), inner, 0..4)
                .prop_map(|map| Value::Tree(map.into_iter().collect())),
        ]
    });
    prop::collection::btree_map(key(), value, 0..5).prop_map(|map| map.into_iter().collect())
}

/// Names and texts that flat files have, or cannot have.
fn flat_tree() -> impl Strategy<Value = SecretTree> {
    let value = prop_oneof![
        3 => ".{0,16}",
        2 => prop::collection::vec(
            prop_oneof![Just("\n"), Just("\\n"), Just("\""), Just("\"\"\""), Just("`"), Just("'"), Just(" "),
                Just("#"), Just(";"), Just("="), Just("a"), Just("\\"), Just("\r"), Just("\t")],
            0..6,
        ).prop_map(|parts| parts.concat()),
    ];
    let name = prop_oneof![
        4 => "[a-z_]{1,6}",
        1 => prop::sample::select(vec!["a=b", "a:b", "`", "\"", "#1", "-", "[a", " a", "", "a\nb", ";", "\"\"\"`"])
            .prop_map(str::to_owned),
    ];
    prop::collection::btree_map(name, value.prop_map(Value::string), 0..4)
        .prop_map(|map| map.into_iter().collect())
}

fn sealed(docs: &Documents, format: Format, keep: Keep<'_>, seed: u64) -> Vec<u8> {
    let options = SealOptions::new([age_recipient(1)]);
    seal(docs, (format, &options), keep, &mut rng(seed), now()).expect("seals")
}

fn opened(bytes: &[u8], format: Format) -> nixmox_sops::DecryptedFile {
    let file = EncryptedFile::parse(bytes, format).expect("parses");
    file.open(&age_identity(1)).expect("opens")
}

/// Floats that are whole come back from plain text as integers; types apart, the values are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Int(b)) => a.to_string() == b.to_string() || **a == 0.0,
        (Value::Float(a), Value::Float(b)) => **a == **b,
        (Value::List(a), Value::List(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Tree(a), Value::Tree(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|((k, a), (l, b))| k == l && same(a, b))
        }
        (a, b) => a == b,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn opening_gives_back_what_was_sealed(tree in tree()) {
        let docs = Documents::from_tree(&tree);
        for format in [Format::Yaml, Format::Json] {
            let file = opened(&sealed(&docs, format, Keep::Nothing, 1), format);
            prop_assert_eq!(file.documents().to_tree().expect("text"), tree.clone());
        }
    }

    #[test]
    fn plain_text_reads_back(tree in tree()) {
        let docs = Documents::from_tree(&tree);
        for format in [Format::Yaml, Format::Json] {
            for width in [None, Some(2), Some(3)] {
                let indent = Indent { yaml: width, json: width, ..Indent::default() };
                let text = docs.to_bytes(format, indent).expect("prints");
                let again = Documents::parse(text.expose(), format);
                let again = again.map_err(|e| TestCaseError::fail(format!("{e}: {:?}", text.as_str())))?;
                let again = Value::Tree(again.to_tree().expect("text"));
                prop_assert!(same(&Value::Tree(tree.clone()), &again), "{:?}", text.as_str());
            }
        }
    }

    #[test]
    fn an_unchanged_value_keeps_its_bytes(tree in tree()) {
        let docs = Documents::from_tree(&tree);
        for format in [Format::Yaml, Format::Json] {
            let before = sealed(&docs, format, Keep::Nothing, 1);
            let file = opened(&before, format);
            let after = sealed(&docs, format, Keep::Everything(&file), 2);
            let lines = |bytes: &[u8]| {
                let text = String::from_utf8(bytes.to_vec()).expect("text");
                let stable = |l: &&str| !l.trim_start().trim_start_matches('"').starts_with("mac");
                text.lines().filter(stable).map(str::to_owned).collect::<Vec<_>>()
            };
            prop_assert_eq!(lines(&before), lines(&after));
        }
    }

    #[test]
    fn sealed_bytes_depend_on_the_arguments_alone(tree in tree()) {
        let docs = Documents::from_tree(&tree);
        let first = sealed(&docs, Format::Yaml, Keep::Nothing, 9);
        let file = opened(&first, Format::Yaml);
        let again = |seed| sealed(&docs, Format::Yaml, Keep::Everything(&file), seed);
        prop_assert_eq!(again(4), again(4));
    }

    /// What a flat format cannot say is refused; what it can say comes back.
    #[test]
    fn flat_formats_give_back_what_they_take(tree in flat_tree(), ini in any::<bool>(), clear in any::<bool>()) {
        let (docs, format) = if ini {
            let section = Value::Tree(tree);
            let name = "s".to_owned();
            (Documents::from_tree(&[(name, section)].into_iter().collect()), Format::Ini)
        } else {
            (Documents::from_tree(&tree), Format::Dotenv)
        };
        let mut options = SealOptions::new([age_recipient(1)]);
        if clear {
            options.rule = Rule::EncryptedSuffix("q".to_owned());
        }
        match seal(&docs, (format, &options), Keep::Nothing, &mut rng(1), now()) {
            Ok(bytes) => {
                let mut found = opened(&bytes, format).documents().to_tree().expect("text");
                found.remove("DEFAULT");
                prop_assert_eq!(found, docs.to_tree().expect("text"));
            }
            Err(SealError::NoForm(_) | SealError::Format | SealError::SopsKey) => {}
            Err(e) => return Err(TestCaseError::fail(e.to_string())),
        }
    }

    /// A text that reads as ini or dotenv is sealed, and opens to the same values.
    #[test]
    fn flat_texts_outlive_sealing(text in prop::collection::vec(
        prop_oneof![Just("a"), Just("b"), Just("="), Just(" "), Just("\n"), Just(";"), Just("#"), Just("["), Just("]"),
            Just("\""), Just("\"\"\""), Just("'"), Just("`"), Just("\\"), Just(":"), Just("-"), Just("\r"),
            Just("\\n"), Just("\t"), Just("é"), Just("k = v\n"), Just("[s]\n"), Just("DEFAULT"), Just("sops")],
        0..40,
    )) {
        let text = text.concat();
        for format in [Format::Dotenv, Format::Ini] {
            let Ok(docs) = Documents::parse(text.as_bytes(), format) else { continue };
            let options = SealOptions::new([age_recipient(1)]);
            let bytes = match seal(&docs, (format, &options), Keep::Nothing, &mut rng(1), now()) {
                Ok(bytes) => bytes,
                // A name that needs quotes and has them in it.
                Err(SealError::NoForm(_) | SealError::Format) => continue,
                Err(e) => return Err(TestCaseError::fail(e.to_string())),
            };
            let found = opened(&bytes, format);
            let (found, expect) = (found.documents().to_tree(), docs.to_tree());
            prop_assert_eq!(found.expect("text"), expect.expect("text"), "{:?}", text);
        }
    }

    #[test]
    fn reading_never_panics(text in prop::collection::vec(
        prop_oneof![Just("a"), Just(": "), Just("\n"), Just("  "), Just("- "), Just("# c"), Just("["), Just("]"),
            Just("{"), Just("}"), Just("\""), Just("'"), Just("|\n"), Just("&a "), Just("*a"), Just("!!str "),
            Just("é"), Just("---\n"), Just(","), Just("? "), Just("\r\n"), Just("\t"), Just("%"), Just("sops:")],
        0..40,
    )) {
        let text = text.concat();
        for format in [Format::Dotenv, Format::Ini] {
            let _ = EncryptedFile::parse(text.as_bytes(), format);
        }
        for format in [Format::Yaml, Format::Json] {
            if let Ok(docs) = Documents::parse(text.as_bytes(), format) {
                let printed = docs.to_bytes(format, Indent::default()).expect("prints");
                let again = Documents::parse(printed.expose(), format);
                let again = again.map_err(|e| TestCaseError::fail(format!("{e}: {:?}", printed.as_str())))?;
                let trees = (docs.to_tree().expect("text"), again.to_tree().expect("text"));
                prop_assert!(same(&trees.0.into(), &trees.1.into()), "{text:?} {:?}", printed.as_str());
            }
            let _ = EncryptedFile::parse(text.as_bytes(), format);
        }
    }
}

/// Flips each bit pattern at each byte: the file is refused, or its values are the same.
#[test]
fn no_changed_byte_changes_a_value() {
    for (path, format) in [
        ("yaml/nested/enc.yaml", Format::Yaml),
        ("yaml/comments-in-lists/enc.yaml", Format::Yaml),
        ("json/indent2/enc.json", Format::Json),
        ("binary/text/enc.bin", Format::Binary),
        ("dotenv/crlf/enc.env", Format::Dotenv),
        ("ini/dup-sections/enc.ini", Format::Ini),
    ] {
        let bytes = fixture(path);
        let key = age_identity(1);
        let expect = opened(&bytes, format);
        let values = |docs: &Documents| docs.to_tree().map(|tree| leaves(&tree.into())).ok();
        let expect = values(expect.documents());
        let mut accepted = 0;
        for at in 0..bytes.len() {
            for flip in [0x01, 0x20, 0x80] {
                let mut changed = bytes.clone();
                changed[at] ^= flip;
                let Ok(file) = EncryptedFile::parse(&changed, format) else { continue };
                let Ok(file) = file.open(&key) else { continue };
                accepted += 1;
                let found = values(file.documents());
                assert_eq!(found, expect, "{path}: byte {at} with {flip:#x}");
            }
        }
        // Labels, white space and the case of nothing that counts: some flips do no harm.
        assert!(accepted > 0 && accepted < bytes.len(), "{path}: {accepted}");
    }
}

/// Leaves alone: what the MAC covers, names and structure of empty things aside.
fn leaves(value: &Value) -> Vec<String> {
    match value {
        Value::Null => Vec::new(),
        Value::List(values) => values.iter().flat_map(leaves).collect(),
        Value::Tree(tree) => tree.iter().flat_map(|(_, value)| leaves(value)).collect(),
        Value::String(text) => vec![text.expose().to_owned()],
        Value::Int(number) => vec![number.to_string()],
        Value::Float(number) => vec![number.to_string()],
        Value::Bool(truth) => vec![truth.to_string()],
    }
}

#[test]
fn each_recipient_opens_and_no_stranger_does() {
    let recipients: Vec<Recipient> = (1..=5).map(age_recipient).collect();
    let mut tree = SecretTree::new();
    tree.insert("a", Value::string("hunter2"));
    let options = SealOptions::new(recipients);
    let docs = Documents::from_tree(&tree);
    let bytes = seal(&docs, (Format::Yaml, &options), Keep::Nothing, &mut rng(1), now());
    let file = EncryptedFile::parse(&bytes.expect("seals"), Format::Yaml).expect("parses");
    assert!(file.audit().is_empty());
    for n in 1..=5 {
        let opened = file.open(&age_identity(n)).expect("opens");
        assert_eq!(opened.documents().to_tree().expect("text"), tree);
    }
    assert!(matches!(file.open(&age_identity(6)), Err(DecryptError::NoUsableKey { .. })));
}

#[test]
fn debug_shows_no_plaintext() {
    let plain = "hunter2: hunter2\nn: 4711\n# hunter2\n";
    let docs = Documents::parse(plain.as_bytes(), Format::Yaml).expect("YAML");
    let bytes = sealed(&docs, Format::Yaml, Keep::Nothing, 1);
    let file = opened(&bytes, Format::Yaml);
    let key = age_identity(1);
    let shown =
        format!("{docs:?} {file:?} {:?} {:?} {key:?}", file.data_key(), Keep::Values(&file));
    assert!(!shown.contains("hunter2") && !shown.contains("4711"), "{shown}");
    assert!(!shown.contains("SECRET"), "{shown}");
}

#[test]
fn comments_outlive_what_they_stood_beside() {
    let plain = "m:\n    # about k\n    k: v\nl:\n    # about x\n    - x\n";
    let mut docs = Documents::parse(plain.as_bytes(), Format::Yaml).expect("YAML");
    assert!(docs.unset(&["m", "k"]) && docs.unset(&["l", "0"]));
    let file = opened(&sealed(&docs, Format::Yaml, Keep::Nothing, 1), Format::Yaml);
    let text = file.documents().to_bytes(Format::Yaml, Indent::default()).expect("prints");
    assert_eq!(text.as_str(), Some("# about k\nm: {}\n# about x\nl: []\n"));
    assert_eq!(docs.to_bytes(Format::Yaml, Indent::default()), Ok(text));
}

/// Adds a second stanza, as somebody who leaves might for himself, or exchanges the wrapped key for another's.
#[test]
fn a_wrapped_key_that_looks_wrong_is_found_and_wrapped_anew() {
    let docs = Documents::parse(b"a: b\n", Format::Yaml).expect("YAML");
    let options = SealOptions::new([age_recipient(1), age_recipient(2)]);
    let seal =
        |keep| seal(&docs, (Format::Json, &options), keep, &mut rng(1), now()).expect("seals");
    let text = String::from_utf8(seal(Keep::Nothing)).expect("text");
    let mut tree: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let key = opened(text.as_bytes(), Format::Json).data_key().clone();
    let native = |n| age_recipient(n).as_str().parse::<age::x25519::Recipient>().expect("native");
    let (second, leaver) = (native(2), native(3));
    let both: [&dyn age::Recipient; 2] = [&second, &leaver];
    let mut enc = Vec::new();
    let armor = age::armor::ArmoredWriter::wrap_output(&mut enc, age::armor::Format::AsciiArmor);
    let file = age::Encryptor::with_recipients(both.into_iter()).expect("recipients");
    let mut file = file.wrap_output(armor.expect("armor")).expect("header");
    std::io::Write::write_all(&mut file, key.expose()).expect("writes");
    file.finish().and_then(|armor| armor.finish()).expect("ends");
    tree["sops"]["age"][1]["enc"] = String::from_utf8(enc).expect("text").into();

    let file = EncryptedFile::parse(tree.to_string().as_bytes(), Format::Json).expect("parses");
    let kinds: Vec<_> = file.audit().iter().map(|f| f.kind.name()).collect();
    assert_eq!(kinds, ["stanzas"]);
    let third = file.open(&age_identity(3)).expect("the hidden stanza opens");
    let again = EncryptedFile::parse(&seal(Keep::Everything(&third)), Format::Json);
    let again = again.expect("parses");
    assert!(again.audit().is_empty());
    assert!(again.open(&age_identity(3)).is_err());
    assert!(again.open(&age_identity(1)).is_ok() && again.open(&age_identity(2)).is_ok());
}
