//! What is done with a machine, in the order in which it is done.

use nixmox_deploy::Happening;

/// A phase of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// It is decided what is to be done; no machine is touched.
    Plan,
    /// Whoever answers proves who it is, and is asked what it is.
    Connect,
    /// An installer is started in place of what runs.
    BootInstaller,
    /// Disks are erased, partitioned, formatted and mounted.
    Disks,
    /// The system is copied to them.
    Copy,
    /// The host key, the sealed secrets and other files are put in place.
    Place,
    /// The system is activated in its new root, and its boot loader is installed.
    Activate,
    /// Everything is looked at once more, and the disks are let go of.
    Finish,
    /// It reboots.
    Reboot,
    /// It is back, with its own key and its own system.
    Verify,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 10] = [
        Self::Plan,
        Self::Connect,
        Self::BootInstaller,
        Self::Disks,
        Self::Copy,
        Self::Place,
        Self::Activate,
        Self::Finish,
        Self::Reboot,
        Self::Verify,
    ];

    /// Returns its name in records and on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Connect => "connect",
            Self::BootInstaller => "boot-installer",
            Self::Disks => "disks",
            Self::Copy => "copy",
            Self::Place => "place",
            Self::Activate => "activate",
            Self::Finish => "finish",
            Self::Reboot => "reboot",
            Self::Verify => "verify",
        }
    }

    /// Finds the phase of a name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|phase| phase.word() == word)
    }

    /// Says that it begins.
    pub(crate) fn begins(self) -> Happening {
        let number = Self::ALL.into_iter().take_while(|phase| *phase < self).count();
        Happening::Step {
            name: self.word(),
            number: u32::try_from(number).unwrap_or_default(),
            of: 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for phase in Phase::ALL {
            assert_eq!(Phase::parse(phase.word()), Some(phase));
        }
        assert_eq!(Phase::parse("kexec"), None);
    }

    #[test]
    fn the_order_is_that_of_the_list() {
        assert!(Phase::ALL.is_sorted());
        let last = Happening::Step { name: "verify", number: 9, of: 10 };
        assert_eq!(Phase::Verify.begins(), last);
    }
}
