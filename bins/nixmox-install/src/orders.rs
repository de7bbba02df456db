//! From what the repository and the command line say to what is asked for each machine.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Address, SshOption, SshSettings, Target, TargetError, UserName};
use nixmox_fleet::{Fleet, Install as Settings};
use nixmox_hostkey::{HostKey, HostPublicKey};
use nixmox_install::{Configured, Image, Order, Patience, Phase, PlacedFile, Rules};
use nixmox_sops::Identities;
use nixmox_topology::NodeName;
use nixmox_tree::SecretString;

use crate::args::{Args, Install};
use crate::input;
use crate::systems::Wanted;
use crate::trust::{Recognised, recognise, value, values};

/// Where most systems have their host key.
const KEY_PATH: &str = "/etc/ssh/ssh_host_ed25519_key";
/// The largest file that is put on a machine.
const MAX_FILE: u32 = 4 << 20;

/// Returns ssh's settings: the named configurations, or the user's own and the system's.
pub(crate) fn ssh(args: &Args) -> Result<SshSettings, Failure> {
    let include = nixmox_fleet::includes(&args.reach.ssh_config)?;
    Ok(SshSettings { include, ..SshSettings::default() })
}

/// Makes what is asked for one machine.
pub(crate) fn asked(
    args: &Args,
    install: &Install,
    fleet: &Fleet,
    (node, wanted): (&NodeName, &Wanted),
    identities: &Identities,
) -> Result<Order, Failure> {
    let mut order = bare(args, fleet, node)?;
    let host_key = host_key(fleet, node, identities)?;
    order.after.host_keys = vec![host_key.public()];
    order.host_key = Some(host_key);
    let own = settings(fleet, node);
    let known = recognised(args, fleet, &order)?;
    order.before.host_keys = known.keys;
    order.unauthenticated = known.unauthenticated;
    order.via = install.via.into();
    order.system = wanted.system.clone();
    order.configured.clone_from(&wanted.configured);
    order.arch.clone_from(&wanted.arch);
    order.disks = wanted.disks.clone();
    let named: Vec<String> = values(&install.disk, node).map(str::to_owned).collect();
    if !named.is_empty() {
        order.disks.devices = named;
    } else if !own.disks.is_empty() {
        order.disks.devices = own.disks;
    }
    let paths = [&install.host_key_path, &own.host_key_path, &wanted.host_key_path];
    let path = paths.into_iter().flatten().next().cloned();
    order.host_key_path = path.unwrap_or_else(|| KEY_PATH.to_owned());
    order.files = files(&install.place, fleet, node)?;
    order.disk_secrets = disk_secrets(install)?;
    order.image = image(install);
    order.consent = value(&install.wipe, node).map(str::to_owned);
    order.patience = patience(install);
    order.rules = rules(install)?;
    Ok(order)
}

/// Finds the key by which a machine is recognised before it is the node.
pub(crate) fn recognised(args: &Args, fleet: &Fleet, order: &Order) -> Result<Recognised, Failure> {
    let own = settings(fleet, &order.node);
    let mut known = order.after.host_keys.clone();
    let memory = crate::run::memories(args, fleet)?.read(&order.node).ok().flatten();
    let remembered = memory.into_iter().filter(|memory| !memory.done);
    let keys = remembered.flat_map(|memory| [memory.before_key, memory.installer_key]).flatten();
    known.extend(keys.filter_map(|key| HostPublicKey::parse(&key).ok()));
    let declared = (own.installer_key.as_deref(), known.as_slice());
    recognise(args, &order.before, declared, &ssh(args)?)
}

