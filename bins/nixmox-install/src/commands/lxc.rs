//! Containers of Proxmox.

use std::sync::Arc;

use nixmox_cli::terminal::escape;
use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Address, EventSink, Target};
use nixmox_fleet::{Fleet, View};
use nixmox_install::{Container, install_container};
use nixmox_topology::NodeName;

use crate::args::{Args, ProxmoxLxc};
use crate::{advice, orders, trust};

/// Where systems have their host key.
const KEY_PATH: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Makes a container that is the node from its first start.
pub(crate) fn lxc(args: &Args, lxc: &ProxmoxLxc) -> Result<Exit, Failure> {
    let node = NodeName::parse(&lxc.node).map_err(|e| Failure::from_error(Exit::Usage, e))?;
    let fleet = Fleet::open(args.repo.as_deref(), &[node.clone()].into())?;
    if !lxc.danger_skip_check {
        nixmox_fleet::check_sealed(&fleet, args.reach.nix)
            .map_err(|failure| failure.with_exit(Exit::InstallPlan))?;
    }
    let container = container(args, lxc, &fleet, node)?;
    if lxc.dry_run {
        let lines = container.plan();
        let text: String = lines.iter().map(|line| format!("{}\n", escape(line))).collect();
        return super::print(text.as_bytes()).map(|()| Exit::Ok);
    }
    let view = Arc::new(View::new(args.switches.json, std::slice::from_ref(&container.node)));
    let shown = Arc::clone(&view);
    let events = EventSink::new(move |event| shown.event(&event));
    let ssh = orders::ssh(args)?;
    let end = nixmox_fleet::runtime()?.block_on(install_container(&container, &ssh, &events));
    view.finish();
    match end {
        Ok(()) => {
            let line = format!("{}  is installed, and answers with its own key\n", container.node);
            super::print(line.as_bytes()).map(|()| Exit::Ok)
        }
        Err(error) => {
            let failure = Failure::new(advice::exit(&error), advice::message(&error));
            let hints = error.log().iter().map(|line| format!("| {line}"));
            Err(hints.fold(failure, Failure::hint))
        }
    }
}

fn container(
    args: &Args,
    lxc: &ProxmoxLxc,
    fleet: &Fleet,
    node: NodeName,
) -> Result<Container, Failure> {
    let identities = nixmox_keyring::load().identities;
    let host_key = orders::host_key(fleet, &node, &identities)?;
    let mut after = orders::bare(args, fleet, &node)?.after;
    after.host_keys = vec![host_key.public()];
    let wrong = |error| Failure::from_error(Exit::Usage, error).hint("see --proxmox");
    let mut proxmox = Target::new(node.clone(), Address::parse("localhost").map_err(wrong)?);
    orders::locate(&mut proxmox, &lxc.proxmox).map_err(wrong)?;
    if let Some(text) = &lxc.proxmox_key {
        proxmox.host_keys = vec![trust::key(text, &node)?];
    }
    let options = lxc.settings.iter().map(|text| option(text)).collect::<Result<_, _>>()?;
    let own = fleet.settings.get(&node).and_then(|own| own.install.host_key_path.clone());
    Ok(Container {
        number: lxc.vmid,
        template: lxc.template.clone(),
        options,
        unprivileged: !lxc.privileged,
        proxmox,
        after,
        host_key,
        host_key_path: own.unwrap_or_else(|| KEY_PATH.to_owned()),
        files: orders::files(&lxc.place, fleet, &node)?,
        boot: lxc.boot_timeout,
        node,
    })
}

/// Reads an option of `pct create`. A name that only looks like one is refused, and so is a second line.
fn option(text: &str) -> Result<(String, String), Failure> {
    let wrong = || Failure::new(Exit::Usage, format!("`{text}` is not NAME=VALUE"));
    let (name, value) = text.split_once('=').ok_or_else(wrong)?;
    let good = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if !begins || !name.chars().all(good) || value.contains(char::is_control) || value.is_empty() {
        return Err(wrong());
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_names_and_values() {
        let read = |text: &str| option(text).ok();
        assert_eq!(read("rootfs=local:8"), Some(("rootfs".into(), "local:8".into())));
        assert_eq!(
            read("net0=name=eth0,ip=dhcp"),
            Some(("net0".into(), "name=eth0,ip=dhcp".into()))
        );
        for bad in ["", "x", "=x", "x=", "-x=1", "a b=1", "x=1\ny"] {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }
}
