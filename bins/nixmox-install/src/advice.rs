//! What a person is told when a machine is not installed, and what can be done about it.

use nixmox_cli::Exit;
use nixmox_install::{Cause, InstallError, Phase, Problem};
use nixmox_topology::NodeName;

/// Says with which status the program ends because of an error.
pub(crate) fn exit(error: &InstallError) -> Exit {
    match error {
        InstallError::Refused { .. } | InstallError::Busy => Exit::InstallRefused,
        InstallError::Consent { .. } => Exit::InstallConsent,
        InstallError::Unauthenticated | InstallError::Stranger => Exit::InstallStranger,
        InstallError::Unreachable(_) | InstallError::Silent | InstallError::Denied(_) => {
            Exit::InstallUnreachable
        }
        InstallError::Interrupted => Exit::Interrupted,
        // What is to be copied is looked at before the machine is.
        InstallError::Phase { source: Cause::File { .. }, .. } => Exit::InstallRefused,
        InstallError::Phase { phase, .. } => phase_exit(*phase),
        _ => Exit::Failure,
    }
}

fn phase_exit(phase: Phase) -> Exit {
    match phase {
        Phase::Plan => Exit::InstallPlan,
        Phase::Connect => Exit::InstallUnreachable,
        Phase::BootInstaller => Exit::InstallNoInstaller,
        Phase::Disks => Exit::InstallDisks,
        Phase::Copy => Exit::InstallCopy,
        Phase::Place => Exit::InstallPlace,
        Phase::Activate | Phase::Finish => Exit::InstallActivate,
        Phase::Reboot => Exit::InstallGone,
        Phase::Verify => Exit::InstallVerify,
    }
}

/// Says in a line why a machine is not installed.
pub(crate) fn message(error: &InstallError) -> String {
    nixmox_fleet::causes(error).join(": ")
}

/// Says what can be done about something that was found, where that is not plain from what it is.
pub(crate) fn way_out(problem: &Problem) -> Option<&'static str> {
    match problem {
        Problem::NoImage => Some(
            "boot one, or give its archive: --image FILE --image-sha256 HEX; or say --via rescue",
        ),
        Problem::NoInstaller => Some("boot one, or leave out --via installer"),
        Problem::AlreadyNode => Some("to install it again nevertheless: --reinstall"),
        Problem::ForeignMount => Some("unmount it there, or boot the machine anew"),
        _ => None,
    }
}

/// Says what can be done.
pub(crate) fn hints(node: &NodeName, error: &InstallError) -> Vec<String> {
    let resume = format!("go on when that is repaired: nixmox-install resume {node}");
    match error {
        InstallError::Refused { findings } => {
            let mut hints: Vec<_> = findings.iter().skip(1).map(ToString::to_string).collect();
            hints.extend(findings.iter().filter_map(|one| way_out(&one.what)).map(str::to_owned));
            hints.push("nothing was changed by this".to_owned());
            hints
        }
        InstallError::Consent { token, other, .. } => {
            let mistaken = other.then(|| "the token that was given is for other disks".to_owned());
            let agree = format!("to agree: --wipe {node}={token}");
            mistaken.into_iter().chain([agree]).collect()
        }
        InstallError::Unauthenticated => vec![
            format!("see what it answers with: nixmox-install fingerprint {node}"),
            format!("and if its console shows the same: --installer-key {node}=SHA256:…"),
        ],
        InstallError::Stranger => {
            vec!["nothing was sent to it; find out who answers there before you go on".to_owned()]
        }
        InstallError::Denied(_) => {
            vec!["see whether your key is among those that may log in".to_owned()]
        }
        InstallError::Busy => vec![format!("see it: nixmox-install status {node}")],
        InstallError::Interrupted => vec![format!("go on: nixmox-install resume {node}")],
        InstallError::Phase { source, .. } => match source {
            Cause::WrongBoot(_) => vec![
                "set its firmware to start from its disk first, or take the medium out".to_owned(),
                resume,
            ],
            Cause::NoAnswer(_) | Cause::StillRuns | Cause::RebootedInstead => {
                vec!["look at its console".to_owned(), resume]
            }
            _ => vec![resume],
        },
        _ => Vec::new(),
    }
}