/// Makes what is needed to ask a machine where it stands.
pub(crate) fn bare(args: &Args, fleet: &Fleet, node: &NodeName) -> Result<Order, Failure> {
    let mut after = fleet.target(node)?;
    let before = before(args, fleet, node)?;
    if let Some(text) = value(&args.reach.node_host, node) {
        locate(&mut after, text).map_err(|e| wrong(e, node))?;
    } else if fleet.settings.get(node).is_none_or(|own| own.target_host.is_none()) {
        after.address = before.address.clone();
        after.port = before.port;
        after.user = after.user.or_else(|| before.user.clone());
        after.ssh_options.clone_from(&before.ssh_options);
    }
    let mut installer = before.clone();
    if let Some(text) = value(&args.reach.installer_host, node) {
        locate(&mut installer, text).map_err(|e| wrong(e, node))?;
    }
    let nothing = nixmox_deploy::StorePath::parse(NOTHING)
        .map_err(|error| Failure::from_error(Exit::Failure, error))?;
    let nothing = nixmox_deploy::System { toplevel: nothing, derivation: None };
    Ok(Order {
        node: node.clone(),
        via: nixmox_install::Via::Auto,
        system: nothing.clone(),
        configured: Configured::default(),
        arch: None,
        disks: nixmox_install::DiskScripts { format: nothing, mount: None, devices: Vec::new() },
        before,
        installer,
        after,
        host_key: None,
        host_key_path: KEY_PATH.to_owned(),
        files: Vec::new(),
        disk_secrets: Vec::new(),
        image: None,
        consent: None,
        patience: Patience::default(),
        rules: Rules::default(),
        unauthenticated: false,
    })
}

/// Stands for a system where none is installed.
const NOTHING: &str = "/nix/store/00000000000000000000000000000000-nothing";

fn settings(fleet: &Fleet, node: &NodeName) -> Settings {
    fleet.settings.get(node).map(|own| own.install.clone()).unwrap_or_default()
}

/// Says how a machine is reached before it is the node.
pub(crate) fn before(args: &Args, fleet: &Fleet, node: &NodeName) -> Result<Target, Failure> {
    let own = settings(fleet, node);
    let mut target = fleet.target(node)?;
    target.host_keys.clear();
    target.use_remote_sudo = false;
    if let Some(text) = own.target_host.as_deref() {
        target.user = None;
        locate(&mut target, text).map_err(|e| wrong(e, node))?;
    }
    if !own.ssh_opts.is_empty() {
        let words = own.ssh_opts.iter().map(String::as_str);
        target.ssh_options = SshOption::parse_arguments(words).map_err(|e| wrong(e, node))?;
    }
    target.build_on_remote = own.build_on_remote;
    if let Some(text) = value(&args.reach.target, node) {
        target.user = None;
        locate(&mut target, text).map_err(|e| wrong(e, node))?;
    }
    Ok(target)
}

/// Sets where a machine is: `[USER@]ADDRESS[:PORT]`, an IPv6 address with a port in brackets.
pub(crate) fn locate(target: &mut Target, text: &str) -> Result<(), TargetError> {
    let (user, place) = match text.split_once('@') {
        Some((user, place)) => (Some(UserName::parse(user)?), place),
        None => (None, text),
    };
    let port = |text: &str| text.parse::<NonZeroU16>().map_err(|_| TargetError::Address);
    let (address, number) = match place.rsplit_once(':') {
        Some((address, number)) if !address.contains(':') || address.ends_with(']') => {
            (address, Some(port(number)?))
        }
        _ => (place, None),
    };
    target.address = Address::parse(address)?;
    target.user = user.or_else(|| target.user.clone());
    target.port = number.or(target.port);
    Ok(())
}

fn wrong(error: TargetError, node: &NodeName) -> Failure {
    Failure::from_error(Exit::Usage, error)
        .hint(format!("see --target, --installer-host, --node-host, and `install` of {node}"))
}

