//! The command line.

use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args as ClapArgs, CommandFactory as _, Parser, Subcommand, ValueEnum, ValueHint};
use nixmox_cli::Switches;

/// Make machines into nodes, with their secrets, and without trusting strangers.
///
/// A machine has to prove who it is before anything is sent to it: an installer that was booted by hand shows a
/// fingerprint, and a key that the repository holds is the only one that is accepted in the end. What is erased is shown
/// by serial number, and has to be agreed to.
#[derive(Parser, Debug)]
#[command(name = "nixmox-install", version, max_term_width = 100)]
#[command(arg_required_else_help = true)]
#[command(
    override_usage = "nixmox-install [OPTIONS] <NODE|GROUP|SELECTOR>...\n       nixmox-install [OPTIONS] <COMMAND>"
)]
#[command(
    after_help = "Start with `nixmox-install fingerprint NODE`, then `nixmox-install NODE --dry-run`, then `nixmox-install NODE`."
)]
pub(crate) struct Args {
    /// The fleet's directory; without it the nearest one upwards from here.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) switches: Switches,
    #[command(flatten)]
    pub(crate) reach: Reach,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// A command that the first word may have been meant for.
    #[arg(skip)]
    pub(crate) meant: Option<String>,
}

impl Args {
    /// Reads the command line; without a command it is `install`.
    pub(crate) fn read() -> Self {
        let words: Vec<_> = std::env::args_os().collect();
        let meant = nixmox_cli::similar_command(&words, &Self::command());
        let words = nixmox_cli::with_command(words, &Self::command(), "install");
        Self { meant, ..Self::parse_from(words) }
    }
}

/// How machines are reached and recognised, and where runs are kept.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct Reach {
    /// Read this configuration of ssh instead of ~/.ssh/config and the system's; may be given several times.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ssh_config: Vec<PathBuf>,
    /// Where a machine is now: NODE=[USER@]ADDRESS[:PORT]; may be given several times.
    #[arg(long, global = true, value_name = "NODE=WHERE")]
    pub(crate) target: Vec<String>,
    /// Where its installer is after kexec, when that is elsewhere: NODE=ADDRESS[:PORT].
    #[arg(long, global = true, value_name = "NODE=WHERE")]
    pub(crate) installer_host: Vec<String>,
    /// Where it is once it is the node, when its definition does not say so: NODE=[USER@]ADDRESS[:PORT].
    #[arg(long, global = true, value_name = "NODE=WHERE")]
    pub(crate) node_host: Vec<String>,
    /// The ed25519 key by which a machine is recognised now: NODE=SHA256:… or NODE=FILE.
    #[arg(long, global = true, value_name = "NODE=KEY")]
    pub(crate) installer_key: Vec<String>,
    /// Show the key that a machine has now, and accept it when you say yes. Nothing vouches for it.
    #[arg(long, global = true)]
    pub(crate) trust_first_key: bool,
    /// Let an installed Nix evaluate a master that is beyond the embedded evaluator, over standard input.
    #[arg(long, global = true)]
    pub(crate) nix: bool,
    /// Where runs are recorded; without it below ~/.local/state/nixmox.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) runs: Option<PathBuf>,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Install machines, or go on with what was begun; what is done without a command as well
    Install(Install),
    /// Go on with installations that were begun, and with nothing else
    Resume(Install),
    /// Show where installations stand
    Status(Which),
    /// Call installations off: jobs end, disks are let go of; nothing is erased
    Abort(Which),
    /// Show the key that a machine has now, to compare it with what its console shows
    Fingerprint(Which),
    /// Make keys for a machine's installer, so that its fingerprint is known before it is booted
    Iso(Iso),
    /// Make a container of Proxmox that is the node from its first start
    ProxmoxLxc(ProxmoxLxc),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write one for every command
    Man {
        /// Write a page for each command to this directory.
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Which machines are meant.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct Which {
    /// Nodes, groups, patterns (`web*`), tags (`@edge`); joined with `&`, `|`, `!` and parentheses.
    #[arg(value_name = "NODE|GROUP|SELECTOR", required = true)]
    pub(crate) selectors: Vec<String>,
}

/// Arguments of an installation.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) systems: From,
    /// How an installer comes to run on the machines.
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) via: ViaArg,
    #[command(flatten)]
    pub(crate) image: ImageArgs,
    /// Agree to erase disks: NODE=TOKEN, as --dry-run shows it; may be given several times.
    #[arg(long, value_name = "NODE=TOKEN")]
    pub(crate) wipe: Vec<String>,
    /// Agree to the use of disks on which nothing is; those that hold something still need --wipe.
    #[arg(long, short = 'y')]
    pub(crate) yes: bool,
    /// A disk that the node's scripts erase, where nothing else says so: NODE=DEVICE; may be given several times.
    #[arg(long, value_name = "NODE=DEVICE")]
    pub(crate) disk: Vec<String>,
    /// Install a machine again that is the node already.
    #[arg(long)]
    pub(crate) reinstall: bool,
    /// Format disks again that this installation has formatted.
    #[arg(long)]
    pub(crate) reformat: bool,
    /// Put a file on every machine: FILE:PATH[:MODE[:UID:GID]]; may be given several times.
    #[arg(long, value_name = "FILE:PATH")]
    pub(crate) place: Vec<String>,
    /// Give the scripts of the disks a secret from a file: PATH=FILE; may be given several times.
    #[arg(long, value_name = "PATH=FILE")]
    pub(crate) disk_secret: Vec<String>,
    /// Where the host key belongs, when the configuration does not say so.
    #[arg(long, value_name = "PATH")]
    pub(crate) host_key_path: Option<String>,
    /// Begin again with a phase that is done already: copy, place, activate or finish.
    #[arg(long, value_name = "PHASE")]
    pub(crate) from: Option<String>,
    /// The last phase that is done.
    #[arg(long, value_name = "PHASE")]
    pub(crate) until: Option<String>,
    /// Do everything but the reboot.
    #[arg(long, conflicts_with = "until")]
    pub(crate) no_reboot: bool,
    /// Show what would be done and erased; change nothing.
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// How many machines are installed at once.
    #[arg(long, value_name = "N", default_value = "4")]
    pub(crate) parallel: NonZeroUsize,
    #[command(flatten)]
    pub(crate) patience: PatienceArgs,
    /// Let machines fetch what they can from their own caches.
    #[arg(long)]
    pub(crate) substitute: bool,
    /// Units that failed on the new node mean that it is not as it should be.
    #[arg(long)]
    pub(crate) strict_health: bool,
    /// Go on though the activation in the new root has failed.
    #[arg(long)]
    pub(crate) allow_activation_errors: bool,
    /// Install though the check of the fleet's sealed files was not made.
    #[arg(long)]
    pub(crate) danger_skip_check: bool,
}

