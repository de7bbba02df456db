//! What each host is given: the manifest with its defaults filled in, cut down to what the host needs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::check::client_id;
use crate::model::{Health, Manifest, Section, Service};
use crate::values::{AuthType, Cidr, ClientType};
use crate::view::{
    DATABASE_PORT, DATABASE_SERVER, FORWARD_AUTH_PORT, Listed, MONITOR, NAME_SERVER, PROXY_SERVER,
    Vhost, View, provider,
};

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

impl Outputs {
    /// Makes everything of a manifest. Flawed parts are left out; [`crate::check`] tells of them.
    pub fn new(manifest: &Manifest) -> Self {
        let view = View::new(manifest);
        let secrets = crate::secret::implied(manifest);
        let needed = secrets
            .iter()
            .filter(|secret| secret.kind != crate::secret::Kind::ClientSecret(ClientType::Public));
        let mut by_host: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
        for secret in needed.clone() {
            for host in &secret.hosts {
                by_host.entry(host).or_default().insert(secret.name.clone());
            }
        }
        let mut outputs =
            Self { secrets: needed.map(|secret| secret.name.clone()).collect(), ..Self::default() };
        for service in view.services.iter().filter(|service| service.enabled()) {
            let name = service.name.to_owned();
            let secrets = by_host.remove(service.name).unwrap_or_default();
            outputs.hosts.insert(name.clone(), host(&view, service, secrets));
            outputs.containers.insert(name, container(&view, service));
            outputs.applications.extend(applications(service));
        }
        outputs
    }
}

fn hostname(view: &View<'_>, service: &Listed<'_>) -> String {
    match (service.hostname(), view.zone()) {
        (Some(name), _) => name.to_string(),
        (None, Some(zone)) => format!("{}.{zone}", service.name),
        (None, None) => service.name.to_owned(),
    }
}

fn cidr(view: &View<'_>) -> Option<Cidr> {
    let network = view.manifest.network.as_ref()?;
    network.network_cidr.as_ref().map(|cidr| cidr.value)
}

fn host(view: &View<'_>, service: &Listed<'_>, secrets: BTreeSet<String>) -> Host {
    let network = view.manifest.network.as_ref();
    let users = network.and_then(|network| network.ssh_keys.as_ref());
    let ssh_keys = users
        .into_iter()
        .flat_map(|users| &users.value)
        .map(|(user, keys)| (user.clone(), keys.iter().map(|key| key.value.clone()).collect()));
    let monitor = view.enabled(MONITOR).and_then(Listed::ip);
    let is = |name: &str| service.name == name;
    Host {
        name: service.name.to_owned(),
        section: service.section.name().to_owned(),
        ip: service.ip(),
        hostname: hostname(view, service),
        network: HostNetwork {
            domain: view.zone().map(ToString::to_string),
            dns_server: network.and_then(|n| n.dns_server.as_ref()).map(|ip| ip.value),
            gateway: network.and_then(|n| n.gateway.as_ref()).map(|ip| ip.value),
            prefix: cidr(view).map(Cidr::prefix),
        },
        ssh_keys: ssh_keys.collect(),
        ports: ports(service),
        databases: databases(view, service),
        health: service.interface().and_then(|i| i.health.as_ref()).map(|h| h.value.clone()),
        secrets,
        logs: monitor.map(|ip| format!("http://{ip}:3100")),
        vhosts: is(PROXY_SERVER).then(|| vhosts(view)),
        records: is(NAME_SERVER).then(|| records(view)),
        served_databases: is(DATABASE_SERVER).then(|| served(view)),
        targets: is(MONITOR).then(|| targets(view)),
    }
}

/// What a service lists, and where the proxy asks it.
fn ports(service: &Listed<'_>) -> BTreeSet<i64> {
    let listed = service.ports().map(|port| port.value);
    let vhosts = service.vhosts();
    let upstreams = vhosts.iter().filter_map(|vhost| vhost.proxy.upstream.as_ref());
    let own = upstreams.filter(|upstream| service.is_at(upstream)).map(|upstream| upstream.port);
    let served: &[i64] = match service.name {
        PROXY_SERVER => &[80, 443],
        DATABASE_SERVER => &[DATABASE_PORT],
        NAME_SERVER => &[53],
        _ => &[],
    };
    listed.chain(own.map(i64::from)).chain(served.iter().copied()).collect()
}

fn database_port(view: &View<'_>) -> i64 {
    let server = view.get(DATABASE_SERVER).and_then(Listed::interface);
    let port = server.and_then(|interface| interface.db.as_ref()?.port.as_ref());
    port.map_or(DATABASE_PORT, |port| port.value)
}

