//! What each host is given: the manifest with its defaults filled in, cut down to what the host needs.

mod make;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::model::Health;
pub(crate) use make::size;

/// Everything that is made of a manifest: documents for hosts, and what Terraform makes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Outputs {
    /// For every enabled service, what its host is given.
    pub hosts: BTreeMap<String, Host>,
    /// For every enabled service, its container.
    pub containers: BTreeMap<String, Container>,
    /// For every login, what the identity provider is told; named `service` or `service/entry`.
    pub applications: BTreeMap<String, Application>,
    /// The names of the secrets that all of it needs.
    pub secrets: BTreeSet<String>,
}

/// What one host is given, for `lib.importJSON`.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Host {
    /// The service.
    pub name: String,
    /// `core_services` or `services`.
    pub section: String,
    /// Its address.
    pub ip: Option<Ipv4Addr>,
    /// Its full name.
    pub hostname: String,
    /// Its network.
    pub network: HostNetwork,
    /// For each user, the SSH keys that may log in.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub ssh_keys: BTreeMap<String, Vec<String>>,
    /// TCP ports that the firewall opens.
    pub ports: BTreeSet<i64>,
    /// The databases it uses, by entry; the only one has the service's name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub databases: BTreeMap<String, DatabaseClient>,
    /// How it is known to be well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The secrets it opens.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub secrets: BTreeSet<String>,
    /// Where its logs go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<String>,
    /// Only the proxy: all vhosts, by URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vhosts: Option<BTreeMap<String, Site>>,
    /// Only the name server: all records, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub records: Option<BTreeMap<String, Ipv4Addr>>,
    /// Only the database server: all databases.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub served_databases: Option<BTreeMap<String, ServedDatabase>>,
    /// Only the monitor: all targets, by service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<BTreeMap<String, Target>>,
}

/// What a host knows of its network.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct HostNetwork {
    /// The zone.
    pub domain: Option<String>,
    /// The name server.
    pub dns_server: Option<Ipv4Addr>,
    /// The way out.
    pub gateway: Option<Ipv4Addr>,
    /// The length of the network's prefix.
    pub prefix: Option<u8>,
}

/// A database as its user sees it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DatabaseClient {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: i64,
    /// The database.
    pub name: String,
    /// The role.
    pub owner: String,
    /// Further databases of the role.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub additional: Vec<String>,
}

/// A database as the server makes it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct ServedDatabase {
    /// The role that owns it.
    pub owner: String,
    /// Extensions in it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<String>,
    /// The only address that may log in.
    pub client: Option<Ipv4Addr>,
    /// The role's password, by the name of its secret.
    pub password: String,
}

/// A vhost as the proxy serves it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Site {
    /// Where requests go.
    pub upstream: String,
    /// Whom the proxy asks about the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forward_auth: Option<String>,
    /// Lines of the site's configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra_config: Option<String>,
    /// Header fields of responses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// What is measured.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Target {
    /// Host and port.
    pub address: String,
    /// `core_services` or `services`.
    pub section: String,
}

/// A container as Terraform makes it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Container {
    /// Its number.
    pub vmid: Option<i64>,
    /// Its name.
    pub hostname: String,
    /// Its address with the length of the prefix.
    pub ip: Option<String>,
    /// The way out.
    pub gateway: Option<Ipv4Addr>,
    /// Its VLAN.
    pub vlan_tag: Option<i64>,
    /// Processor cores.
    pub cores: i64,
    /// Memory in MiB.
    pub memory: i64,
    /// Disk in GiB.
    pub disk_gb: i64,
    /// Whether it starts with the hypervisor.
    pub onboot: bool,
    /// Whether it starts when it was made.
    pub start: bool,
}

/// An application as the identity provider knows it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Application {
    /// `oidc` or `forward_auth`.
    pub kind: String,
    /// The service that knows the users.
    pub provider: String,
    /// Where users find it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its name at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `confidential` or `public`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_type: Option<String>,
    /// Where users may be sent back to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redirect_uris: Vec<String>,
    /// What it may ask for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// The client's secret, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}
