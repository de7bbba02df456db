//! Checks as the command line has them.

use std::num::NonZeroU16;
use std::time::Duration;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{HealthCheck, HealthProbe, Patience, Vantage};

use crate::args::How;

/// Reads the checks of `--check`.
pub(crate) fn parse(texts: &[String]) -> Result<Vec<HealthCheck>, Failure> {
    let check = |text: &String| {
        let (probe, from) = probe(text).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("`{text}` is no check"))
                .hint("checks are unit:NAME, tcp:PORT, http:PORT/PATH and cmd:COMMAND")
        })?;
        let timeout = Duration::from_secs(10);
        let interval = Duration::from_secs(2);
        Ok(HealthCheck { name: text.clone(), probe, from, retries: 3, interval, timeout })
    };
    texts.iter().map(check).collect()
}

fn probe(text: &str) -> Option<(HealthProbe, Vantage)> {
    let (kind, rest) = text.split_once(':')?;
    let port = |text: &str| text.parse::<NonZeroU16>().ok();
    match kind {
        "unit" => Some((HealthProbe::UnitActive(rest.to_owned()), Vantage::Host)),
        "tcp" => Some((HealthProbe::Tcp { port: port(rest)? }, Vantage::Deployer)),
        "http" => {
            let (number, path) = rest.split_once('/').unwrap_or((rest, ""));
            let path = format!("/{path}");
            let statuses = (200..400).collect();
            Some((HealthProbe::Http { port: port(number)?, path, statuses }, Vantage::Deployer))
        }
        "cmd" => Some((HealthProbe::Command(rest.to_owned()), Vantage::Host)),
        _ => None,
    }
}

/// Says how long each step may take: long enough for every check to be tried as often as it may.
pub(crate) fn patience(how: &How, checks: &[HealthCheck]) -> Patience {
    let longest =
        |check: &HealthCheck| (check.interval + check.timeout) * check.retries.saturating_add(1);
    let longest = checks.iter().map(longest).max().unwrap_or_default();
    Patience {
        activation: how.activation_timeout,
        confirmation: how.confirm_timeout.max(longest),
        dwell: how.dwell,
        failed_units: how.accept_failed_units,
        reboot_on_failed_rollback: how.reboot_on_failed_rollback,
        ..Patience::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_read() {
        #[track_caller]
        fn check(text: &str, expect: Option<(HealthProbe, Vantage)>) {
            assert_eq!(probe(text), expect, "{text}");
        }
        let port = NonZeroU16::MIN.saturating_add(79);
        let http = |path: &str| HealthProbe::Http {
            port,
            path: path.into(),
            statuses: (200..400).collect(),
        };
        check("unit:sshd", Some((HealthProbe::UnitActive("sshd".into()), Vantage::Host)));
        check("tcp:80", Some((HealthProbe::Tcp { port }, Vantage::Deployer)));
        check("http:80", Some((http("/"), Vantage::Deployer)));
        check("http:80/a/b?c", Some((http("/a/b?c"), Vantage::Deployer)));
        check(
            "cmd:test -e /x:y",
            Some((HealthProbe::Command("test -e /x:y".into()), Vantage::Host)),
        );
        for bad in ["", "tcp", "tcp:0", "tcp:99999", "http:x", "ping:1"] {
            check(bad, None);
        }
    }
}
