//! A fleet repository as it lies on disk: its nodes, its layout and its creation rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use nixmox_manifest::FILE_NAMES;
use nixmox_topology::{Area, Topology};

use crate::Error;
use crate::admins;
use crate::layout::{Layout, PRIVATE};
use crate::rules::Rules;
use crate::scan::Scan;
use crate::services;
use crate::store::{EntryKind, RelPath, Store};
use crate::trust::RosterFiles;

/// The largest file that is read from a repository, in bytes.
pub const FILE_LIMIT: usize = 16 * 1024 * 1024;

/// Names of the files whose presence makes a directory a fleet, beside the directory `nodes`.
const MARKERS: [&str; 2] = ["flake.nix", ".sops.yaml"];
/// The directory that a manifest may lie in, below the fleet's own.
const MANIFEST_DIR: &str = "nixos";

/// Finds the fleet that `start` lies in: the nearest directory upwards that has `nodes/`, a manifest, `flake.nix`
/// or `.sops.yaml`.
///
/// A directory `private` inside a fleet is its overlay and no fleet of its own, and neither is `nixos` with nothing
/// but the fleet's manifest.
pub fn find(start: &Path) -> Option<PathBuf> {
    let has_manifest = |dir: &Path| FILE_NAMES.iter().any(|name| dir.join(name).is_file());
    let has_nodes = |dir: &Path| dir.join("nodes").is_dir() || dir.join(".sops.yaml").is_file();
    let is_fleet = |dir: &Path| {
        has_nodes(dir) || MARKERS.iter().any(|m| dir.join(m).is_file()) || has_manifest(dir)
    };
    let found = start.ancestors().find(|dir| is_fleet(dir))?;
    let is_part = |above: &&Path| match found.file_name().and_then(|name| name.to_str()) {
        Some(PRIVATE) => is_fleet(above),
        Some(MANIFEST_DIR) => has_manifest(found) && !has_nodes(found),
        _ => false,
    };
    Some(found.parent().filter(is_part).unwrap_or(found).to_owned())
}

/// Learns the names in a file that is beyond the embedded evaluator, by asking a real Nix.
///
/// Takes the file's path relative to the fleet. Of a group file it gives the members' names, of the manifest those of
/// all services, each with its section and a point before it; nothing when there is no Nix to ask.
pub type AskNix<'a> = dyn Fn(&RelPath) -> Option<Vec<String>> + 'a;

/// A fleet repository: what it declares, and where its generated files lie.
#[derive(Debug)]
pub struct Fleet {
    pub(crate) store: Store,
    pub(crate) layout: Layout,
    pub(crate) topology: Topology,
    /// Parsed `.sops.yaml`; `None` when there is none yet.
    pub(crate) rules: Option<Rules>,
    /// Digest of every definition that the topology was built from.
    pub(crate) definitions: [u8; 32],
    /// Directories (`nodes/…`) below each area that hold generated files.
    pub(crate) sealed_dirs: Vec<(Area, String)>,
    /// Directories (`nodes/…`) of hosts whose key is being replaced.
    pub(crate) next_dirs: BTreeSet<String>,
    /// Directories that hold a file by the name of public parts.
    pub(crate) public_dirs: Vec<(Area, String)>,
    /// The signed roster and those before it; `None` when there is none.
    pub(crate) roster: Option<RosterFiles>,
    /// Files beside the sealed ones that the next plan writes: `.sops.yaml` and rosters.
    pub(crate) pending: Vec<Pending>,
}

/// A file that is as good as written: what is read of the fleet has it already.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) path: RelPath,
    /// SHA-256 of what is there now.
    pub(crate) base: Option<[u8; 32]>,
    pub(crate) bytes: Vec<u8>,
}

