//! The command line.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::error::{ContextKind, ContextValue};
use clap::{
    Args as ClapArgs, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum,
    ValueHint,
};
use nixmox_cli::{Failure, Switches};
use nixmox_deploy::{OnFailure, Share, SshFiles, Target, Trust};

mod from;
mod given;
mod meant;

pub(crate) use from::{From, NixOptions};
pub(crate) use meant::{Meant, RunOrHosts};

/// Bring hosts to what the repository says, in order, and back when they are not well.
///
/// Every host is brought to its new system behind a guard that runs on the host itself: unless the new system is seen
/// healthy and reachable, over new connections, the host goes back to the system that it had. Nothing that outlives a
/// reboot is changed before that.
#[derive(Parser, Debug)]
#[command(name = "nixmox-deploy", version, max_term_width = 100)]
#[command(arg_required_else_help = true)]
#[command(
    override_usage = "nixmox-deploy [OPTIONS] <NODE|GROUP|SELECTOR>...\n       nixmox-deploy [OPTIONS] <COMMAND>"
)]
#[command(
    after_help = "Start with `nixmox-deploy status --all`, then `nixmox-deploy plan --all`, then `nixmox-deploy NODE`."
)]
pub(crate) struct Args {
    /// The fleet's directory; without it the nearest one upwards from here.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) repo: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) switches: Switches,
    #[command(flatten)]
    pub(crate) connect: Connect,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Those switches that whoever goes on with the run takes again.
    #[arg(skip)]
    pub(crate) given: BTreeMap<String, Vec<Vec<String>>>,
    /// A command that the first word may have been meant for.
    #[arg(skip)]
    pub(crate) meant: Option<String>,
}

impl Args {
    /// Reads the command line; without a command it is `deploy`.
    pub(crate) fn read() -> Self {
        Self::of(std::env::args_os().collect()).unwrap_or_else(|error| error.exit())
    }

    fn of(words: Vec<OsString>) -> Result<Self, clap::Error> {
        let meant = nixmox_cli::similar_command(&words, &Self::command());
        let words = nixmox_cli::with_command(words, &Self::command(), "deploy");
        let read = Self::command().try_get_matches_from(words).and_then(|matches| {
            let mut args = Self::from_arg_matches(&matches)?;
            args.given = given::switches(&matches);
            Ok(args)
        });
        match (read, meant) {
            (Ok(args), meant) => Ok(Self { meant, ..args }),
            (Err(mut error), Some(near)) => {
                error.insert(ContextKind::SuggestedSubcommand, ContextValue::String(near));
                Err(error)
            }
            (Err(error), None) => Err(error),
        }
    }

    /// Reads the command line once more, with the switches of a run added to those that it has not.
    ///
    /// # Errors
    ///
    /// When this version does not know one of them any more.
    pub(crate) fn with(
        &self,
        remembered: &BTreeMap<String, Vec<Vec<String>>>,
    ) -> Result<Self, clap::Error> {
        let mut words: Vec<OsString> = std::env::args_os().collect();
        words.extend(given::words(remembered, &self.given).into_iter().map(OsString::from));
        Self::of(words)
    }
}

/// How hosts are reached, and where runs are kept.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct Connect {
    /// Read this configuration of ssh instead of ~/.ssh/config and the system's; may be given several times.
    #[arg(long, global = true, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) ssh_config: Vec<PathBuf>,
    /// Write down and accept the key of a host that neither the repository nor you know.
    #[arg(long, global = true)]
    pub(crate) accept_new: bool,
    /// Where runs are recorded; without it below ~/.local/state/nixmox.
    #[arg(long, global = true, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) runs: Option<PathBuf>,
    /// How many hosts are asked at once.
    #[arg(long, global = true, value_name = "N", default_value = "64")]
    pub(crate) probe_jobs: NonZeroUsize,
}

