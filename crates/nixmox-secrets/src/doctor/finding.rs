//! What was found, with a stable code, and the way out of it.

use std::fmt;

use super::Leftover;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something has to be done.
    Problem,
    /// Good to know.
    Note,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// What it is.
    pub trouble: Trouble,
    /// The file, object, host or recipient that it is about.
    pub place: String,
}

/// What can be wrong; [`code`](Self::code) is stable. No variant holds a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Trouble {
    /// Plaintext that a tool left behind.
    Leftover(Leftover),
    /// An editor's private directory that a killed run of this program left in memory.
    EditorDirectory,
    /// Current values in a file of the work tree; with the names of the secrets and the line.
    ValueInTree(Vec<String>, u64),
    /// Current values in a temporary file.
    ValueInTemp(Vec<String>, u64),
    /// Current values in the git history, at the line of a file or in the text of a commit.
    ValueInHistory {
        /// The names of the secrets.
        names: Vec<String>,
        /// The line.
        line: u64,
        /// The commit that brought it, when one does.
        commit: Option<String>,
    },
    /// Current values in a shell's history.
    ValueInShell(Vec<String>, u64),
    /// Current values in the Nix store, where every user of the machine reads them.
    ValueInStore(Vec<String>, u64),
    /// A key file that others can read or write; with its mode.
    KeyMode(u32),
    /// A key file of somebody else; with the user's number.
    KeyOwner(u32),
    /// A directory of keys that others can write to; with its mode.
    DirectoryWritable(u32),
    /// A directory of keys that others can read; with its mode.
    DirectoryReadable(u32),
    /// A machine shows another key than the repository has for it.
    LiveKeyDiffers {
        /// The fingerprint in the repository.
        expected: String,
        /// The fingerprint that the machine shows.
        shown: String,
    },
    /// A machine's key could not be learned; with the cause, and whether its address was given.
    LiveUnknown(String, bool),
    /// Fewer than two recipients open the master.
    FewAdmins(usize),
    /// A recipient's own key is at hand and does not open this file.
    DrillFailed(String),
    /// What is sealed under a recipient's name opens with another key.
    LabelLies(String),
    /// No key at hand opens this file; with the cause.
    DrillClosed(String),
    /// No key of this recipient was at hand, so that nothing is proved.
    NotProved,
    /// There was no key, so that values were not looked for.
    NoKey,
    /// Something could not be searched; with the cause.
    NotSearched(String),
    /// The system did not agree to keep core files from being written.
    CoreFiles,
    /// The system did not agree to lock memory.
    UnlockedMemory,
}

