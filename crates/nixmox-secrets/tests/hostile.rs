//! Whatever somebody else wrote: it is answered, never with a panic, and values are found wherever they stand.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::io::{self, Read};

use nixmox_secrets::consumers::{Declared, by_host};
use nixmox_secrets::doctor::{Needles, Shell, leftover, live_key, objects};
use nixmox_tree::{SecretTree, Value};
use proptest::prelude::*;

/// Gives as many bytes at a time as it is told, over and over.
struct Steps<'a>(&'a [u8], std::iter::Cycle<std::slice::Iter<'a, usize>>);

impl Read for Steps<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let step = self.1.next().copied().unwrap_or(1).min(into.len());
        (&mut self.0).take(u64::try_from(step).unwrap()).read(into)
    }
}

fn needles(values: &[String]) -> Needles {
    let named = values.iter().enumerate();
    let tree: SecretTree = named.map(|(n, v)| (format!("v{n}"), Value::string(v))).collect();
    Needles::of(&tree).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_are_found_at_their_lines(
        value in "[a-z]{4}[0-9]{4}[A-Z!-/]{0,20}",
        other in "[A-Z]{9}[a-z]{9}",
        before in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
        between in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
        steps in proptest::collection::vec(1..90_usize, 1..8),
    ) {
        let needles = needles(&[value.clone(), other.clone()]);
        let text = [&before[..], other.as_bytes(), &between, value.as_bytes(), b"\n"].concat();
        let found = needles.scan(&mut Steps(&text, steps.iter().cycle())).unwrap();
        let lines = |bytes: &[u8]| u64::try_from(bytes.iter().filter(|b| **b == b'\n').count()).unwrap() + 1;
        let at = |name: &str| found.iter().find(|o| o.names.iter().any(|n| n == name)).map(|o| o.line);
        prop_assert_eq!(at("v1"), Some(lines(&before)));
        prop_assert_eq!(at("v0"), Some(lines(&[&before[..], &between].concat())));
    }

    #[test]
    fn any_bytes_are_answered(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..600)) {
        let needles = needles(&["c0rrect-horse".to_owned()]);
        let _ = objects(&needles, &mut io::BufReader::new(&bytes[..]), &mut |_| {});
        let _ = live_key(&bytes);
        let _ = Declared::parse(&bytes);
        let _ = by_host(&bytes);
        for path in ["a.dec.yaml", "secrets.nix", "build/w.json", "x"] {
            let _ = leftover(path, &bytes, &|_| true);
        }
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            prop_assert!(shell.read(&bytes).len() <= bytes.len());
        }
    }

    #[test]
    fn any_json_is_answered(text in r#"[\[\]{}:,"a-z0-9 ]{0,60}"#) {
        let wrapped = format!("{{\"secrets\":[{{\"name\":\"a\",\"key\":{text}}}]}}");
        let _ = Declared::parse(text.as_bytes());
        let _ = Declared::parse(wrapped.as_bytes());
    }
}