impl Connect {
    /// Writes ssh's configuration for these targets.
    pub(crate) fn files(&self, targets: &[Target]) -> Result<Arc<SshFiles>, Failure> {
        let trust = if self.accept_new { Trust::AcceptNew } else { Trust::Known };
        nixmox_fleet::ssh_files(&self.ssh_config, trust, targets)
    }
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Bring hosts to their systems; what is done without a command as well
    Deploy(Deploy),
    /// Write what a deployment would do to a file, and show it
    Plan(MakePlan),
    /// Do what a plan says, if all its hosts still run what the plan saw
    Apply(Apply),
    /// Go on with a run that was cut short, here or on another machine
    Resume(Resume),
    /// Watch a run of another terminal, or what another machine does with hosts
    Attach(Attach),
    /// Have hosts go back whose activation is not over
    Abort(Which),
    /// Show what hosts run
    Status(Status),
    /// List the runs from here, or the generations of hosts
    History(Which),
    /// Bring hosts back to an earlier generation
    Rollback(Rollback),
    /// Run a command on hosts
    Exec(Exec),
    /// Print the log of a host from a run
    Logs(Logs),
    /// Show in which order hosts are activated
    Graph(Graph),
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

/// Which hosts are meant.
#[derive(ClapArgs, Debug, Clone, Default)]
pub(crate) struct Which {
    /// Nodes, groups, patterns (`web*`), tags (`@edge`); joined with `&`, `|`, `!` and parentheses.
    #[arg(value_name = "NODE|GROUP|SELECTOR")]
    pub(crate) selectors: Vec<String>,
    /// Every host.
    #[arg(long, conflicts_with = "selectors")]
    pub(crate) all: bool,
    /// Of those, the hosts that the last run did not bring to where they should be.
    #[arg(long)]
    pub(crate) failed: bool,
}

/// Arguments of a deployment.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct Deploy {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Only those that do not run what they should; the others are asked, and left alone.
    #[arg(long)]
    pub(crate) changed: bool,
    #[command(flatten)]
    pub(crate) from: From,
    /// What is done with the systems.
    #[arg(long, value_enum, default_value = "switch")]
    pub(crate) goal: GoalArg,
    #[command(flatten)]
    pub(crate) how: How,
}

/// What is done with systems.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GoalArg {
    /// Run them now and boot them from now on.
    Switch,
    /// Boot them from the next boot on.
    Boot,
    /// Run them until the next boot.
    Test,
    /// Have the hosts say what would change.
    DryActivate,
    /// Build them here.
    Build,
    /// Bring them into the hosts' stores.
    Push,
}

/// How a deployment is done.
#[derive(ClapArgs, Debug, Clone)]
pub(crate) struct How {
    /// As --goal test: what is deployed is gone with the next boot.
    #[arg(long)]
    pub(crate) ephemeral: bool,
    /// Reboot each host into its new system, and wait for it.
    #[arg(long)]
    pub(crate) reboot: bool,
    /// How long a reboot may take.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) reboot_timeout: Duration,
    /// So many hosts go first (3, or 10%); when one of them fails, no other is touched.
    #[arg(long, value_name = "N|%", value_parser = Share::parse)]
    pub(crate) canary: Option<Share>,
    /// So many hosts at a time; given several times: one size after the other, the last repeated.
    #[arg(long, value_name = "N|%", value_parser = Share::parse)]
    pub(crate) batch: Vec<Share>,
    /// What a failure does to the hosts that were not begun.
    #[arg(long, value_enum, default_value = "stop", value_name = "WHAT")]
    pub(crate) on_failure: OnFailureArg,
    /// How many derivations Nix builds at once; without it as Nix is configured.
    #[arg(long, value_name = "N")]
    pub(crate) build_jobs: Option<NonZeroUsize>,
    /// How many closures are copied at once.
    #[arg(long, value_name = "N", default_value = "8")]
    pub(crate) copy_jobs: NonZeroUsize,
    /// How many hosts are activated at once.
    #[arg(long, value_name = "N", default_value = "64")]
    pub(crate) activate_jobs: NonZeroUsize,
    /// Let hosts fetch what they can from their own caches.
    #[arg(long)]
    pub(crate) substitute: bool,
    /// How long an activation may take.
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    pub(crate) activation_timeout: Duration,
    /// How long a new system has to be seen healthy and reachable.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) confirm_timeout: Duration,
    /// How long after the first confirmation the second one is made.
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = seconds)]
    pub(crate) dwell: Duration,
    /// Take a system though units of it did not start.
    #[arg(long)]
    pub(crate) accept_failed_units: bool,
    /// Let a host reboot when it could not go back and sees itself that nobody reaches it.
    #[arg(long)]
    pub(crate) reboot_on_failed_rollback: bool,
    /// One more check of every host: `unit:NAME`, `tcp:PORT`, `http:PORT/PATH`, `https:NAME[:PORT]/PATH`,
    /// `cmd:COMMAND`; with `from:NODE:` in front, another node looks.
    #[arg(long, value_name = "CHECK")]
    pub(crate) check: Vec<String>,
    /// For the check of the fleet's sealed files, evaluate the master with the installed `nix-instantiate`; the text goes
    /// over standard input only.
    #[arg(long)]
    pub(crate) nix: bool,
    /// Deploy though the check of the fleet's sealed files was not made.
    #[arg(long)]
    pub(crate) danger_skip_check: bool,
}

