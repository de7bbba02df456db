//! What a flake says that nodes run.

mod cache;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use nixmox_topology::NodeName;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;
use tokio::task::JoinSet;

use super::nix::run;
use super::{Nix, NixError, NixLine, System};
use crate::{StorePath, StorePathError};
use cache::Cache;

/// A flake with the configurations of nodes.
#[derive(Debug, Clone)]
pub struct Flake {
    /// The reference, as Nix takes it.
    pub reference: String,
    /// Nodes that are `darwinConfigurations`; all others are `nixosConfigurations`.
    pub darwin: BTreeSet<NodeName>,
    /// Where results are kept from one run to the next; a source that was evaluated once is not evaluated again.
    pub cache: Option<PathBuf>,
    /// How many evaluations run at once, each for its part of the nodes. One is best unless memory is plenty.
    pub jobs: NonZeroUsize,
}

/// What a flake says.
#[derive(Debug, Clone)]
pub struct Evaluated {
    /// The nodes' systems.
    pub systems: BTreeMap<NodeName, System>,
    /// The flake's own source in the store.
    pub source: StorePath,
    /// Its revision, if it is under version control.
    pub revision: Option<String>,
    /// How many systems were known already.
    pub cached: usize,
}

#[derive(Deserialize)]
struct Metadata {
    path: String,
    #[serde(default)]
    locked: Value,
    #[serde(default)]
    revision: Option<String>,
    #[serde(default, rename = "dirtyRevision")]
    dirty_revision: Option<String>,
}

#[derive(Deserialize, serde::Serialize, Clone)]
struct Answer {
    drv: String,
    out: String,
}

impl Nix {
    /// Evaluates the systems of all `nodes` at once, those that are known already left out.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Nix`] with Nix' own words, [`EvaluateError::Missing`] when the flake has no configuration for
    /// a node, [`EvaluateError::Answer`] and [`EvaluateError::Path`] when Nix answers what this version does not know.
    pub async fn evaluate(
        &self,
        flake: &Flake,
        nodes: &BTreeSet<NodeName>,
        lines: &(dyn Fn(NixLine) + Send + Sync),
    ) -> Result<Evaluated, EvaluateError> {
        let metadata = self.metadata(flake, lines).await?;
        let source = StorePath::parse(&metadata.path)?;
        let cache = flake.cache.as_deref().map(|dir| Cache::new(dir, &source, &metadata.locked));
        let mut known = match &cache {
            Some(cache) => cache.read().await,
            None => BTreeMap::new(),
        };
        known.retain(|node, _| nodes.contains(node));
        let cached = known.len();
        let missing: Vec<_> = nodes.iter().filter(|node| !known.contains_key(*node)).collect();
        if !missing.is_empty() {
            let fresh = self.evaluate_all(flake, &missing).await?;
            known.extend(fresh);
            if let Some(cache) = &cache {
                cache.write(&known).await;
            }
        }
        let lost: Vec<_> =
            nodes.iter().filter(|node| !known.contains_key(*node)).cloned().collect();
        if !lost.is_empty() {
            return Err(EvaluateError::Missing { nodes: lost });
        }
        let revision = metadata.revision.or(metadata.dirty_revision);
        Ok(Evaluated { systems: known, source, revision, cached })
    }

    /// Lists the configurations that a flake has, without evaluating any.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Nix`] and [`EvaluateError::Answer`].
    pub async fn configurations(
        &self,
        reference: &str,
    ) -> Result<BTreeSet<NodeName>, EvaluateError> {
        let mut command = self.command("nix");
        command.args(["eval", "--json"]);
        self.configure(&mut command);
        command.arg(format!("{reference}#nixosConfigurations"));
        command.args(["--apply", "builtins.attrNames"]);
        let answer = run("nix eval", &mut command, &|_| ()).await?;
        let names: Vec<String> = serde_json::from_slice(&answer).map_err(EvaluateError::Answer)?;
        Ok(names.iter().filter_map(|name| NodeName::parse(name).ok()).collect())
    }

    /// Evaluates an attribute of a flake, with a function applied to it; the answer is data.
    ///
    /// # Errors
    ///
    /// [`EvaluateError::Nix`] and [`EvaluateError::Answer`].
    pub async fn ask(
        &self,
        attribute: &str,
        function: &str,
        lines: &(dyn Fn(NixLine) + Send + Sync),
    ) -> Result<Value, EvaluateError> {
        let mut command = self.command("nix");
        command.args(["eval", "--json"]);
        self.configure(&mut command).arg(attribute).args(["--apply", function]);
        let answer = run("nix eval", &mut command, lines).await?;
        serde_json::from_slice(&answer).map_err(EvaluateError::Answer)
    }

