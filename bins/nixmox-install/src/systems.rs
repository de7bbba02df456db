//! What machines are to become: their systems, and what makes their disks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use nixmox_cli::{Exit, Failure, Progress};
use nixmox_deploy::{EvaluateError, NixError, NixLine, StorePath, System};
use nixmox_fleet::Fleet;
use nixmox_install::{Configured, DiskScripts, Firmware};
use nixmox_topology::NodeName;
use serde::Deserialize;

use crate::args::From;
use crate::input;

/// The largest file of `--paths`.
const MAX_PATHS: u32 = 16 << 20;

/// What one machine is to become.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) system: System,
    pub(crate) disks: DiskScripts,
    /// The processor that it is for.
    pub(crate) arch: Option<String>,
    /// Where its sshd looks for its key.
    pub(crate) host_key_path: Option<String>,
    /// What the configuration says of the machine.
    pub(crate) configured: Configured,
}

/// One machine in a file of `--paths`, or in Nix' answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    toplevel: Made,
    format: Made,
    #[serde(default)]
    mount: Option<Made>,
    #[serde(default)]
    devices: Vec<String>,
    #[serde(default)]
    system: Option<String>,
    #[serde(default)]
    host_key_path: Option<String>,
    #[serde(default)]
    config: Says,
}

/// What a configuration says of its machine; `null` where that is not known.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Says {
    sshd: Option<bool>,
    logins: Option<Vec<String>>,
    host_keys: Option<Vec<String>>,
    firmware: Option<Vec<String>>,
    addresses: Option<Vec<String>>,
    dhcp: Option<bool>,
    passphrases: Option<Vec<String>>,
    late: Option<Vec<String>>,
}

impl Says {
    fn configured(&self) -> Configured {
        let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
        let firmware = |word: &String| match word.as_str() {
            "bios" => Some(Firmware::Bios),
            "efi" => Some(Firmware::Efi),
            _ => None,
        };
        Configured {
            sshd: self.sshd,
            logins: self.logins.clone(),
            host_keys: list(&self.host_keys),
            firmware: self.firmware.iter().flatten().filter_map(firmware).collect(),
            addresses: list(&self.addresses),
            // Without a list of addresses, they come from elsewhere.
            dhcp: self.dhcp.filter(|_| self.addresses.is_some()),
            passphrases: list(&self.passphrases),
            late: list(&self.late),
        }
    }
}

/// A store path, and what builds it where that is known.
#[derive(Deserialize)]
#[serde(untagged)]
enum Made {
    Path(String),
    Both { drv: String, out: String },
}

impl Made {
    fn system(&self) -> Result<System, Failure> {
        let parse = |path: &str| {
            StorePath::parse(path).map_err(|error| {
                Failure::new(Exit::InstallPlan, format!("`{path}` is no store path")).because(error)
            })
        };
        match self {
            Self::Path(path) => Ok(System { toplevel: parse(path)?, derivation: None }),
            Self::Both { drv, out } => {
                Ok(System { toplevel: parse(out)?, derivation: Some(parse(drv)?) })
            }
        }
    }
}

impl Record {
    fn wanted(&self) -> Result<Wanted, Failure> {
        let mount = self.mount.as_ref().map(Made::system).transpose()?;
        let devices = self.devices.clone();
        Ok(Wanted {
            system: self.toplevel.system()?,
            disks: DiskScripts { format: self.format.system()?, mount, devices },
            arch: self.system.as_deref().and_then(processor),
            host_key_path: self.host_key_path.clone(),
            configured: self.config.configured(),
        })
    }
}

/// The processor of a system of Nix, as the kernel calls it.
fn processor(system: &str) -> Option<String> {
    let (processor, kernel) = system.split_once('-')?;
    (kernel == "linux").then(|| processor.to_owned())
}

/// Which nodes a file of `--paths` names, which need no other definition.
pub(crate) fn listed(from: &From, selectors: &[String]) -> Result<BTreeSet<NodeName>, Failure> {
    match &from.paths {
        None => Ok(BTreeSet::new()),
        Some(paths) if is_triple(paths) => {
            Ok(selectors.iter().filter_map(|text| NodeName::parse(text).ok()).collect())
        }
        Some(file) => Ok(read(Path::new(file))?.into_keys().collect()),
    }
}

/// Learns what machines are to become.
pub(crate) fn wanted(
    fleet: &Fleet,
    from: &From,
    nodes: &BTreeSet<NodeName>,
) -> Result<BTreeMap<NodeName, Wanted>, Failure> {
    let records = match &from.paths {
        Some(paths) if is_triple(paths) => triple(paths, nodes)?,
        Some(file) => read(Path::new(file))?,
        None => ask(fleet, from, nodes)?,
    };
    let one = |node: &NodeName| {
        let record = records.get(node).ok_or_else(|| {
            Failure::new(Exit::InstallPlan, format!("nothing says what {node} is to become"))
        })?;
        Ok((node.clone(), record.wanted()?))
    };
    nodes.iter().map(one).collect()
}

fn is_triple(paths: &str) -> bool {
    paths.starts_with("/nix/store/") && paths.contains(',')
}