/// What a failure does.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnFailureArg {
    /// Nothing new is begun.
    Stop,
    /// Only those that need the failed host are skipped.
    Continue,
    /// Nothing new is begun, and every host that this run has changed goes back.
    Rollback,
}

impl std::convert::From<OnFailureArg> for OnFailure {
    fn from(arg: OnFailureArg) -> Self {
        match arg {
            OnFailureArg::Stop => Self::Stop,
            OnFailureArg::Continue => Self::Continue,
            OnFailureArg::Rollback => Self::RollBack,
        }
    }
}

/// Arguments of `plan`.
#[derive(ClapArgs, Debug)]
pub(crate) struct MakePlan {
    #[command(flatten)]
    pub(crate) which: Which,
    #[command(flatten)]
    pub(crate) from: From,
    /// What is to be done with the systems.
    #[arg(long, value_enum, default_value = "switch")]
    pub(crate) goal: GoalArg,
    /// Where the plan is written; without it, it is only shown.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) out: Option<PathBuf>,
}

/// Arguments of `apply`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Apply {
    /// The plan.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) plan: PathBuf,
    #[command(flatten)]
    pub(crate) nix: NixOptions,
    #[command(flatten)]
    pub(crate) how: How,
}

/// Arguments of `resume`: what is not said is as the run was begun.
#[derive(ClapArgs, Debug)]
pub(crate) struct Resume {
    #[command(flatten)]
    pub(crate) what: RunOrHosts,
    #[command(flatten)]
    pub(crate) from: From,
    #[command(flatten)]
    pub(crate) how: How,
}

/// Arguments of `attach`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Attach {
    #[command(flatten)]
    pub(crate) what: RunOrHosts,
}

/// Arguments of `status`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Status {
    #[command(flatten)]
    pub(crate) which: Which,
    /// Compare with what the hosts should run, which is evaluated; so is what --flake, --paths or --build-command names.
    #[arg(long)]
    pub(crate) drift: bool,
    #[command(flatten)]
    pub(crate) from: From,
}

/// Arguments of `rollback`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Rollback {
    #[command(flatten)]
    pub(crate) which: Which,
    /// The generation's number; without it the one before the current one.
    #[arg(long, value_name = "GENERATION")]
    pub(crate) to: Option<u64>,
    #[command(flatten)]
    pub(crate) how: How,
}

/// Arguments of `exec`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Exec {
    #[command(flatten)]
    pub(crate) which: Which,
    /// How long it may take.
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// The command, which the hosts' sh runs.
    #[arg(last = true, required = true)]
    pub(crate) command: Vec<String>,
}

/// Arguments of `logs`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Logs {
    /// The host; `build` for what Nix said.
    pub(crate) node: String,
    /// The run; without it the last one.
    #[arg(long)]
    pub(crate) run: Option<String>,
}

/// Arguments of `graph`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Graph {
    #[command(flatten)]
    pub(crate) which: Which,
    /// In the language of Graphviz.
    #[arg(long)]
    pub(crate) dot: bool,
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
    fn a_deployment_is_what_is_done_without_a_command() {
        #[track_caller]
        fn check(line: &str, expect: &str) {
            let words = line.split(' ').map(OsString::from).collect();
            let words = nixmox_cli::with_command(words, &Args::command(), "deploy");
            let words: Vec<_> = words.into_iter().map(|w| w.into_string()).collect();
            let words: Vec<_> = words.into_iter().map(|word| word.unwrap_or_default()).collect();
            assert_eq!(words.join(" "), expect);
        }
        check("x", "x");
        check("x web", "x deploy web");
        check("x --all", "x deploy --all");
        check("x status --all", "x status --all");
        check("x --repo status web", "x deploy --repo status web");
        check("x --ssh-config f status --all", "x --ssh-config f status --all");
        check("x --json --color never plan web", "x --json --color never plan web");
        check("x --canary 1 web", "x deploy --canary 1 web");
        check("x --help", "x --help");
        check("x web status", "x deploy web status");
    }

    #[test]
    fn the_definition_holds() {
        Args::command().debug_assert();
    }
}
