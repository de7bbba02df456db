//! From a manifest to the documents of its hosts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::{
    Application, Container, DatabaseClient, Host, HostNetwork, Outputs, ServedDatabase, Site,
    Target,
};
use crate::check::client_id;
use crate::model::{Manifest, Service};
use crate::values::{AuthType, Cidr, ClientType};
use crate::view::{
    DATABASE_PORT, DATABASE_SERVER, FORWARD_AUTH_PORT, Listed, MONITOR, NAME_SERVER, PROXY_SERVER,
    Vhost, View, provider,
};

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
