//! Merges the keyed digests, and with them the ages of values, which needs no key.
//!
//! Every digest is bound to the bytes that it vouches for, so an entry that is taken over whole from one of the sides
//! vouches for nothing that this side did not vouch for: held against other bytes it does not match, and the host's
//! file is sealed anew. What would have to be computed is left out instead; then an admin is asked again.

use std::collections::{BTreeMap, BTreeSet};

use crate::ages::Ages;
use crate::digests::{Digest, Digests, HostDigests};

/// Merges three versions of `.nixmox/digests.json`, host by host; where both sides changed a host's, ours stay.
///
/// A version that cannot be read vouches for nothing.
pub fn merge_digests(base: &[u8], ours: &[u8], theirs: &[u8]) -> Vec<u8> {
    let (Some(ours), Some(theirs)) = (Digests::parse(ours), Digests::parse(theirs)) else {
        return ours.to_vec();
    };
    let base = Digests::parse(base).unwrap_or_default();
    let names: BTreeSet<&String> = ours.hosts.keys().chain(theirs.hosts.keys()).collect();
    let mut hosts = BTreeMap::new();
    for name in names {
        let [b, o, t] = [&base, &ours, &theirs].map(|digests| digests.hosts.get(name));
        if let Some(host) = pick(b, o, t) {
            hosts.insert(name.clone(), host.clone());
        }
    }
    let untouched = ours.admins == base.admins && ours.fleet == base.fleet;
    let side = if untouched { &theirs } else { &ours };
    let mut merged = side.clone();
    merged.hosts = hosts;
    // The digest of the admins is that of one side, and holds for the hosts' own admins as that side has them.
    if apart(&merged) != apart(side) {
        let other = if untouched { &ours } else { &theirs };
        let same = other.admins == merged.admins && other.fleet == merged.fleet;
        let fits = same && apart(other) == apart(&merged);
        merged.admins_digest = if fits { other.admins_digest.clone() } else { Digest::default() };
    }
    // What the inputs are now, neither side has seen; only when both say the same they may be the same still.
    if ours.inputs != theirs.inputs {
        merged.inputs = Digest::default();
    }
    merged.to_bytes()
}

/// Merges three versions of `.nixmox/ages.json`, value by value; one that cannot be read tells nothing.
pub fn merge_ages(base: &[u8], ours: &[u8], theirs: &[u8]) -> Vec<u8> {
    let (Some(own), Some(other)) = (Ages::parse(ours), Ages::parse(theirs)) else {
        return ours.to_vec();
    };
    Ages::merged(&Ages::parse(base).unwrap_or_default(), &own, &other).to_bytes()
}

/// Takes what one side alone changed from that side; where both did, ours, or theirs when we have none.
fn pick<'a>(
    base: Option<&'a HostDigests>,
    ours: Option<&'a HostDigests>,
    theirs: Option<&'a HostDigests>,
) -> Option<&'a HostDigests> {
    if base == ours { theirs } else { ours.or(theirs.filter(|_| base != theirs)) }
}

/// Lists the hosts whose keys others can open than the master.
fn apart(digests: &Digests) -> BTreeMap<&String, &BTreeSet<String>> {
    digests.hosts.iter().filter_map(|(name, host)| Some((name, host.admins.as_ref()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digests::DigestKey;
    use nixmox_sops::DataKey;
    use rand_core::SeedableRng;

    fn key(seed: u8) -> DigestKey {
        DigestKey::derive(&DataKey::generate(&mut rand_chacha::ChaCha20Rng::from_seed([seed; 32])))
    }

    /// Digests of hosts, each with a text that stands for its files; a name before `!` is apart from the admins.
    fn digests(seed: u8, admins: &[&str], hosts: &[(&str, &str)]) -> Digests {
        let key = key(seed);
        let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<BTreeSet<_>>();
        let record = |(name, text): &(&str, &str)| {
            let apart = text.split_once('!').map(|(admin, _)| set(&[admin]));
            let digest = |what: &str| key.digest(what, &[name.as_bytes(), text.as_bytes()]);
            let record = HostDigests {
                key: digest("key"),
                admins: apart,
                sealed: Some(digest("sealed")),
                values: Some(digest("values")),
                ..HostDigests::default()
            };
            ((*name).to_owned(), record)
        };
        let hosts = hosts.iter().map(record).collect();
        Digests::new(&key, (None, set(admins)), key.digest("inputs", &[b"x"]), hosts)
    }

    fn merged(base: &Digests, ours: &Digests, theirs: &Digests) -> Digests {
        let bytes = merge_digests(&base.to_bytes(), &ours.to_bytes(), &theirs.to_bytes());
        Digests::parse(&bytes).expect("its own form")
    }

    #[test]
    fn every_entry_is_one_of_a_side() {
        let base = digests(1, &["a"], &[("x", "0"), ("y", "0"), ("gone", "0")]);
        let ours = digests(1, &["a"], &[("x", "1"), ("y", "1"), ("gone", "0"), ("o", "1")]);
        let theirs = digests(1, &["a"], &[("x", "0"), ("y", "2"), ("t", "2")]);
        let merged = merged(&base, &ours, &theirs);
        let names: Vec<_> = merged.hosts.keys().map(String::as_str).collect();
        assert_eq!(names, ["o", "t", "x", "y"]);
        assert_eq!(merged.hosts["x"], ours.hosts["x"]);
        assert_eq!(merged.hosts["y"], ours.hosts["y"], "both changed it");
        assert_eq!(merged.hosts["t"], theirs.hosts["t"]);
        assert!(merged.vouches_for_admins(&key(1)));
    }

    #[test]
    fn admins_are_vouched_for_only_as_one_side_did() {
        let base = digests(1, &["a"], &[("x", "0"), ("y", "0")]);
        let more = digests(1, &["a", "b"], &[("x", "0"), ("y", "0")]);
        let taken = merged(&base, &base, &more);
        assert!(taken.admins == more.admins && taken.vouches_for_admins(&key(1)));
        let other = digests(1, &["a", "c"], &[("x", "0"), ("y", "0")]);
        let both = merged(&base, &more, &other);
        assert!(both.admins == more.admins && both.vouches_for_admins(&key(1)));
        // Each side let somebody open one host's key: nobody has seen the two together.
        let [one, two] = [[("x", "c!1"), ("y", "0")], [("x", "0"), ("y", "d!1")]]
            .map(|hosts| digests(1, &["a"], &hosts));
        assert!(!merged(&base, &one, &two).vouches_for_admins(&key(1)));
    }

    #[test]
    fn digests_of_two_keys_vouch_for_no_admins() {
        let base = digests(1, &["a"], &[("x", "0")]);
        let ours = digests(1, &["a"], &[("x", "0"), ("o", "1")]);
        let theirs = digests(2, &["a", "evil"], &[("x", "9")]);
        let merged = merged(&base, &ours, &theirs);
        assert!(!merged.vouches_for_admins(&key(1)));
        assert!(!merged.inputs.matches(&ours.inputs));
    }

    #[test]
    fn what_is_no_digests_file_takes_nothing_over() {
        let ours = digests(1, &["a"], &[("x", "1")]).to_bytes();
        for theirs in ["", "{}", "null", "<<<<<<< ours"] {
            assert_eq!(merge_digests(b"", &ours, theirs.as_bytes()), ours, "{theirs:?}");
        }
        assert_eq!(merge_digests(b"", b"", &ours), b"");
    }
}
