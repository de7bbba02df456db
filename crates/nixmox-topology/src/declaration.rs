//! What a directory says about a node.

/// The part of the repository that a file belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Below `nodes/`.
    Public,
    /// Below `private/nodes/`.
    Private,
}

/// One definition file of a node, as its directory says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The directory's name, unchecked.
    pub name: String,
    /// Where the directory lies.
    pub area: Area,
    /// What the file makes of it.
    pub kind: DeclarationKind,
    /// The file's path within the repository, for messages: `nodes/web/group.nix`.
    pub file: String,
}

/// What a definition file makes of its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeclarationKind {
    /// `host.nix` or `node.nix`.
    Host,
    /// `group.nix`.
    Group {
        /// The attribute names of the file, unchecked; `common` among them is skipped.
        members: Vec<String>,
    },
}
