//! What this machine remembers of an installation. It helps; what the other machine answers decides.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nixmox_topology::NodeName;
use serde::{Deserialize, Serialize};

use crate::InstallError;

/// The form that this version writes and reads.
const VERSION: u32 = 1;
/// The largest file that is read.
const MAX_BYTES: u64 = 64 << 10;

/// What is remembered of the installation of one node. There is no secret in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    version: u32,
    /// The run.
    pub run: String,
    /// The node.
    pub node: String,
    /// What is being installed.
    pub toplevel: String,
    /// The phase that was begun last.
    pub phase: String,
    /// The token with which erasing the disks was agreed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<String>,
    /// The key by which the machine was recognised before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before_key: Option<String>,
    /// The key of the installer of this run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installer_key: Option<String>,
    /// Whether the disks were formatted to the end.
    #[serde(default)]
    pub formatted: bool,
    /// The boot from which the machine jumped into the installer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jumped_from: Option<String>,
    /// The boot that the machine had when it was told to reboot into its new system.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebooted_from: Option<String>,
    /// Whether nobody had told the key of the machine by another way.
    #[serde(default)]
    pub unauthenticated: bool,
    /// Whether everything is done.
    #[serde(default)]
    pub done: bool,
}

impl Memory {
    /// Begins a run.
    pub fn new(run: String, node: &NodeName, toplevel: &str) -> Self {
        Self {
            version: VERSION,
            run,
            node: node.to_string(),
            toplevel: toplevel.to_owned(),
            phase: "plan".to_owned(),
            consent: None,
            before_key: None,
            installer_key: None,
            formatted: false,
            jumped_from: None,
            rebooted_from: None,
            unauthenticated: false,
            done: false,
        }
    }
}

/// Where installations are remembered: a file for each node, and a lock.
#[derive(Debug, Clone)]
pub struct Memories {
    directory: PathBuf,
}

/// The right to change what is remembered of a node; it ends with the process.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    _lock: File,
}

impl Memories {
    /// Remembers in a directory, which is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// Returns what is remembered of a node, if anything.
    ///
    /// # Errors
    ///
    /// [`InstallError::State`] when there is a file that cannot be read.
    pub fn read(&self, node: &NodeName) -> Result<Option<Memory>, InstallError> {
        read(&self.path(node))
    }

    /// Takes the right to change what is remembered of a node.
    ///
    /// # Errors
    ///
    /// [`InstallError::Busy`] when another process has it, [`InstallError::State`].
    pub fn hold(&self, node: &NodeName) -> Result<Held, InstallError> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(&self.directory).map_err(|source| at(&self.directory, source))?;
        let path = self.directory.join(format!("{node}.lock"));
        let mut options = OpenOptions::new();
        let lock = options.append(true).create(true).mode(0o600).open(&path);
        let lock = lock.map_err(|source| at(&path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Held { path: self.path(node), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(InstallError::Busy),
            Err(TryLockError::Error(source)) => Err(at(&path, source)),
        }
    }

    fn path(&self, node: &NodeName) -> PathBuf {
        self.directory.join(format!("{node}.json"))
    }
}

impl Held {
    /// Returns what is remembered, if anything.
    ///
    /// # Errors
    ///
    /// [`InstallError::State`].
    pub fn read(&self) -> Result<Option<Memory>, InstallError> {
        read(&self.path)
    }

    /// Replaces what is remembered.
    ///
    /// # Errors
    ///
    /// [`InstallError::State`].
    pub fn write(&self, memory: &Memory) -> Result<(), InstallError> {
        let text = serde_json::to_string_pretty(memory).unwrap_or_default();
        let new = self.path.with_extension("json.new");
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.path)
        })();
        written.map_err(|source| at(&self.path, source))
    }

    /// Forgets the installation.
    ///
    /// # Errors
    ///
    /// [`InstallError::State`].
    pub fn forget(&self) -> Result<(), InstallError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(&self.path, error)),
            _ => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<Option<Memory>, InstallError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|source| at(path, source))?,
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes).map_err(|source| at(path, source))?;
    // What another version wrote, or a crash has broken, is nothing that anything depends on.
    let memory = serde_json::from_slice(&bytes).ok();
    Ok(memory.filter(|memory: &Memory| memory.version == VERSION))
}

fn at(path: &Path, source: io::Error) -> InstallError {
    InstallError::State { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_remembered_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let memories = Memories::new(directory.path().join("install"));
        let node = NodeName::parse("web").unwrap();
        assert_eq!(memories.read(&node).unwrap(), None);
        let held = memories.hold(&node).unwrap();
        let memory = Memory::new("r1".into(), &node, "/nix/store/x");
        held.write(&memory).unwrap();
        assert_eq!(memories.read(&node).unwrap(), Some(memory));
        assert!(matches!(memories.hold(&node), Err(InstallError::Busy)));
        held.forget().unwrap();
        assert_eq!(held.read().unwrap(), None);
        drop(held);
        assert!(memories.hold(&node).is_ok());
    }

    #[test]
    fn what_is_broken_is_not_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let memories = Memories::new(directory.path());
        let node = NodeName::parse("web").unwrap();
        for broken in ["", "{", "{\"version\":9}"] {
            fs::write(directory.path().join("web.json"), broken).unwrap();
            assert_eq!(memories.read(&node).unwrap(), None, "{broken}");
        }
    }
}
