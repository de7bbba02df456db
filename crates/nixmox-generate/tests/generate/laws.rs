//! Laws over drawn sets of declarations.

use std::collections::BTreeSet;

use nixmox_generate::Why;
use proptest::prelude::*;

use crate::site::Site;

/// A site of texts that are made from each other, always from ones with lower numbers.
fn chained(needs: &[Vec<usize>]) -> Site {
    let mut site = Site::new();
    for (number, needed) in needs.iter().enumerate() {
        let needed: Vec<usize> = needed.iter().copied().filter(|n| *n < number).collect();
        if needed.is_empty() {
            site.declare(&format!("g.n{number}"), "type=hex bytes=8");
        } else {
            let text: String = needed.iter().map(|n| format!("{{{{g.n{n}}}}}")).collect();
            site.declare(&format!("g.n{number}"), &format!("type=template text={text}"));
        }
    }
    site
}

/// Finds everything that is made, at whatever distance, from some others.
fn followers(needs: &[Vec<usize>], asked: &BTreeSet<usize>) -> BTreeSet<usize> {
    let mut found = asked.clone();
    for (number, needed) in needs.iter().enumerate() {
        if needed.iter().any(|n| *n < number && found.contains(n)) {
            found.insert(number);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn exactly_what_is_asked_for_and_what_follows_changes(
        needs in prop::collection::vec(prop::collection::vec(0usize..12, 0..4), 1..12),
        asked in prop::collection::btree_set(0usize..12, 0..4),
    ) {
        let asked: BTreeSet<usize> = asked.into_iter().filter(|n| *n < needs.len()).collect();
        // A text that is asked for is filled again and comes out the same.
        let drawn = |n: &usize| needs[*n].iter().all(|needed| needed >= n);
        let changing = asked.iter().copied().filter(drawn).collect();
        let mut site = chained(&needs);
        site.settle(&[]);
        let before = site.values();
        let names: Vec<String> = asked.iter().map(|n| format!("g.n{n}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let notes = site.settle(&names);
        let after = site.values();
        let changed: BTreeSet<usize> =
            (0..needs.len()).filter(|n| before[&format!("g.n{n}")] != after[&format!("g.n{n}")]).collect();
        prop_assert_eq!(&changed, &followers(&needs, &changing));
        for (name, why) in notes {
            prop_assert!(names.contains(&name.as_str()) == (why == Why::Asked), "{}", name);
        }
    }

    #[test]
    fn edits_of_other_values_never_change_what_was_made(
        needs in prop::collection::vec(prop::collection::vec(0usize..8, 0..3), 1..8),
        edits in prop::collection::vec(("[a-z]{1,6}", "[ -~]{1,20}"), 0..6),
    ) {
        let mut site = chained(&needs);
        site.settle(&[]);
        let before = site.records.clone();
        for (name, value) in edits {
            site.write(&format!("g.own.{name}"), &value).write(&format!("a.own.{name}"), &value);
            prop_assert!(site.settle(&[]).is_empty());
            prop_assert_eq!(&site.records, &before);
        }
    }

    #[test]
    fn what_is_declared_and_removed_leaves_nothing(
        needs in prop::collection::vec(prop::collection::vec(0usize..8, 0..3), 1..8),
        extra in prop::sample::select(vec!["hex", "uuid", "wireguard", "ssh-ed25519", "age"]),
    ) {
        let mut site = chained(&needs);
        site.settle(&[]);
        let before = (site.records.to_tree(), site.values());
        site.declare("g.extra", &format!("type={extra} perHost=true"));
        prop_assert_eq!(site.settle(&[]).len(), 2);
        site.remove("g.extra");
        prop_assert_eq!(site.settle(&[]).len(), 2);
        prop_assert!(before == (site.records.to_tree(), site.values()));
    }
}
