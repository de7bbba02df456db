//! Installs NixOS on machines that are authenticated first, phase by phase.
//!
//! A machine becomes a node in ten [`Phase`]s. Before anything is sent to it, it has to prove one of three keys: that of
//! what ran before (an installer that was booted by hand, a rescue system, some Linux), that of the installer which this
//! run has started with kexec, or the repository's key of the node. Each key is sent over a connection that the one before
//! it has authenticated, and after the reboot the node's key alone is accepted.
//!
//! | to | use |
//! |---|---|
//! | say what is wanted of one machine | [`Order`] |
//! | ask a machine what it is and what would be erased | [`survey`] |
//! | install it, or go on wherever an installation stands | [`install`] |
//! | learn where it stands | [`status`] |
//! | call it off | [`abort`] |
//! | make a container of Proxmox that is a node from its first start | [`install_container`] |
//! | boot an installer whose key is known before | [`installer_keys`] |
//! | know which disks were agreed to | [`token`] |
//! | read what runs as root on machines | [`install_script`] |
//!
//! Where an installation stands is found out anew each time: which key answers, which boot it is, what is mounted, and
//! what the marker on the disks says. What this machine remembers ([`Memory`]) only helps. So [`install`] may be
//! killed anywhere and called again. It formats disks when exactly those disks were agreed to, and never twice.
//!
//! What it does not do: it asks nobody anything and prints nothing, it opens no sealed file (keys and secrets are given
//! to it), it never accepts a key that it was not told to accept, and it evaluates nothing.

mod abort;
mod check;
mod configured;
mod cpio;
mod disks;
mod error;
mod facts;
mod identity;
mod lxc;
mod marker;
mod medium;
mod mounts;
mod order;
mod phase;
mod problem;
mod remote;
mod reply;
mod standing;
mod state;
mod work;

pub use abort::{Aborted, Status, abort, status};
pub use configured::{Configured, Firmware};
pub use disks::{Disk, Disks, NoDisk, token};
pub use error::{Cause, InstallError};
pub use facts::{Facts, JobState};
pub use identity::Identity;
pub use lxc::{Container, install_container};
pub use marker::{Marker, NoMarker, Reached};
pub use medium::installer_keys;
pub use mounts::Mounts;
pub use order::{DiskScripts, Image, Order, Patience, PlacedFile, Rules, Via};
pub use phase::Phase;
pub use problem::{Finding, Problem};
pub use remote::{JobFailed, RemoteError, install_script};
pub use state::{Held, Memories, Memory};
pub use work::{Context, Installed, Survey, install, survey};
