//! A fleet as a revision has it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_manifest::FILE_NAMES;
use nixmox_secrets::store::{RelPath, Store};
use nixmox_secrets::{FILE_LIMIT, PRIVATE};
use tempfile::TempDir;

use super::repository::{Blob, Entry, Repository};

/// The files of a fleet at a revision: by their paths, in which repository they are, and their objects.
pub(super) struct Snapshot {
    /// The repository of the fleet, and that of its `private/` when it is one of its own.
    repositories: Vec<Repository>,
    files: BTreeMap<String, (usize, Blob)>,
    /// Of `private/` as a submodule, the commit that belongs to this one.
    private: Option<String>,
}

/// Names of the files that tell which hosts there are, and with which keys their files open.
const DEFINITIONS: [&str; 5] =
    ["node.nix", "host.nix", "group.nix", "ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"];

impl Snapshot {
    /// Lists the files of the fleet at `root` in a commit, with those of its submodule `private/`.
    pub(super) fn new(root: &Path, commit: &str, is_head: bool) -> Result<Self, Failure> {
        let repository = Repository::at(root)?;
        let mut repositories = Vec::new();
        let mut files = BTreeMap::new();
        let mut private = None;
        for (path, entry) in repository.tree(commit)? {
            match entry {
                Entry::File(id) => drop(files.insert(path, (0, id))),
                Entry::Submodule(id) if path == PRIVATE => private = Some(id),
                Entry::Submodule(_) => {}
            }
        }
        repositories.push(repository);
        let own = root.join(PRIVATE);
        if own.join(".git").exists() {
            let repository = Repository::at(&own)?;
            // A repository beside this one goes along with its own HEAD only.
            let commit = private.take().or_else(|| repository.commit("HEAD").filter(|_| is_head));
            if let Some(commit) = &commit {
                for (path, entry) in repository.tree(commit)? {
                    if let Entry::File(id) = entry {
                        files.insert(format!("{PRIVATE}/{path}"), (1, id));
                    }
                }
            }
            private = commit;
            repositories.push(repository);
        }
        Ok(Self { repositories, files, private })
    }

    /// Names the files that another revision has otherwise, or that only one of the two has.
    pub(super) fn differing(&self, other: &Self) -> BTreeSet<String> {
        let names = self.files.keys().chain(other.files.keys());
        names.filter(|name| self.files.get(*name) != other.files.get(*name)).cloned().collect()
    }

    /// Names the files that may be otherwise in the working tree than in this commit.
    pub(super) fn touched(&self, commit: &str) -> Result<BTreeSet<String>, Failure> {
        let mut names = BTreeSet::new();
        let commits = [Some(commit), self.private.as_deref()];
        for (index, (repository, commit)) in self.repositories.iter().zip(commits).enumerate() {
            let prefix = if index == 0 { String::new() } else { format!("{PRIVATE}/") };
            let mut listings =
                vec![repository.run(["ls-files", "--others", "--exclude-standard", "-z"])?];
            if let Some(commit) = commit {
                let args =
                    ["diff-index", "-z", "--name-only", "--no-renames", "--relative", commit];
                listings.push(repository.run(args)?);
            }
            for listing in &listings {
                let texts = listing.split(|byte| *byte == 0);
                let texts = texts.filter_map(|name| std::str::from_utf8(name).ok());
                names.extend(texts.filter(|name| !name.is_empty()).map(|n| format!("{prefix}{n}")));
            }
        }
        Ok(names)
    }

    /// Reads files by their paths.
    pub(super) fn read<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
        let mut wanted: [BTreeMap<&str, Vec<&str>>; 2] = Default::default();
        for name in names {
            let Some((repository, id)) = self.files.get(name) else { continue };
            if let Some(ids) = wanted.get_mut(*repository) {
                ids.entry(id).or_default().push(name);
            }
        }
        let mut found = BTreeMap::new();
        for (repository, ids) in self.repositories.iter().zip(&wanted) {
            if ids.is_empty() {
                continue;
            }
            let list: Vec<&str> = ids.keys().copied().collect();
            for (id, bytes) in repository.blobs(&list)? {
                for name in ids.get(id.as_str()).into_iter().flatten() {
                    found.insert((*name).to_owned(), bytes.clone());
                }
            }
        }
        Ok(found)
    }

    /// Tells whether the manifest may import other files of the repository.
    fn manifest_imports(&self) -> Result<bool, Failure> {
        let name = FILE_NAMES.into_iter().find(|name| self.files.contains_key(*name));
        let nix = name.filter(|name| name.ends_with(".nix"));
        let texts = self.read(nix.into_iter())?;
        Ok(texts.values().any(|text| text.windows(6).any(|window| window == b"import")))
    }

    /// Puts what tells the hosts and what they get into a directory of its own: ciphertext and public text, as in git.
    pub(super) fn fleet(&self) -> Result<TempDir, Failure> {
        let failed = |e| {
            Failure::new(Exit::Write, "there is no place for the files of a revision").because(e)
        };
        let imports = self.manifest_imports()?;
        let is_wanted = |name: &&str| {
            let below = name.strip_prefix("private/").unwrap_or(name);
            let file = below.rsplit('/').next().unwrap_or_default();
            ["secrets.yaml", ".nixmox/generated.yaml"].contains(&below)
                || (below.starts_with("nodes/") && DEFINITIONS.contains(&file))
                || FILE_NAMES.contains(name)
                || (imports && name.ends_with(".nix"))
        };
        let dir = TempDir::with_prefix("nixmox-revision-").map_err(failed)?;
        for (name, bytes) in self.read(self.files.keys().map(String::as_str).filter(is_wanted))? {
            // What the store would refuse to read need not be there.
            let Ok(path) = RelPath::parse(&name) else { continue };
            let target: PathBuf = dir.path().join(path.as_str());
            let above = target.parent().unwrap_or(dir.path());
            std::fs::create_dir_all(above).map_err(failed)?;
            std::fs::write(&target, bytes).map_err(failed)?;
        }
        Ok(dir)
    }
}

/// Reads files of the working tree; what cannot be read safely is left out.
pub(super) fn read_now<'n>(
    root: &Path,
    names: impl Iterator<Item = &'n str>,
) -> Result<BTreeMap<String, Vec<u8>>, Failure> {
    let fail = |e: nixmox_secrets::store::StoreError| Failure::from_error(Exit::Failure, e);
    let store = Store::open(root).map_err(fail)?;
    let mut found = BTreeMap::new();
    for name in names {
        let Ok(path) = RelPath::parse(name) else { continue };
        if let Ok(Some(bytes)) = store.read(&path, FILE_LIMIT) {
            found.insert(name.to_owned(), bytes);
        }
    }
    Ok(found)
}
