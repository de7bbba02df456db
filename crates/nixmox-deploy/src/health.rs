//! What has to be true before a system is kept.

use std::num::NonZeroU16;
use std::time::Duration;

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
    /// A command of the shell ends with 0; always run on the host, as root.
    Command(String),
}

/// Where a check looks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vantage {
    /// The machine that deploys.
    Deployer,
    /// The host itself.
    Host,
}
