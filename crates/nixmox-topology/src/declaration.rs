//! What a directory, or a manifest, says about a node.

/// The part of the repository that a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Below `nodes/`.
    Public,
    /// Below `private/nodes/`.
    Private,
}

/// One definition of a node, as a file says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The directory's name, or that in the manifest, unchecked.
    pub name: String,
    /// Where the directory lies.
    pub area: Area,
    /// What the file makes of it.
    pub kind: DeclarationKind,
    /// The file's path within the repository, for messages: `nodes/web/group.nix`, `service-manifest.nix:12:5`.
    pub file: String,
}

/// What a definition makes of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclarationKind {
    /// `host.nix` or `node.nix`.
    Host,
    /// A service of a manifest: a host without a directory of its own.
    Service,
    /// A section of a manifest: a group without a directory, whose members nobody else adds to.
    Section {
        /// The names of its services, unchecked.
        members: Vec<String>,
    },
    /// `group.nix`.
    Group {
        /// The attribute names of the file, unchecked; `common` among them is skipped.
        members: Vec<String>,
    },
}
