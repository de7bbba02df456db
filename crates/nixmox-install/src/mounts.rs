//! What is mounted at `/mnt`, against what the new system will look for.

use serde::Deserialize;
use serde_json::Value;

use crate::reply::{Reply, printable};

/// How many mounts are read.
const MAX_MOUNTS: usize = 1024;
const ROOT: &str = "/mnt";
/// What is no file system of a disk.
const NOT_ON_DISKS: [&str; 8] =
    ["tmpfs", "ramfs", "proc", "sysfs", "devtmpfs", "devpts", "overlay", "swap"];

/// What is mounted at `/mnt` and below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mounts {
    all: Vec<Mount>,
    fstab: Vec<Entry>,
    /// How much the root has room for, with what it holds, in KiB.
    pub room_kib: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// Below the new root.
    target: String,
    source: String,
    kind: String,
    options: String,
    /// Other names of the source: `UUID=…`, `LABEL=…`.
    names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    source: String,
    target: String,
    kind: String,
}

#[derive(Deserialize)]
struct Listing {
    filesystems: Vec<Value>,
}

impl Mounts {
    /// Reads what `findmnt --json --list` prints, and the lines after it.
    pub(crate) fn read(json: &[u8], lines: &Reply) -> Option<Self> {
        let listing: Listing = serde_json::from_slice(json).ok()?;
        let all = listing.filesystems.iter().take(MAX_MOUNTS).filter_map(mount).collect();
        let entry = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some(Entry { source: words.next()?, target: words.next()?, kind: words.next()? })
        };
        let fstab = lines.all("fstab").take(MAX_MOUNTS).filter_map(entry).collect();
        Some(Self { all, fstab, room_kib: lines.number("room_kib").unwrap_or_default() })
    }

    /// Lists what the new system would not find, in words: file systems of its `fstab` that are not mounted where it
    /// expects them, or something else is.
    pub fn missing(&self) -> Vec<String> {
        let wanted = self.fstab.iter().filter(|entry| {
            entry.target.starts_with('/') && !NOT_ON_DISKS.contains(&entry.kind.as_str())
        });
        wanted.filter_map(|entry| self.problem(entry)).collect()
    }

    fn problem(&self, entry: &Entry) -> Option<String> {
        // What is mounted last lies over what was there before.
        let there = self.all.iter().rev().find(|mount| mount.target == entry.target);
        let Some(mount) = there else {
            return Some(format!("{} is not mounted at {}", entry.source, entry.target));
        };
        let tagged = entry.source.contains('=');
        // What a device is called can be told for certain by its tags alone.
        let other = tagged && !mount.names.is_empty() && !mount.names.contains(&entry.source);
        other.then(|| {
            format!("{} is mounted at {} instead of {}", mount.source, entry.target, entry.source)
        })
    }

    /// Tells whether the root lies on a file system that is gone when the machine is off.
    pub fn root_in_memory(&self) -> bool {
        let root = self.all.iter().rev().find(|mount| mount.target == "/");
        root.is_some_and(|mount| ["tmpfs", "ramfs"].contains(&mount.kind.as_str()))
    }
}

fn mount(value: &Value) -> Option<Mount> {
    let text = |name: &str| {
        let text = value.get(name).and_then(Value::as_str).map(printable).unwrap_or_default();
        (text.len() < 4096).then_some(text)
    };
    let target = text("target")?;
    let below = target.strip_prefix(ROOT)?;
    let target = if below.is_empty() { "/".to_owned() } else { below.to_owned() };
    let tags = [
        ("uuid", "UUID"),
        ("label", "LABEL"),
        ("partuuid", "PARTUUID"),
        ("partlabel", "PARTLABEL"),
    ];
    let mut names = Vec::new();
    for (field, tag) in tags {
        let value = text(field)?;
        if !value.is_empty() {
            names.push(format!("{tag}={value}"));
        }
    }
    Some(Mount {
        target,
        source: text("source")?,
        kind: text("fstype")?,
        options: text("options")?,
        names,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINDMNT: &str = r#"{"filesystems": [
        {"target":"/mnt","source":"/dev/vda2","fstype":"ext4","options":"rw","uuid":"u1","label":"nixos","partuuid":null,"partlabel":"root"},
        {"target":"/mnt/boot","source":"/dev/vda1","fstype":"vfat","options":"rw","uuid":"u2","label":"BOOT"}]}"#;

    #[track_caller]
    fn check(fstab: &[&str], expect: &[&str]) {
        let lines: String = fstab.iter().map(|line| format!("fstab={line}\n")).collect();
        let mounts = Mounts::read(FINDMNT.as_bytes(), &Reply::parse(lines.as_bytes())).unwrap();
        assert_eq!(mounts.missing(), expect);
    }

    #[test]
    fn what_is_mounted_is_found() {
        check(&["LABEL=nixos / ext4", "UUID=u2 /boot vfat", "tmpfs /tmp tmpfs"], &[]);
        check(&["/dev/vda2 / ext4", "/dev/sdb none swap"], &[]);
        check(&[], &[]);
    }

    #[test]
    fn what_is_not_mounted_or_something_else_is_named() {
        check(&["LABEL=home /home ext4"], &["LABEL=home is not mounted at /home"]);
        check(&["LABEL=other / ext4"], &["/dev/vda2 is mounted at / instead of LABEL=other"]);
    }

    #[test]
    fn a_root_in_memory_is_seen() {
        let json = r#"{"filesystems":[{"target":"/mnt","source":"tmpfs","fstype":"tmpfs","options":"rw"}]}"#;
        let mounts = Mounts::read(json.as_bytes(), &Reply::default()).unwrap();
        assert!(mounts.root_in_memory());
        assert_eq!(Mounts::read(b"{}", &Reply::default()), None);
    }
}