/// Opens the host key that the repository holds for a node.
pub(crate) fn host_key(
    fleet: &Fleet,
    node: &NodeName,
    identities: &Identities,
) -> Result<HostKey, Failure> {
    let missing = || {
        Failure::new(Exit::InstallPlan, format!("the repository has no host key for {node}"))
            .hint("a host with secrets gets one: nixmox-secrets edit")
    };
    let repository = fleet.repository.as_ref().ok_or_else(missing)?;
    match nixmox_secrets::host_key(repository, node, identities) {
        Err(nixmox_secrets::Error::NoSuchHost { .. } | nixmox_secrets::Error::NoHostKey { .. }) => {
            Err(missing())
        }
        key => key.map_err(|error| Failure::from_error(Exit::InstallPlan, error)),
    }
}

/// Gathers the files of a machine besides its key: its sealed file, and what the command line says.
pub(crate) fn files(
    given: &[String],
    fleet: &Fleet,
    node: &NodeName,
) -> Result<Vec<PlacedFile>, Failure> {
    let mut files = Vec::new();
    let sealed = nixmox_fleet::secret_files(fleet, node, &Identities::new());
    if let Some(sealed) = sealed?.and_then(|files| files.sealed) {
        let text = SecretString::new(sealed.text);
        files.push(PlacedFile { path: sealed.path, text, mode: "400".into(), owner: "0:0".into() });
    }
    for text in given {
        files.push(place(text)?);
    }
    if let Some(file) = files.iter().find(|file| !is_plain(&file.path)) {
        let message = format!("{} cannot be the path of a file on a machine", file.path);
        return Err(Failure::new(Exit::Usage, message));
    }
    Ok(files)
}

fn place(text: &str) -> Result<PlacedFile, Failure> {
    let wrong = || {
        Failure::new(Exit::Usage, format!("`{text}` does not say what is put where"))
            .hint("it is FILE:PATH[:MODE[:UID:GID]]")
    };
    let words: Vec<&str> = text.split(':').collect();
    let (file, path, mode, owner) = match words.as_slice() {
        [file, path] => (file, path, "600", "0:0".to_owned()),
        [file, path, mode] => (file, path, *mode, "0:0".to_owned()),
        [file, path, mode, uid, gid] => (file, path, *mode, format!("{uid}:{gid}")),
        _ => return Err(wrong()),
    };
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == ':');
    if !digits(mode) || !digits(&owner) || mode.is_empty() {
        return Err(wrong());
    }
    let (path, mode) = ((*path).to_owned(), mode.to_owned());
    Ok(PlacedFile { path, text: input::text(Path::new(file), MAX_FILE)?, mode, owner })
}

/// Tells whether a path is one that nobody could take for anything else.
fn is_plain(path: &str) -> bool {
    let good = |c: char| c.is_ascii_alphanumeric() || "+-._/=:@,".contains(c);
    path.starts_with('/')
        && path.chars().all(good)
        && path.split('/').skip(1).all(|name| !["", ".", ".."].contains(&name))
}

fn disk_secrets(install: &Install) -> Result<Vec<(String, SecretString)>, Failure> {
    let one = |text: &String| {
        let wrong = || Failure::new(Exit::Usage, format!("`{text}` is not PATH=FILE"));
        let (path, file) = text.split_once('=').ok_or_else(wrong)?;
        if !is_plain(path) {
            return Err(wrong());
        }
        Ok((path.to_owned(), input::text(Path::new(file), MAX_FILE)?))
    };
    install.disk_secret.iter().map(one).collect()
}

fn image(install: &Install) -> Option<Image> {
    let arguments = &install.image;
    Some(Image {
        path: arguments.image.clone()?,
        sha256: arguments.image_sha256.clone()?,
        arguments: arguments.kexec_arg.clone(),
        command_line: arguments.kexec_line.clone(),
    })
}

fn patience(install: &Install) -> Patience {
    let given = &install.patience;
    Patience {
        connect: given.connect_timeout,
        kexec: given.kexec_timeout,
        disks: given.disks_timeout,
        activate: given.activation_timeout,
        boot: given.boot_timeout,
        ..Patience::default()
    }
}

