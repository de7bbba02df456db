//! Where an installation stands, and what comes next: decided by what the machine answers, helped by what is
//! remembered.

use nixmox_deploy::StorePath;
use nixmox_topology::NodeName;

use crate::facts::{Facts, JobState};
use crate::marker::Reached;
use crate::order::{Rules, Via};
use crate::state::Memory;
use crate::{Identity, Phase};

/// What is known when it is decided what comes next.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'a> {
    pub(crate) who: Identity,
    pub(crate) facts: &'a Facts,
    pub(crate) memory: &'a Memory,
    pub(crate) node: &'a NodeName,
    pub(crate) toplevel: &'a StorePath,
    pub(crate) via: Via,
    pub(crate) rules: &'a Rules,
    /// Whether there is an installation of which this machine remembers something.
    pub(crate) begun: bool,
}

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// An installer is started in place of what runs.
    Boot,
    /// The disks are formatted.
    Format,
    /// The disks are mounted as they are.
    Mount,
    /// The disks are formatted, but nothing on them says so yet.
    Mark,
    /// The system is copied.
    Copy,
    /// The files are put in place.
    Place,
    /// The system is activated.
    Activate,
    /// Everything is looked at, and the disks are let go of.
    Finish,
    /// The machine reboots.
    Reboot,
    /// The node is looked at.
    Verify,
    /// The machine has rebooted into something else than the new system.
    WrongBoot,
}

impl Next {
    pub(crate) fn phase(self) -> Phase {
        match self {
            Self::Boot => Phase::BootInstaller,
            Self::Format | Self::Mount | Self::Mark => Phase::Disks,
            Self::Copy => Phase::Copy,
            Self::Place => Phase::Place,
            Self::Activate => Phase::Activate,
            Self::Finish => Phase::Finish,
            Self::Reboot | Self::WrongBoot => Phase::Reboot,
            Self::Verify => Phase::Verify,
        }
    }
}

/// Why nothing comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dead {
    /// The machine is the node already.
    AlreadyNode,
    /// There is nothing to go on with.
    NothingBegun,
    /// It runs no installer, and none is to be started.
    NoInstaller,
    /// Something that this run has not put there is mounted at `/mnt`.
    ForeignMount,
    /// Another installation of another node, or of this one from elsewhere, has the disks.
    OtherRun,
    /// What is to be begun with is not to be begun yet.
    NotThere(Phase),
    /// The disks were let go of already.
    LetGo,
}

/// Decides what comes next.
pub(crate) fn next(sight: &Sight<'_>) -> Result<Next, Dead> {
    if sight.who == Identity::Node {
        if let Some(next) = node(sight)? {
            return Ok(next);
        }
    } else if sight.memory.rebooted_from.as_ref().is_some_and(|boot| *boot != sight.facts.boot_id) {
        return Ok(Next::WrongBoot);
    }
    if !works_here(sight) {
        return if sight.via == Via::Installer { Err(Dead::NoInstaller) } else { Ok(Next::Boot) };
    }
    if sight.facts.finished.contains_key(&sight.memory.run) {
        return Ok(Next::Reboot);
    }
    if sight.facts.mounted { mounted(sight) } else { unmounted(sight) }
}

/// Goes back to a phase that somebody wants to begin with again; nothing when something else has to be done first.
pub(crate) fn back(next: Next, from: Phase) -> Result<Option<Next>, Dead> {
    let again = match from {
        Phase::Copy => Next::Copy,
        Phase::Place => Next::Place,
        Phase::Activate => Next::Activate,
        Phase::Finish => Next::Finish,
        _ => return Err(Dead::NotThere(from)),
    };
    match next {
        Next::Mount | Next::Mark => Ok(None),
        Next::Reboot | Next::Verify | Next::WrongBoot => Err(Dead::LetGo),
        next if next.phase() < from => Err(Dead::NotThere(from)),
        _ => Ok(Some(again)),
    }
}

/// Goes on with an installation of which this machine remembers nothing: the disks say which run has formatted them.
pub(crate) fn adopt(memory: &mut Memory, facts: &Facts, node: &NodeName) {
    if let Some(marker) = facts.marker.as_ref().filter(|marker| marker.node == *node) {
        memory.run.clone_from(&marker.run);
        memory.formatted = true;
    }
}

/// The node itself answers: it is done, or it is to be installed again.
fn node(sight: &Sight<'_>) -> Result<Option<Next>, Dead> {
    let memory = sight.memory;
    if memory.rebooted_from.as_ref().is_some_and(|boot| *boot != sight.facts.boot_id) {
        return Ok(Some(Next::Verify));
    }
    if sight.rules.reinstall { Ok(None) } else { Err(Dead::AlreadyNode) }
}

