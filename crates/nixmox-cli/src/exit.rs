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
    /// `nixmox-install`: it cannot be decided what is to be done.
    InstallPlan,
    /// `nixmox-install`: checks say no; nothing was changed.
    InstallRefused,
    /// `nixmox-install`: nobody has agreed to erase the disks.
    InstallConsent,
    /// `nixmox-install`: the machine is not reached, or refuses the login.
    InstallUnreachable,
    /// `nixmox-install`: whoever answers is not who it should be, or it is not known who that is.
    InstallStranger,
    /// `nixmox-install`: the installer did not come up.
    InstallNoInstaller,
    /// `nixmox-install`: the disks are not ready; what was on them may be gone.
    InstallDisks,
    /// `nixmox-install`: the system is not copied.
    InstallCopy,
    /// `nixmox-install`: the files are not in place.
    InstallPlace,
    /// `nixmox-install`: the system is not bootable; the installer still runs.
    InstallActivate,
    /// `nixmox-install`: the machine did not come back.
    InstallGone,
    /// `nixmox-install`: the machine came back, and is not as it should be.
    InstallVerify,
    /// `nixmox-install`: several hosts ended differently.
    InstallMixed,
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

    /// What `nixmox-install` adds, by number. Three of them have another meaning there than elsewhere.
    pub const INSTALL: [Self; 13] = [
        Self::InstallPlan,
        Self::InstallRefused,
        Self::InstallConsent,
        Self::InstallUnreachable,
        Self::InstallStranger,
        Self::InstallNoInstaller,
        Self::InstallDisks,
        Self::InstallCopy,
        Self::InstallPlace,
        Self::InstallActivate,
        Self::InstallGone,
        Self::InstallVerify,
        Self::InstallMixed,
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
            Self::InstallPlan => 3,
            Self::InstallRefused => 4,
            Self::InstallConsent => 5,
            Self::InstallUnreachable => 10,
            Self::InstallStranger => 11,
            Self::InstallNoInstaller => 12,
            Self::InstallDisks => 13,
            Self::InstallCopy => 14,
            Self::InstallPlace => 15,
            Self::InstallActivate => 16,
            Self::InstallGone => 17,
            Self::InstallVerify => 18,
            Self::InstallMixed => 20,
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
            Self::InstallPlan => "the configuration cannot be evaluated or built",
            Self::InstallRefused => "refused by a check; nothing was changed",
            Self::InstallConsent => "nobody has agreed to erase the disks",
            Self::InstallUnreachable => "the machine is not reached, or refuses the login",
            Self::InstallStranger => "another host key than the machine's, or none that is known",
            Self::InstallNoInstaller => "the installer did not come up",
            Self::InstallDisks => "the disks are not ready; what was on them may be gone",
            Self::InstallCopy => "the system is not copied",
            Self::InstallPlace => "the host key or other files are not in place",
            Self::InstallActivate => "activation or boot loader failed; the installer still runs",
            Self::InstallGone => "the machine did not come back",
            Self::InstallVerify => "the machine came back, and is not as it should be",
            Self::InstallMixed => "several hosts ended differently; --json says how each did",
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
        let codes = Exit::INSTALL.map(Exit::code);
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
