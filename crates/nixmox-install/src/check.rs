//! What is looked at before anything is changed.

use nixmox_deploy::StorePath;

use crate::configured;
use crate::facts::Facts;
use crate::order::{Order, Via};
use crate::problem::{Finding, Problem, grave, light};

/// How much memory an installer needs at least, in KiB.
const MEMORY: u64 = 700 << 10;
/// By how many seconds a clock may be wrong before certificates are.
const CLOCK: u64 = 24 * 60 * 60;

/// Looks at a machine before anything on it is changed; `boots` says that an installer is to be started there.
pub(crate) fn machine(order: &Order, facts: &Facts, boots: bool, now: u64) -> Vec<Finding> {
    let mut found = Vec::new();
    if !facts.root {
        found.push(grave(Problem::NotRoot));
    }
    let needed: &[&str] = if boots {
        &["tar", "sha256sum", "setsid"]
    } else {
        &["lsblk", "findmnt", "setsid", "unshare", "chroot", "sha256sum"]
    };
    let lacks = needed.iter().filter(|tool| !facts.has(tool));
    found.extend(lacks.map(|tool| grave(Problem::Tool((*tool).to_owned()))));
    if !boots && !facts.has("nix-store") && order.via != Via::Rescue && order.via != Via::Auto {
        found.push(grave(Problem::Tool("nix-store".to_owned())));
    }
    if !fits(&facts.arch, order) {
        found.push(grave(Problem::Processor(facts.arch.clone())));
    }
    if let Some(kind) = &facts.container {
        found.push(grave(Problem::Container(kind.clone())));
    }
    if facts.disko_test {
        found.push(grave(Problem::DiskoTest));
    }
    if boots {
        found.extend(facts.no_kexec.iter().map(|why| grave(Problem::NoKexec(why.clone()))));
        if order.image.is_none() {
            found.push(grave(Problem::NoImage));
        }
    }
    if facts.memory_kib > 0 && facts.memory_kib < MEMORY {
        found.push(light(Problem::LittleMemory(facts.memory_kib)));
    }
    let wrong = facts.clock.abs_diff(now);
    if wrong > CLOCK {
        found.push(light(Problem::Clock(wrong)));
    }
    if order.before.address != order.after.address {
        found.push(light(Problem::OtherAddress(order.after.address.to_string())));
    }
    found.extend(configured::check(order, facts));
    found
}

/// Tells whether a processor runs the system, as far as this machine can tell: it has built it, or could have.
fn fits(arch: &str, order: &Order) -> bool {
    order.arch.as_ref().is_none_or(|wanted| wanted == arch)
}

/// Looks at the disks that are to be erased.
pub(crate) fn disks(disks: &[&crate::Disk], boots: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for disk in disks {
        let name = || format!("{} ({})", disk.path, disk.lasting_name());
        if disk.read_only {
            found.push(grave(Problem::ReadOnly(name())));
        }
        let others = disk.mounted.iter().any(|at| !at.starts_with("/mnt"));
        // What runs now is gone when the installer runs.
        if others && !boots {
            found.push(grave(Problem::InUse(name())));
        }
        if disk.serial.is_none() && disk.wwn.is_none() {
            found.push(light(Problem::NoSerial(name())));
        }
    }
    found
}

/// Tells whether a closure of so many bytes cannot lie on disks, however they are parted.
pub(crate) fn room(disks: &[&crate::Disk], bytes: u64) -> Vec<Finding> {
    let free: u64 = disks.iter().map(|disk| disk.size).sum();
    let small = free < bytes;
    small
        .then(|| grave(Problem::NoSpace { needs: bytes >> 10, free: free >> 10 }))
        .into_iter()
        .collect()
}

/// Looks at the system on this machine.
pub(crate) fn system(toplevel: &StorePath) -> Vec<Finding> {
    let path = std::path::Path::new(toplevel.as_str());
    let there = path.is_dir();
    let kernel = path.join("kernel").symlink_metadata().is_ok();
    if there && !kernel { vec![grave(Problem::NoKernel)] } else { Vec::new() }
}
