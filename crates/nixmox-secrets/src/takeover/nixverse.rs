//! A repository of Nixverse, in its older and its newer arrangement, with or without `private/`.

use std::collections::BTreeSet;
use std::path::Path;

use nixmox_sops::{Format, is_sops};
use nixmox_topology::{Kind, NodeName, Topology};

use super::sops::{causes, files};
use super::{Into, Pair, Taken, TakeoverError, Why};
use crate::edit::RealNix;
use crate::fleet::{AskNix, Fleet};
use crate::hosts::HostFiles;
use crate::store::{EntryKind, RelPath};
use crate::{Error, Master, master};

/// Files that define a node.
const DEFINITIONS: [&str; 3] = ["node.nix", "host.nix", "group.nix"];

/// Takes the values, nodes, host keys and recipients of a repository of Nixverse.
///
/// A fleet whose master is still empty gets the other's text as it is, with its comments and references; else every
/// value is taken to its own place. Definitions of nodes are copied; one that means something else here is an error.
///
/// # Errors
///
/// [`TakeoverError`] when the tree is no fleet, its master does not open or evaluate, or the two do not fit.
pub fn nixverse(
    root: &Path,
    into: Into<'_>,
    ask_nix: &AskNix<'_>,
    real_nix: Option<&RealNix>,
) -> Result<Taken, TakeoverError> {
    let of_tree = |error| TakeoverError::Tree(Box::new(error));
    let tree = Fleet::open(root, ask_nix).map_err(of_tree)?;
    if tree.layout.private && !into.fleet.layout.private {
        return Err(TakeoverError::NoOverlay);
    }
    let mut taken = Taken::new(into);
    let opened = Master::open(&tree, into.identities).map_err(of_tree)?;
    let values = master::evaluate(opened.form(), opened.text(), real_nix).map_err(of_tree)?;
    taken.files += 1;
    taken.tree(&[], &values, opened.path().as_str());
    // A text with something in it that cannot be sealed is taken value by value, so that the rest comes along.
    if taken.left.is_empty() {
        taken.text = Some((opened.form(), opened.text().clone()));
    }
    definitions(&tree, into, &mut taken)?;
    keys(&tree, into, &mut taken)?;
    delivered_files(&tree, &mut taken)?;
    let here: BTreeSet<String> = crate::doctor::admins(into.fleet)?.into_iter().collect();
    // A tree without rules opens all the same: what it is sealed to stands in its files.
    let there = crate::doctor::admins(&tree).unwrap_or_default();
    for admin in there.into_iter().filter(|admin| !here.contains(admin)) {
        taken.left(admin, Why::NotAnAdmin);
    }
    Ok(taken)
}

/// Copies the definitions of nodes that this fleet has not, and holds the others against its own.
fn definitions(tree: &Fleet, into: Into<'_>, taken: &mut Taken) -> Result<(), TakeoverError> {
    let here = &into.fleet.topology;
    for node in tree.topology.nodes() {
        if here.contains(node) {
            same_meaning(node, &tree.topology, here)?;
        }
    }
    let areas = if tree.layout.private { &["nodes", "private/nodes"][..] } else { &["nodes"] };
    for area in areas {
        let area = RelPath::parse(area).map_err(Error::from)?;
        for entry in tree.store.entries(&area).map_err(Error::from)? {
            if entry.kind != EntryKind::Dir || here.contains(&entry.name) {
                continue;
            }
            for file in DEFINITIONS {
                let Ok(path) = area.join(&format!("{}/{file}", entry.name)) else { continue };
                if let Some(bytes) = tree.read(&path)? {
                    taken.left(&path, Why::OnlyCopied);
                    taken.definitions.insert(path, bytes);
                }
            }
        }
    }
    for group in tree.topology.groups().filter(|group| !here.contains(group)) {
        taken.groups.insert(group.to_string(), tree.topology.members(group).to_vec());
    }
    Ok(())
}

/// Refuses a node that is a host in one fleet and a group in the other, or a group of other hosts.
fn same_meaning(node: &NodeName, there: &Topology, here: &Topology) -> Result<(), TakeoverError> {
    let meaning = |topology: &Topology| match topology.kind(node) {
        Some(Kind::Host) => "a host".to_owned(),
        _ => {
            let hosts: Vec<String> =
                topology.hosts_of(node).iter().map(ToString::to_string).collect();
            format!("the group of {}", hosts.join(", "))
        }
    };
    let (there, here) = (meaning(there), meaning(here));
    match there == here {
        true => Ok(()),
        false => Err(TakeoverError::Node { node: node.to_string(), there, here }),
    }
}

/// Takes the key pairs of hosts, each opened once to see that it is what it says.
fn keys(tree: &Fleet, into: Into<'_>, taken: &mut Taken) -> Result<(), TakeoverError> {
    let mut here = HostFiles::read_all(into.fleet)?;
    for (host, files) in HostFiles::read_all(tree)? {
        let place = files.key.place().clone();
        let pair = match files.key_pair(&host) {
            Ok(None) => continue,
            Ok(Some(pair)) => pair,
            Err(error) => {
                taken.left(place, Why::Unopened(error.to_string()));
                continue;
            }
        };
        if !is_sops(pair.private, Format::Binary) {
            taken.left(place, Why::NotSealed);
            continue;
        }
        let key = match files.open_key(into.identities) {
            Ok(key) => key.public(),
            Err(error) => {
                taken.left(place, Why::Unopened(causes(&error)));
                continue;
            }
        };
        taken.files += 1;
        if let Some(own) = here.remove(&host).filter(|own| own.public.bytes.is_some()) {
            match own.public_key()? == key {
                true => continue,
                false => return Err(TakeoverError::OtherKey(host)),
            }
        }
        let (private, public) = (pair.private.to_vec(), pair.public.to_vec());
        taken.keys.insert(host, Pair { private, public, fingerprint: key.fingerprint() });
    }
    Ok(())
}

/// Names the files that Nixverse puts onto hosts as they are, other than host keys.
fn delivered_files(tree: &Fleet, taken: &mut Taken) -> Result<(), TakeoverError> {
    let mut all = Vec::new();
    files(&tree.store, &RelPath::root(), 0, &mut all, &mut Taken::default())?;
    for path in all {
        let text = path.as_str();
        let below = text.split_once("/secrets/fs/").map(|(_, below)| below);
        if text.contains("nodes/") && below.is_some_and(|b| b != "etc/ssh/ssh_host_ed25519_key") {
            taken.left(path, Why::DeliveredFile);
        }
    }
    Ok(())
}
