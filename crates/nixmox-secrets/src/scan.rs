//! The walk over `nodes/` and `private/nodes/` that finds definitions and sealed files, and what a manifest adds.

use std::collections::BTreeSet;

use nixmox_manifest::Inventory;
use nixmox_nix::{ErrorKind, Limits};
use nixmox_topology::{Area, Declaration, DeclarationKind, NodeName};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use crate::fleet::{AskNix, FILE_LIMIT};
use crate::generated::public;
use crate::layout::{Arrangement, NEXT_KEY, PRIVATE};
use crate::rules::Rules;
use crate::store::{Entry, EntryKind, RelPath, Store};
use crate::{Error, SourceProblem};

/// File names that define a host: NixMox' and Nixverse's older and newer words for the same thing.
const HOST_FILES: [&str; 2] = ["node.nix", "host.nix"];

/// What a walk over a fleet found.
pub(crate) struct Found {
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) sealed_dirs: Vec<(Area, String)>,
    pub(crate) next_dirs: BTreeSet<String>,
    pub(crate) public_dirs: Vec<(Area, String)>,
    /// How many directories have their files in each arrangement.
    flat: usize,
    nested: usize,
    pub(crate) digest: [u8; 32],
}

impl Found {
    /// Returns the arrangement of most hosts: one stray file must not move those of all others.
    pub(crate) fn arrangement(&self) -> Arrangement {
        if self.nested > self.flat { Arrangement::Nested } else { Arrangement::Flat }
    }
}

/// A walk in progress.
pub(crate) struct Scan<'a> {
    store: &'a Store,
    ask_nix: &'a AskNix<'a>,
    found: Found,
    hash: Sha256,
}

impl<'a> Scan<'a> {
    pub(crate) fn new(store: &'a Store, ask_nix: &'a AskNix<'a>) -> Self {
        let found = Found {
            declarations: Vec::new(),
            sealed_dirs: Vec::new(),
            next_dirs: BTreeSet::new(),
            public_dirs: Vec::new(),
            flat: 0,
            nested: 0,
            digest: [0; 32],
        };
        Self { store, ask_nix, found, hash: Sha256::new() }
    }

    /// Walks the node directories of one area.
    pub(crate) fn area(&mut self, area: Area) -> Result<(), Error> {
        let nodes = RelPath::parse(match area {
            Area::Public => "nodes",
            Area::Private => "private/nodes",
        })?;
        for entry in self.store.entries(&nodes)?.into_iter().filter(|e| !e.name.starts_with('.')) {
            match entry.kind {
                EntryKind::Dir => self.node(area, &entry.name, &nodes.join(&entry.name)?)?,
                EntryKind::Symlink => {
                    return Err(Error::SymlinkedNode { path: nodes.join(&entry.name)? });
                }
                EntryKind::File | EntryKind::Other => {}
            }
        }
        Ok(())
    }

    /// Adds the services of the manifest. Where they are written is for messages: a comment that moves them changes
    /// nothing.
    pub(crate) fn services(&mut self, inventory: &Inventory) {
        let declarations = inventory.declarations();
        for Declaration { name, kind, .. } in &declarations {
            self.hash.update(format!("{name}\0{kind:?}\n"));
        }
        self.found.declarations.extend(declarations);
    }

    /// Reads and parses the `.sops.yaml` of the root, or else that of the overlay.
    pub(crate) fn rules(&mut self, private: bool) -> Result<Option<Rules>, Error> {
        let mut candidates = vec![RelPath::parse(".sops.yaml")?];
        if private {
            candidates.push(RelPath::parse(&format!("{PRIVATE}/.sops.yaml"))?);
        }
        for path in candidates {
            let Some(bytes) = self.store.read(&path, FILE_LIMIT)? else { continue };
            return Rules::parse(path, &bytes).map(Some);
        }
        Ok(None)
    }

    pub(crate) fn finish(self) -> Found {
        Found { digest: self.hash.finalize().into(), ..self.found }
    }

