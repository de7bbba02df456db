//! The command line.

use std::path::PathBuf;

use crate::commands::access::{Everything, Who};
use crate::commands::due::Compromised;
use crate::commands::recipients::Recipients;
use crate::commands::renew::{Rotate, RotateHost, Seal, UpdateKeys};
use crate::commands::sign::Sign;
use crate::commands::verify::Verify;
use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use nixmox_cli::Switches;

/// One secrets file in, one sealed file per host out.
///
/// A fleet is a repository with `nodes/`: a directory with `node.nix` (or `host.nix`) is a host, one with `group.nix`
/// names the members of a group. The services of a manifest (`service-manifest.nix`, .toml, .yaml or .json) are hosts too,
/// in the groups `core_services` and `services`, both below `all`. All secrets are written in one master file, `secrets.yaml`, sealed to the admins of
/// `.sops.yaml`. Values written for a group reach every host below it; a host's own values win. Each host gets an SSH
/// host key and a sops file that only this key opens, which sops-nix reads as it is.
#[derive(Parser, Debug)]
#[command(name = "nixmox-secrets", version, max_term_width = 100)]
#[command(
    after_help = "Start with `nixmox-secrets demo`, then `nixmox-secrets init` in your own repository."
)]
pub(crate) struct Args {
    /// The fleet's directory; without it the nearest one upwards from here.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) switches: Switches,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Make a throw-away fleet with four hosts, seal a secret and show what each host can open
    Demo {
        /// Where to make it; without it in the system's temporary directory.
        #[arg(value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
    /// Make an admin identity, `.sops.yaml` and an empty master in a repository
    Init(Init),
    /// Open the secrets in your editor, then seal what changed
    ///
    /// The editor is $SOPS_EDITOR, $VISUAL or $EDITOR. The text lies in memory (tmpfs) for as long as the editor runs.
    /// A mistake in it is shown with its place, and the same text opens again; giving up changes nothing.
    Edit(Edit),
    /// Set one secret from standard input, a file, or a hidden prompt
    ///
    /// The value never stands in the command line, where every user of the machine could read it.
    Set(Set),
    /// Remove one secret
    Unset(Unset),
    /// Print one secret as it is written in the master
    Get {
        /// HOST-OR-GROUP.NAME, such as `routers.pppoePassword`; or the full path from `nodes`.
        path: String,
        #[command(flatten)]
        evaluate: Evaluate,
    },
    /// List the names of all secrets, by the node they are written for
    List {
        /// Only this host or group.
        node: Option<String>,
        #[command(flatten)]
        evaluate: Evaluate,
    },
    /// Show what one host gets, and from where; values are masked
    Show {
        /// The host.
        host: String,
        /// Show the values, on a terminal only.
        #[arg(long)]
        reveal: bool,
        #[command(flatten)]
        evaluate: Evaluate,
    },
    /// Evaluate the secrets and print what every host gets, as JSON; values are masked
    Eval {
        /// Only this host.
        host: Option<String>,
        /// Print the values, on a terminal only.
        #[arg(long)]
        reveal: bool,
        #[command(flatten)]
        evaluate: Evaluate,
    },
    /// Say which level supplies a host's value and what it shadows
    Explain {
        /// The host.
        host: String,
        /// The secret's name, such as `db.password`; without it all of them.
        key: Option<String>,
        #[command(flatten)]
        evaluate: Evaluate,
    },
    /// List the secrets that are declared instead of written, or make them anew
    ///
    /// Without options it lists them: what makes each, how old it is and when it is due. What is declared and not there
    /// yet is made by every command that seals.
    Generate(crate::commands::generate::Generate),
    /// Show what sealing would change, and why; nothing is written
    Status {
        #[command(flatten)]
        trust: Trust,
        #[command(flatten)]
        evaluate: Evaluate,
    },
    /// Carry out what `status` shows: seal what the master says already, without a change
    ///
    /// Needed after a merge, when nodes or groups have changed, or when somebody replaced a file.
    Seal(Seal),
    /// Seal everything to the recipients that `.sops.yaml` names now
    ///
    /// The master, the keys of all hosts and their files are written together or not at all, with new data keys. Who
    /// gains or loses access is shown first and asked about.
    #[command(name = "updatekeys")]
    UpdateKeys(UpdateKeys),
    /// Give new data keys to everything, or to the files of some hosts; no value changes
    Rotate(Rotate),
    /// Replace a host's key in two steps: seal to the old and a new key, and once the machine has it, to the new alone
    RotateHost(RotateHost),
    /// Somebody broke into a host: replace its key, and list everything that it could ever read
    ///
    /// What is generated is made anew. The list of the rest is remembered: `due` shows each value until it has changed.
    Compromised(Compromised),
    /// List the values that are past their age or that somebody may have read; ends with 1 when there are any
    ///
    /// Ages are declared in the master: policy.maxAge = { "routers.*" = "1y"; default = "2y"; }.
    Due {
        #[command(flatten)]
        evaluate: Evaluate,
    },
    /// Tell who can read a secret or a host's files: what is proved, what is claimed, what is suspicious
    Who(Who),
    /// Tell who can read what, for the whole fleet
    ///
    /// Read from the stanzas in the sealed bytes, not from their labels. Ends with 1 when something is suspicious.
    Access(Everything),
    /// Check everything, for CI: sealed, current, to the right recipients, nothing left over
    ///
    /// Ends with 0 when all is well and with 1 when something was found. Every file is opened with its own key, so an
    /// admin identity is needed; with --keyless only what can be seen from outside is checked.
    Check {
        /// Check only what can be seen without a key.
        #[arg(long)]
        keyless: bool,
        #[command(flatten)]
        evaluate: Evaluate,
    },
    /// Take secrets in: of a plain YAML, JSON or Nix file, or of everything that another tool keeps
    ///
    /// A file has the master's shape: `nodes`, then hosts and groups, then their secrets. Delete it afterwards.
    #[command(args_conflicts_with_subcommands = true)]
    Import(crate::commands::import::Import),
    /// Find plaintext, keys and machines that are not as they should be, with the way out
    ///
    /// Looks for what tools leave behind, for key files that others can read, for current values in the work tree, the
    /// git history, temporary files and shell histories, and tries every key at hand on everything it should open.
    /// Prints places, never a value. Ends with 1 when something has to be done; notes alone end with 0.
    Doctor(crate::commands::doctor::Doctor),
    /// Compare what a host's configuration declares (`sops.secrets`) with what is delivered to it
    ///
    /// Finds what is missing, unused, not a string, out of sops-nix's reach, or taken from another file than the
    /// host's. Ends with 1 when something was found. Without a key for the master the names in the sealed files tell.
    Consumers(crate::commands::consumers::Consumers),
    /// Encrypt any file as sops does, to the recipients of `.sops.yaml` or to a host
    Encrypt(Crypt),
    /// Decrypt any sops file with your keys, or with a host's
    Decrypt(Crypt),
    /// Sealed files in git: diffs by name, merges by value
    #[command(subcommand)]
    Git(crate::commands::git::Git),
    /// Show and change who opens the secrets: admins and groups of admins, by a signed roster
    #[command(subcommand)]
    Recipients(Recipients),
    /// Sign what hosts are delivered, so that a forged, swapped or rolled-back file is refused
    #[command(subcommand)]
    Sign(Sign),
    /// Verify the roster and what hosts are delivered, without any secret key: in CI, or on the machine
    Verify(Verify),
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them to a directory
    Man {
        /// Write `nixmox-secrets.1` and one page for each command there.
        #[arg(long, value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Arguments of `init`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Init {
    /// What the master is written in.
    #[arg(long, value_enum, default_value = "nix")]
    pub(crate) format: MasterFormat,
    /// Another age recipient to seal to (yours is always one); may be given several times.
    #[arg(long, value_name = "AGE")]
    pub(crate) recipient: Vec<String>,
}

/// What a master is written in.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MasterFormat {
    /// A Nix expression, sealed as a whole: values may refer to each other.
    Nix,
    /// YAML, sealed leaf by leaf: names show in diffs, and plain sops edits it.
    Yaml,
}

/// What a plain file is written in.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainFormat {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// Nix.
    Nix,
}

