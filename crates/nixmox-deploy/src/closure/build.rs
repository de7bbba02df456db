//! Building systems on this machine, and keeping them from garbage collection.

use std::collections::BTreeSet;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::nix::run;
use super::{Nix, NixError, NixLine, System};
use crate::StorePath;

impl Nix {
    /// Builds all systems at once and keeps them, and `source`, from garbage collection as long as links in `roots`
    /// are there. Returns those that could not be built; Nix goes on with the others.
    ///
    /// # Errors
    ///
    /// [`BuildError::Roots`] when the directory cannot be made, [`BuildError::Nix`] when Nix cannot be run.
    pub async fn build(
        &self,
        systems: &[System],
        source: Option<&StorePath>,
        place: (&Path, Option<NonZeroUsize>),
        lines: &(dyn Fn(NixLine) + Send + Sync),
    ) -> Result<BTreeSet<StorePath>, BuildError> {
        let (roots, jobs) = place;
        let made = tokio::fs::create_dir_all(roots).await;
        made.map_err(|source| BuildError::Roots { path: roots.to_owned(), source })?;
        let mut command = self.command("nix-store");
        command.args(["--realise", "--keep-going", "--add-root"]).arg(roots.join("system"));
        self.configure(&mut command);
        if let Some(jobs) = jobs {
            command.args(["--max-jobs", &jobs.to_string()]);
        }
        let wanted = |system: &System| system.derivation.clone().unwrap_or(system.toplevel.clone());
        let wanted: BTreeSet<_> = systems.iter().map(wanted).chain(source.cloned()).collect();
        command.args(wanted.iter().map(StorePath::as_str));
        match run("nix-store --realise", &mut command, lines).await {
            Ok(_) => Ok(BTreeSet::new()),
            Err(NixError::Failed { .. }) => self.invalid(systems).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Lists a path of this machine's store and everything that it needs.
    ///
    /// # Errors
    ///
    /// [`NixError`] when the path is not there.
    pub async fn requisites(&self, path: &StorePath) -> Result<BTreeSet<StorePath>, NixError> {
        let mut command = self.command("nix-store");
        command.args(["--query", "--requisites", path.as_str()]);
        let answer = run("nix-store --query", &mut command, &|_| ()).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Ok(answer.lines().filter_map(|line| StorePath::parse(line).ok()).collect())
    }

    /// Returns how many bytes a path and everything that it needs take.
    ///
    /// # Errors
    ///
    /// [`NixError`] when the path is not there.
    pub async fn closure_size(&self, path: &StorePath) -> Result<u64, NixError> {
        let mut command = self.command("nix-store");
        let paths = self.requisites(path).await?;
        command.args(["--query", "--size"]).args(paths.iter().map(StorePath::as_str));
        let answer = run("nix-store --query", &mut command, &|_| ()).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Ok(answer.lines().filter_map(|line| line.trim().parse::<u64>().ok()).sum())
    }

    /// Returns the systems that are not in the store of this machine.
    async fn invalid(&self, systems: &[System]) -> Result<BTreeSet<StorePath>, BuildError> {
        let mut command = self.command("nix-store");
        command.args(["--check-validity", "--print-invalid"]);
        command.args(systems.iter().map(|system| system.toplevel.as_str()));
        let answer = run("nix-store --check-validity", &mut command, &|_| ()).await?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        Ok(answer.lines().filter_map(|line| StorePath::parse(line).ok()).collect())
    }
}

/// Why nothing could be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// There is no place for the links that keep systems.
    #[error("cannot make {}", path.display())]
    Roots {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nix cannot be run.
    #[error("the systems cannot be built")]
    Nix(#[from] NixError),
}
