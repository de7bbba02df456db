//! The configuration of ssh for a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Host, SshFiles, SshSettings, Target, Trust};
use nixmox_topology::NodeName;

use crate::args::Connect;

/// Writes ssh's configuration for these targets.
pub(crate) fn files(connect: &Connect, targets: &[Target]) -> Result<Arc<SshFiles>, Failure> {
    let own = std::env::home_dir().map(|home| home.join(".ssh/config"));
    let usual = own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_config")]);
    let include = match connect.ssh_config.as_slice() {
        [] => usual.filter(|file| file.is_file()).collect(),
        named => named.iter().map(|file| absolute(file)).collect::<Result<_, _>>()?,
    };
    let trust = if connect.accept_new { Trust::AcceptNew } else { Trust::Known };
    let settings = SshSettings { trust, include, ..SshSettings::default() };
    let files = SshFiles::write(targets, &settings)
        .map_err(|error| Failure::from_error(Exit::Config, error))?;
    Ok(Arc::new(files))
}

/// Makes the hosts of targets.
pub(crate) fn hosts(targets: &BTreeMap<NodeName, Target>, files: &Arc<SshFiles>) -> Vec<Arc<Host>> {
    targets.values().map(|target| Arc::new(Host::ssh(target, Arc::clone(files)))).collect()
}

fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    file.canonicalize().map_err(|error| {
        Failure::new(Exit::NoFile, format!("cannot read {}", file.display())).because(error)
    })
}
