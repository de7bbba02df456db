//! What a person is told when a roster or a signature is not trusted.

use nixmox_cli::{Exit, Failure};
use nixmox_secrets::trust::TrustError;

/// Explains why a roster or a signature is not trusted, or was not made.
pub(super) fn explain(error: TrustError) -> Failure {
    let exit = match &error {
        TrustError::NoRoster | TrustError::UnwritableRules { .. } => Exit::Config,
        TrustError::Roster(_) | TrustError::Allowed(_) => Exit::Usage,
        _ => Exit::Failure,
    };
    let hints = hints(&error);
    hints.into_iter().fold(Failure::from_error(exit, error), Failure::hint)
}

fn hints(error: &TrustError) -> Vec<String> {
    let one = |hint: String| vec![hint];
    match error {
        TrustError::Chain { path, .. } => one(format!(
            "nothing was used of it; restore {path} and what lies in rosters/ beside it from git"
        )),
        TrustError::Unpinned { fleet, signers } => {
            let signers = signers.iter().map(|(name, print)| format!("{name} signs with {print}"));
            let way = format!(
                "ask one of them for the fleet's id; if it is this one: nixmox-secrets recipients accept {fleet}"
            );
            signers.chain([way]).collect()
        }
        TrustError::Gone { pinned } | TrustError::OtherFleet { pinned, .. } => vec![
            "nothing is sealed to people whom nobody vouched for; restore the roster from git".to_owned(),
            format!("if this is a new fleet in an old place: nixmox-secrets recipients forget {pinned}"),
        ],
        TrustError::RolledBack { .. } => one("somebody put an older state back, or this is an old checkout: fetch the newest".to_owned()),
        TrustError::Forked { .. } => one("two admins changed the roster at once, or somebody tries to hide a change: look at the history, keep the one that the others have".to_owned()),
        TrustError::NotTheirs => one("the list must name an admin who signed one of the rosters; `sign signers` prints it on a machine that trusts the fleet".to_owned()),
        TrustError::Rules { strangers, path } => {
            let strangers = strangers.iter().map(|name| format!("not in the roster: {name}"));
            let way = format!(
                "only the roster decides: `git checkout -- {path}`, or add who is missing with `nixmox-secrets recipients add`"
            );
            strangers.chain([way]).collect()
        }
        TrustError::UnwritableRules { .. } => one("rules above those for this fleet's files name others for them; remove these".to_owned()),
        TrustError::NoRoster => one("`nixmox-secrets recipients start NAME` makes one, with you as its first admin".to_owned()),
        TrustError::NoSigner => one("a key of the roster is looked for in $NIXMOX_SIGNING_KEY, in ~/.ssh and in your agent; `recipients list` names the keys".to_owned()),
        TrustError::NotASigner { .. } => one("only admins of the roster who open everything sign; `recipients list` names their keys".to_owned()),
        _ => Vec::new(),
    }
}