    async fn metadata(
        &self,
        flake: &Flake,
        lines: &(dyn Fn(NixLine) + Send + Sync),
    ) -> Result<Metadata, EvaluateError> {
        let mut command = self.command("nix");
        command.args(["flake", "metadata", "--json"]);
        self.configure(&mut command).arg(&flake.reference);
        let answer = run("nix flake metadata", &mut command, lines).await?;
        serde_json::from_slice(&answer).map_err(EvaluateError::Answer)
    }

    async fn evaluate_all(
        &self,
        flake: &Flake,
        nodes: &[&NodeName],
    ) -> Result<BTreeMap<NodeName, System>, EvaluateError> {
        let (darwin, nixos): (Vec<&NodeName>, Vec<&NodeName>) =
            nodes.iter().copied().partition(|node| flake.darwin.contains(*node));
        let mut running = JoinSet::new();
        for (kind, nodes) in [(Kind::NixOs, nixos), (Kind::Darwin, darwin)] {
            let size = nodes.len().div_ceil(flake.jobs.get()).max(1);
            for part in nodes.chunks(size) {
                let part: Vec<NodeName> = part.iter().map(|node| (*node).clone()).collect();
                let (nix, reference) = (self.clone(), flake.reference.clone());
                running.spawn(async move { nix.evaluate_part(&reference, kind, &part).await });
            }
        }
        let mut found = BTreeMap::new();
        while let Some(part) = running.join_next().await {
            found.extend(part.map_err(|_| EvaluateError::Stopped)??);
        }
        Ok(found)
    }

    async fn evaluate_part(
        &self,
        reference: &str,
        kind: Kind,
        nodes: &[NodeName],
    ) -> Result<BTreeMap<NodeName, System>, EvaluateError> {
        let mut command = self.command("nix");
        command.args(["eval", "--json"]);
        self.configure(&mut command);
        command.arg(format!("{reference}#{}", kind.attribute()));
        command.args(["--apply", &kind.expression(nodes)]);
        let answer = run("nix eval", &mut command, &|_| ()).await?;
        let answers: BTreeMap<String, Answer> =
            serde_json::from_slice(&answer).map_err(EvaluateError::Answer)?;
        let system = |node: &NodeName| {
            let answer = answers.get(node.as_str())?;
            Some(System::try_from(answer).map(|system| (node.clone(), system)))
        };
        let systems: Result<_, StorePathError> = nodes.iter().filter_map(system).collect();
        Ok(systems?)
    }
}

impl TryFrom<&Answer> for System {
    type Error = StorePathError;

    fn try_from(answer: &Answer) -> Result<Self, StorePathError> {
        let derivation = Some(StorePath::parse(&answer.drv)?);
        Ok(Self { toplevel: StorePath::parse(&answer.out)?, derivation })
    }
}

/// Which of a flake's outputs a node is.
#[derive(Debug, Clone, Copy)]
enum Kind {
    NixOs,
    Darwin,
}

impl Kind {
    fn attribute(self) -> &'static str {
        match self {
            Self::NixOs => "nixosConfigurations",
            Self::Darwin => "darwinConfigurations",
        }
    }

    /// A function of all configurations; names of nodes have no character that Nix reads in a way of its own.
    fn expression(self, nodes: &[NodeName]) -> String {
        let system = match self {
            Self::NixOs => "config.system.build.toplevel",
            Self::Darwin => "system",
        };
        let names: Vec<_> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
        format!(
            "all: let one = name: let system = all.${{name}}.{system}; in \
             {{ inherit name; value = {{ drv = system.drvPath; out = system.outPath; }}; }}; in \
             builtins.listToAttrs (map one (builtins.filter (name: all ? ${{name}}) [ {} ]))",
            names.join(" ")
        )
    }
}

/// Why it is not known what nodes should run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// Nix refused.
    #[error("the configurations cannot be evaluated")]
    Nix(#[from] NixError),
    /// The flake does not have them.
    #[error("the flake has no configuration for {}", nodes.iter().map(NodeName::as_str).collect::<Vec<_>>().join(", "))]
    Missing {
        /// Whose.
        nodes: Vec<NodeName>,
    },
    /// Nix answers something else than JSON of the known form.
    #[error("Nix answers what is not understood")]
    Answer(#[source] serde_json::Error),
    /// Nix names something else than a path of the store.
    #[error("Nix answers what is no store path")]
    Path(#[from] StorePathError),
    /// The evaluation was stopped from outside.
    #[error("the evaluation was stopped")]
    Stopped,
}
