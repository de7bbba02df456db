//! What is looked at before anything is changed.

use std::fmt;

use nixmox_deploy::StorePath;

use crate::facts::Facts;
use crate::order::{Order, Via};
use crate::standing::Dead;

/// How much memory an installer needs at least, in KiB.
const MEMORY: u64 = 700 << 10;
/// By how many seconds a clock may be wrong before certificates are.
const CLOCK: u64 = 24 * 60 * 60;

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
        }
    }
}

/// A finding because of which nothing is done.
pub(crate) fn grave(what: Problem) -> Finding {
    Finding { grave: true, what }
}

fn light(what: Problem) -> Finding {
    Finding { grave: false, what }
}

/// Looks at a machine before anything on it is changed; `boots` says that an installer is to be started there.
pub(crate) fn machine(order: &Order, facts: &Facts, boots: bool, now: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    if !facts.root {
        found.push(grave(Problem::NotRoot));
    }
    let needed: &[&str] = if boots {
        &["tar", "sha256sum", "setsid"]
    } else {
        &["lsblk", "findmnt", "setsid", "unshare", "chroot", "sha256sum"]
    };
    let lacks = needed.iter().filter(|tool| !facts.has(tool));
    found.extend(lacks.map(|tool| grave(Problem::Tool((*tool).to_owned()))));
    if !boots && !facts.has("nix-store") && order.via != Via::Rescue && order.via != Via::Auto {
        found.push(grave(Problem::Tool("nix-store".to_owned())));
    }
    if !fits(&facts.arch, order) {
        found.push(grave(Problem::Processor(facts.arch.clone())));
    }
    if let Some(kind) = &facts.container {
        found.push(grave(Problem::Container(kind.clone())));
    }
    if facts.disko_test {
        found.push(grave(Problem::DiskoTest));
    }
    if boots {
        found.extend(facts.no_kexec.iter().map(|why| grave(Problem::NoKexec(why.clone()))));
        if order.image.is_none() {
            found.push(grave(Problem::NoImage));
        }
    }
    if facts.memory_kib > 0 && facts.memory_kib < MEMORY {
        found.push(light(Problem::LittleMemory(facts.memory_kib)));
    }
    let wrong = facts.clock.abs_diff(now);
    if wrong > CLOCK {
        found.push(light(Problem::Clock(wrong)));
    }
    if order.before.address != order.after.address {
        found.push(light(Problem::OtherAddress(order.after.address.to_string())));
    }
    found
}

/// Tells whether a processor runs the system, as far as this machine can tell: it has built it, or could have.
fn fits(arch: &str, order: &Order) -> bool {
    order.arch.as_ref().is_none_or(|wanted| wanted == arch)
}

/// Looks at the disks that are to be erased.
pub(crate) fn disks(disks: &[&crate::Disk], boots: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for disk in disks {
        let name = || format!("{} ({})", disk.path, disk.lasting_name());
        if disk.read_only {
            found.push(grave(Problem::ReadOnly(name())));
        }
        let others = disk.mounted.iter().any(|at| !at.starts_with("/mnt"));
        // What runs now is gone when the installer runs.
        if others && !boots {
            found.push(grave(Problem::InUse(name())));
        }
        if disk.serial.is_none() && disk.wwn.is_none() {
            found.push(light(Problem::NoSerial(name())));
        }
    }
    found
}

/// Looks at the system on this machine.
pub(crate) fn system(toplevel: &StorePath) -> Vec<Finding> {
    let path = std::path::Path::new(toplevel.as_str());
    let there = path.is_dir();
    let kernel = path.join("kernel").symlink_metadata().is_ok();
    if there && !kernel { vec![grave(Problem::NoKernel)] } else { Vec::new() }
}
