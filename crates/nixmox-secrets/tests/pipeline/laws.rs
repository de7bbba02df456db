//! Laws that hold for every small fleet.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_secrets::{Form, host_identities, master};
use nixmox_sops::{EncryptedFile, Format};
use nixmox_tree::SecretString;
use proptest::prelude::*;

use crate::site::*;

/// One sorts before the group of all hosts, two behind it.
const GROUPS: [&str; 3] = ["aa", "gb", "gc"];
const HOSTS: [&str; 4] = ["h1", "h2", "h3", "h4"];
const KEYS_OF_NODES: [&str; 3] = ["a", "b", "_c"];

/// Who is in which group beside `all`, and what is written for whom.
#[derive(Debug, Clone)]
struct Shape {
    members: BTreeMap<&'static str, BTreeSet<&'static str>>,
    values: BTreeMap<(&'static str, &'static str), u8>,
}

fn shape() -> impl Strategy<Value = Shape> {
    let members = prop::collection::btree_set(prop::sample::select(&HOSTS[..]), 1..4);
    let members = prop::collection::btree_map(prop::sample::select(&GROUPS[..]), members, 1..4);
    let node = prop::sample::select([&GROUPS[..], &HOSTS[..]].concat());
    let key = prop::sample::select(&KEYS_OF_NODES[..]);
    let values = prop::collection::btree_map((node, key), any::<u8>(), 0..8);
    (members, values).prop_map(|(members, values)| Shape { members, values })
}

impl Shape {
    fn has(&self, node: &str) -> bool {
        HOSTS.contains(&node) || self.members.contains_key(node)
    }

    fn text(&self) -> String {
        let values = self.values.iter().filter(|((node, _), _)| self.has(node));
        let lines: String =
            values.map(|((node, key), n)| format!("nodes.{node}.{key} = \"v{n}\"; ")).collect();
        format!("{{ {lines}}}")
    }

    /// Writes the group files, and removes those of groups that are gone.
    fn lay_out(&self, site: &Site) {
        // A host that was gone and comes back is asked about, so none is ever gone.
        site.group("all", &HOSTS);
        for group in GROUPS {
            match self.members.get(group) {
                Some(hosts) => site.group(group, &hosts.iter().copied().collect::<Vec<_>>()),
                None => {
                    drop(std::fs::remove_file(site.root().join(format!("nodes/{group}/group.nix"))))
                }
            }
        }
    }
}

/// Expects that every host's file opens with its own key alone and holds what the cascade gives it.
fn holds(site: &Site, text: &str) -> Result<(), TestCaseError> {
    let fleet = site.fleet();
    let topology = fleet.topology();
    let tree = master::evaluate(Form::Nix, &SecretString::new(text), None).unwrap();
    let nodes = master::nodes(&tree).unwrap();
    let wanted = nixmox_cascade::resolve(topology, &nodes).unwrap();
    let admin = site.admin.identities();
    for host in topology.hosts() {
        let path = format!("{}/secrets.yaml", topology.dir(host));
        prop_assert_eq!(site.has(&path), wanted.contains_key(host), "{}", path);
        if !site.has(&path) {
            continue;
        }
        let sealed = EncryptedFile::parse(&site.read(&path), Format::Yaml).unwrap();
        for reader in wanted.keys() {
            let key = host_identities(&fleet, reader, &admin).unwrap();
            match sealed.open(&key) {
                Ok(file) => {
                    prop_assert_eq!(reader, host, "only its own host opens a file");
                    prop_assert_eq!(&file.documents().to_tree().unwrap(), &wanted[host]);
                }
                Err(_) => prop_assert_ne!(reader, host),
            }
        }
        prop_assert!(sealed.open(&admin).is_err(), "not even the admins' keys open it directly");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_is_committed_is_what_the_cascade_says_and_nothing_is_left_to_do(
        shapes in prop::collection::vec(shape(), 1..4)
    ) {
        let mut site = Site::bare(Form::Nix);
        let mut keys: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for shape in shapes {
            shape.lay_out(&site);
            let text = shape.text();
            site.edit(&text);
            holds(&site, &text)?;
            let before = site.snapshot();
            prop_assert!(site.again().is_unchanged());
            prop_assert_eq!(before, site.snapshot());
            // Whatever groups a host moves between, it keeps its key.
            let fleet = site.fleet();
            for host in fleet.topology().hosts() {
                let path = format!("{}/ssh_host_ed25519_key.pub", fleet.topology().dir(host));
                if site.has(&path) {
                    let key = site.read(&path);
                    let first = keys.entry(host.to_string()).or_insert_with(|| key.clone());
                    prop_assert_eq!(&key, &*first);
                }
            }
            prop_assert_eq!(site.check().problems, vec![]);
        }
    }
}
