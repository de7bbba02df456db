//! What a machine says about itself.

use std::collections::{BTreeMap, BTreeSet};

use nixmox_deploy::StorePath;

use crate::marker::Marker;
use crate::reply::Reply;

/// What a machine says about itself. It is authenticated, but that does not make it right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The number of this boot.
    pub boot_id: String,
    /// What the kernel calls the processor.
    pub arch: String,
    /// The distribution, by `/etc/os-release`.
    pub os: String,
    /// Its variant; `installer` for those that install.
    pub variant: String,
    /// Whether commands are root's.
    pub root: bool,
    /// Its clock, in seconds since 1970.
    pub clock: u64,
    /// How much memory it has, in KiB.
    pub memory_kib: u64,
    /// Whether it was started by EFI.
    pub efi: bool,
    /// The container that it is, if it is one.
    pub container: Option<String>,
    /// Why kexec cannot work, if that is known.
    pub no_kexec: Option<String>,
    /// Whether a variable is set with which disks are formatted with a password that everybody knows.
    pub disko_test: bool,
    /// The number that its maker gave it.
    pub serial: Option<String>,
    /// The programs that it has, of those that matter.
    pub tools: BTreeSet<String>,
    /// The system that it runs, on NixOS.
    pub current_system: Option<StorePath>,
    /// Whether something is mounted at `/mnt`.
    pub mounted: bool,
    /// The marker of an installation that lies there.
    pub marker: Option<Marker>,
    /// Jobs, by the run that started them and by name.
    pub jobs: BTreeMap<(String, String), JobState>,
    /// Runs that have formatted the disks since this machine was started.
    pub formatted: BTreeSet<String>,
    /// Runs that are finished, with the system that they installed.
    pub finished: BTreeMap<String, String>,
}

/// Where a job on a machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It goes on.
    Running,
    /// It ended with this status.
    Done(i32),
    /// It ended without leaving a status, as one that was killed.
    Dead,
}

impl JobState {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text.split_once(' ') {
            None if text == "running" => Some(Self::Running),
            None if text == "dead" => Some(Self::Dead),
            Some(("done", status)) => status.trim().parse().ok().map(Self::Done),
            _ => None,
        }
    }
}

impl Facts {
    /// Reads an answer; nothing when it lacks what every machine has.
    pub(crate) fn read(reply: &Reply) -> Option<Self> {
        let text = |name: &str| reply.text(name).unwrap_or_default().to_owned();
        let locked = reply.text("lockdown").filter(|mode| *mode != "none");
        let no_kexec = if reply.is("kexec_disabled", "1") {
            Some("kexec is turned off until the next boot".to_owned())
        } else {
            locked.map(|mode| format!("the kernel is locked down ({mode})"))
        };
        Some(Self {
            boot_id: reply.text("boot_id").filter(|id| is_boot_id(id))?.to_owned(),
            arch: reply.text("arch")?.to_owned(),
            os: text("os"),
            variant: text("variant"),
            root: reply.is("uid", "0"),
            clock: reply.number("clock").unwrap_or_default(),
            memory_kib: reply.number("memory_kib").unwrap_or_default(),
            efi: reply.is("firmware", "efi"),
            container: reply.text("container").map(str::to_owned),
            no_kexec,
            disko_test: reply.is("disko_test", "yes"),
            serial: reply.text("machine_serial").map(str::to_owned),
            tools: reply.all("tool").map(str::to_owned).collect(),
            current_system: reply
                .text("current_system")
                .and_then(|path| StorePath::parse(path).ok()),
            mounted: reply.is("mounted", "yes"),
            marker: reply.text("marker").and_then(|text| Marker::parse(text.as_bytes()).ok()),
            jobs: reply.all("job").filter_map(job).collect(),
            formatted: reply.all("formatted").map(str::to_owned).collect(),
            finished: reply.all("finished").filter_map(pair).collect(),
        })
    }

    /// Tells whether it is an installer: a system that runs from memory and is meant for this.
    pub fn is_installer(&self) -> bool {
        self.variant == "installer"
    }

    /// Tells whether it has a program.
    pub fn has(&self, tool: &str) -> bool {
        self.tools.contains(tool)
    }

    pub(crate) fn job(&self, run: &str, name: &str) -> Option<JobState> {
        self.jobs.get(&(run.to_owned(), name.to_owned())).copied()
    }
}

fn is_boot_id(text: &str) -> bool {
    text.len() <= 64 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

fn job(text: &str) -> Option<((String, String), JobState)> {
    let mut words = text.splitn(3, ' ');
    let (run, name, state) = (words.next()?, words.next()?, words.next()?);
    Some(((run.to_owned(), name.to_owned()), JobState::parse(state)?))
}

fn pair(text: &str) -> Option<(String, String)> {
    let (run, system) = text.split_once(' ')?;
    Some((run.to_owned(), system.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "boot_id=0b1e-22\narch=x86_64\nuid=0\nos=nixos\nvariant=installer\n\
        memory_kib=1500000\nfirmware=bios\ntool=nix\ntool=lsblk\nlockdown=none\nmounted=yes\n\
        job=r1 disks done 0\njob=r1 copy running\njob=r1 x nonsense\nformatted=r1\n";

    #[test]
    fn facts_are_read() {
        let facts = Facts::read(&Reply::parse(TEXT.as_bytes())).unwrap();
        assert!(facts.is_installer() && facts.root && facts.mounted && !facts.efi);
        assert_eq!(facts.no_kexec, None);
        assert_eq!(facts.job("r1", "disks"), Some(JobState::Done(0)));
        assert_eq!(facts.job("r1", "copy"), Some(JobState::Running));
        assert_eq!(facts.job("r1", "x"), None);
        assert!(facts.formatted.contains("r1") && facts.has("nix") && !facts.has("kexec"));
    }

    #[test]
    fn a_machine_without_a_boot_is_none() {
        for bad in ["", "boot_id=../x\narch=x\n", "boot_id=1\n"] {
            assert_eq!(Facts::read(&Reply::parse(bad.as_bytes())), None, "{bad}");
        }
        let locked = format!("{TEXT}kexec_disabled=1\n");
        let facts = Facts::read(&Reply::parse(locked.as_bytes())).unwrap();
        assert!(facts.no_kexec.is_some());
    }
}
