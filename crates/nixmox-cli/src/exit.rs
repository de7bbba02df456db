use std::process::ExitCode;

/// How a nixmox program ended: one table for all of them, with sops' numbers where sops has one.
///
/// A program that was ended by a signal while it held plaintext exits with 128 + the signal's number; the table
/// names the usual one, [`Exit::Interrupted`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Exit {
    /// Everything was done.
    Ok,
    /// Something failed that has no number of its own; a checking command found something.
    Failure,
    /// The arguments or the input make no sense.
    Usage,
    /// A file could not be written.
    Write,
    /// A result has no form in its format.
    Emit,
    /// The configuration is wrong.
    Config,
    /// No value has this path, or it cannot have one.
    BadPath,
    /// The arguments contradict each other.
    Conflict,
    /// The values cannot be encrypted.
    EncryptTree,
    /// A value does not open.
    DecryptTree,
    /// Keys cannot be changed in a file that is not there.
    NoFileForKeys,
    /// A file was changed by someone without its key.
    MacMismatch,
    /// Hosts went back to the system that they had, or were not touched because another failed; all are well.
    RolledBack,
    /// A host failed, or it is not known what it runs.
    HostFailed,
    /// Hosts run something else than the plan saw.
    Stale,
    /// The path to extract is not one.
    TreePath,
    /// The file is empty.
    EmptyFile,
    /// The file is not there.
    NoFile,
    /// The order of key types names one twice.
    DecryptionOrder,
    /// No identity opens the file.
    NoIdentity,
    /// A person interrupted the program.
    Interrupted,
    /// The edited text is as it was.
    Unchanged,
    /// No editor, or it failed.
    Editor,
    /// The file is encrypted already.
    AlreadyEncrypted,
}

impl Exit {
    /// Every way to end, by number.
    pub const ALL: [Self; 24] = [
        Self::Ok,
        Self::Failure,
        Self::Usage,
        Self::Write,
        Self::Emit,
        Self::Config,
        Self::BadPath,
        Self::Conflict,
        Self::EncryptTree,
        Self::DecryptTree,
        Self::NoFileForKeys,
        Self::MacMismatch,
        Self::RolledBack,
        Self::HostFailed,
        Self::Stale,
        Self::TreePath,
        Self::EmptyFile,
        Self::NoFile,
        Self::DecryptionOrder,
        Self::NoIdentity,
        Self::Interrupted,
        Self::Unchanged,
        Self::Editor,
        Self::AlreadyEncrypted,
    ];

    /// Returns the number that the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Write => 3,
            Self::Emit => 4,
            Self::Config => 5,
            Self::BadPath => 7,
            Self::Conflict => 8,
            Self::EncryptTree => 23,
            Self::DecryptTree => 25,
            Self::NoFileForKeys => 49,
            Self::MacMismatch => 51,
            Self::RolledBack => 70,
            Self::HostFailed => 71,
            Self::Stale => 72,
            Self::TreePath => 91,
            Self::EmptyFile => 92,
            Self::NoFile => 100,
            Self::DecryptionOrder => 112,
            Self::NoIdentity => 128,
            Self::Interrupted => 130,
            Self::Unchanged => 200,
            Self::Editor => 201,
            Self::AlreadyEncrypted => 203,
        }
    }

    /// Says in a line what the number means, for manual pages.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Ok => "success",
            Self::Failure => "failure without a number of its own; findings of a checking command",
            Self::Usage => "bad arguments, or input that cannot be read or parsed",
            Self::Write => "a file cannot be written",
            Self::Emit => "a result has no form in the format it is to be written in",
            Self::Config => "the configuration is wrong",
            Self::BadPath => "no value has this path, or it cannot have one",
            Self::Conflict => "the arguments contradict each other",
            Self::EncryptTree => "the values cannot be encrypted",
            Self::DecryptTree => "a value does not open",
            Self::NoFileForKeys => "keys cannot be changed in a file that does not exist",
            Self::MacMismatch => "MAC mismatch: the file was changed without its key",
            Self::RolledBack => {
                "hosts are back on the system that they had, or were not touched; all are well"
            }
            Self::HostFailed => "a host failed, or it is not known what it runs",
            Self::Stale => "hosts run something else than the plan saw; nothing was done",
            Self::TreePath => "the path to extract is not one",
            Self::EmptyFile => "the file is empty",
            Self::NoFile => "the file does not exist",
            Self::DecryptionOrder => "the order of key types names one twice",
            Self::NoIdentity => "no identity opens the file",
            Self::Interrupted => "interrupted (other signals: 128 + their number)",
            Self::Unchanged => "the edited file has not changed",
            Self::Editor => "no editor, or it failed",
            Self::AlreadyEncrypted => "the file is encrypted already",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_has_no_number_twice() {
        let codes = Exit::ALL.map(Exit::code);
        assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    }

    #[test]
    fn numbers_that_scripts_for_sops_know() {
        #[track_caller]
        fn check(exit: Exit, code: u8) {
            assert_eq!(exit.code(), code);
        }
        check(Exit::MacMismatch, 51);
        check(Exit::NoFile, 100);
        check(Exit::NoIdentity, 128);
        check(Exit::Unchanged, 200);
        check(Exit::Editor, 201);
        check(Exit::AlreadyEncrypted, 203);
    }

    #[test]
    fn meanings_are_lines() {
        for exit in Exit::ALL {
            assert!(!exit.meaning().is_empty() && !exit.meaning().contains('\n'));
        }
    }
}
