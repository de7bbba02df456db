//! The disks of a machine, which of them would be erased, and the token that says so.

use std::collections::BTreeMap;

use nixmox_topology::NodeName;
use serde::Deserialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::reply::{Reply, printable};

/// How many devices are read of one machine.
const MAX_DEVICES: usize = 4096;
/// How deep devices lie in each other.
const MAX_DEPTH: usize = 16;
/// How many characters a token has.
const TOKEN: usize = 10;

/// A disk of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// What the kernel calls it now, `/dev/sda`; it may be called otherwise after the next boot.
    pub path: String,
    /// The number that its maker gave it.
    pub serial: Option<String>,
    /// Its World Wide Name.
    pub wwn: Option<String>,
    /// What it is.
    pub model: Option<String>,
    /// How large it is, in bytes.
    pub size: u64,
    /// Whether nothing can be written to it.
    pub read_only: bool,
    /// What lies on it: file systems and the like, and where they are mounted.
    pub holds: Vec<String>,
    /// Where parts of it are mounted.
    pub mounted: Vec<String>,
    /// Whether nothing is on it: no file system, no partition, nothing that is made of it.
    pub blank: bool,
}

impl Disk {
    /// Returns what it is known by from one boot to the next.
    pub fn lasting_name(&self) -> String {
        match (&self.serial, &self.wwn) {
            (Some(serial), _) => format!("serial {serial}"),
            (None, Some(wwn)) => format!("wwn {wwn}"),
            (None, None) => {
                format!("{} of {} bytes, without a serial number", self.path, self.size)
            }
        }
    }
}

/// The disks of a machine, and what names of devices mean on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disks {
    all: Vec<Disk>,
    /// From a name of the configuration to what the kernel calls it.
    names: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Listing {
    blockdevices: Vec<Value>,
}

impl Disks {
    /// Reads what `lsblk --json --bytes` prints, and the lines after it.
    pub(crate) fn read(json: &[u8], lines: &Reply) -> Option<Self> {
        let listing: Listing = serde_json::from_slice(json).ok()?;
        let mut serials: BTreeMap<&str, &str> = BTreeMap::new();
        serials.extend(lines.all("serial").filter_map(|line| line.split_once(' ')));
        let disk = |device: &Value| disk(device, &serials);
        let all = listing.blockdevices.iter().take(MAX_DEVICES).filter_map(disk).collect();
        let named = |line: &str| {
            let (name, path) = line.split_once(' ')?;
            (!path.is_empty()).then(|| (name.to_owned(), path.to_owned()))
        };
        Some(Self { all, names: lines.all("device").filter_map(named).collect() })
    }

    /// Returns the disks that the scripts of a configuration erase: those that it names, and all that can be written
    /// to when it names none.
    ///
    /// # Errors
    ///
    /// [`NoDisk`] for a name that means no disk of this machine, or when there is no disk at all.
    pub fn erased(&self, devices: &[String]) -> Result<Vec<&Disk>, NoDisk> {
        if devices.is_empty() {
            let writable: Vec<_> = self.all.iter().filter(|disk| !disk.read_only).collect();
            return if writable.is_empty() {
                Err(NoDisk { device: "any disk".to_owned() })
            } else {
                Ok(writable)
            };
        }
        let find = |device: &String| {
            let path = self.names.get(device).unwrap_or(device);
            let found = self.all.iter().find(|disk| disk.path == *path);
            found.ok_or_else(|| NoDisk { device: device.clone() })
        };
        devices.iter().map(find).collect()
    }
}

/// Returns the token that says that these disks of this node may be erased.
///
/// It is short enough to be typed, and belongs to these disks by their numbers: with another disk it is another one.
pub fn token(node: &NodeName, disks: &[&Disk]) -> String {
    let mut names: Vec<_> = disks.iter().map(|disk| disk.lasting_name()).collect();
    names.sort();
    let mut hash = Sha256::new();
    for part in ["nixmox wipe 1", node.as_str()].into_iter().chain(names.iter().map(String::as_str))
    {
        hash.update(part);
        hash.update([0]);
    }
    let text: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    text.chars().take(TOKEN).collect()
}

fn disk(device: &Value, serials: &BTreeMap<&str, &str>) -> Option<Disk> {
    let path = text(device, "path")?;
    let kind = text(device, "type")?;
    let name = path.strip_prefix("/dev/").unwrap_or(&path);
    // Memory that is used as a disk, empty drives of floppies and CDs are none.
    let size = number(device, "size");
    if kind != "disk" || size == 0 || name.starts_with("zram") || name.starts_with("ram") {
        return None;
    }
    let serial = text(device, "serial").or_else(|| serials.get(name).map(|s| (*s).to_owned()));
    let (mut holds, mut mounted) = (Vec::new(), Vec::new());
    contents(device, 0, &mut holds, &mut mounted);
    let parts = device.get("children").and_then(Value::as_array);
    Some(Disk {
        blank: holds.is_empty() && parts.is_none_or(Vec::is_empty),
        serial: serial.map(|serial| serial.trim().to_owned()).filter(|serial| !serial.is_empty()),
        wwn: text(device, "wwn"),
        model: text(device, "model"),
        size,
        read_only: flag(device, "ro"),
        path,
        holds,
        mounted,
    })
}

fn contents(device: &Value, depth: usize, holds: &mut Vec<String>, mounted: &mut Vec<String>) {
    if depth > MAX_DEPTH || holds.len() > MAX_DEVICES {
        return;
    }
    if let Some(kind) = text(device, "fstype") {
        holds.push(format!("{} on {}", kind, text(device, "path").unwrap_or_default()));
    }
    mounted.extend(text(device, "mountpoint"));
    let children = device.get("children").and_then(Value::as_array);
    for child in children.into_iter().flatten() {
        contents(child, depth + 1, holds, mounted);
    }
}