fn rules(install: &Install) -> Result<Rules, Failure> {
    let until = install.until.as_deref().map(phase).transpose()?;
    let last = if install.no_reboot { Phase::Finish } else { Phase::Verify };
    let from = install.from.as_deref().map(phase).transpose()?;
    let again = [Phase::Copy, Phase::Place, Phase::Activate, Phase::Finish];
    if from.is_some_and(|from| !again.contains(&from)) {
        let words = again.map(Phase::word).join(", ");
        return Err(Failure::new(Exit::Usage, "this phase cannot be begun with again")
            .hint(format!("--from takes {words}; --reformat formats the disks again")));
    }
    Ok(Rules {
        reinstall: install.reinstall,
        reformat: install.reformat,
        only_resume: false,
        accept_activation_errors: install.allow_activation_errors,
        strict_health: install.strict_health,
        substitute: install.substitute,
        blank_disks: install.yes,
        from,
        until: until.unwrap_or(last),
    })
}

fn phase(word: &str) -> Result<Phase, Failure> {
    Phase::parse(word).ok_or_else(|| {
        let all = Phase::ALL.map(Phase::word).join(", ");
        Failure::new(Exit::Usage, format!("`{word}` is no phase")).hint(format!("phases: {all}"))
    })
}

/// Returns the private directory in memory where keys that log in to installers lie.
pub(crate) fn private_directory() -> Result<PathBuf, Failure> {
    let set = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    let root = Path::new("/run");
    match set {
        Some(directory) => Ok(PathBuf::from(directory).join("nixmox-install")),
        None if root.is_dir() && nixmox_cli::is_root() => Ok(root.join("nixmox-install-keys")),
        None => Err(Failure::new(Exit::Usage, "there is no directory in memory for keys")
            .hint("set XDG_RUNTIME_DIR to one")),
    }
}

/// Says which node each machine becomes, for commands that take `NODE=VALUE`: a name that is no node is a mistake.
pub(crate) fn check_names<T>(
    all: &[&Vec<String>],
    nodes: &BTreeMap<NodeName, T>,
) -> Result<(), Failure> {
    for text in all.iter().copied().flatten() {
        let name = text.split_once('=').map(|(name, _)| name).unwrap_or(text);
        if !nodes.contains_key(name) {
            let message = format!("`{text}` is for none of the machines that are meant");
            let failure = Failure::new(Exit::Usage, message);
            return Err(match nodes.keys().next().filter(|_| nodes.len() == 1) {
                Some(node) if !text.contains('=') => {
                    failure.hint(format!("it is NODE=VALUE: {node}={text}"))
                }
                _ => failure.hint("it is NODE=VALUE"),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, Option<&str>, Option<u16>)>) {
            let node = NodeName::parse("web").unwrap();
            let mut target = Target::new(node, Address::parse("x").unwrap());
            let found = locate(&mut target, text).ok().map(|()| {
                let user = target.user.as_ref().map(UserName::as_str);
                (target.address.as_str(), user, target.port.map(NonZeroU16::get))
            });
            assert_eq!(found, expect, "{text}");
        }
        check("10.0.0.1", Some(("10.0.0.1", None, None)));
        check("root@10.0.0.1:2222", Some(("10.0.0.1", Some("root"), Some(2222))));
        check("[::1]:22", Some(("::1", None, Some(22))));
        check("fe80::1", Some(("fe80::1", None, None)));
        for bad in ["", "a:0", "a b", "-x", "root@", "a:port"] {
            check(bad, None);
        }
    }

    #[test]
    fn paths_on_machines_are_plain() {
        assert!(is_plain("/etc/x.y/z"));
        for bad in ["etc/x", "/etc/../x", "/etc//x", "/a b", "/", "/a/", "/$x"] {
            assert!(!is_plain(bad), "{bad}");
        }
    }
}
