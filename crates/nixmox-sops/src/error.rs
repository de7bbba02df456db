//! Errors of reading plain and sealed documents.

use crate::cipher::ValueError;

/// Largest text that is read, sealed or plain.
pub const MAX_BYTES: usize = 64 << 20;
/// Deepest nesting of maps and lists that is read or written.
pub const MAX_DEPTH: usize = 64;
/// Most values, comments and keys of one file, aliases expanded.
pub const MAX_NODES: usize = 300_000;
/// Most recipients of one file.
pub const MAX_RECIPIENTS: usize = 1_000;

/// Why a document cannot be read as plain text, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}{kind}", self.place())]
#[non_exhaustive]
pub struct PlainError {
    /// Line, from 1; 0 where none can be named.
    pub line: usize,
    /// Column, from 1; 0 where none can be named.
    pub column: usize,
    /// What is wrong.
    pub kind: PlainErrorKind,
}

impl PlainError {
    pub(crate) fn at(line: usize, kind: PlainErrorKind) -> Self {
        Self { line, column: usize::from(line > 0), kind }
    }

    /// Names the place as far as it is known; what is missing altogether is nowhere.
    fn place(&self) -> String {
        match (self.line, self.column, self.kind) {
            (0, ..) | (.., PlainErrorKind::Empty) => String::new(),
            (line, 0, _) => format!("line {line}: "),
            (line, column, _) => format!("line {line}, column {column}: "),
        }
    }
}

/// What is wrong with a plain document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlainErrorKind {
    /// The text is not UTF-8.
    #[error("not UTF-8 text")]
    Utf8,
    /// The text breaks the syntax of YAML.
    #[error("not valid YAML")]
    Yaml,
    /// The text breaks the syntax of JSON, or holds a number beyond a float's range.
    #[error("not valid JSON")]
    Json,
    /// A line of a dotenv file is neither a comment nor has it a `=`.
    #[error("not a line of dotenv: there is no `=` in it")]
    Dotenv,
    /// The text breaks the syntax of ini.
    #[error("not valid ini")]
    Ini,
    /// The text is larger than [`MAX_BYTES`].
    #[error("too large")]
    TooLarge,
    /// Maps and lists are nested deeper than [`MAX_DEPTH`].
    #[error("nested too deeply")]
    TooDeep,
    /// There are more values than [`MAX_NODES`], aliases expanded.
    #[error("too many values")]
    TooManyNodes,
    /// There is no document.
    #[error("there is no document in it")]
    Empty,
    /// The top of a document is not a map.
    #[error("the top of a document must be a map")]
    NotAMap,
    /// A key is not a string.
    #[error("a key is not a string (quote it)")]
    NonStringKey,
    /// A key stands twice in one map.
    #[error("a key stands twice")]
    DuplicateKey,
    /// An integer does not fit 64 bits.
    #[error("an integer is too big (quote it)")]
    IntegerTooBig,
    /// A value does not fit its tag.
    #[error("a value does not fit its tag")]
    Tag,
    /// An alias stands inside what it names.
    #[error("an alias stands inside what it names")]
    Alias,
    /// The document has a top-level key `sops` (dotenv: one that starts with `sops_`), kept for the metadata.
    #[error("the top-level key `sops` (dotenv: `sops_…`) is reserved")]
    SopsKey,
}