    /// Looks into one directory of `nodes/`: its definition, what it holds sealed, and its hosts' directories.
    fn node(&mut self, area: Area, name: &str, path: &RelPath) -> Result<(), Error> {
        let entries = self.store.entries(path)?;
        let has = |file: &str| entries.iter().any(|e| e.name == file && e.kind == EntryKind::File);
        if name != "common" {
            if let Some(file) = HOST_FILES.iter().find(|f| has(f)) {
                self.declare(area, name, path.join(file)?, DeclarationKind::Host);
            }
            if has("group.nix") {
                let file = path.join("group.nix")?;
                let members = self.members(&file)?;
                self.declare(area, name, file, DeclarationKind::Group { members });
            }
        }
        self.note(area, format!("nodes/{name}"), Holds::look(self.store, path, &entries)?);
        let children: Vec<&Entry> =
            entries.iter().filter(|e| e.kind == EntryKind::Dir && is_node_dir(&e.name)).collect();
        // A group may make thousands of hosts, each with a directory to list.
        let store = self.store;
        let look = |child: &&Entry| {
            let below = path.join(&child.name)?;
            Holds::look(store, &below, &store.entries(&below)?)
        };
        // Of several errors always the first directory's, whichever thread was faster.
        let holds: Vec<Result<Holds, Error>> = children.par_iter().map(look).collect();
        for (child, holds) in children.iter().zip(holds) {
            self.note(area, format!("nodes/{name}/{}", child.name), holds?);
        }
        Ok(())
    }

    fn declare(&mut self, area: Area, name: &str, file: RelPath, kind: DeclarationKind) {
        let file = file.to_string();
        self.hash.update(format!("{file}\0{kind:?}\n"));
        self.found.declarations.push(Declaration { name: name.to_owned(), area, kind, file });
    }

    /// Notes a directory that holds generated files in either arrangement.
    fn note(&mut self, area: Area, directory: String, holds: Holds) {
        self.found.flat += usize::from(holds.key);
        self.found.nested += usize::from(holds.nested);
        if holds.next {
            self.found.next_dirs.insert(directory.clone());
        }
        if holds.public {
            self.found.public_dirs.push((area, directory.clone()));
        }
        if holds.key || holds.flat || holds.nested {
            self.found.sealed_dirs.push((area, directory));
        }
    }

    /// Learns the member names of a group without forcing what they are set to.
    fn members(&self, file: &RelPath) -> Result<Vec<String>, Error> {
        let bytes = self.store.read(file, FILE_LIMIT)?.unwrap_or_default();
        let fail = |problem| Error::GroupFile { path: file.clone(), problem };
        let text = String::from_utf8(bytes).map_err(|_| fail(SourceProblem::NotUtf8))?;
        match nixmox_nix::attr_names(&text, &Limits::default()) {
            Ok(names) => Ok(names.into_iter().map(|n| n.name).filter(|n| n != "common").collect()),
            Err(source) if matches!(source.kind(), ErrorKind::Unsupported(_)) => {
                let asked = (self.ask_nix)(file);
                asked.ok_or_else(|| fail(SourceProblem::Nix { text, source }))
            }
            Err(source) => Err(fail(SourceProblem::Nix { text, source })),
        }
    }
}

/// Which generated files a directory holds.
struct Holds {
    key: bool,
    flat: bool,
    nested: bool,
    /// Whether the key of its host is being replaced.
    next: bool,
    public: bool,
}

impl Holds {
    fn look(store: &Store, path: &RelPath, entries: &[Entry]) -> Result<Self, Error> {
        let has = |name: &str, kind| entries.iter().any(|e| e.name == name && e.kind == kind);
        let nested = has("secrets", EntryKind::Dir) && {
            let inside = store.entries(&path.join("secrets")?)?;
            inside.iter().any(|e| e.name == "default.yaml" || e.name == "fs")
        };
        let next = entries.iter().any(|entry| entry.name.starts_with(NEXT_KEY));
        let [key, flat, public] = ["ssh_host_ed25519_key", "secrets.yaml", public::NAME]
            .map(|name| has(name, EntryKind::File));
        Ok(Self { key, flat, nested, next, public })
    }
}

/// Tells whether a directory below a node's own may be that of a host made by a group.
fn is_node_dir(name: &str) -> bool {
    !matches!(name, "secrets" | "fs" | "users") && NodeName::parse(name).is_ok()
}