fn databases(view: &View<'_>, service: &Listed<'_>) -> BTreeMap<String, DatabaseClient> {
    let server = view.get(DATABASE_SERVER).and_then(Listed::ip);
    let clients = service.databases().into_iter().map(|held| {
        let database = &held.database.value;
        let written = database.host.as_ref().map(|host| host.value.clone());
        let additional = database.additionaldbs.iter().flat_map(|list| &list.value);
        let client = DatabaseClient {
            host: written.or(server.map(|ip| ip.to_string())).unwrap_or_default(),
            port: database.port.as_ref().map_or(database_port(view), |port| port.value),
            name: held.name(service.name).to_owned(),
            owner: held.owner(service.name).to_owned(),
            additional: additional.map(|name| name.value.clone()).collect(),
        };
        (held.entry.unwrap_or(service.name).to_owned(), client)
    });
    clients.collect()
}

fn served(view: &View<'_>) -> BTreeMap<String, ServedDatabase> {
    let mut served = BTreeMap::new();
    for service in view.services.iter().filter(|service| service.enabled()) {
        for held in service.databases() {
            let extensions = held.database.extensions.iter().flat_map(|list| &list.value);
            let password = match held.entry {
                Some(entry) => format!("{}/{entry}/database_password", service.name),
                None => format!("{}/database_password", service.name),
            };
            let database = ServedDatabase {
                owner: held.owner(service.name).to_owned(),
                extensions: extensions.map(|name| name.value.clone()).collect(),
                client: service.ip(),
                password,
            };
            let more = held.database.additionaldbs.iter().flat_map(|list| &list.value);
            for name in more {
                let plain = ServedDatabase { extensions: Vec::new(), ..database.clone() };
                served.insert(name.value.clone(), plain);
            }
            served.insert(held.name(service.name).to_owned(), database);
        }
    }
    served
}

fn vhosts(view: &View<'_>) -> BTreeMap<String, Site> {
    let mut sites = BTreeMap::new();
    for service in view.services.iter().filter(|service| service.enabled()) {
        for vhost in service.vhosts() {
            let (Some(domain), Some(upstream)) = (&vhost.proxy.domain, &vhost.proxy.upstream)
            else {
                continue;
            };
            let path = vhost.proxy.path.as_ref().map_or("/", |path| path.value.as_str());
            let headers = vhost.proxy.headers.iter().flat_map(|headers| &headers.value);
            let site = Site {
                upstream: upstream.value.to_string(),
                forward_auth: forward_auth(view, &vhost),
                extra_config: vhost.proxy.extra_config.as_ref().map(|extra| extra.value.clone()),
                headers: headers.map(|(name, value)| (name.clone(), value.value.clone())).collect(),
            };
            sites.insert(format!("{}{path}", domain.value), site);
        }
    }
    sites
}

fn forward_auth(view: &View<'_>, vhost: &Vhost<'_>) -> Option<String> {
    let auth = vhost.auth?;
    if auth.r#type.as_ref()?.value != AuthType::ForwardAuth {
        return None;
    }
    let written = auth.forward_auth_upstream.as_ref().map(|upstream| upstream.value.to_string());
    let derived = view.get(provider(auth)).and_then(Listed::ip);
    written.or(derived.map(|ip| format!("{ip}:{FORWARD_AUTH_PORT}")))
}

/// Hosts by their names, and vhosts at the proxy; a name that is both leads to the proxy.
fn records(view: &View<'_>) -> BTreeMap<String, Ipv4Addr> {
    let mut records = BTreeMap::new();
    let enabled = || view.services.iter().filter(|service| service.enabled());
    for service in enabled() {
        if let Some(ip) = service.ip() {
            records.insert(hostname(view, service), ip);
        }
    }
    let Some(proxy) = view.enabled(PROXY_SERVER).and_then(Listed::ip) else { return records };
    for vhost in enabled().flat_map(|service| service.vhosts()) {
        if let Some(domain) = &vhost.proxy.domain {
            records.insert(domain.value.to_string(), proxy);
        }
    }
    records
}

fn targets(view: &View<'_>) -> BTreeMap<String, Target> {
    let enabled = view.services.iter().filter(|service| service.enabled());
    let target = |service: &Listed<'_>| Target {
        address: format!("{}:9100", hostname(view, service)),
        section: service.section.name().to_owned(),
    };
    enabled.map(|service| (service.name.to_owned(), target(service))).collect()
}

/// The resources of a container.
pub(crate) fn size(service: &Service) -> crate::check::Capacity {
    let resources = service.resources.as_ref();
    let number = |field: Option<&crate::Spanned<i64>>, default| field.map_or(default, |n| n.value);
    crate::check::Capacity {
        cores: number(resources.and_then(|r| r.cores.as_ref()), 2),
        memory: number(resources.and_then(|r| r.memory.as_ref()), 2_048),
        disk_gb: number(resources.and_then(|r| r.disk_gb.as_ref()), 16),
    }
}