impl Trouble {
    /// Names the finding for scripts; the names are stable.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Leftover(leftover) => leftover.code(),
            Self::EditorDirectory => "leftover-directory",
            Self::ValueInTree(..) => "value-in-tree",
            Self::ValueInTemp(..) => "value-in-temp",
            Self::ValueInHistory { .. } => "value-in-history",
            Self::ValueInShell(..) => "value-in-shell-history",
            Self::ValueInStore(..) => "value-in-store",
            Self::KeyMode(_) => "key-mode",
            Self::KeyOwner(_) => "key-owner",
            Self::DirectoryWritable(_) => "key-directory-writable",
            Self::DirectoryReadable(_) => "key-directory-readable",
            Self::LiveKeyDiffers { .. } => "live-key-differs",
            Self::LiveUnknown(..) => "live-key-unknown",
            Self::FewAdmins(_) => "few-admins",
            Self::DrillFailed(_) => "drill-failed",
            Self::LabelLies(_) => "label-lies",
            Self::DrillClosed(_) => "drill-closed",
            Self::NotProved => "not-proved",
            Self::NoKey => "no-key",
            Self::NotSearched(_) => "not-searched",
            Self::CoreFiles => "core-files",
            Self::UnlockedMemory => "memory-not-locked",
        }
    }

    /// Tells how much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::DirectoryReadable(_)
            | Self::LiveUnknown(_, false)
            | Self::NotProved
            | Self::NoKey
            | Self::CoreFiles
            | Self::UnlockedMemory => Severity::Note,
            _ => Severity::Problem,
        }
    }

    /// Says what can be done about it.
    pub fn way_out(&self) -> &'static str {
        match self {
            Self::Leftover(leftover) if leftover.is_copy() => "remove it: `doctor --fix`",
            Self::Leftover(Leftover::PrivateKey) => {
                "seal it (`nixmox-secrets encrypt --in-place FILE`), or move it out of the repository"
            }
            Self::Leftover(Leftover::AgeIdentity) => {
                "move it out of the repository, to where keys belong (~/.config/sops/age/keys.txt)"
            }
            Self::Leftover(_) => "take it in with `nixmox-secrets import FILE`, then delete it",
            Self::EditorDirectory => "remove it: `doctor --fix`, or the next `edit` does",
            Self::ValueInTree(..) => "take the value out of the file, and keep the file out of git",
            Self::ValueInTemp(..) => "delete the file",
            Self::ValueInHistory { .. } => {
                "change the secret: what was committed once stays readable to whoever has a copy"
            }
            Self::ValueInShell(..) => "delete the line; change the secret if others read the file",
            Self::ValueInStore(..) => {
                "change the secret, and keep it out of the configuration: every user reads the store"
            }
            Self::KeyMode(_) => "chmod 600 it: `doctor --fix`",
            Self::KeyOwner(_) => "chown it to yourself, or use another key",
            Self::DirectoryWritable(_) => "chmod 700 it: `doctor --fix`",
            Self::DirectoryReadable(_) => "chmod 700 it, unless others are meant to see its names",
            Self::LiveKeyDiffers { .. } => {
                "do not deploy: find out which key is right; a machine that was set up anew needs the repository's key"
            }
            Self::LiveUnknown(..) => {
                "give its address: --live HOST=ADDRESS, or check it when it runs"
            }
            Self::FewAdmins(_) => {
                "add a second recipient to .sops.yaml, kept apart: one lost key must not lose everything"
            }
            Self::DrillFailed(_) | Self::DrillClosed(_) => {
                "seal it anew with a key that opens it, before that key is lost too"
            }
            Self::LabelLies(_) => "look who changed the file, and seal it anew",
            Self::NotProved => "try its key file: --drill FILE",
            Self::NoKey => "give a key that opens the master, then values are looked for too",
            Self::NotSearched(_) => "clear the cause away and run it again",
            Self::CoreFiles => "switch core files off for this session: ulimit -c 0",
            Self::UnlockedMemory => "use encrypted swap, or raise the limit of locked memory",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leftover(leftover) => f.write_str(match leftover {
                Leftover::Nixverse => "holds plaintext that Nixverse left",
                Leftover::Decrypted => "is a decrypted copy",
                Leftover::EditorCopy => "is an editor's copy of secrets",
                Leftover::PrivateKey => "is a private key that is not sealed",
                Leftover::AgeIdentity => "holds an age identity",
                Leftover::PlainMaster => "holds secrets and is not sealed",
            }),
            Self::EditorDirectory => f.write_str("was left by an editor that was killed"),
            Self::ValueInTree(names, line)
            | Self::ValueInTemp(names, line)
            | Self::ValueInShell(names, line)
            | Self::ValueInStore(names, line) => {
                write!(f, "line {line} holds the value of {}", names.join(", "))
            }
            Self::ValueInHistory { names, line, commit: Some(commit) } => {
                write!(f, "line {line} in commit {commit} holds the value of {}", names.join(", "))
            }
            Self::ValueInHistory { names, line, commit: None } => write!(
                f,
                "line {line} holds the value of {}; no commit reaches it any more",
                names.join(", ")
            ),
            Self::KeyMode(mode) => write!(f, "has mode {mode:03o}: others can read or change it"),
            Self::KeyOwner(user) => write!(f, "belongs to user {user}, who can read and change it"),
            Self::DirectoryWritable(mode) => {
                write!(f, "has mode {mode:03o}: others can replace the keys in it")
            }
            Self::DirectoryReadable(mode) => {
                write!(f, "has mode {mode:03o}: others can list the keys in it")
            }
            Self::LiveKeyDiffers { expected, shown } => {
                write!(f, "shows the key {shown}, and the repository has {expected}")
            }
            Self::LiveUnknown(cause, _) => write!(f, "its key could not be learned: {cause}"),
            Self::FewAdmins(1) => f.write_str("is sealed to one recipient alone"),
            Self::FewAdmins(count) => write!(f, "is sealed to {count} recipients"),
            Self::DrillFailed(recipient) => write!(f, "does not open with the key of {recipient}"),
            Self::LabelLies(recipient) => {
                write!(f, "opens, under the name of {recipient}, with another key")
            }
            Self::DrillClosed(cause) => write!(f, "was not opened: {cause}"),
            Self::NotProved => {
                f.write_str("nothing proves that this recipient can open the secrets")
            }
            Self::NoKey => f.write_str("no key opens the master, so values were not looked for"),
            Self::NotSearched(cause) => write!(f, "was not searched: {cause}"),
            Self::CoreFiles => f.write_str("a crash may leave a file with secrets in it"),
            Self::UnlockedMemory => f.write_str("memory with secrets may be written to swap space"),
        }
    }
}