/// Tells whether the work is done by what runs there now.
fn works_here(sight: &Sight<'_>) -> bool {
    sight.who == Identity::Installer || sight.facts.is_installer() || sight.via == Via::Rescue
}

fn mounted(sight: &Sight<'_>) -> Result<Next, Dead> {
    let (facts, memory) = (sight.facts, sight.memory);
    if sight.rules.reformat && !memory.formatted {
        return Ok(Next::Format);
    }
    let Some(marker) = &facts.marker else {
        if facts.job(&memory.run, FORMAT).is_some_and(|state| state != JobState::Done(0)) {
            // It goes on, or it never came to its end.
            return Ok(Next::Format);
        }
        let own = memory.formatted || facts.formatted.contains(&memory.run);
        return if own { Ok(Next::Mark) } else { Err(Dead::ForeignMount) };
    };
    if marker.node != *sight.node || marker.run != memory.run {
        return Err(Dead::OtherRun);
    }
    if marker.toplevel != *sight.toplevel {
        return Ok(Next::Copy);
    }
    Ok(match marker.reached {
        Reached::Formatted => Next::Copy,
        Reached::Copied => Next::Place,
        Reached::Placed => Next::Activate,
        Reached::Bootable => Next::Finish,
    })
}

fn unmounted(sight: &Sight<'_>) -> Result<Next, Dead> {
    let (facts, memory) = (sight.facts, sight.memory);
    let forgotten = sight.rules.only_resume && !sight.begun;
    if facts.job(&memory.run, FORMAT) == Some(JobState::Running) {
        return Ok(Next::Format);
    }
    if memory.formatted || facts.formatted.contains(&memory.run) {
        return Ok(Next::Mount);
    }
    if forgotten { Err(Dead::NothingBegun) } else { Ok(Next::Format) }
}

