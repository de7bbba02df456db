//! Checks as the command line has them.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::time::Duration;

use nixmox_cli::{Exit, Failure};
use nixmox_deploy::{Address, HealthCheck, HealthProbe, Patience, Vantage};
use nixmox_topology::NodeName;

use crate::args::How;

/// How checks are written.
const FORMS: &str = "checks are unit:NAME, tcp:PORT, http:PORT/PATH, https:NAME[:PORT]/PATH and cmd:COMMAND; \
                     from:NODE: in front of tcp, http or https has another node look";

/// Reads checks as `--check` and `deploy.checks` have them.
pub(crate) fn parse(texts: &[String]) -> Result<Vec<HealthCheck>, Failure> {
    let check = |text: &String| {
        let (probe, from) = read(text).ok_or_else(|| {
            Failure::new(Exit::Usage, format!("`{text}` is no check")).hint(FORMS)
        })?;
        let timeout = Duration::from_secs(10);
        let interval = Duration::from_secs(2);
        Ok(HealthCheck { name: text.clone(), probe, from, retries: 3, interval, timeout })
    };
    texts.iter().map(check).collect()
}

/// Lists the nodes that checks look from.
pub(crate) fn peers(checks: &[HealthCheck]) -> BTreeSet<NodeName> {
    let peer = |check: &HealthCheck| match &check.from {
        Vantage::Peer(node) => Some(node.clone()),
        _ => None,
    };
    checks.iter().filter_map(peer).collect()
}

/// Refuses checks from here that need a program which is not there, before anything is touched.
pub(crate) fn can_be_made(checks: &[HealthCheck]) -> Result<(), Failure> {
    let needs = |check: &HealthCheck| {
        check.from == Vantage::Deployer && matches!(check.probe, HealthProbe::Https { .. })
    };
    let curl = || std::process::Command::new("curl").arg("--version").output();
    if !checks.iter().any(needs) || curl().is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    Err(Failure::new(Exit::Failure, "checks over HTTPS need curl, which is not there")
        .hint("have another node look: from:NODE:https:…"))
}

fn read(text: &str) -> Option<(HealthProbe, Vantage)> {
    let Some(rest) = text.strip_prefix("from:") else { return probe(text) };
    let (node, rest) = rest.split_once(':')?;
    let (probe, from) = probe(rest)?;
    let node = NodeName::parse(node).ok()?;
    (from == Vantage::Deployer).then_some((probe, Vantage::Peer(node)))
}

fn probe(text: &str) -> Option<(HealthProbe, Vantage)> {
    let (kind, rest) = text.split_once(':')?;
    let port = |text: &str| text.parse::<NonZeroU16>().ok();
    let (before, path) = rest.split_once('/').unwrap_or((rest, ""));
    let path = format!("/{path}");
    let plain = !path.contains(|c: char| c.is_whitespace() || c.is_control());
    let statuses = (200..400).collect();
    match kind {
        "unit" => Some((HealthProbe::UnitActive(rest.to_owned()), Vantage::Host)),
        "tcp" => Some((HealthProbe::Tcp { port: port(rest)? }, Vantage::Deployer)),
        "http" if plain => {
            Some((HealthProbe::Http { port: port(before)?, path, statuses }, Vantage::Deployer))
        }
        "https" if plain => {
            let (name, number) = match before.rsplit_once(':') {
                Some((name, number)) => (name, port(number)?),
                None => (before, port("443")?),
            };
            let name = Address::parse(name).ok()?;
            let probe = HealthProbe::Https { name, port: number, path, statuses };
            Some((probe, Vantage::Deployer))
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
        trial: how.reboot.then_some(how.reboot_timeout),
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
            assert_eq!(read(text), expect, "{text}");
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
        let name = Address::parse("web.lan").unwrap_or_else(|_| panic!());
        let https = |port: u16, path: &str| HealthProbe::Https {
            name: name.clone(),
            port: NonZeroU16::MIN.saturating_add(port - 1),
            path: path.into(),
            statuses: (200..400).collect(),
        };
        check("https:web.lan", Some((https(443, "/"), Vantage::Deployer)));
        check("https:web.lan:8443/a:b", Some((https(8443, "/a:b"), Vantage::Deployer)));
        let peer = || Vantage::Peer(NodeName::parse("gate").unwrap_or_else(|_| panic!()));
        check("from:gate:tcp:80", Some((HealthProbe::Tcp { port }, peer())));
        check("from:gate:https:web.lan/x", Some((https(443, "/x"), peer())));
        for bad in [
            "",
            "tcp",
            "tcp:0",
            "tcp:99999",
            "http:x",
            "ping:1",
            "http:80/a b",
            "https:-k",
            "https:a:0",
            "from:gate",
            "from:gate:cmd:x",
            "from:gate:unit:x",
            "from::tcp:1",
            "from:a:from:b:tcp:1",
        ] {
            check(bad, None);
        }
    }
}
