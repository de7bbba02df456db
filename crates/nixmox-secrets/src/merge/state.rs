//! Merges the keyed digests, which needs no key.
//!
//! Every digest is bound to the bytes that it vouches for, so an entry that is taken over whole from one of the sides
//! vouches for nothing that this side did not vouch for: held against other bytes it does not match, and the host's
//! file is sealed anew. What would have to be computed is left out instead; then an admin is asked again.

use std::collections::{BTreeMap, BTreeSet};

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
    let side = if ours.admins == base.admins { &theirs } else { &ours };
    let mut merged = side.clone();
    merged.hosts = hosts;
    // The digest of the admins is that of one side, and holds for the hosts' own admins as that side has them.
    if apart(&merged) != apart(side) {
        let other = if ours.admins == base.admins { &ours } else { &theirs };
        let fits = other.admins == merged.admins && apart(other) == apart(&merged);
        merged.admins_digest = if fits { other.admins_digest.clone() } else { Digest::default() };
    }
    // What the inputs are now, neither side has seen; only when both say the same they may be the same still.
    if ours.inputs != theirs.inputs {
        merged.inputs = Digest::default();
    }
    merged.to_bytes()
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
