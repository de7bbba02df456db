//! What has to be true before a system is kept.

mod network;
mod on_host;

use std::num::NonZeroU16;
use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use nixmox_topology::NodeName;
use tokio::time::{sleep, timeout};

use crate::event::{EventSink, Happening};
use crate::{Address, Host, Request};

/// One check of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What it is called in reports.
    pub name: String,
    /// What is looked at.
    pub probe: HealthProbe,
    /// From where.
    pub from: Vantage,
    /// How often it is tried before it counts as failed.
    pub retries: u32,
    /// Between two tries.
    pub interval: Duration,
    /// For one try.
    pub timeout: Duration,
}

/// What a check looks at.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum HealthProbe {
    /// A unit of systemd is active; always seen from the host.
    UnitActive(String),
    /// Something accepts connections.
    Tcp {
        /// The port.
        port: NonZeroU16,
    },
    /// A web server answers.
    Http {
        /// The port.
        port: NonZeroU16,
        /// The path with its query.
        path: String,
        /// The statuses that are good.
        statuses: Vec<u16>,
    },
    /// A web server answers over TLS, with a certificate of this name that the machine which looks trusts; asked with
    /// `curl`, which that machine needs.
    Https {
        /// The name in the certificate. The connection is made to the host, whatever the name says elsewhere.
        name: Address,
        /// The port.
        port: NonZeroU16,
        /// The path with its query.
        path: String,
        /// The statuses that are good.
        statuses: Vec<u16>,
    },
    /// A command of the shell ends with 0; always run on the host, as root.
    Command(String),
}

/// Where a check looks from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vantage {
    /// The machine that deploys.
    Deployer,
    /// The host itself.
    Host,
    /// Another node, one of the request's peers, which reaches the host at the address that it has here.
    Peer(NodeName),
}

impl HealthCheck {
    /// Makes a check with five tries, two seconds apart, of five seconds each.
    pub fn new(name: impl Into<String>, probe: HealthProbe, from: Vantage) -> Self {
        let (interval, timeout) = (Duration::from_secs(2), Duration::from_secs(5));
        Self { name: name.into(), probe, from, retries: 5, interval, timeout }
    }
}

/// Tries all checks of a request at the same time; returns the name of the first that fails for good.
pub(crate) async fn all(
    host: &Host,
    request: &Request,
    events: &EventSink,
    deadline: Instant,
) -> Result<(), String> {
    let tries = request.checks.iter().map(|check| one(host, request, check, (events, deadline)));
    try_join_all(tries).await.map(drop)
}

async fn one(
    host: &Host,
    request: &Request,
    check: &HealthCheck,
    (events, deadline): (&EventSink, Instant),
) -> Result<(), String> {
    for attempt in 0..check.retries.max(1) {
        if attempt > 0 {
            sleep(check.interval).await;
        }
        let passed = timeout(check.timeout, once(host, request, check)).await.unwrap_or(false);
        events.send(host.node(), Happening::Check { name: check.name.clone(), passed });
        if passed {
            return Ok(());
        }
        if Instant::now() >= deadline {
            break;
        }
    }
    Err(check.name.clone())
}

async fn once(host: &Host, request: &Request, check: &HealthCheck) -> bool {
    let good =
        |status: Option<u16>, statuses: &[u16]| status.is_some_and(|s| statuses.contains(&s));
    match (&check.probe, &check.from) {
        (HealthProbe::UnitActive(_) | HealthProbe::Command(_), _) | (_, Vantage::Host) => {
            on_host::passes(host, check, None).await
        }
        (_, Vantage::Peer(node)) => match (request.peers.get(node), host.address()) {
            (Some(peer), Some(address)) => on_host::passes(peer, check, Some(address)).await,
            _ => false,
        },
        (HealthProbe::Tcp { port }, Vantage::Deployer) => network::accepts(host, *port).await,
        (HealthProbe::Http { port, path, statuses }, Vantage::Deployer) => {
            good(network::http_status(host, *port, path).await, statuses)
        }
        (HealthProbe::Https { name, port, path, statuses }, Vantage::Deployer) => {
            good(network::https_status(host, name, (*port, path)).await, statuses)
        }
    }
}

/// An address as it stands in a URL.
fn in_url(address: &str) -> String {
    if address.contains(':') { format!("[{address}]") } else { address.to_owned() }
}