/// The job that formats.
pub(crate) const FORMAT: &str = "disks";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::marker::Marker;

    const SYSTEM: &str = "/nix/store/0123456789abcdfghijklmnpqrsvwxyz-web";

    struct Case {
        who: Identity,
        facts: Facts,
        memory: Memory,
        via: Via,
        rules: Rules,
        begun: bool,
    }

    fn facts(variant: &str) -> Facts {
        Facts {
            boot_id: "b1".into(),
            arch: "x86_64".into(),
            os: "nixos".into(),
            variant: variant.into(),
            root: true,
            clock: 0,
            memory_kib: 0,
            efi: false,
            container: None,
            no_kexec: None,
            disko_test: false,
            serial: None,
            tools: Default::default(),
            current_system: None,
            mounted: false,
            marker: None,
            jobs: Default::default(),
            formatted: Default::default(),
            finished: Default::default(),
        }
    }

    fn case(who: Identity, variant: &str) -> Case {
        Case {
            who,
            facts: facts(variant),
            memory: Memory::new("r1".into(), &NodeName::parse("web").unwrap(), SYSTEM),
            via: Via::Auto,
            rules: Rules::default(),
            begun: false,
        }
    }

    fn marker(reached: Reached) -> Marker {
        Marker {
            run: "r1".into(),
            node: NodeName::parse("web").unwrap(),
            toplevel: StorePath::parse(SYSTEM).unwrap(),
            reached,
        }
    }

    impl Case {
        fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
            change(&mut self);
            self
        }

        fn on_disk(self, marker: Marker) -> Self {
            self.with(|case| {
                case.facts.mounted = true;
                case.facts.marker = Some(marker);
            })
        }

        fn job(self, state: JobState) -> Self {
            self.with(|case| {
                case.facts.jobs.insert(("r1".into(), FORMAT.into()), state);
            })
        }

        #[track_caller]
        fn comes_to(&self, expect: Result<Next, Dead>) {
            let (node, toplevel) = (NodeName::parse("web").unwrap(), StorePath::parse(SYSTEM));
            let found = next(&Sight {
                who: self.who,
                facts: &self.facts,
                memory: &self.memory,
                node: &node,
                toplevel: &toplevel.unwrap(),
                via: self.via,
                rules: &self.rules,
                begun: self.begun,
            });
            assert_eq!(found, expect);
        }
    }

    fn installer() -> Case {
        case(Identity::Before, "installer")
    }

    #[test]
    fn a_fresh_machine_is_formatted_or_gets_an_installer_first() {
        installer().comes_to(Ok(Next::Format));
        case(Identity::Installer, "").comes_to(Ok(Next::Format));
        case(Identity::Before, "").comes_to(Ok(Next::Boot));
        case(Identity::Before, "").with(|c| c.via = Via::Rescue).comes_to(Ok(Next::Format));
        case(Identity::Before, "")
            .with(|c| c.via = Via::Installer)
            .comes_to(Err(Dead::NoInstaller));
    }

    #[test]
    fn disks_say_how_far_it_is() {
        installer().on_disk(marker(Reached::Formatted)).comes_to(Ok(Next::Copy));
        installer().on_disk(marker(Reached::Copied)).comes_to(Ok(Next::Place));
        installer().on_disk(marker(Reached::Placed)).comes_to(Ok(Next::Activate));
        installer().on_disk(marker(Reached::Bootable)).comes_to(Ok(Next::Finish));
        let other = Marker {
            toplevel: StorePath::parse(&SYSTEM.replace("web", "old")).unwrap(),
            ..marker(Reached::Bootable)
        };
        installer().on_disk(other).comes_to(Ok(Next::Copy));
    }

    #[test]
    fn formatting_goes_on_is_repeated_if_it_broke_and_never_twice() {
        let mounted = |c: &mut Case| c.facts.mounted = true;
        installer().with(mounted).job(JobState::Running).comes_to(Ok(Next::Format));
        installer().with(mounted).job(JobState::Done(1)).comes_to(Ok(Next::Format));
        installer().with(mounted).job(JobState::Dead).comes_to(Ok(Next::Format));
        let formatted = |c: &mut Case| {
            c.facts.formatted.insert("r1".into());
        };
        installer().with(mounted).with(formatted).comes_to(Ok(Next::Mark));
        installer().with(formatted).comes_to(Ok(Next::Mount));
        installer().with(|c| c.memory.formatted = true).comes_to(Ok(Next::Mount));
    }

    #[test]
    fn what_others_have_mounted_is_left_alone() {
        installer().with(|c| c.facts.mounted = true).comes_to(Err(Dead::ForeignMount));
        let other = Marker { run: "r2".into(), ..marker(Reached::Copied) };
        installer().on_disk(other.clone()).comes_to(Err(Dead::OtherRun));
        let mut adopting = installer().on_disk(other.clone()).with(|c| c.rules.only_resume = true);
        adopt(&mut adopting.memory, &adopting.facts, &NodeName::parse("web").unwrap());
        adopting.comes_to(Ok(Next::Place));
        let node = Marker { node: NodeName::parse("db").unwrap(), ..other };
        let mut foreign = installer().on_disk(node).with(|c| c.rules.only_resume = true);
        adopt(&mut foreign.memory, &foreign.facts, &NodeName::parse("web").unwrap());
        foreign.comes_to(Err(Dead::OtherRun));
        let only_resume = |c: &mut Case| c.rules.only_resume = true;
        installer().with(only_resume).comes_to(Err(Dead::NothingBegun));
        installer().with(only_resume).with(|c| c.begun = true).comes_to(Ok(Next::Format));
    }

    #[test]
    fn what_is_done_can_be_begun_with_again() {
        assert_eq!(back(Next::Finish, Phase::Place), Ok(Some(Next::Place)));
        assert_eq!(back(Next::Copy, Phase::Copy), Ok(Some(Next::Copy)));
        assert_eq!(back(Next::Mount, Phase::Copy), Ok(None));
        assert_eq!(back(Next::Copy, Phase::Activate), Err(Dead::NotThere(Phase::Activate)));
        assert_eq!(back(Next::Format, Phase::Copy), Err(Dead::NotThere(Phase::Copy)));
        assert_eq!(back(Next::Reboot, Phase::Copy), Err(Dead::LetGo));
        assert_eq!(back(Next::Finish, Phase::Disks), Err(Dead::NotThere(Phase::Disks)));
    }

    #[test]
    fn a_reboot_is_told_by_the_boot_that_answers() {
        let rebooted =
            |from: &'static str| move |c: &mut Case| c.memory.rebooted_from = Some(from.into());
        case(Identity::Node, "").with(rebooted("b0")).comes_to(Ok(Next::Verify));
        installer().with(rebooted("b0")).comes_to(Ok(Next::WrongBoot));
        let finished = |c: &mut Case| {
            c.facts.finished.insert("r1".into(), SYSTEM.into());
        };
        installer().with(rebooted("b1")).with(finished).comes_to(Ok(Next::Reboot));
        installer().with(finished).comes_to(Ok(Next::Reboot));
    }

    #[test]
    fn what_is_the_node_is_not_installed_by_mistake() {
        case(Identity::Node, "").comes_to(Err(Dead::AlreadyNode));
        case(Identity::Node, "").with(|c| c.memory.done = true).comes_to(Err(Dead::AlreadyNode));
        case(Identity::Node, "").with(|c| c.rules.reinstall = true).comes_to(Ok(Next::Boot));
    }
}
