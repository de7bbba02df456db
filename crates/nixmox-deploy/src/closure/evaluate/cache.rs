//! Results of evaluations, by the content of what was evaluated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nixmox_topology::NodeName;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::fs;

use super::{Answer, System};
use crate::StorePath;

/// Changes when the results of older versions are not to be used.
const VERSION: &str = "nixmox evaluation 1";
/// The largest file that is read.
const MAX_FILE: u64 = 32 << 20;
/// How many sources are remembered.
const KEPT: usize = 64;

/// The results of one source. A cache that cannot be read or written is as good as an empty one.
pub(super) struct Cache {
    directory: PathBuf,
    file: PathBuf,
}

impl Cache {
    /// Names the results of a source, with everything that the source can learn about itself: its revision and time.
    pub(super) fn new(directory: &Path, source: &StorePath, locked: &Value) -> Self {
        let mut hash = Sha256::new();
        for part in [VERSION, source.as_str(), &locked.to_string()] {
            hash.update(part);
            hash.update([0]);
        }
        let name: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { directory: directory.to_owned(), file: directory.join(format!("{name}.json")) }
    }

    /// Returns the systems that are known and whose derivations are still in the store.
    pub(super) async fn read(&self) -> BTreeMap<NodeName, System> {
        let small = fs::metadata(&self.file).await.is_ok_and(|file| file.len() <= MAX_FILE);
        let bytes = if small { fs::read(&self.file).await.unwrap_or_default() } else { Vec::new() };
        let answers: BTreeMap<String, Answer> = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut known = BTreeMap::new();
        for (name, answer) in answers {
            let (Ok(node), Ok(system)) = (NodeName::parse(&name), System::try_from(&answer)) else {
                continue;
            };
            if fs::try_exists(&answer.drv).await.unwrap_or_default() {
                known.insert(node, system);
            }
        }
        known
    }

    /// Remembers systems, those that are remembered already included.
    pub(super) async fn write(&self, systems: &BTreeMap<NodeName, System>) {
        let mut all = self.read().await;
        all.extend(systems.iter().map(|(node, system)| (node.clone(), system.clone())));
        let answer = |(node, system): (&NodeName, &System)| {
            let drv = system.derivation.as_ref()?.to_string();
            Some((node.to_string(), Answer { drv, out: system.toplevel.to_string() }))
        };
        let answers: BTreeMap<_, _> = all.iter().filter_map(answer).collect();
        let Ok(bytes) = serde_json::to_vec(&answers) else { return };
        let unfinished = self.file.with_extension(format!("{}.new", std::process::id()));
        let made = fs::create_dir_all(&self.directory).await.is_ok();
        if made && fs::write(&unfinished, bytes).await.is_ok() {
            // What cannot be remembered is evaluated again.
            let _ = fs::rename(&unfinished, &self.file).await;
            self.forget_old().await;
        }
    }

    async fn forget_old(&self) {
        let Ok(mut entries) = fs::read_dir(&self.directory).await else { return };
        let mut files = Vec::new();
        while let Ok(Some(entry)) = entries.next_entry().await {
            let time = entry.metadata().await.and_then(|file| file.modified());
            if let Ok(time) = time {
                files.push((time, entry.path()));
            }
        }
        files.sort();
        let old = files.len().saturating_sub(KEPT);
        for (_, file) in files.into_iter().take(old) {
            let _ = fs::remove_file(file).await;
        }
    }
}
