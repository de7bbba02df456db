//! What the repository says about its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Address, Labels, Place, Selector, SelectorError, SshOption, Target, UserName};
use nixmox_secrets::Fleet as Repository;
use nixmox_secrets::store::RelPath;
use nixmox_topology::NodeName;

use crate::args::{Args, Which};
use crate::manifest::Services;
use crate::settings::{self, Settings};
use crate::{advice, evaluated, run};

/// Runs whose hosts are known where nothing else names any.
const REMEMBERED: usize = 50;

/// The nodes of a fleet, and everything that is known of them.
pub(crate) struct Fleet {
    pub(crate) root: PathBuf,
    pub(crate) repository: Option<Repository>,
    pub(crate) services: Option<Services>,
    pub(crate) labels: BTreeMap<NodeName, Labels>,
    pub(crate) settings: BTreeMap<NodeName, Settings>,
}

impl Fleet {
    /// Reads the fleet that the arguments name or the current directory lies in; `extra` nodes are known as well.
    pub(crate) fn open(args: &Args, extra: &BTreeSet<NodeName>) -> Result<Self, Failure> {
        let here = std::env::current_dir()
            .map_err(|e| Failure::new(Exit::Failure, "the current directory is gone").because(e))?;
        let found = args.repo.clone().or_else(|| nixmox_secrets::find(&here));
        let Some(root) = found else {
            return if extra.is_empty() {
                Err(advice::no_fleet(&here))
            } else {
                Ok(Self::of(here, extra))
            };
        };
        let ask = |path: &RelPath| nixmox_instantiate::members(&root, path);
        let repository = Repository::open(&root, &ask).map_err(advice::repository)?;
        let services = Services::read(&root, &repository)?;
        let topology = repository.topology();
        let mut nodes: BTreeSet<NodeName> = topology.hosts().cloned().collect();
        nodes.extend(extra.iter().cloned());
        if let Some(services) = &services {
            nodes.extend(services.nodes());
        }
        if nodes.is_empty() && root.join("flake.nix").is_file() {
            nodes = evaluated::configurations(&root)?;
        }
        let settings = settings::read(&repository, &nodes)?;
        let label = |node: &NodeName| {
            let groups = topology.ancestors(node).iter().map(ToString::to_string).collect();
            let tags = settings.get(node).map(|own| own.tags.clone()).unwrap_or_default();
            (node.clone(), Labels { groups, tags })
        };
        let mut labels: BTreeMap<_, _> = nodes.iter().map(label).collect();
        if let Some(services) = &services {
            services.label(&mut labels);
        }
        Ok(Self { root, repository: Some(repository), services, labels, settings })
    }

    /// Reads the fleet for questions to hosts: when neither the repository nor `extra` names any, those of the last runs
    /// are known.
    pub(crate) fn known(args: &Args, mut extra: BTreeSet<NodeName>) -> Result<Self, Failure> {
        let found = Self::open(args, &extra);
        if found.as_ref().is_ok_and(|fleet| !fleet.labels.is_empty()) {
            return found;
        }
        let runs = run::runs(args, &run::root(args))?;
        let last = runs.list().unwrap_or_default().into_iter().take(REMEMBERED);
        extra.extend(
            last.filter_map(|id| runs.plan(&id).ok()).flat_map(|plan| plan.nodes.into_keys()),
        );
        if extra.is_empty() { found } else { Self::open(args, &extra) }
    }

    fn of(root: PathBuf, nodes: &BTreeSet<NodeName>) -> Self {
        let labels = nodes.iter().map(|node| (node.clone(), Labels::default())).collect();
        Self { root, repository: None, services: None, labels, settings: BTreeMap::new() }
    }

    /// Picks the nodes that are meant.
    pub(crate) fn select(&self, args: &Args, which: &Which) -> Result<BTreeSet<NodeName>, Failure> {
        if which.selectors.is_empty() && !which.all && !which.failed {
            return Err(Failure::new(Exit::Usage, "it is not said which hosts are meant")
                .hint("name nodes, groups or selectors, or say --all"));
        }
        if self.labels.is_empty() {
            return Err(Failure::new(Exit::Config, "there is no host in this fleet").hint(
                "hosts are in nodes/, in the service manifest, or what a flake's nixosConfigurations name",
            ));
        }
        let selectors = which.selectors.iter().map(|text| Selector::parse(text));
        let selectors: Result<Vec<_>, SelectorError> = selectors.collect();
        let selector = selectors.map(Selector::any).map_err(|e| advice::selector(e, self))?;
        let all = which.all || which.selectors.is_empty();
        let selector = if all { Selector::all() } else { selector };
        let mut chosen = selector.select(&self.labels).map_err(|e| advice::selector(e, self))?;
        if which.failed {
            let failed = run::failed_nodes(&run::runs(args, &self.root)?)?;
            chosen.retain(|node| failed.contains(node));
        }
        Ok(chosen)
    }

    /// Says how a node is reached.
    pub(crate) fn target(&self, node: &NodeName) -> Result<Target, Failure> {
        let own = self.settings.get(node).cloned().unwrap_or_default();
        let ip = self.services.as_ref().and_then(|services| services.address(node));
        let written = own.target_host.clone().or(ip).unwrap_or_else(|| node.to_string());
        let wrong = |e| {
            Failure::from_error(Exit::Config, e)
                .hint(format!("see deploy.targetHost and sshOpts of {node}"))
        };
        let (user, host) = match written.split_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, written.as_str()),
        };
        let mut target = Target::new(node.clone(), Address::parse(host).map_err(wrong)?);
        target.user = user.map(UserName::parse).transpose().map_err(wrong)?;
        let words = own.ssh_opts.iter().map(String::as_str);
        target.ssh_options = SshOption::parse_arguments(words).map_err(wrong)?;
        target.build_on_remote = own.build_on_remote;
        target.use_remote_sudo = own.use_remote_sudo;
        if let Some(repository) = &self.repository {
            target.host_keys = crate::sealed::host_keys(repository, node)?;
        }
        Ok(target)
    }

    /// Says where nodes stand among each other.
    pub(crate) fn places(&self, nodes: &BTreeSet<NodeName>) -> BTreeMap<NodeName, Place> {
        let place = |node: &NodeName| {
            let place = self.services.as_ref().and_then(|services| services.place(node));
            (node.clone(), place.unwrap_or_default())
        };
        nodes.iter().map(place).collect()
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}
