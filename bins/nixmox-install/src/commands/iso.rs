//! Installers whose key is known before they are booted.

use std::collections::BTreeSet;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_fleet::Fleet;
use nixmox_hostkey::HostKey;
use nixmox_install::installer_keys;
use nixmox_topology::NodeName;
use rand_core::OsRng;
use serde_json::json;

use crate::args::{Args, Iso};
use crate::input;
use crate::trust::MAX_KEY;

/// Makes the keys of one machine's installer, and says how they come to it.
pub(crate) fn iso(args: &Args, iso: &Iso) -> Result<Exit, Failure> {
    let node = node(args, &iso.node)?;
    let allowed: Vec<String> =
        iso.client_key.iter().map(|file| client(file)).collect::<Result<_, _>>()?;
    let directory = directory(iso, &node)?;
    let key = HostKey::generate(&mut OsRng);
    let print = key.public().fingerprint();
    let initrd = directory.join("initrd-keys");
    let public = directory.join("ssh_host_ed25519_key.pub");
    let line = format!("{}\n", key.public().to_openssh(&format!("installer-of-{node}")));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .map_err(|e| unwritten(&directory, e))?;
    let secret = installer_keys(&key, &allowed);
    write(&initrd, 0o600, secret.expose()).map_err(|e| unwritten(&initrd, e))?;
    write(&public, 0o644, &line).map_err(|e| unwritten(&public, e))?;
    let text = if args.switches.json {
        let (initrd, public) = (initrd.display().to_string(), public.display().to_string());
        let made = json!({ "node": node.to_string(), "fingerprint": print, "initrd": initrd, "publicKey": public });
        format!("{made}\n")
    } else {
        words(&node, &print, &initrd)
    };
    super::print(text.as_bytes()).map(|()| Exit::Ok)
}

/// Reads the name of a node; in a fleet it is one of the fleet's.
fn node(args: &Args, name: &str) -> Result<NodeName, Failure> {
    let node = NodeName::parse(name).map_err(|e| Failure::from_error(Exit::Usage, e))?;
    let here = std::env::current_dir().unwrap_or_default();
    if args.repo.is_some() || nixmox_secrets::find(&here).is_some() {
        Fleet::open(args.repo.as_deref(), &BTreeSet::new())?.select(&[node.to_string()])?;
    }
    Ok(node)
}

/// Chooses where the keys are written: not where Nix copies what it finds into its store, which everybody may read.
fn directory(iso: &Iso, node: &NodeName) -> Result<PathBuf, Failure> {
    let Some(named) = &iso.dir else {
        let own = nixmox_fleet::state().map(|state| state.join("installers").join(node.as_ref()));
        return own.ok_or_else(|| {
            Failure::new(Exit::Usage, "there is no home directory to keep keys in")
                .hint("name a directory: --dir DIR")
        });
    };
    let whole = std::path::absolute(named).unwrap_or_else(|_| named.clone());
    // What is there of it, as it really is.
    let above = whole.ancestors().find_map(|above| above.canonicalize().ok());
    match above.as_deref().and_then(nixmox_secrets::find) {
        Some(fleet) => {
            let message = format!("{} lies in the fleet {}", named.display(), fleet.display());
            let hint = "Nix copies what a flake has into its store, which everybody may read: name another --dir";
            Err(Failure::new(Exit::Usage, message).hint(hint))
        }
        None => Ok(named.clone()),
    }
}

fn words(node: &NodeName, print: &str, initrd: &Path) -> String {
    format!(
        "{node}  its installer will answer with {print}\n  \
         1. boot the installer with a second initrd: {}\n     \
         (it holds the private key: only this machine's medium may have it)\n  \
         2. in the definition of {node}: install.installerKey = \"{print}\";\n  \
         3. nixmox-install {node} --dry-run\n",
        initrd.display()
    )
}

/// Reads a public key that may log in.
fn client(file: &Path) -> Result<String, Failure> {
    let text = input::text(file, MAX_KEY)?;
    let line = text.expose().lines().next().unwrap_or_default();
    if ["ssh-", "ecdsa-", "sk-"].iter().any(|kind| line.starts_with(kind)) {
        return Ok(line.to_owned());
    }
    let failure = Failure::new(Exit::Usage, format!("{} is no public key of ssh", file.display()));
    Err(failure.hint("it is the file that ends in .pub"))
}

/// Writes a file that is not there yet.
fn write(path: &Path, mode: u32, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())
}

fn unwritten(path: &Path, error: io::Error) -> Failure {
    let there = error.kind() == io::ErrorKind::AlreadyExists;
    let failure = Failure::new(Exit::Write, format!("cannot write {}", path.display()));
    let failure = failure.because(error);
    if there {
        return failure.hint("an installer may have these keys already; another directory: --dir");
    }
    failure
}
