use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{base, cache, nix, scripts};
use crate::env::Ran;
use crate::search::copy_tree;

/// A flake whose `nixosConfigurations` are NixOS-like systems for the hosts of a bed, also such as break them.
///
/// Settings are the arguments of `mkSystem` in `tests/bed/systems/lib.nix`: `variant`, `revision`, `etc`, `units`,
/// `activationScripts` and more. `docs/testbed.md` lists the variants.
pub struct Fleet {
    directory: PathBuf,
}

impl Fleet {
    /// Writes a flake with `node1` to `node<count>` into a directory, in revision 1 and the variant `ok`.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn new(directory: &Path, count: usize) -> Self {
        base();
        fs::create_dir_all(directory).unwrap();
        copy_tree(&scripts().join("systems"), directory);
        copy_tree(&cache().join("inputs"), &directory.join("inputs"));
        let fleet = Self { directory: directory.to_owned() };
        fleet.write(&json!({ "count": count, "default": {}, "nodes": {} }));
        fleet
    }

    /// Returns its directory.
    pub fn path(&self) -> &Path {
        &self.directory
    }

    /// Changes a setting of one node; adds the node if there is none of that name.
    pub fn set(&self, node: &str, setting: &str, value: impl Into<Value>) -> &Self {
        let mut nodes = self.read();
        nodes["nodes"][node][setting] = value.into();
        self.write(&nodes);
        self
    }

    /// Changes a setting of all nodes that do not have their own.
    pub fn set_all(&self, setting: &str, value: impl Into<Value>) -> &Self {
        let mut nodes = self.read();
        nodes["default"][setting] = value.into();
        self.write(&nodes);
        self
    }

    /// Evaluates and builds all nodes with the real Nix; returns their systems' store paths.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[track_caller]
    pub fn build(&self) -> BTreeMap<String, String> {
        let mut build = nix("nix-build");
        build.args(["--no-out-link", "-A", "all"]).arg(&self.directory);
        let farm = Ran::new(&build.output().expect("nix-build cannot be run")).ends(0).out;
        let system = |entry: fs::DirEntry| {
            let target = fs::read_link(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), target.display().to_string())
        };
        fs::read_dir(farm.trim()).unwrap().map(|entry| system(entry.unwrap())).collect()
    }

    /// Builds something of one node, such as its `diskoScript`; returns its store path.
    ///
    /// # Panics
    ///
    /// When that fails.
    #[track_caller]
    pub fn build_part(&self, node: &str, part: &str) -> String {
        let mut build = nix("nix-build");
        let attribute = format!("nixosConfigurations.{node}.config.system.build.{part}");
        build.args(["--no-out-link", "-A", &attribute]).arg(&self.directory);
        Ran::new(&build.output().expect("nix-build cannot be run")).ends(0).out.trim().to_owned()
    }

    fn read(&self) -> Value {
        let text = fs::read(self.directory.join("nodes.json")).unwrap();
        serde_json::from_slice(&text).unwrap()
    }

    fn write(&self, nodes: &Value) {
        fs::write(self.directory.join("nodes.json"), nodes.to_string()).unwrap();
    }
}
