//! The fleets that jobs are done to.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use nixmox_hostkey::HostKey;
use nixmox_tree::SecretString;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use crate::Failure;

/// How large a fleet is, and who has its secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) groups: usize,
    /// Hosts of each group.
    pub(crate) hosts: usize,
    /// Secrets that each host has of its own.
    pub(crate) own: usize,
    /// Secrets that each group has.
    pub(crate) group: usize,
    /// Secrets of the group above all others.
    pub(crate) all: usize,
}

impl Shape {
    pub(crate) fn all_hosts(self) -> usize {
        self.groups * self.hosts
    }

    /// Counts the secrets in each host's file.
    pub(crate) fn each(self) -> usize {
        self.own + self.group + self.all
    }

    /// Counts the secrets that are written down in the master.
    pub(crate) fn written(self) -> usize {
        self.all_hosts() * self.own + self.groups * self.group + self.all
    }

    pub(crate) fn to_word(self) -> String {
        format!("{}x{}x{}x{}x{}", self.groups, self.hosts, self.own, self.group, self.all)
    }
}

impl FromStr for Shape {
    type Err = Failure;

    fn from_str(word: &str) -> Result<Self, Failure> {
        let numbers: Result<Vec<usize>, _> = word.split('x').map(str::parse).collect();
        match numbers?.as_slice() {
            [groups, hosts, own, group, all] => {
                Ok(Self { groups: *groups, hosts: *hosts, own: *own, group: *group, all: *all })
            }
            _ => Err(format!("not a shape: {word}").into()),
        }
    }
}

/// Length of every secret: 32 letters are a token or a generated password.
pub(crate) const SECRET: usize = 32;

/// The key of the one admin; the same every time, and good for nothing else.
pub(crate) fn admin() -> HostKey {
    HostKey::generate(&mut ChaCha20Rng::from_seed([7; 32]))
}

pub(crate) fn group(index: usize) -> String {
    format!("g{index:02}")
}

pub(crate) fn host(group: usize, index: usize) -> String {
    format!("g{group:02}-h{index:03}")
}

/// Where the file with the admin's key lies, outside the fleet.
pub(crate) fn key_file(root: &Path) -> PathBuf {
    root.with_extension("key")
}

/// Makes a fleet without any secrets: group files and `.sops.yaml`.
pub(crate) fn make(root: &Path, shape: Shape) -> Result<(), Failure> {
    let groups: Vec<String> = (0..shape.groups).map(group).collect();
    group_file(root, "all", &groups)?;
    for index in 0..shape.groups {
        let hosts: Vec<String> = (0..shape.hosts).map(|at| host(index, at)).collect();
        group_file(root, &group(index), &hosts)?;
    }
    let admin = admin();
    let recipient = admin.public().age_recipient();
    // Rules as people write them: one for the files of hosts, one for the rest.
    let rules = format!(
        "creation_rules:\n  - path_regex: ^(private/)?nodes/.*\n    age: {recipient}\n  - age: {recipient}\n"
    );
    fs::write(root.join(".sops.yaml"), rules)?;
    fs::write(key_file(root), admin.age_identity().expose())?;
    Ok(())
}

fn group_file(root: &Path, name: &str, members: &[String]) -> Result<(), Failure> {
    let dir = root.join("nodes").join(name);
    fs::create_dir_all(&dir)?;
    let mut text = String::from("{\n");
    for member in members {
        writeln!(text, "  {member} = {{ }};")?;
    }
    text.push_str("}\n");
    fs::write(dir.join("group.nix"), text)?;
    Ok(())
}

/// Writes the master of a fleet.
pub(crate) fn master(shape: Shape) -> Result<SecretString, Failure> {
    let mut rng = ChaCha20Rng::from_seed([9; 32]);
    let mut text = String::with_capacity(shape.written() * 64 + shape.all_hosts() * 64 + 4096);
    text.push_str("{\n  nodes = {\n");
    let mut node = |name: &str, kind: &str, count: usize| {
        if count > 0 {
            writeln!(text, "    {name} = {{")?;
            for index in 0..count {
                writeln!(text, "      {kind}-{index:02} = \"{}\";", secret(&mut rng))?;
            }
            writeln!(text, "    }};")?;
        }
        std::fmt::Result::Ok(())
    };
    node("all", "all", shape.all)?;
    for index in 0..shape.groups {
        node(&group(index), "group", shape.group)?;
        for at in 0..shape.hosts {
            node(&host(index, at), "own", shape.own)?;
        }
    }
    text.push_str("  };\n}\n");
    Ok(SecretString::new(text))
}

/// Draws a secret.
pub(crate) fn secret(rng: &mut impl RngCore) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyzABCDEF";
    let mut bytes = [0; SECRET];
    rng.fill_bytes(&mut bytes);
    let letter = |byte: u8| letters.get(usize::from(byte & 31)).copied().map_or('a', char::from);
    bytes.into_iter().map(letter).collect()
}
