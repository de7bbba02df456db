//! What the configuration of the new system says, where that is known before it runs, and what follows from it.

use nixmox_deploy::UserName;

use crate::facts::Facts;
use crate::order::Order;
use crate::problem::{Finding, Problem, grave, light};

/// What a configuration says that decides whether its machine can be used afterwards. What is not known is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Configured {
    /// Whether it has an sshd.
    pub sshd: Option<bool>,
    /// The users who have a key that lets them in.
    pub logins: Option<Vec<String>>,
    /// Where its sshd looks for ed25519 keys of its own; nothing when that is not known.
    pub host_keys: Vec<String>,
    /// What can start its boot loader; nothing when that is not known.
    pub firmware: Vec<Firmware>,
    /// The addresses that it gives itself.
    pub addresses: Vec<String>,
    /// Whether it asks for addresses.
    pub dhcp: Option<bool>,
    /// Volumes for whose passphrase it asks a person when it boots.
    pub passphrases: Vec<String>,
    /// Where file systems are that it does not mount first.
    pub late: Vec<String>,
}

/// How a machine is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Firmware {
    /// By a BIOS, from the first sectors of a disk.
    Bios,
    /// By EFI, from a file.
    Efi,
}

/// Looks at the configuration beside the machine that it is for.
pub(crate) fn check(order: &Order, facts: &Facts) -> Vec<Finding> {
    let says = &order.configured;
    let mut found = Vec::new();
    if says.sshd == Some(false) {
        found.push(grave(Problem::NoSshd));
    }
    let user = order.after.user.as_ref().map_or("root", UserName::as_str);
    if says.logins.as_ref().is_some_and(|all| !all.iter().any(|own| own == user)) {
        found.push(grave(Problem::NoLogin(user.to_owned())));
    }
    let path = &order.host_key_path;
    if !says.host_keys.is_empty() && !says.host_keys.contains(path) {
        found.push(grave(Problem::KeyElsewhere(path.clone())));
    }
    if let Some(late) = says.late.iter().find(|late| lies_below(path, late)) {
        found.push(light(Problem::LateMount(late.clone())));
    }
    let firmware = if facts.efi { Firmware::Efi } else { Firmware::Bios };
    if !says.firmware.is_empty() && !says.firmware.contains(&firmware) {
        found.push(grave(Problem::Firmware(firmware)));
    }
    found.extend(network(order));
    found.extend(says.passphrases.iter().map(|name| light(Problem::Passphrase(name.clone()))));
    found
}

/// Looks whether the node will be where it is looked for, as far as its own addresses say so.
fn network(order: &Order) -> Option<Finding> {
    let says = &order.configured;
    if says.dhcp != Some(false) {
        return None;
    }
    if says.addresses.is_empty() {
        return Some(light(Problem::NoNetwork));
    }
    let there = order.after.address.as_str();
    // A name leads to addresses that are not looked up here.
    let number = there.parse::<std::net::IpAddr>().is_ok();
    let elsewhere = number && !says.addresses.iter().any(|own| own == there);
    elsewhere.then(|| light(Problem::StaticAddresses(says.addresses.clone())))
}

fn lies_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lie_below_directories_by_whole_names() {
        assert!(lies_below("/persist/etc/key", "/persist"));
        assert!(!lies_below("/persistent/key", "/persist"));
        assert!(!lies_below("/persist", "/persist"));
    }
}