/// Why a file cannot be read as a sops file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The text is not a document of its format.
    #[error("not a readable document")]
    Document(#[from] PlainError),
    /// There is no `sops` key.
    #[error("no sops metadata found")]
    NoMetadata,
    /// The metadata are not what sops writes.
    #[error("malformed sops metadata")]
    Metadata(#[from] MetadataError),
}

/// What is wrong with the metadata of a sops file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataError {
    /// `sops` is not a map.
    #[error("`sops` is not a map")]
    NotAMap,
    /// A field does not have the type it must have.
    #[error("field `{0}` has the wrong type")]
    Type(&'static str),
    /// The flat names of dotenv and ini do not make a tree: a gap in a list, or two names in each other's way.
    #[error("the flat names do not make a tree")]
    Flat,
    /// `lastmodified` is missing or not a time.
    #[error("`lastmodified` is missing or not a time")]
    LastModified,
    /// `version` is missing or not a version.
    #[error("`version` is missing or not a version")]
    Version,
    /// More than one selection rule is given.
    #[error("more than one selection rule")]
    SeveralRules,
    /// The pattern of the selection rule is not one.
    #[error("the selection rule's pattern is not valid")]
    Pattern,
    /// There is no recipient at all.
    #[error("no recipients")]
    NoRecipients,
    /// There are more recipients than [`MAX_RECIPIENTS`].
    #[error("too many recipients")]
    TooManyRecipients,
}

/// Why a sops file does not open.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecryptError {
    /// No identity was given at all.
    #[error("no identity was given")]
    NoIdentity,
    /// None of the identities opens the data key.
    #[error("none of the {identities} identities opens the data key")]
    NoUsableKey {
        /// How many identities were tried.
        identities: usize,
        /// The labels of the recipients in the file.
        recipients: Vec<String>,
        /// What the last recipient's age file said when it was not simply for somebody else.
        #[source]
        source: Option<age::DecryptError>,
    },
    /// An age file in the metadata opened and does not hold a data key.
    #[error("the data key does not have 32 bytes")]
    DataKeyLength,
    /// The shares of the key groups do not make a data key.
    #[error("not enough shares of the data key: {have} of {need}")]
    Shares {
        /// How many groups gave their share.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// The shares of the key groups contradict each other.
    #[error("the shares of the data key do not fit together")]
    BadShares,
    /// The file has no MAC.
    #[error("the file has no MAC")]
    MacMissing,
    /// The MAC is not of this content: it was changed.
    #[error("MAC mismatch: the file was changed")]
    MacMismatch,
    /// One value does not open.
    #[error("value {path} does not open")]
    Value {
        /// Where it stands.
        path: Path,
        /// What is wrong with it.
        #[source]
        source: ValueError,
    },
    /// The selection rule's pattern is not valid.
    #[error("the selection rule's pattern is not valid")]
    Pattern,
    /// Maps and lists are nested deeper than [`MAX_DEPTH`].
    #[error("nested too deeply at {0}")]
    TooDeep(Path),
}

/// Why documents cannot be sealed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// There is no recipient.
    #[error("no recipients")]
    NoRecipients,
    /// There are more recipients than [`MAX_RECIPIENTS`].
    #[error("too many recipients")]
    TooManyRecipients,
    /// The documents do not fit the format: several in JSON, or no `data` in binary.
    #[error("the documents do not fit the format")]
    Format,
    /// Maps and lists are nested deeper than [`MAX_DEPTH`].
    #[error("nested too deeply at {0}")]
    TooDeep(Path),
    /// A document has a top-level key `sops` (dotenv: one that starts with `sops_`).
    #[error("the top-level key `sops` (dotenv: `sops_…`) is reserved")]
    SopsKey,
    /// The selection rule's pattern is not valid.
    #[error("the selection rule's pattern is not valid")]
    Pattern,
    /// With `strict`, a value would stay readable.
    #[error("value {0} would stay readable")]
    Clear(Path),
    /// A comment in a list could not be read back under the selection rule.
    #[error("a comment in the list {0} could not be read back")]
    ListComment(Path),
    /// A sealed comment would count as one that leaves the next value clear.
    #[error("a sealed comment at {0} would match the selection rule")]
    CommentMatches(Path),
    /// A number has no JSON form.
    #[error("value {0} has no JSON form")]
    NotFinite(Path),
    /// A value, or the name of one, has no form in that format that would be read back as it is.
    #[error("{0} has no form in that format")]
    NoForm(Path),
    /// There are both a list of recipients and key groups.
    #[error("both recipients and key groups are given")]
    RecipientsAndGroups,
    /// Wrapping the data key for a recipient failed.
    #[error("cannot encrypt to recipient {recipient}")]
    Wrap {
        /// The recipient.
        recipient: String,
        /// What age said.
        #[source]
        source: Box<age::EncryptError>,
    },
    /// A recipient needs a plugin and no way to talk to it was given.
    #[error("recipient {0} needs a plugin, and plugins are not allowed here")]
    Plugin(String),
}

/// Where a value stands: keys and list positions from the top.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Path(pub Vec<String>);

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("at the top");
        }
        for (index, step) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            write!(f, "{dot}{}", step.escape_debug())?;
        }
        Ok(())
    }
}
