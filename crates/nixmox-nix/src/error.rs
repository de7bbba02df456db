use std::fmt;

/// A byte range of the text that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let clip = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { start: clip(start), end: clip(end) }
    }

    /// Returns the offset of the first byte.
    pub fn start(self) -> usize {
        usize::try_from(self.start).unwrap_or(usize::MAX)
    }

    /// Returns the offset after the last byte.
    pub fn end(self) -> usize {
        usize::try_from(self.end).unwrap_or(usize::MAX)
    }

    /// Returns the range, to slice the text with.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start()..self.end()
    }

    pub(crate) fn shifted(self, by: usize) -> Self {
        Self::new(self.start().saturating_add(by), self.end().saturating_add(by))
    }

    pub(crate) fn to(self, other: Self) -> Self {
        Self { start: self.start, end: other.end.max(self.start) }
    }
}

/// Why a text is not data, and where; it never holds a byte of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct Error {
    kind: ErrorKind,
    span: Span,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, span: Span) -> Self {
        Self { kind, span }
    }

    /// Tells what is wrong.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Tells where in the text.
    pub fn span(&self) -> Span {
        self.span
    }

    /// Tells whether Nix's `tryEval` catches it.
    pub(crate) fn is_catchable(&self) -> bool {
        matches!(self.kind, ErrorKind::Thrown | ErrorKind::AssertionFailed)
    }
}

