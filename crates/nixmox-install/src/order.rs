//! What is asked for one machine.

use std::path::PathBuf;
use std::time::Duration;

use nixmox_deploy::{System, Target};
use nixmox_hostkey::HostKey;
use nixmox_topology::NodeName;
use nixmox_tree::SecretString;

use crate::{Configured, Phase};

/// Everything that is asked for one machine.
#[derive(Debug, Clone)]
pub struct Order {
    /// Which node it becomes.
    pub node: NodeName,
    /// How an installer comes to run on it.
    pub via: Via,
    /// The system that it gets.
    pub system: System,
    /// What its configuration says of the machine that it is for.
    pub configured: Configured,
    /// For which processor that is, as `uname -m` calls it; where it is not known it is not looked at.
    pub arch: Option<String>,
    /// What makes its disks.
    pub disks: DiskScripts,
    /// How it is reached before, with the keys by which it is recognised then. Without a key nothing is done.
    pub before: Target,
    /// How the installer is reached when it is elsewhere than what ran before it.
    pub installer: Target,
    /// How it is reached once it is the node, with the repository's key.
    pub after: Target,
    /// The host key that it gets; an order without one can be asked about, but not carried out.
    pub host_key: Option<HostKey>,
    /// Where that belongs, below the new root.
    pub host_key_path: String,
    /// Other files that it gets.
    pub files: Vec<PlacedFile>,
    /// What the scripts of the disks read, such as passphrases; it is gone with the installer.
    pub disk_secrets: Vec<(String, SecretString)>,
    /// The installer that is started in place of what runs.
    pub image: Option<Image>,
    /// The token with which erasing the disks was agreed to.
    pub consent: Option<String>,
    /// How long each phase may take.
    pub patience: Patience,
    /// What is accepted and what is left out.
    pub rules: Rules,
    /// Whether nobody has told the key of what runs before by another way.
    pub unauthenticated: bool,
}

/// How an installer comes to run on a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Via {
    /// Whatever is there is used: an installer as it is, and any other Linux is replaced with one.
    Auto,
    /// An installer runs already.
    Installer,
    /// What runs starts one in its own place.
    Kexec,
    /// What runs does the work, from memory.
    Rescue,
}

/// The scripts of a configuration that make its disks.
#[derive(Debug, Clone)]
pub struct DiskScripts {
    /// Erases, partitions, formats and mounts at `/mnt`.
    pub format: System,
    /// Mounts what is there.
    pub mount: Option<System>,
    /// The disks that they erase; when none are named, all are taken to be.
    pub devices: Vec<String>,
}

/// A file of the new system.
#[derive(Debug, Clone)]
pub struct PlacedFile {
    /// Where it belongs, from the new root.
    pub path: String,
    /// Its bytes; secret as far as anybody knows.
    pub text: SecretString,
    /// Its permissions, in octal.
    pub mode: String,
    /// Its owner and group by number, `0:0`.
    pub owner: String,
}

/// An installer that kexec starts.
#[derive(Debug, Clone)]
pub struct Image {
    /// The archive, on this machine.
    pub path: PathBuf,
    /// The SHA-256 that it has to have, in hexadecimal.
    pub sha256: String,
    /// What is added to the kernel's command line.
    pub arguments: Vec<String>,
    /// The whole command line, where the archive's own `run` does not say it.
    pub command_line: Option<String>,
}

/// How long each phase may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Patience {
    /// For reaching the machine.
    pub connect: Duration,
    /// From the jump into the installer until that answers.
    pub kexec: Duration,
    /// For the scripts of the disks.
    pub disks: Duration,
    /// For looking at the new store after a crash.
    pub verify: Duration,
    /// For the activation and the boot loader.
    pub activate: Duration,
    /// From the reboot until the node answers.
    pub boot: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(60),
            kexec: Duration::from_secs(300),
            disks: Duration::from_secs(900),
            verify: Duration::from_secs(900),
            activate: Duration::from_secs(900),
            boot: Duration::from_secs(600),
        }
    }
}

/// What is accepted and what is left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// A machine that already is the node is installed again.
    pub reinstall: bool,
    /// Disks that this installation has formatted are formatted again.
    pub reformat: bool,
    /// Only what was begun is gone on with.
    pub only_resume: bool,
    /// An activation that fails is no reason to stop, if the new system is there.
    pub accept_activation_errors: bool,
    /// Units that failed are a reason to say that the verification failed.
    pub strict_health: bool,
    /// The machine fetches what it can from its own caches.
    pub substitute: bool,
    /// Disks on which nothing is may be erased without further consent.
    pub blank_disks: bool,
    /// The phase that is begun with again, though the machine is further.
    pub from: Option<Phase>,
    /// The last phase that is done.
    pub until: Phase,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            reinstall: false,
            reformat: false,
            only_resume: false,
            accept_activation_errors: false,
            strict_health: false,
            substitute: false,
            blank_disks: false,
            from: None,
            until: Phase::Verify,
        }
    }
}
