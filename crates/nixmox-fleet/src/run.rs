//! Records of runs, and what runs everything that waits.

use std::path::{Path, PathBuf};
use std::process;

use jiff::Timestamp;
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{RunId, Runs};
use sha2::{Digest, Sha256};

/// Returns the directory of the runs of a fleet: the one that is named, or one below the user's state.
///
/// # Errors
///
/// When none is named and there is no home directory.
pub fn runs(named: Option<&Path>, program: &str, root: &Path) -> Result<Runs, Failure> {
    if let Some(directory) = named {
        return Ok(Runs::new(directory));
    }
    let state = state().ok_or_else(|| {
        Failure::new(Exit::Usage, "there is no home directory to keep runs in")
            .hint("name a directory: --runs DIR")
    })?;
    let whole = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let digest = Sha256::digest(whole.as_os_str().as_encoded_bytes());
    let digest: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let name = whole.file_name().and_then(|name| name.to_str()).unwrap_or("fleet");
    Ok(Runs::new(state.join(program).join(format!("{name}-{digest}"))))
}

/// Returns the directory of what the programs keep of their own; none without a home directory.
pub fn state() -> Option<PathBuf> {
    let set = std::env::var_os("XDG_STATE_HOME").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let state = set.or_else(|| Some(std::env::home_dir()?.join(".local/state")))?;
    Some(state.join("nixmox"))
}

/// Makes the name of a run that begins now.
///
/// # Errors
///
/// None that is known; a name that cannot be one is refused.
pub fn new_run() -> Result<RunId, Failure> {
    let now = Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string();
    let name = format!("{now}-{}", process::id());
    RunId::parse(&name).map_err(|error| Failure::from_error(Exit::Failure, error))
}

/// Says who deploys, for others who look at a host meanwhile: the account and the machine.
pub fn deployer() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let machine = rustix::system::uname().nodename().to_string_lossy().into_owned();
    match user.filter(|user| !user.is_empty()) {
        Some(user) => format!("{user}@{machine}"),
        None => machine,
    }
}

/// Starts what runs everything that waits.
///
/// # Errors
///
/// When no thread can be started.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Exit::Failure, "cannot start threads").because(e))
}
