//! What the repository says about its nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{
    Address, HealthCheck, Labels, Os, Place, Selector, SelectorError, SshOption, Target, UserName,
};
use nixmox_secrets::Fleet as Repository;
use nixmox_secrets::store::RelPath;
use nixmox_topology::NodeName;

use crate::manifest::Services;
use crate::settings::{self, Settings};
use crate::{NamedFlake, advice, sealed};

/// The nodes of a fleet, and everything that is known of them.
pub struct Fleet {
    root: PathBuf,
    /// The repository; hosts that are only named somewhere have none.
    pub repository: Option<Repository>,
    services: Option<Services>,
    /// What nodes are called besides their names.
    pub labels: BTreeMap<NodeName, Labels>,
    /// What their definitions say.
    pub settings: BTreeMap<NodeName, Settings>,
}

impl Fleet {
    /// Reads the fleet that is named or that the current directory lies in; `extra` nodes are known as well.
    ///
    /// # Errors
    ///
    /// When there is none, or it is not as it should be.
    pub fn open(named: Option<&Path>, extra: &BTreeSet<NodeName>) -> Result<Self, Failure> {
        Self::open_for(named, extra, None)
    }

    /// The same for somebody who has named a flake. Where no fleet is, a directory is the fleet that it has, and of
    /// every other flake the nodes are what it has configurations for; as they are in a fleet that names none.
    ///
    /// # Errors
    ///
    /// As [`Fleet::open`], and what Nix says.
    pub fn open_for(
        named: Option<&Path>,
        extra: &BTreeSet<NodeName>,
        flake: Option<NamedFlake<'_>>,
    ) -> Result<Self, Failure> {
        let here = std::env::current_dir()
            .map_err(|e| Failure::new(Exit::Failure, "the current directory is gone").because(e))?;
        let found = named.map(Path::to_owned).or_else(|| nixmox_secrets::find(&here));
        if let Some(root) = found.or_else(|| flake.and_then(NamedFlake::fleet)) {
            return Self::read(root, extra, flake);
        }
        let mut nodes = extra.clone();
        if let Some(flake) = flake {
            nodes.extend(flake.configurations()?);
        }
        if nodes.is_empty() { Err(advice::no_fleet(&here)) } else { Ok(Self::of(here, &nodes)) }
    }

    fn read(
        root: PathBuf,
        extra: &BTreeSet<NodeName>,
        flake: Option<NamedFlake<'_>>,
    ) -> Result<Self, Failure> {
        let ask = |path: &RelPath| nixmox_instantiate::members(&root, path);
        let repository = Repository::open(&root, &ask).map_err(advice::repository)?;
        let services = Services::read(&root, &repository)?;
        let topology = repository.topology();
        let mut nodes: BTreeSet<NodeName> = topology.hosts().cloned().collect();
        nodes.extend(extra.iter().cloned());
        if let Some(services) = &services {
            nodes.extend(services.nodes());
        }
        if nodes.is_empty() {
            let own = root.display().to_string();
            let own = NamedFlake { reference: &own, options: &[] };
            let own = root.join("flake.nix").is_file().then_some(own);
            let listed = flake.or(own).map(NamedFlake::configurations).transpose()?;
            nodes = listed.unwrap_or_default();
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

    fn of(root: PathBuf, nodes: &BTreeSet<NodeName>) -> Self {
        let labels = nodes.iter().map(|node| (node.clone(), Labels::default())).collect();
        Self { root, repository: None, services: None, labels, settings: BTreeMap::new() }
    }

    /// Picks the nodes that the texts mean; without any, all of them.
    ///
    /// # Errors
    ///
    /// When a text is no selector, or names what is not there.
    pub fn select(&self, texts: &[String]) -> Result<BTreeSet<NodeName>, Failure> {
        if self.labels.is_empty() {
            return Err(Failure::new(Exit::Config, "there is no host in this fleet").hint(
                "hosts are in nodes/, in the service manifest, or what a flake's nixosConfigurations name",
            ));
        }
        let selectors = texts.iter().map(|text| Selector::parse(text));
        let selectors: Result<Vec<_>, SelectorError> = selectors.collect();
        let selector = selectors.map(Selector::any).map_err(|e| advice::selector(e, self))?;
        let selector = if texts.is_empty() { Selector::all() } else { selector };
        selector.select(&self.labels).map_err(|e| advice::selector(e, self))
    }

    /// Says how a node is reached.
    ///
    /// # Errors
    ///
    /// When its definition says what cannot be.
    pub fn target(&self, node: &NodeName) -> Result<Target, Failure> {
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
        target.os = if own.darwin { Os::Darwin } else { Os::NixOs };
        target.user = user.map(UserName::parse).transpose().map_err(wrong)?;
        let words = own.ssh_opts.iter().map(String::as_str);
        target.ssh_options = SshOption::parse_arguments(words).map_err(wrong)?;
        target.build_on_remote = own.build_on_remote;
        target.use_remote_sudo = own.use_remote_sudo;
        if let Some(repository) = &self.repository {
            target.host_keys = sealed::host_keys(repository, node)?;
        }
        Ok(target)
    }

    /// Says where nodes stand among each other.
    pub fn places(&self, nodes: &BTreeSet<NodeName>) -> BTreeMap<NodeName, Place> {
        let place = |node: &NodeName| {
            let place = self.services.as_ref().and_then(|services| services.place(node));
            (node.clone(), place.unwrap_or_default())
        };
        nodes.iter().map(place).collect()
    }

    /// Returns its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the check that makes a node count as well.
    pub fn check(&self, node: &NodeName) -> Option<HealthCheck> {
        self.services.as_ref()?.check(node)
    }
}