/// Arguments of `edit`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Edit {
    #[command(flatten)]
    pub(crate) write: Write,
    /// Let the text lie on a disk when there is no tmpfs; it may then be found there later.
    #[arg(long)]
    pub(crate) allow_disk: bool,
}

/// Arguments of `set`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Set {
    /// HOST-OR-GROUP.NAME, such as `routers.pppoePassword`; or the full path from `nodes`.
    pub(crate) path: String,
    /// Take the value from this file; without it from standard input, or a hidden prompt on a terminal.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// Keep a newline at the value's end; one is dropped otherwise.
    #[arg(long)]
    pub(crate) keep_newline: bool,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// Arguments of `unset`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Unset {
    /// HOST-OR-GROUP.NAME, such as `routers.pppoePassword`; or the full path from `nodes`.
    pub(crate) path: String,
    #[command(flatten)]
    pub(crate) write: Write,
}

/// How the master's text is evaluated.
#[derive(ClapArgs, Debug, Clone, Copy, Default)]
pub(crate) struct Evaluate {
    /// Evaluate the master with the installed `nix-instantiate` instead of the embedded evaluator; the text goes over
    /// standard input only.
    #[arg(long)]
    pub(crate) nix: bool,
}

/// What you vouch for.
#[derive(ClapArgs, Debug, Clone, Copy, Default)]
pub(crate) struct Trust {
    /// Accept the recipients of `.sops.yaml` though they changed since secrets were last sealed.
    #[arg(long)]
    pub(crate) accept_admins: bool,
    /// Accept host keys of the repository that were not made by this tool; compare fingerprints first.
    #[arg(long)]
    pub(crate) accept_host_keys: bool,
}

/// Options of every command that seals.
#[derive(ClapArgs, Debug, Clone, Copy, Default)]
pub(crate) struct Write {
    /// Show what would change, and write nothing.
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
}

/// Arguments of `encrypt` and `decrypt`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Crypt {
    /// The file; its ending tells the format: .yaml, .json, .env, .ini, anything else is binary.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// Encrypt to this host's key, or decrypt with it.
    #[arg(long, value_name = "HOST")]
    pub(crate) node: Option<String>,
    /// Write the result here instead of to standard output.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file by the result.
    #[arg(long, short, conflicts_with = "output")]
    pub(crate) in_place: bool,
}