impl Fleet {
    /// Reads the fleet at `root`: node definitions, `.sops.yaml` and the arrangement of generated files.
    ///
    /// `ask_nix` is consulted for group files and manifests that the embedded evaluator does not support.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when a file cannot be read safely, [`Error::SymlinkedNode`] when the overlay or a node's
    /// directory is a symbolic link, [`Error::GroupFile`], [`Error::Manifest`] and [`Error::Topology`] when the
    /// definitions are wrong, [`Error::Rules`] when `.sops.yaml` is.
    pub fn open(root: &Path, ask_nix: &AskNix<'_>) -> Result<Self, Error> {
        let store = Store::open(root)?;
        let private = has_overlay(&store)?;
        let mut scan = Scan::new(&store, ask_nix);
        scan.area(Area::Public)?;
        if private {
            scan.area(Area::Private)?;
        }
        if let Some(inventory) = services::read(&store, ask_nix)? {
            scan.services(&inventory);
        }
        let rules = scan.rules(private)?;
        let found = scan.finish();
        let layout = Layout { arrangement: found.arrangement(), private };
        Ok(Self {
            topology: Topology::build(found.declarations).map_err(Error::Topology)?,
            roster: RosterFiles::read(&store, &layout)?,
            pending: Vec::new(),
            layout,
            rules,
            definitions: found.digest,
            sealed_dirs: found.sealed_dirs,
            next_dirs: found.next_dirs,
            public_dirs: found.public_dirs,
            store,
        })
    }

    /// Returns the nodes and groups.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Returns where the generated files lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Returns the open repository.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Returns `.sops.yaml`, without which nothing can be sealed or checked.
    pub(crate) fn rules(&self) -> Result<&Rules, Error> {
        self.rules.as_ref().ok_or(Error::NoRules)
    }

    /// Returns the signed rosters, each verified by the one before; nothing says yet that they are the right ones.
    pub fn roster(&self) -> Option<&nixmox_signing::Chain> {
        self.roster.as_ref().map(|files| &files.chain)
    }

    /// Returns whom the master is sealed to: by the roster, or else by `.sops.yaml`.
    ///
    /// # Errors
    ///
    /// [`Error::NoRules`] and [`Error::NoRecipients`] when nobody is named.
    pub fn recipients(&self) -> Result<Vec<nixmox_sops::Recipient>, Error> {
        admins::of_master(self)
    }

    /// Reads a file of the fleet, up to [`FILE_LIMIT`] bytes.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] when it is there and cannot be read safely.
    pub fn read(&self, path: &RelPath) -> Result<Option<Vec<u8>>, Error> {
        Ok(self.store.read(path, FILE_LIMIT)?)
    }
}

/// Tells whether the fleet has an overlay. One that is a link is refused: what belongs into it would be written, in
/// the open, beside it.
pub(crate) fn has_overlay(store: &Store) -> Result<bool, Error> {
    let entries = store.entries(&RelPath::root())?;
    match entries.iter().find(|entry| entry.name == PRIVATE).map(|entry| entry.kind) {
        Some(EntryKind::Symlink) => Err(Error::SymlinkedNode { path: RelPath::parse(PRIVATE)? }),
        kind => Ok(kind == Some(EntryKind::Dir)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_fleet_upwards_is_found_and_an_overlay_belongs_to_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path();
        std::fs::create_dir_all(root.join("nodes/web/w1")).expect("directories");
        std::fs::create_dir_all(root.join("private/nodes")).expect("directories");
        for start in ["", "nodes/web/w1", "private", "private/nodes"] {
            assert_eq!(find(&root.join(start)).as_deref(), Some(root), "from {start:?}");
        }
    }

    #[test]
    fn a_manifest_makes_a_fleet_and_its_directory_belongs_to_it() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let root = dir.path();
        std::fs::create_dir_all(root.join("nixos/modules")).expect("directories");
        assert_eq!(find(&root.join("nixos/modules")), None);
        std::fs::write(root.join("nixos/service-manifest.toml"), "").expect("a file");
        for start in ["", "nixos", "nixos/modules"] {
            assert_eq!(find(&root.join(start)).as_deref(), Some(root), "from {start:?}");
        }
        let own = root.join("nixos");
        std::fs::create_dir(own.join("nodes")).expect("a directory");
        assert_eq!(find(&own), Some(own));
    }
}