/// Arguments of `iso`.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct Iso {
    /// The node that the machine becomes.
    pub(crate) node: String,
    /// A public key that may log in to the installer as root; may be given several times.
    #[arg(long, value_name = "FILE", required = true, value_hint = ValueHint::FilePath)]
    pub(crate) client_key: Vec<PathBuf>,
    /// Where the keys are written, outside of the repository; without it a directory of your own state.
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
}

/// Arguments of `proxmox-lxc`.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct ProxmoxLxc {
    /// The node that the container becomes.
    pub(crate) node: String,
    /// The Proxmox host: [USER@]ADDRESS[:PORT]; its key is the one that your known hosts have, or --proxmox-key.
    #[arg(long, value_name = "WHERE")]
    pub(crate) proxmox: String,
    /// The ed25519 key of the Proxmox host: `ssh-ed25519 …` or a file with such a line.
    #[arg(long, value_name = "KEY")]
    pub(crate) proxmox_key: Option<String>,
    /// The container's number.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) vmid: u32,
    /// The archive that it is made of: the node's own system, as `config.system.build.tarball` makes it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) template: PathBuf,
    /// An option of `pct create`, such as rootfs=local-lvm:8 or memory=2048; may be given several times.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,
    /// Its root is root on the Proxmox host as well.
    #[arg(long)]
    pub(crate) privileged: bool,
    /// Put a file into it: FILE:PATH[:MODE[:UID:GID]]; may be given several times.
    #[arg(long, value_name = "FILE:PATH")]
    pub(crate) place: Vec<String>,
    /// How long it may take to start.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) boot_timeout: Duration,
    /// Show what would be done; change nothing.
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Install though the check of the fleet's sealed files was not made.
    #[arg(long)]
    pub(crate) danger_skip_check: bool,
}

/// Where systems come from.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct From {
    /// The flake whose nixosConfigurations are meant; without it the fleet's directory.
    #[arg(long, value_name = "FLAKE", conflicts_with = "paths")]
    pub(crate) flake: Option<String>,
    /// Take the systems from a file of JSON, or for one machine from FORMAT,MOUNT,SYSTEM: three store paths.
    #[arg(long, value_name = "FILE|PATHS", value_hint = ValueHint::FilePath)]
    pub(crate) paths: Option<String>,
    /// Set an option of Nix; may be given several times.
    #[arg(long, num_args = 2, value_names = ["NAME", "VALUE"])]
    pub(crate) option: Vec<String>,
}

/// The installer that is started in place of what runs.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct ImageArgs {
    /// An archive with kexec/bzImage and kexec/initrd, as nixos-images makes it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, requires = "image_sha256")]
    pub(crate) image: Option<PathBuf>,
    /// The SHA-256 that the archive has to have.
    #[arg(long, value_name = "HEX", requires = "image")]
    pub(crate) image_sha256: Option<String>,
    /// Add a word to the kernel's command line; may be given several times.
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    pub(crate) kexec_arg: Vec<String>,
    /// The whole command line of the kernel, where the archive does not say it.
    #[arg(long, value_name = "LINE")]
    pub(crate) kexec_line: Option<String>,
}

/// How long each phase may take.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct PatienceArgs {
    /// How long a machine may take to answer at first.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) connect_timeout: Duration,
    /// How long the installer may take to come up.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) kexec_timeout: Duration,
    /// How long the scripts of the disks may take.
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = seconds)]
    pub(crate) disks_timeout: Duration,
    /// How long the activation in the new root may take.
    #[arg(long, value_name = "SECONDS", default_value = "900", value_parser = seconds)]
    pub(crate) activation_timeout: Duration,
    /// How long the new node may take to come back.
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    pub(crate) boot_timeout: Duration,
}

/// How an installer comes to run on a machine.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ViaArg {
    /// An installer is used as it is; any other Linux is replaced with one by kexec.
    Auto,
    /// An installer runs already.
    Installer,
    /// The Linux that runs is replaced with an installer.
    Kexec,
    /// The Linux that runs does the work, from memory.
    Rescue,
}

impl std::convert::From<ViaArg> for nixmox_install::Via {
    fn from(arg: ViaArg) -> Self {
        match arg {
            ViaArg::Auto => Self::Auto,
            ViaArg::Installer => Self::Installer,
            ViaArg::Kexec => Self::Kexec,
            ViaArg::Rescue => Self::Rescue,
        }
    }
}

/// Reads a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: NonZeroU16 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Ok(Duration::from_secs(u64::from(seconds.get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds() {
        Args::command().debug_assert();
    }
}