/// What is wrong with a text, in words that are the same for every text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The text is longer than `Limits::bytes`.
    #[error("text is too long")]
    TooLong,
    /// Something is nested, or recurses, deeper than `Limits::depth`.
    #[error("nested too deeply")]
    TooDeep,
    /// The evaluation took more than `Limits::steps`.
    #[error("evaluation takes too long")]
    TooManySteps,
    /// The system gave no memory for the evaluator's stack.
    #[error("no memory for the evaluator's stack")]
    NoStack,
    /// The text breaks Nix's grammar.
    #[error("syntax error: expected {0}")]
    Syntax(&'static str),
    /// A character that has no meaning in Nix here, or a NUL byte anywhere.
    #[error("unexpected character")]
    Character,
    /// A quote, a comment or an interpolation is not closed.
    #[error("{0} is not closed")]
    Unclosed(&'static str),
    /// A number that Nix does not read.
    #[error("number is out of range")]
    Number,
    /// An attribute is defined twice.
    #[error("attribute is already defined")]
    DuplicateAttribute,
    /// A function names an argument twice.
    #[error("argument is already defined")]
    DuplicateArgument,
    /// A name that nothing defines; often a text whose quotes were forgotten.
    #[error("undefined variable (are quotes missing?)")]
    UndefinedVariable,
    /// A set does not have the attribute that is asked for.
    #[error("attribute is missing")]
    MissingAttribute,
    /// A value has a type that does not fit here.
    #[error("expected {expected} but found {found}")]
    Type {
        /// What fits.
        expected: &'static str,
        /// What was found, in Nix's words.
        found: &'static str,
    },
    /// The text must evaluate to an attribute set.
    #[error("must be an attribute set, but is {0}")]
    NotASet(&'static str),
    /// A function remains in what should be data.
    #[error("a function is not data")]
    FunctionInData,
    /// A function's argument set lacks a name.
    #[error("function called without a required argument")]
    MissingArgument,
    /// A function's argument set has a name too many.
    #[error("function called with an unexpected argument")]
    UnexpectedArgument,
    /// A value needs itself.
    #[error("infinite recursion")]
    InfiniteRecursion,
    /// A division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// A number leaves its range; older versions of Nix wrap around silently.
    #[error("number overflow")]
    Overflow,
    /// An index outside of a list or text.
    #[error("index is out of range")]
    OutOfRange,
    /// `throw` was evaluated.
    #[error("the text throws an error here")]
    Thrown,
    /// `abort` was evaluated.
    #[error("the text aborts here")]
    Aborted,
    /// An `assert` is false.
    #[error("assertion failed")]
    AssertionFailed,
    /// A text operation would leave half a character.
    #[error("text is cut inside a character")]
    HalfCharacter,
    /// `fromJSON` was given something else.
    #[error("text is not JSON that has one meaning")]
    Json,
    /// An order for `sort` that contradicts itself.
    #[error("the comparison is not an order")]
    NotAnOrder,
    /// An argument that a master is given elsewhere, but not by this evaluator.
    #[error("argument `{0}` is not available here")]
    NotAvailable(Argument),
    /// Nix has it; this evaluator refuses it.
    #[error("{0} not supported")]
    Unsupported(Construct),
}

/// An argument of a master that only a real Nix has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Argument {
    /// nixpkgs' function library.
    Lib,
    /// The fleet's own function library.
    LibPrime,
    /// The flake's inputs.
    Inputs,
    /// The evaluated nodes.
    Nodes,
    /// The package set.
    Pkgs,
    /// The module system's configuration.
    Config,
}

impl Argument {
    pub(crate) const ALL: [Self; 6] =
        [Self::Lib, Self::LibPrime, Self::Inputs, Self::Nodes, Self::Pkgs, Self::Config];

    /// Returns the argument as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lib => "lib",
            Self::LibPrime => "lib'",
            Self::Inputs => "inputs",
            Self::Nodes => "nodes",
            Self::Pkgs => "pkgs",
            Self::Config => "config",
        }
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A part of Nix that this evaluator refuses: it is impure, or its result differs between versions of Nix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Construct {
    /// `./x`, `/x`, `~/x`.
    Path,
    /// `<nixpkgs>`.
    SearchPath,
    /// `import`, `scopedImport`.
    Import,
    /// Whatever reads a file or lists a directory.
    ReadFile,
    /// Whatever goes to the network.
    Fetch,
    /// Derivations, store paths, and everything that writes to the store.
    Store,
    /// The clock, the environment, the system's name, the version of Nix.
    Impure,
    /// `trace` and other output.
    Trace,
    /// `match` and `split`.
    Regex,
    /// `md5`, `sha1` and unknown hashes.
    Hash,
    /// A builtin that is not in this evaluator.
    Builtin,
    /// `builtins` used as a value of its own.
    BuiltinsSet,
    /// `let { body = …; }`.
    LegacyLet,
    /// `or` as the name of a variable.
    OrName,
    /// `__overrides`, `__curPos`, or an own binding of an operator's function.
    MagicName,
    /// A second definition of a set that is `rec` or has computed names.
    MergedSet,
    /// `toJSON` of a float.
    FloatText,
    /// Functions compared with each other.
    FunctionEquality,
    /// Derivations compared with each other.
    DerivationEquality,
}

impl fmt::Display for Construct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Path => "file paths are",
            Self::SearchPath => "search paths are",
            Self::Import => "`import` is",
            Self::ReadFile => "reading files is",
            Self::Fetch => "fetching is",
            Self::Store => "derivations and store paths are",
            Self::Impure => "asking for the time, environment or system is",
            Self::Trace => "`trace` is",
            Self::Regex => "regular expressions are",
            Self::Hash => "hashes other than sha256 and sha512 are",
            Self::Builtin => "this builtin is",
            Self::BuiltinsSet => "`builtins` as a value is",
            Self::LegacyLet => "`let { … }` is",
            Self::OrName => "`or` as a name is",
            Self::MagicName => "a name with a special meaning is",
            Self::MergedSet => "merging into a set that is `rec` or has computed names is",
            Self::FloatText => "a float in `toJSON` is",
            Self::FunctionEquality => "comparing functions is",
            Self::DerivationEquality => "comparing derivations is",
        })
    }
}

/// Returns the line and the column of a byte offset, both from 1; columns count characters.
///
/// An offset after the text is the text's end.
pub fn line_col(text: &str, offset: usize) -> (usize, usize) {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = text.get(..at).unwrap_or("");
    let line = before.bytes().filter(|b| *b == b'\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |n| n + 1);
    (line, before.get(start..).unwrap_or("").chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        assert_eq!(line_col("", 0), (1, 1));
        assert_eq!(line_col("ä=\nöx", 6), (2, 2));
        assert_eq!(line_col("ä", 1), (1, 1), "inside a character is its start");
        assert_eq!(line_col("a\n", 99), (2, 1));
    }

    #[test]
    fn messages_read_well() {
        let said = |kind: ErrorKind| kind.to_string();
        assert_eq!(said(ErrorKind::Unsupported(Construct::Path)), "file paths are not supported");
        assert_eq!(
            said(ErrorKind::NotAvailable(Argument::LibPrime)),
            "argument `lib'` is not available here"
        );
    }
}