fn container(view: &View<'_>, service: &Listed<'_>) -> Container {
    let network = view.manifest.network.as_ref();
    let size = size(service.service);
    let cidr = cidr(view);
    let ip = service.ip();
    // Derived from the address alone, so that no other service has a part in it.
    let derived = cidr.zip(ip).map(|(cidr, ip)| 100_000 + i64::from(cidr.offset(ip)) % 900_000_000);
    let truth = |field: &Option<crate::Spanned<bool>>| field.as_ref().is_none_or(|on| on.value);
    Container {
        vmid: service.service.vmid.as_ref().map(|vmid| vmid.value).or(derived),
        hostname: hostname(view, service),
        ip: ip.map(|ip| format!("{ip}/{}", cidr.map_or(24, Cidr::prefix))),
        gateway: network.and_then(|n| n.gateway.as_ref()).map(|ip| ip.value),
        vlan_tag: network.and_then(|n| n.vlan_tag.as_ref()).map(|tag| tag.value),
        cores: size.cores,
        memory: size.memory,
        disk_gb: size.disk_gb,
        onboot: truth(&service.service.onboot),
        start: truth(&service.service.start),
    }
}

fn applications(service: &Listed<'_>) -> Vec<(String, Application)> {
    let vhosts = service.vhosts();
    let url = |entry: Option<&str>| {
        let mut own = vhosts.iter().filter(|vhost| entry.is_none() || vhost.name == entry);
        let domain = own.find_map(|vhost| vhost.proxy.domain.as_ref())?;
        Some(format!("https://{}", domain.value))
    };
    let application = |(entry, auth): (Option<&str>, &crate::Spanned<crate::model::Auth>)| {
        let kind = auth.r#type.as_ref()?.value;
        let path = entry.map_or(service.name.to_owned(), |e| format!("{}/{e}", service.name));
        let plain = Application {
            kind: kind.to_string(),
            provider: provider(auth).to_owned(),
            url: url(entry),
            client_id: None,
            client_type: None,
            redirect_uris: Vec::new(),
            scopes: Vec::new(),
            secret: None,
        };
        if kind == AuthType::ForwardAuth {
            return Some((path, plain));
        }
        let oidc = auth.oidc.as_ref();
        let client_type = oidc.and_then(|oidc| oidc.client_type.as_ref());
        let client_type = client_type.map_or(ClientType::Confidential, |kind| kind.value);
        let written = oidc.and_then(|oidc| oidc.client_id.as_ref()).map(|id| id.value.clone());
        let uris = oidc.and_then(|oidc| oidc.redirect_uris.as_ref());
        let scopes = oidc.and_then(|oidc| oidc.scopes.as_ref());
        let default = ["openid", "email", "profile"].map(str::to_owned).to_vec();
        let confidential = client_type == ClientType::Confidential;
        let application = Application {
            client_id: Some(written.unwrap_or_else(|| client_id(service.name, entry))),
            client_type: Some(client_type.to_string()),
            redirect_uris: uris
                .into_iter()
                .flat_map(|u| &u.value)
                .map(|u| u.value.clone())
                .collect(),
            scopes: scopes.map_or(default, |s| s.iter().map(|s| s.value.clone()).collect()),
            secret: confidential.then(|| format!("{path}/oidc_client_secret")),
            ..plain
        };
        Some((path, application))
    };
    service.logins().into_iter().filter_map(application).collect()
}

/// A named set of services, or of groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub members: Vec<String>,
}

impl Group {
    /// Returns the group as the declaration that a topology is built of.
    pub fn declaration(&self) -> nixmox_topology::Declaration {
        nixmox_topology::Declaration {
            name: self.name.clone(),
            area: nixmox_topology::Area::Public,
            kind: nixmox_topology::DeclarationKind::Group { members: self.members.clone() },
            file: format!("the manifest's {}", self.name),
        }
    }
}

/// Lists which groups the manifest makes of its services: the sections that have any, both below `all`.
///
/// A disabled service is there: it has its secrets when it is enabled again.
pub fn inventory(manifest: &Manifest) -> Vec<Group> {
    let members = |section: Section| -> Vec<String> {
        let listed = manifest.listed().filter(|service| service.section == section);
        listed.map(|service| service.name.to_owned()).collect()
    };
    let sections = [Section::CoreServices, Section::Services];
    let groups = sections.map(|s| Group { name: s.name().to_owned(), members: members(s) });
    let groups: Vec<Group> = groups.into_iter().filter(|group| !group.members.is_empty()).collect();
    let all = groups.iter().map(|group| group.name.clone()).collect();
    let all = (!groups.is_empty()).then(|| Group { name: "all".to_owned(), members: all });
    all.into_iter().chain(groups).collect()
}
