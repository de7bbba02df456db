//! Checks on the host itself, or on another one.

use super::{HealthCheck, HealthProbe, in_url};
use crate::{Address, Host, Os, RemoteCommand};

/// Runs the check as a script of a host's shell; it passes when the script ends with 0. What is looked at is at `target`,
/// or the host itself.
pub(super) async fn passes(on: &Host, check: &HealthCheck, target: Option<&Address>) -> bool {
    let seconds = check.timeout.as_secs().max(1);
    // What is checked is quoted, and reaches no shell but the one that reads this script.
    let body = quoted(&body(&check.probe, target));
    let script = match on.os() {
        Os::NixOs => format!("exec timeout -k 1 {seconds} sh -c {body}\n"),
        // A Mac has no such program. What takes too long is ended with its connection.
        Os::Darwin => format!("exec sh -c {body}\n"),
    };
    let Ok(command) = RemoteCommand::script(&script, []) else { return false };
    let command = command.timeout(check.timeout).limit(64 << 10);
    on.run(&command).await.is_ok_and(|output| output.success())
}

fn body(probe: &HealthProbe, target: Option<&Address>) -> String {
    let at = in_url(target.map_or("localhost", Address::as_str));
    match probe {
        HealthProbe::UnitActive(unit) => {
            format!("exec systemctl is-active --quiet -- {}", quoted(unit))
        }
        HealthProbe::Tcp { port } => match target {
            Some(target) => {
                format!("exec bash -c {}", quoted(&format!(": <>/dev/tcp/{target}/{port}")))
            }
            // 0A is the kernel's number for "listening".
            None => format!(
                "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -qE '^ *[0-9]+: [0-9A-F]+:{port:04X} [0-9A-F]+:0000 0A '"
            ),
        },
        HealthProbe::Http { port, path, statuses } => {
            answers(&quoted(&format!("http://{at}:{port}{path}")), statuses)
        }
        HealthProbe::Https { name, port, path, statuses } => {
            let url = format!("https://{}:{port}{path}", in_url(name.as_str()));
            let to =
                format!("--proto =https --connect-to {} -- ", quoted(&format!("::{at}:{port}")));
            answers(&format!("{to}{}", quoted(&url)), statuses)
        }
        HealthProbe::Command(command) => command.clone(),
    }
}

/// A script that asks a web server; the last word is its URL.
fn answers(words: &str, statuses: &[u16]) -> String {
    let good: Vec<_> = statuses.iter().map(u16::to_string).collect();
    format!(
        "status=$(curl -q -s --noproxy '*' -o /dev/null -w '%{{http_code}}' {words}) || exit 1\n\
         case \" {} \" in *\" $status \"*) exit 0 ;; esac\nexit 1",
        good.join(" ")
    )
}

/// A word of the shell, whatever is in it.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}
