//! What can be found wrong before anything is changed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::Phase;
use crate::configured::Firmware;
use crate::standing::Dead;

/// Something that was found before anything was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether nothing is done because of it.
    pub grave: bool,
    /// What it is.
    pub what: Problem,
}

/// What can be found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Problem {
    /// The machine is the node already.
    AlreadyNode,
    /// There is nothing to go on with.
    NothingBegun,
    /// It runs no installer, and none is to be started.
    NoInstaller,
    /// Something else is mounted at `/mnt`.
    ForeignMount,
    /// Another installation has the disks.
    OtherRun,
    /// Commands are not root's there.
    NotRoot,
    /// A program is missing there.
    Tool(String),
    /// It has another processor than the system is for.
    Processor(String),
    /// kexec cannot work there.
    NoKexec(String),
    /// There is no image to start.
    NoImage,
    /// The image to start cannot be read.
    ImageUnread {
        /// Where it was looked for.
        path: PathBuf,
        /// Why not.
        why: io::ErrorKind,
    },
    /// The image to start is another one than was meant.
    ImageDigest {
        /// Where it is.
        path: PathBuf,
        /// Its SHA-256.
        found: String,
    },
    /// A container shares its kernel and its disks with others.
    Container(String),
    /// It has little memory.
    LittleMemory(u64),
    /// Its clock is wrong by so many seconds.
    Clock(u64),
    /// `IN_DISKO_TEST` is set there.
    DiskoTest,
    /// A disk that is to be erased is not there.
    NoDisk(String),
    /// A disk that is to be erased cannot be written to.
    ReadOnly(String),
    /// A disk that is to be erased is in use by what runs.
    InUse(String),
    /// A disk has no number by which it could be recognised after a reboot.
    NoSerial(String),
    /// The system has no kernel, so it cannot boot on a machine.
    NoKernel,
    /// The closure is larger than the disk.
    NoSpace {
        /// How much it needs, in KiB.
        needs: u64,
        /// How much there is.
        free: u64,
    },
    /// The new root is on no disk.
    RootInMemory,
    /// The node is reached at another address than the machine now.
    OtherAddress(String),
    /// The new system has no sshd.
    NoSshd,
    /// Nobody could log in to the new system as this user.
    NoLogin(String),
    /// The new system looks for its host key elsewhere.
    KeyElsewhere(String),
    /// The host key lies on a file system that is mounted late.
    LateMount(String),
    /// The new system's boot loader is not for how the machine was started.
    Firmware(Firmware),
    /// The new system gives itself other addresses than the one at which it will be looked for.
    StaticAddresses(Vec<String>),
    /// The new system has no address, and asks for none.
    NoNetwork,
    /// The new system asks a person for a passphrase when it boots.
    Passphrase(String),
    /// What somebody wants to begin with is not to be begun yet.
    NotThere(Phase),
    /// What somebody wants to begin with is over: only the reboot is left.
    LetGo,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what.fmt(f)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AlreadyNode => f.write_str("it is this node already"),
            Self::NothingBegun => f.write_str("there is no installation to go on with"),
            Self::NoInstaller => f.write_str("it runs no installer"),
            Self::ForeignMount => f.write_str("something else is mounted at /mnt"),
            Self::OtherRun => {
                f.write_str("its disks belong to another installation that is under way")
            }
            Self::NotRoot => f.write_str("commands there are not root's"),
            Self::Tool(tool) => write!(f, "it has no {tool}"),
            Self::Processor(arch) => {
                write!(f, "its processor is {arch}, which the system is not for")
            }
            Self::NoKexec(why) => write!(f, "kexec cannot work there: {why}"),
            Self::NoImage => {
                f.write_str("it runs no installer, and there is no image to start one")
            }
            Self::ImageUnread { path, why } => {
                write!(f, "{}, the image of an installer, cannot be read: {why}", path.display())
            }
            Self::ImageDigest { path, found } => write!(
                f,
                "{} has the SHA-256 {found}, which is not the one that was given",
                path.display()
            ),
            Self::Container(kind) => write!(f, "it is a container ({kind})"),
            Self::LittleMemory(kib) => write!(f, "it has {} MiB of memory", kib >> 10),
            Self::Clock(by) => write!(f, "its clock is wrong by {by} s"),
            Self::DiskoTest => f.write_str(
                "IN_DISKO_TEST is set there, which means a password that everybody knows",
            ),
            Self::NoDisk(disk) => write!(f, "it has no disk that is {disk}"),
            Self::ReadOnly(disk) => write!(f, "nothing can be written to {disk}"),
            Self::InUse(disk) => write!(f, "{disk} is in use by what runs"),
            Self::NoSerial(disk) => {
                write!(f, "{disk}: another disk could be taken for it after a reboot")
            }
            Self::NoKernel => f.write_str("the system has no kernel"),
            Self::NoSpace { needs, free } => {
                write!(f, "the system needs {} MiB, and {} MiB are free", needs >> 10, free >> 10)
            }
            Self::RootInMemory => f.write_str("its new root is on no disk"),
            Self::OtherAddress(address) => {
                write!(f, "the node will be looked for at {address}, where it is not now")
            }
            Self::NotThere(phase) => {
                write!(
                    f,
                    "it cannot begin with {}: what comes before that is not done",
                    phase.word()
                )
            }
            Self::LetGo => f.write_str("its disks were let go of already: only the reboot is left"),
            _ => self.of_the_system(f),
        }
    }
}

impl Problem {
    /// Says what follows from the configuration of the new system.
    fn of_the_system(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSshd => f.write_str("the new system has no sshd: nobody could reach it"),
            Self::NoLogin(user) => {
                write!(
                    f,
                    "the new system has no key that lets {user} in: nobody could log in to it"
                )
            }
            Self::KeyElsewhere(path) => {
                write!(f, "the new system does not look for its host key at {path}")
            }
            Self::LateMount(path) => write!(
                f,
                "the host key lies below {path}, which the new system does not mount first (neededForBoot)"
            ),
            Self::Firmware(Firmware::Efi) => {
                f.write_str("it was started by EFI, and the new system's boot loader is for a BIOS")
            }
            Self::Firmware(Firmware::Bios) => {
                f.write_str("it was started by a BIOS, and the new system's boot loader is for EFI")
            }
            Self::StaticAddresses(all) => write!(
                f,
                "the new system gives itself {}, and is looked for elsewhere",
                all.join(", ")
            ),
            Self::NoNetwork => f.write_str("the new system has no address, and asks for none"),
            Self::Passphrase(name) => {
                write!(f, "the new system asks for the passphrase of {name} when it boots")
            }
            _ => f.write_str("something was found"),
        }
    }
}

impl From<Dead> for Problem {
    fn from(dead: Dead) -> Self {
        match dead {
            Dead::AlreadyNode => Self::AlreadyNode,
            Dead::NothingBegun => Self::NothingBegun,
            Dead::NoInstaller => Self::NoInstaller,
            Dead::ForeignMount => Self::ForeignMount,
            Dead::OtherRun => Self::OtherRun,
            Dead::NotThere(phase) => Self::NotThere(phase),
            Dead::LetGo => Self::LetGo,
        }
    }
}

/// A finding because of which nothing is done.
pub(crate) fn grave(what: Problem) -> Finding {
    Finding { grave: true, what }
}

/// A finding that whoever installs should know of.
pub(crate) fn light(what: Problem) -> Finding {
    Finding { grave: false, what }
}
