//! The marker of an installation, on the disks that it has formatted.

use nixmox_deploy::StorePath;
use nixmox_topology::NodeName;
use serde::{Deserialize, Serialize};

/// The form that this version writes and reads.
const VERSION: u32 = 1;
/// The largest one that is read.
const MAX_BYTES: usize = 4096;

/// What the disks say about the installation that has formatted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The run.
    pub run: String,
    /// Whose disks they are.
    pub node: NodeName,
    /// What is being installed.
    pub toplevel: StorePath,
    /// The last thing that is known to be done.
    pub reached: Reached,
}

/// How far an installation is, on its disks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reached {
    /// The disks are formatted and mounted.
    Formatted,
    /// The whole system is there.
    Copied,
    /// Its files are.
    Placed,
    /// It would boot.
    Bootable,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    run: String,
    node: String,
    toplevel: String,
    reached: Reached,
}

impl Marker {
    /// Writes it as one line of JSON.
    pub fn to_json(&self) -> String {
        let record = Record {
            version: VERSION,
            run: self.run.clone(),
            node: self.node.to_string(),
            toplevel: self.toplevel.to_string(),
            reached: self.reached,
        };
        // A record of texts always has a form in JSON.
        serde_json::to_string(&record).unwrap_or_default()
    }

    /// Reads one.
    ///
    /// # Errors
    ///
    /// [`NoMarker`] for anything that this version does not write.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoMarker> {
        if bytes.len() > MAX_BYTES {
            return Err(NoMarker);
        }
        let record: Record = serde_json::from_slice(bytes).map_err(|_| NoMarker)?;
        let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if record.version != VERSION || record.run.is_empty() || !record.run.chars().all(good) {
            return Err(NoMarker);
        }
        Ok(Self {
            run: record.run,
            node: NodeName::parse(&record.node).map_err(|_| NoMarker)?,
            toplevel: StorePath::parse(&record.toplevel).map_err(|_| NoMarker)?,
            reached: record.reached,
        })
    }
}

/// It is no marker that this version writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no marker of an installation")]
pub struct NoMarker;

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            run: "20260101-1".into(),
            node: NodeName::parse("web").unwrap(),
            toplevel: StorePath::parse("/nix/store/0123456789abcdfghijklmnpqrsvwxyz-x").unwrap(),
            reached: Reached::Copied,
        }
    }

    #[test]
    fn what_is_written_is_read() {
        let text = marker().to_json();
        assert!(!text.contains('\n'));
        assert_eq!(Marker::parse(text.as_bytes()), Ok(marker()));
    }

    #[test]
    fn everything_else_is_none() {
        let text = marker().to_json();
        for bad in [
            text.replace("\"version\":1", "\"version\":2"),
            text.replace("20260101-1", "../x"),
            text.replace("/nix/store/", "/etc/"),
            text.replace("copied", "nearly"),
            String::new(),
            "x".repeat(5000),
        ] {
            assert_eq!(Marker::parse(bad.as_bytes()), Err(NoMarker), "{bad}");
        }
    }
}