fn triple(paths: &str, nodes: &BTreeSet<NodeName>) -> Result<BTreeMap<NodeName, Record>, Failure> {
    let words: Vec<_> = paths.split(',').map(|path| Made::Path(path.to_owned())).collect();
    let (Ok([format, mount, toplevel]), Some(node), 1) =
        (<[Made; 3]>::try_from(words), nodes.first(), nodes.len())
    else {
        let message = "--paths FORMAT,MOUNT,SYSTEM is three store paths, for one machine";
        return Err(Failure::new(Exit::Usage, message));
    };
    let (mount, devices) = (Some(mount), Vec::new());
    let (system, host_key_path, config) = (None, None, Says::default());
    let record = Record { toplevel, format, mount, devices, system, host_key_path, config };
    Ok([(node.clone(), record)].into())
}

fn read(file: &Path) -> Result<BTreeMap<NodeName, Record>, Failure> {
    let text = input::text(file, MAX_PATHS)?;
    let wrong = |what: String| {
        Failure::new(Exit::Usage, format!("{}: {what}", file.display())).hint(
            "it is JSON: {\"NODE\": {\"toplevel\": PATH, \"format\": PATH, \"mount\": PATH, \"devices\": [\"/dev/…\"]}}",
        )
    };
    let records: BTreeMap<String, Record> =
        serde_json::from_str(text.expose()).map_err(|error| wrong(error.to_string()))?;
    let named = |(name, record): (String, Record)| {
        let node = NodeName::parse(&name).map_err(|error| wrong(format!("`{name}`: {error}")))?;
        Ok((node, record))
    };
    records.into_iter().map(named).collect()
}

/// A function of all configurations; names of nodes have no character that Nix reads in a way of its own.
fn function(nodes: &BTreeSet<NodeName>) -> String {
    let names: Vec<_> = nodes.iter().map(|node| format!("\"{node}\"")).collect();
    format!("({}) [ {} ]", include_str!("systems.nix"), names.join(" "))
}

fn ask(
    fleet: &Fleet,
    from: &From,
    nodes: &BTreeSet<NodeName>,
) -> Result<BTreeMap<NodeName, Record>, Failure> {
    let flake = from.flake.clone().unwrap_or_else(|| fleet.root().display().to_string());
    let progress = Progress::spinner("evaluating");
    let say = |line: NixLine| {
        if let NixLine::Text(text) = line {
            progress.say(&text);
        }
    };
    let nix = nixmox_fleet::nix(&from.option);
    let attribute = format!("{flake}#nixosConfigurations");
    let found = nixmox_fleet::runtime()?.block_on(nix.ask(&attribute, &function(nodes), &say));
    drop(progress);
    let answer = found.map_err(refused)?;
    let records: BTreeMap<String, Record> =
        serde_json::from_value(answer).map_err(|error| refused(EvaluateError::Answer(error)))?;
    let named = |(name, record): (String, Record)| Some((NodeName::parse(&name).ok()?, record));
    Ok(records.into_iter().filter_map(named).collect())
}

fn refused(error: EvaluateError) -> Failure {
    let said = match &error {
        EvaluateError::Nix(NixError::Failed { said, .. }) => said.clone(),
        _ => Vec::new(),
    };
    let failure = Failure::from_error(Exit::InstallPlan, error);
    said.into_iter().fold(failure, Failure::hint)
}

/// Builds everything that machines are to become, but the systems of those that do so themselves, and keeps it from
/// garbage collection.
pub(crate) fn build(
    from: &From,
    wanted: &BTreeMap<NodeName, Wanted>,
    there: &BTreeSet<NodeName>,
    roots: &Path,
) -> Result<(), Failure> {
    let all = wanted.iter().flat_map(|(node, one)| {
        let system = (!there.contains(node)).then_some(&one.system);
        [system, Some(&one.disks.format), one.disks.mount.as_ref()].into_iter().flatten()
    });
    let systems: Vec<System> = all.cloned().collect();
    let progress = Progress::spinner("building");
    let say = |line: NixLine| {
        if let NixLine::Text(text) = line {
            progress.say(&text);
        }
    };
    let nix = nixmox_fleet::nix(&from.option);
    let built = nixmox_fleet::runtime()?.block_on(nix.build(&systems, None, (roots, None), &say));
    drop(progress);
    let failed = built.map_err(|error| Failure::from_error(Exit::InstallPlan, error))?;
    match failed.first() {
        None => Ok(()),
        Some(path) => Err(Failure::new(Exit::InstallPlan, format!("{path} cannot be built"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATH: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-web";

    #[test]
    fn both_forms_of_a_path_are_read() {
        let text = format!(
            "{{\"toplevel\": \"{PATH}\", \"format\": {{\"drv\": \"{PATH}.drv\", \"out\": \"{PATH}\"}}, \
              \"devices\": [\"/dev/sda\"], \"system\": \"aarch64-linux\"}}"
        );
        let record: Record = serde_json::from_str(&text).unwrap();
        let wanted = record.wanted().unwrap();
        assert_eq!(wanted.system.toplevel.as_str(), PATH);
        assert!(wanted.disks.format.derivation.is_some() && wanted.disks.mount.is_none());
        assert_eq!(wanted.arch.as_deref(), Some("aarch64"));
        assert_eq!(wanted.disks.devices, ["/dev/sda"]);
    }

    #[test]
    fn three_paths_are_for_one_machine() {
        let names = |names: &[&str]| -> BTreeSet<NodeName> {
            names.iter().map(|name| NodeName::parse(name).unwrap()).collect()
        };
        let three = format!("{PATH},{PATH},{PATH}");
        assert!(is_triple(&three) && !is_triple("paths.json"));
        assert!(triple(&three, &names(&["web"])).is_ok());
        assert!(triple(&three, &names(&["web", "db"])).is_err());
        assert!(triple(&format!("{PATH},{PATH}"), &names(&["web"])).is_err());
    }
}
