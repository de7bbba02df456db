//! The command line.

use std::path::{Path, PathBuf};

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum, ValueHint};
use nixmox_cli::Switches;

/// Check, draw, plan and compare a service manifest.
///
/// A manifest says what runs where: the network, core services, services, and how they meet. It is written in Nix,
/// TOML, YAML or JSON; the file's ending tells which. Nothing here changes a file or talks to a machine.
#[derive(Parser, Debug)]
#[command(name = "nixmox-manifest", version, max_term_width = 100)]
#[command(
    after_help = "Start with `nixmox-manifest example > service-manifest.nix`, then `nixmox-manifest check`."
)]
pub(crate) struct Args {
    /// The manifest; without it service-manifest.nix (or .toml, .yaml, .json), here or in nixos/, upwards from here.
    #[arg(long, short, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) manifest: Option<PathBuf>,
    /// Evaluate a Nix manifest with the installed `nix-instantiate` instead of the embedded evaluator.
    #[arg(long, global = true)]
    pub(crate) nix: bool,
    #[command(flatten)]
    pub(crate) switches: Switches,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Args {
    /// Returns the manifest that was named, by --manifest or behind the command.
    pub(crate) fn file(&self) -> Option<&Path> {
        let named = match &self.command {
            Command::Check(Check { file, .. })
            | Command::Graph { file, .. }
            | Command::Why { file, .. }
            | Command::Plan { file }
            | Command::Outputs { file, .. }
            | Command::Secrets { file }
            | Command::Inventory { file } => file.as_deref(),
            _ => None,
        };
        named.or(self.manifest.as_deref())
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Print a complete manifest to begin with
    Example,
    /// Find everything that is wrong
    ///
    /// Ends with 0 when nothing is an error, and with 1 otherwise.
    Check(Check),
    /// List all rules, or explain one
    Rules {
        /// The rule, such as M201.
        code: Option<String>,
        /// As a Markdown table.
        #[arg(long)]
        markdown: bool,
    },
    /// Draw who needs whom
    Graph {
        /// The manifest, as with --manifest.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// How it is drawn.
        #[arg(long, value_enum, default_value = "text")]
        format: GraphFormat,
    },
    /// Say why one service needs another
    Why {
        /// Who needs.
        from: String,
        /// Who is needed.
        to: String,
        /// The manifest, as with --manifest.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Show what a deployment would do, in order
    Plan {
        /// The manifest, as with --manifest.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Show what changed, and what has to be deployed again
    ///
    /// OLD and NEW are files, or revisions of git in which the manifest lies at the same path.
    Diff {
        /// The manifest before.
        #[arg(default_value = "HEAD")]
        old: String,
        /// The manifest after; without it the file as it is now.
        new: Option<String>,
    },
    /// Print what each host is given, for lib.importJSON
    #[command(name = "json")]
    Outputs {
        /// The manifest, as with --manifest.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
        /// Only this host.
        #[arg(long)]
        host: Option<String>,
    },
    /// List the names of the secrets that the manifest needs
    Secrets {
        /// The manifest, as with --manifest.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// List the groups that the manifest makes of its services
    Inventory {
        /// The manifest, as with --manifest.
        #[arg(value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Print the JSON Schema of a manifest, for editors
    Schema {
        /// That of what `json` prints.
        #[arg(long)]
        outputs: bool,
    },
    /// Print a completion script for a shell
    Completions {
        /// The shell.
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write all of them to a directory
    Man {
        /// Write `nixmox-manifest.1` and one page for each command there.
        #[arg(long, value_hint = ValueHint::DirPath)]
        dir: Option<PathBuf>,
    },
}

/// Arguments of `check`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Check {
    /// The manifest, as with --manifest.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
    /// How findings are shown.
    #[arg(long, value_enum, default_value = "pretty")]
    pub(crate) format: CheckFormat,
    /// Let warnings fail the check, too.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) deny: Option<Deny>,
    /// Take unknown fields for errors.
    #[arg(long)]
    pub(crate) strict: bool,
    /// Explain a rule, such as M201, and check nothing.
    #[arg(long, value_name = "CODE")]
    pub(crate) explain: Option<String>,
    /// Compare with the names in these sops files, which are not opened.
    #[arg(long, value_name = "FILE", num_args = 1.., value_hint = ValueHint::FilePath)]
    pub(crate) secrets: Vec<PathBuf>,
    /// The certificate that the proxy has, as PEM: does it cover all vhosts, and how long does it hold?
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) certificate: Option<PathBuf>,
    /// What the hypervisor has: cores, MiB of memory, GiB of disk.
    #[arg(long, value_name = "CORES,MIB,GIB", value_delimiter = ',', num_args = 1)]
    pub(crate) capacity: Vec<i64>,
    /// Have bash read health commands, and caddy read extra configuration; both have to be installed.
    #[arg(long)]
    pub(crate) tools: bool,
}

/// How findings are shown.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CheckFormat {
    /// With the lines they are about.
    Pretty,
    /// One line each.
    Short,
    /// As JSON.
    Json,
    /// As workflow commands of GitHub.
    Github,
}

/// What fails a check beside errors.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deny {
    /// Warnings.
    Warnings,
}

/// How a graph is drawn.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GraphFormat {
    /// As a picture.
    Svg,
    /// For Graphviz.
    Dot,
    /// For Markdown.
    Mermaid,
    /// As lines.
    Text,
}
