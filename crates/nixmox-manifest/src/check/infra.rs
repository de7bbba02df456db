use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Capacity, Context};
use crate::decode::Spanned;
use crate::finding::{Code, Finding, Severity};
use crate::model::Resources;
use crate::view::Listed;

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    for service in &context.view.services {
        number(service, out);
        if let Some(resources) = &service.service.resources {
            limits(resources, out);
        }
    }
    if let Some(capacity) = context.facts.capacity {
        sums(context, capacity, out);
    }
    keys(context, out);
}

fn number(service: &Listed<'_>, out: &mut Vec<Finding>) {
    match &service.service.vmid {
        Some(vmid) if !(100..=999_999_999).contains(&vmid.value) => {
            let message =
                format!("container number {} of `{}` is out of range", vmid.value, service.name);
            out.push(Finding::new(Code::M801, message).at(vmid.place, "100 to 999999999"));
        }
        None if service.enabled() => {
            let message = format!("`{}` has no container number", service.name);
            out.push(Finding::new(Code::M803, message).at(service.key, "`vmid` is missing"));
        }
        _ => {}
    }
}

fn limits(resources: &Resources, out: &mut Vec<Finding>) {
    let limits = [
        ("cores", &resources.cores, 1, "at least one"),
        ("memory", &resources.memory, 16, "at least 16 MiB"),
        ("disk_gb", &resources.disk_gb, 1, "at least 1 GiB"),
    ];
    for (name, value, least, label) in limits {
        if let Some(value) = value.as_ref().filter(|value| value.value < least) {
            let message = format!("no container runs with {name} = {}", value.value);
            out.push(Finding::new(Code::M802, message).at(value.place, label));
        }
    }
}

fn sums(context: &Context<'_>, capacity: Capacity, out: &mut Vec<Finding>) {
    let mut sum = Capacity { cores: 0, memory: 0, disk_gb: 0 };
    for service in context.view.services.iter().filter(|service| service.enabled()) {
        let size = crate::host::size(service.service);
        sum.cores = sum.cores.saturating_add(size.cores);
        sum.memory = sum.memory.saturating_add(size.memory);
        sum.disk_gb = sum.disk_gb.saturating_add(size.disk_gb);
    }
    let place = context.manifest.services.as_ref().or(context.manifest.core_services.as_ref());
    let Some(place) = place.map(|section| section.key) else { return };
    let totals = [
        ("memory", sum.memory, capacity.memory, "MiB"),
        ("disk", sum.disk_gb, capacity.disk_gb, "GiB"),
        ("processor", sum.cores, capacity.cores, "cores"),
    ];
    for (what, used, there, unit) in totals {
        if used > there {
            let message =
                format!("all services together want {used} {unit} of {what}, the host has {there}");
            let finding = Finding::new(Code::M802, message).at(place, "too much for one host");
            out.push(finding.severity(Severity::Warning));
        }
    }
}

fn keys(context: &Context<'_>, out: &mut Vec<Finding>) {
    let network = context.manifest.network.as_ref();
    let users = network.and_then(|network| network.ssh_keys.as_ref());
    for (user, keys) in users.into_iter().flat_map(|users| &users.value) {
        let mut seen: BTreeMap<&str, &Spanned<String>> = BTreeMap::new();
        for key in &keys.value {
            let shown = user.escape_debug();
            match public_key(&key.value) {
                Ok(()) => {}
                Err(Problem::Short(bits)) => {
                    let message =
                        format!("an RSA key of `{shown}` has {bits} bits, which is too short");
                    let finding =
                        Finding::new(Code::M901, message).at(key.place, "below 3072 bits");
                    let finding = finding.help("make a new one: ssh-keygen -t ed25519");
                    out.push(finding.severity(Severity::Warning));
                }
                Err(Problem::NotAKey(why)) => {
                    let message = format!("a key of `{shown}` is no SSH public key");
                    out.push(Finding::new(Code::M901, message).at(key.place, why));
                    continue;
                }
            }
            let body = key.value.split_whitespace().nth(1).unwrap_or_default();
            if let Some(first) = seen.insert(body, key) {
                let message = format!("a key of `{}` is listed twice", user.escape_debug());
                let finding = Finding::new(Code::M901, message).at(key.place, "again");
                out.push(finding.at(first.place, "first").severity(Severity::Warning));
            }
        }
    }
}

/// Why a text is no key, or no good one.
enum Problem {
    NotAKey(&'static str),
    Short(usize),
}

/// Reads an SSH public key: kind, base64, comment; the base64 begins with the kind again.
fn public_key(text: &str) -> Result<(), Problem> {
    let wrong = |why| Err(Problem::NotAKey(why));
    let mut words = text.split_whitespace();
    let (Some(kind), Some(body)) = (words.next(), words.next()) else {
        return wrong("not a kind and base64");
    };
    if text.lines().count() > 1 {
        return wrong("more than one line");
    }
    let Ok(blob) = STANDARD.decode(body) else { return wrong("not base64 after the kind") };
    let mut fields = blob.as_slice();
    let Some(name) = field(&mut fields) else { return wrong("cut short") };
    if name != kind.as_bytes() {
        return wrong("the kind in front is not the key's");
    }
    match kind {
        "ssh-ed25519" => match (field(&mut fields).map(<[u8]>::len), fields) {
            (Some(32), []) => Ok(()),
            _ => wrong("not 32 bytes long"),
        },
        "ssh-rsa" => {
            let (Some(_), Some(modulus), []) = (field(&mut fields), field(&mut fields), fields)
            else {
                return wrong("cut short");
            };
            let digits = modulus.iter().skip_while(|byte| **byte == 0);
            let bytes = digits.clone().count();
            let zeros = digits.clone().next().map_or(0, |byte| byte.leading_zeros());
            let bits = bytes.saturating_mul(8).saturating_sub(usize::try_from(zeros).unwrap_or(0));
            if bits < 3_072 { Err(Problem::Short(bits)) } else { Ok(()) }
        }
        "ecdsa-sha2-nistp256"
        | "ecdsa-sha2-nistp384"
        | "ecdsa-sha2-nistp521"
        | "sk-ssh-ed25519@openssh.com"
        | "sk-ecdsa-sha2-nistp256@openssh.com" => match (field(&mut fields), field(&mut fields)) {
            (Some(_), Some(_)) => Ok(()),
            _ => wrong("cut short"),
        },
        _ => wrong("an unknown kind"),
    }
}

/// Takes a field: four bytes of length, then so many bytes.
fn field<'b>(bytes: &mut &'b [u8]) -> Option<&'b [u8]> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let (field, rest) = rest.split_at_checked(length)?;
    *bytes = rest;
    Some(field)
}