fn text(device: &Value, name: &str) -> Option<String> {
    let text = printable(device.get(name)?.as_str()?);
    (!text.is_empty() && text.len() < 1024).then_some(text)
}

fn number(device: &Value, name: &str) -> u64 {
    let value = device.get(name);
    let number = value.and_then(Value::as_u64);
    // Older versions write numbers as texts.
    number.or_else(|| value?.as_str()?.parse().ok()).unwrap_or_default()
}

fn flag(device: &Value, name: &str) -> bool {
    match device.get(name) {
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) => text == "1",
        Some(Value::Number(number)) => number.as_u64() == Some(1),
        _ => false,
    }
}

/// The machine does not have a disk that is to be erased.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the machine has no disk that is {device}")]
pub struct NoDisk {
    /// Which one.
    pub device: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `lsblk` of util-linux 2.38 writes it, shortened.
    const LSBLK: &str = r#"{"blockdevices": [
        {"name":"sr0","path":"/dev/sr0","type":"rom","size":1073741312,"ro":false},
        {"name":"zram0","path":"/dev/zram0","type":"disk","size":1073741824,"ro":false},
        {"name":"vda","path":"/dev/vda","type":"disk","size":3221225472,"serial":"disk0","wwn":null,"model":null,"ro":false,
         "children":[{"name":"vda1","path":"/dev/vda1","type":"part","size":1,"fstype":"ext4","mountpoint":"/mnt"}]},
        {"name":"vdb","path":"/dev/vdb","type":"disk","size":"72728576","serial":null,"ro":"1","fstype":"squashfs"}]}"#;
    const LINES: &str = "serial=vdb installer\ndevice=/dev/disk/by-id/virtio-disk0 /dev/vda\ndevice=/dev/sdx /dev/sdx\n";

    fn disks() -> Disks {
        Disks::read(LSBLK.as_bytes(), &Reply::parse(LINES.as_bytes())).unwrap()
    }

    fn node() -> NodeName {
        NodeName::parse("web").unwrap()
    }

    #[test]
    fn disks_are_told_from_what_is_none() {
        let disks = disks();
        let paths: Vec<_> = disks.all.iter().map(|disk| disk.path.as_str()).collect();
        assert_eq!(paths, ["/dev/vda", "/dev/vdb"]);
        assert_eq!(disks.all[0].serial.as_deref(), Some("disk0"));
        assert_eq!(disks.all[0].holds, ["ext4 on /dev/vda1"]);
        assert_eq!(disks.all[0].mounted, ["/mnt"]);
        assert_eq!(disks.all[1].serial.as_deref(), Some("installer"));
        assert!(disks.all[1].read_only);
        assert!(disks.all.iter().all(|disk| !disk.blank));
        let json = r#"{"blockdevices": [{"path":"/dev/vdc","type":"disk","size":9,"fstype":null},
            {"path":"/dev/vdd","type":"disk","size":9,"children":[{"path":"/dev/vdd1","type":"part","size":9}]}]}"#;
        let disks = Disks::read(json.as_bytes(), &Reply::default()).unwrap();
        assert_eq!(disks.all.iter().map(|disk| disk.blank).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn what_is_erased_is_what_is_named() {
        #[track_caller]
        fn check(devices: &[&str], expect: Result<&[&str], &str>) {
            let devices: Vec<_> = devices.iter().map(|d| (*d).to_owned()).collect();
            let disks = disks();
            let found = disks.erased(&devices);
            let found = found.map(|f| f.iter().map(|d| d.path.clone()).collect::<Vec<_>>());
            let expect = expect.map(|e| e.iter().map(|p| (*p).to_owned()).collect());
            assert_eq!(found, expect.map_err(|device| NoDisk { device: device.to_owned() }));
        }
        check(&["/dev/disk/by-id/virtio-disk0"], Ok(&["/dev/vda"]));
        check(&["/dev/vda"], Ok(&["/dev/vda"]));
        check(&[], Ok(&["/dev/vda"]));
        check(&["/dev/sdx"], Err("/dev/sdx"));
    }

    #[test]
    fn tokens_belong_to_a_node_and_to_its_disks() {
        let disks = disks();
        let (first, second) = (&disks.all[0], &disks.all[1]);
        let own = token(&node(), &[first]);
        assert_eq!(own.len(), TOKEN);
        assert_eq!(token(&node(), &[first, second]), token(&node(), &[second, first]));
        assert_ne!(token(&node(), &[first, second]), own);
        assert_ne!(token(&NodeName::parse("db").unwrap(), &[first]), own);
        // What the kernel calls it does not count.
        let renamed = Disk { path: "/dev/sdz".into(), ..first.clone() };
        assert_eq!(token(&node(), &[&renamed]), own);
        let other = Disk { serial: Some("disk1".into()), ..first.clone() };
        assert_ne!(token(&node(), &[&other]), own);
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        for bad in ["", "[]", "{}", "{\"blockdevices\": 1}"] {
            assert_eq!(Disks::read(bad.as_bytes(), &Reply::default()), None, "{bad}");
        }
        let mut deep = String::from("{\"blockdevices\": [");
        let open =
            "{\"path\":\"/dev/a\",\"type\":\"disk\",\"size\":1,\"fstype\":\"x\",\"children\":[";
        deep.push_str(&open.repeat(40));
        deep.push_str(&"]}".repeat(40));
        deep.push_str("]}");
        let disks = Disks::read(deep.as_bytes(), &Reply::default()).unwrap();
        assert_eq!(disks.all[0].holds.len(), MAX_DEPTH + 1);
    }
}
