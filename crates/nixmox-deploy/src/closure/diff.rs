//! What differs between two closures, by package.

use std::collections::{BTreeMap, BTreeSet};

use crate::StorePath;

/// A package that two closures have in different versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// Its versions before; empty when it was not there. A path without version has an empty one.
    pub before: BTreeSet<String>,
    /// Its versions after.
    pub after: BTreeSet<String>,
}

/// Lists the packages whose versions differ, in order of their names.
///
/// Packages that were only built anew, in the same version, are not listed.
pub fn package_changes<'a>(
    before: impl IntoIterator<Item = &'a StorePath>,
    after: impl IntoIterator<Item = &'a StorePath>,
) -> Vec<PackageChange> {
    let mut all: BTreeMap<&str, (BTreeSet<&str>, BTreeSet<&str>)> = BTreeMap::new();
    for path in before {
        let (name, version) = split(path.name());
        all.entry(name).or_default().0.insert(version);
    }
    for path in after {
        let (name, version) = split(path.name());
        all.entry(name).or_default().1.insert(version);
    }
    let owned = |versions: BTreeSet<&str>| versions.into_iter().map(str::to_owned).collect();
    let changed = all.into_iter().filter(|(_, (before, after))| before != after);
    let change = |(name, (before, after)): (&str, _)| PackageChange {
        name: name.to_owned(),
        before: owned(before),
        after: owned(after),
    };
    changed.map(change).collect()
}

/// Splits a name at the first dash before something that is no letter, as Nix does.
fn split(name: &str) -> (&str, &str) {
    let dashes = name.match_indices('-').map(|(at, _)| at);
    let version = |at: &usize| {
        name.get(at + 1..)
            .and_then(|rest| rest.chars().next())
            .is_some_and(|c| !c.is_ascii_alphabetic())
    };
    match dashes.into_iter().find(version) {
        Some(at) => (name.get(..at).unwrap_or(name), name.get(at + 1..).unwrap_or_default()),
        None => (name, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<StorePath> {
        let hash = "0123456789abcdfghijklmnpqrsvwxyz";
        names.iter().map(|n| StorePath::parse(&format!("/nix/store/{hash}-{n}")).unwrap()).collect()
    }

    #[test]
    fn names_end_where_versions_begin() {
        #[track_caller]
        fn check(name: &str, expect: (&str, &str)) {
            assert_eq!(split(name), expect);
        }
        check("openssl-3.0.13", ("openssl", "3.0.13"));
        check("gcc-wrapper-13.2.0-lib", ("gcc-wrapper", "13.2.0-lib"));
        check("etc", ("etc", ""));
        check("unit-sshd.service", ("unit-sshd.service", ""));
        check("x-", ("x-", ""));
    }

    #[test]
    fn only_what_differs_is_listed() {
        let before = paths(&["openssl-3.0.12", "bash-5.2", "telnet-1.0", "etc"]);
        let after = paths(&["openssl-3.0.13", "bash-5.2", "nginx-1.24.0", "etc"]);
        let found = package_changes(&before, &after);
        let shown: Vec<_> =
            found.iter().map(|c| format!("{} {:?} {:?}", c.name, c.before, c.after)).collect();
        assert_eq!(
            shown,
            [r#"nginx {} {"1.24.0"}"#, r#"openssl {"3.0.12"} {"3.0.13"}"#, r#"telnet {"1.0"} {}"#]
        );
    }
}
