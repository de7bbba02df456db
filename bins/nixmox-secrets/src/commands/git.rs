//! `git`: sealed files in diffs and merges.

mod diff;
mod driver;
mod install;
mod repository;
mod resolve;
mod snapshot;
mod textconv;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, ValueHint};
use nixmox_cli::{Exit, Failure};

use crate::args::{Args, Evaluate, Trust};
use crate::context::Context;

/// The commands of the family.
#[derive(Subcommand, Debug)]
pub(crate) enum Git {
    /// Set git up: `.gitattributes`, and in git's configuration how sealed files are shown and merged
    Install(Install),
    /// Show what changed in the secrets: names, never values unless asked for
    ///
    /// Compares a revision (HEAD without one) with the files as they are now, or two revisions. With your keys values
    /// are compared, and what each host gains and loses; without any, ciphertext.
    Diff(Diff),
    /// List what a merge left unsettled in sealed files
    Conflicts {
        /// Only these files.
        #[arg(value_hint = ValueHint::FilePath)]
        files: Vec<PathBuf>,
        /// Show both values, on a terminal only.
        #[arg(long)]
        reveal: bool,
    },
    /// Settle what a merge left unsettled, seal the result and tell git
    ///
    /// Without options the editor opens with both versions. A host's values are never asked about: they follow from
    /// the master, and the next command that seals writes them anew.
    Resolve(Resolve),
    /// Show one sealed file without its values, for git's `diff.<driver>.textconv`
    Textconv {
        /// The file.
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
        /// Show the values, on a terminal only.
        #[arg(long)]
        reveal: bool,
    },
    /// Merge one sealed file, for git's `merge.<driver>.driver`
    ///
    /// The result replaces OURS. Ends with 1 when both sides changed the same value: then ours stays in the file.
    MergeDriver(MergeDriver),
}

/// Arguments of `git install`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Install {
    /// Configure git for every repository of yours instead of this one; `.gitattributes` is written in this one.
    #[arg(long)]
    pub(crate) global: bool,
    /// Take out what was set up.
    #[arg(long)]
    pub(crate) uninstall: bool,
    /// Show what would be done, and do nothing.
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
}

/// Arguments of `git diff`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Diff {
    /// Up to two revisions (or one range A..B), then files.
    #[arg(value_name = "REVISION|FILE")]
    pub(crate) what: Vec<String>,
    /// Files whose names could be taken for revisions.
    #[arg(last = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Show the values, on a terminal only.
    #[arg(long)]
    pub(crate) reveal: bool,
    /// End with 1 when something differs, as diff does.
    #[arg(long)]
    pub(crate) exit_code: bool,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
}

/// Arguments of `git resolve`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Resolve {
    /// Only these files.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) files: Vec<PathBuf>,
    /// Take ours everywhere.
    #[arg(long, conflicts_with = "theirs")]
    pub(crate) ours: bool,
    /// Take theirs everywhere.
    #[arg(long)]
    pub(crate) theirs: bool,
    /// Take ours at this place, as `git conflicts` names it; may be given several times.
    #[arg(long, value_name = "PLACE")]
    pub(crate) take_ours: Vec<String>,
    /// Take theirs at this place; may be given several times.
    #[arg(long, value_name = "PLACE")]
    pub(crate) take_theirs: Vec<String>,
    /// Let the text lie on a disk when there is no tmpfs; it may then be found there later.
    #[arg(long)]
    pub(crate) allow_disk: bool,
    #[command(flatten)]
    pub(crate) trust: Trust,
    #[command(flatten)]
    pub(crate) evaluate: Evaluate,
}

/// Arguments of `git merge-driver`, as git fills them in.
#[derive(ClapArgs, Debug)]
pub(crate) struct MergeDriver {
    /// The common version (%O).
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) base: PathBuf,
    /// Our version, which the result replaces (%A).
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) ours: PathBuf,
    /// Their version (%B).
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) theirs: PathBuf,
    /// Where the file lies in the repository (%P).
    pub(crate) path: PathBuf,
}

/// Runs one of the commands.
pub(crate) fn run(args: &Args, git: &Git) -> Result<Exit, Failure> {
    match git {
        Git::Install(install) => install::run(args, install),
        Git::Diff(diff) => diff::run(&Context::find(args)?, diff),
        Git::Conflicts { files, reveal } => {
            resolve::conflicts(&Context::find(args)?, files, *reveal)
        }
        Git::Resolve(resolve) => resolve::resolve(&Context::find(args)?, resolve),
        Git::Textconv { file, reveal } => textconv::run(args, file, *reveal),
        Git::MergeDriver(driver) => driver::run(args, driver),
    }
}
