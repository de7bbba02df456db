//! What the part on the host is asked for.

use std::fmt::Write as _;
use std::time::Duration;

use rand_core::{OsRng, RngCore as _};

use super::hex;
use crate::text::printable;
use crate::{Goal, Request, StorePath};

/// Where OpenSSH has its host key on NixOS.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// Writes the request as the script reads it: one `name=value` a line.
pub(super) fn lines(request: &Request, expected: &StorePath) -> String {
    let mut text = String::new();
    let mut put = |name: &str, value: &str| {
        let name: String =
            name.chars().filter(|c| c.is_ascii_alphanumeric() || "._-".contains(*c)).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{name}={}", printable(value.as_bytes()));
    };
    let patience = &request.patience;
    let yes_or_no = |yes| if yes { "yes" } else { "no" };
    put("toplevel", request.toplevel.as_str());
    put("expected", request.expected.as_ref().unwrap_or(expected).as_str());
    put("goal", goal(request.goal));
    put("nonce", &nonce());
    put("activation", &seconds(patience.activation));
    put("confirmation", &seconds(patience.confirmation));
    put("dwell", &patience.dwell.as_secs().to_string());
    put("confirmations", &patience.confirmations.to_string());
    put("commit", &seconds(patience.commit));
    put("rollback", &seconds(patience.rollback));
    put("failed_units", yes_or_no(patience.failed_units));
    put("reboot", yes_or_no(patience.reboot_on_failed_rollback));
    put("trial", yes_or_no(patience.trial.is_some()));
    if let Some(secrets) = &request.secrets {
        if let Some(sealed) = &secrets.sealed {
            put("path.sealed", &sealed.path);
        }
        if secrets.host_key.is_some() {
            put("path.host-key", HOST_KEY);
        }
    }
    for (name, value) in &request.provenance.0 {
        if name == "deployer" {
            put(name, value);
        }
        put(&format!("from.{name}"), value);
    }
    text
}

fn goal(goal: Goal) -> &'static str {
    match goal {
        Goal::Switch => "switch",
        Goal::Boot => "boot",
        Goal::Test => "test",
        Goal::DryActivate => "dry-activate",
        Goal::Push => "push",
    }
}

/// Whole seconds, at least one.
fn seconds(duration: Duration) -> String {
    duration.as_secs().max(1).to_string()
}

/// What shows that a confirmation is for this activation; only root reads it on the host.
fn nonce() -> String {
    let mut random = [0; 16];
    OsRng.fill_bytes(&mut random);
    hex(&random)
}
