//! The configuration of ssh for a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Host, SshFiles, SshSettings, Target, Trust};
use nixmox_topology::NodeName;

/// Writes ssh's configuration for these targets; it reads the named configurations, or the user's own and the system's.
///
/// # Errors
///
/// When a named one cannot be read, or it cannot be written.
pub fn ssh_files(
    configs: &[PathBuf],
    trust: Trust,
    targets: &[Target],
) -> Result<Arc<SshFiles>, Failure> {
    let settings = SshSettings { trust, include: includes(configs)?, ..SshSettings::default() };
    let files = SshFiles::write(targets, &settings)
        .map_err(|error| Failure::from_error(Exit::Config, error))?;
    Ok(Arc::new(files))
}

/// Returns the configurations of ssh that are read: the named ones, or the user's own and the system's.
///
/// # Errors
///
/// When a named one cannot be read.
pub fn includes(configs: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let own = std::env::home_dir().map(|home| home.join(".ssh/config"));
    let usual = own.into_iter().chain([PathBuf::from("/etc/ssh/ssh_config")]);
    match configs {
        [] => Ok(usual.filter(|file| file.is_file()).collect()),
        named => named.iter().map(|file| absolute(file)).collect(),
    }
}

/// Makes the hosts of targets.
pub fn hosts(targets: &BTreeMap<NodeName, Target>, files: &Arc<SshFiles>) -> Vec<Arc<Host>> {
    targets.values().map(|target| Arc::new(Host::ssh(target, Arc::clone(files)))).collect()
}

fn absolute(file: &Path) -> Result<PathBuf, Failure> {
    file.canonicalize().map_err(|error| {
        Failure::new(Exit::NoFile, format!("cannot read {}", file.display())).because(error)
    })
}
