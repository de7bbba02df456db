//! Checks on the host itself.

use super::{HealthCheck, HealthProbe};
use crate::{Host, RemoteCommand};

/// Runs the check as a script of the host's shell; it passes when the script ends with 0.
pub(super) async fn passes(host: &Host, check: &HealthCheck) -> bool {
    let seconds = check.timeout.as_secs().max(1);
    // What is checked is quoted, and reaches no shell but the one that reads this script.
    let script = format!("exec timeout -k 1 {seconds} sh -c {}\n", quoted(&body(&check.probe)));
    let Ok(command) = RemoteCommand::script(&script, []) else { return false };
    let command = command.timeout(check.timeout).limit(64 << 10);
    host.run(&command).await.is_ok_and(|output| output.success())
}

fn body(probe: &HealthProbe) -> String {
    match probe {
        HealthProbe::UnitActive(unit) => {
            format!("exec systemctl is-active --quiet -- {}", quoted(unit))
        }
        // 0A is the kernel's number for "listening".
        HealthProbe::Tcp { port } => format!(
            "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qE '^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A '"
        ),
        HealthProbe::Http { port, path, statuses } => {
            let url = quoted(&format!("http://localhost:{port}{path}"));
            let good: Vec<_> = statuses.iter().map(u16::to_string).collect();
            format!(
                "status=$(curl -s -o /dev/null -w '%{{http_code}}' -- {url}) || exit 1\n\
                 case \" {} \" in *\" $status \"*) exit 0 ;; esac\nexit 1",
                good.join(" ")
            )
        }
        HealthProbe::Command(command) => command.clone(),
    }
}

/// A word of the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
