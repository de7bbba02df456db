//! The manifest as questions are asked of it: services by name and address, their vhosts, databases and logins.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::decode::Spanned;
use crate::model::{Auth, Database, Interface, Manifest, Proxies, Proxy, Section, Service};
use crate::source::Place;
use crate::values::{DomainName, Upstream, UpstreamHost};

/// The service that holds all databases.
pub(crate) const DATABASE_SERVER: &str = "postgresql";
/// The service that all vhosts are served by.
pub(crate) const PROXY_SERVER: &str = "caddy";
/// The service that answers for names.
pub(crate) const NAME_SERVER: &str = "dns";
/// The service that collects metrics and logs.
pub(crate) const MONITOR: &str = "monitoring";
/// Who knows the users, unless somebody else is named.
pub(crate) const PROVIDER: &str = "authentik";
/// The name server's port of forward authentication.
pub(crate) const FORWARD_AUTH_PORT: u16 = 9_000;
/// The database server's port.
pub(crate) const DATABASE_PORT: i64 = 5_432;

/// A service, with its name and section.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'m> {
    /// Its name.
    pub name: &'m str,
    /// Its section.
    pub section: Section,
    /// What the manifest says about it.
    pub service: &'m Service,
    /// Where its name is written.
    pub key: Place,
}

/// A vhost of a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vhost<'m> {
    /// Its name, where the service has several.
    pub(crate) name: Option<&'m str>,
    pub(crate) proxy: &'m Proxy,
    /// The login that holds for it.
    pub(crate) auth: Option<&'m Spanned<Auth>>,
}

/// A database of a service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Held<'m> {
    /// Its name among several.
    pub(crate) entry: Option<&'m str>,
    pub(crate) database: &'m Spanned<Database>,
}

impl Manifest {
    /// Lists all services: first those of `core_services`, then those of `services`, each by name.
    pub fn listed(&self) -> impl Iterator<Item = Listed<'_>> {
        let core = self.core_services.iter().map(|map| (Section::CoreServices, map));
        let rest = self.services.iter().map(|map| (Section::Services, map));
        core.chain(rest).flat_map(|(section, map)| {
            map.value.iter().map(move |(name, service)| Listed {
                name,
                section,
                service: &service.value,
                key: service.key,
            })
        })
    }
}

impl<'m> Listed<'m> {
    /// Tells whether it is to be there.
    pub fn enabled(&self) -> bool {
        self.service.enable.as_ref().is_some_and(|enable| enable.value)
    }

    /// Tells whether it is a core service.
    pub fn is_core(&self) -> bool {
        self.section == Section::CoreServices
    }

    /// Returns its place in the manifest as a path.
    pub fn path(&self) -> String {
        format!("{}.{}", self.section.name(), self.name)
    }

    pub(crate) fn ip(&self) -> Option<Ipv4Addr> {
        self.service.ip.as_ref().map(|ip| ip.value)
    }

    pub(crate) fn hostname(&self) -> Option<&'m DomainName> {
        self.service.hostname.as_ref().map(|hostname| &hostname.value)
    }

    pub(crate) fn interface(&self) -> Option<&'m Interface> {
        self.service.interface.as_ref().map(|interface| &interface.value)
    }

    pub(crate) fn auth(&self) -> Option<&'m Spanned<Auth>> {
        self.interface().and_then(|interface| interface.auth.as_ref())
    }

    pub(crate) fn proxies(&self) -> Option<&'m Spanned<Proxies>> {
        self.interface().and_then(|interface| interface.proxy.as_ref())
    }

    pub(crate) fn is_multi(&self) -> bool {
        matches!(self.proxies().map(|proxies| &proxies.value), Some(Proxies::Multi(_)))
    }

    /// Lists its vhosts; a single one has the service's login, of several each has its own.
    pub(crate) fn vhosts(&self) -> Vec<Vhost<'m>> {
        let own = self.auth();
        let entries = self.proxies().map(|proxies| proxies.value.entries());
        let with_auth = |(name, proxy): (Option<&'m str>, &'m Proxy)| {
            let inherited = own.filter(|_| name.is_none());
            Vhost { name, proxy, auth: proxy.auth.as_ref().or(inherited) }
        };
        entries.into_iter().flatten().map(with_auth).collect()
    }

    /// Lists every login once: the service's and those of its vhosts.
    pub(crate) fn logins(&self) -> Vec<(Option<&'m str>, &'m Spanned<Auth>)> {
        let own = self.auth().map(|auth| (None, auth));
        let entries = self.proxies().map(|proxies| proxies.value.entries()).into_iter().flatten();
        let inner = entries.filter_map(|(name, proxy)| Some((name, proxy.auth.as_ref()?)));
        own.into_iter().chain(inner).collect()
    }

    /// Lists the databases it needs; the server's own description of itself is none.
    pub(crate) fn databases(&self) -> Vec<Held<'m>> {
        if self.name == DATABASE_SERVER {
            return Vec::new();
        }
        self.all_databases()
    }

    /// Lists `db` and `dbs`.
    pub(crate) fn all_databases(&self) -> Vec<Held<'m>> {
        let Some(interface) = self.interface() else { return Vec::new() };
        let single = interface.db.as_ref().map(|database| Held { entry: None, database });
        let multi = interface.dbs.iter().flat_map(|dbs| &dbs.value);
        let multi = multi.map(|(name, database)| Held { entry: Some(name), database });
        single.into_iter().chain(multi).collect()
    }

    pub(crate) fn ports(&self) -> impl Iterator<Item = &'m Spanned<i64>> {
        self.service.ports.iter().flat_map(|ports| &ports.value)
    }

    pub(crate) fn depends_on(&self) -> impl Iterator<Item = &'m Spanned<String>> {
        self.service.depends_on.iter().flat_map(|names| &names.value)
    }

    /// Tells whether an upstream is this service.
    pub(crate) fn is_at(&self, upstream: &Upstream) -> bool {
        match &upstream.host {
            UpstreamHost::Address(IpAddr::V4(ip)) => self.ip() == Some(*ip),
            UpstreamHost::Address(IpAddr::V6(_)) => false,
            UpstreamHost::Name(name) => self.hostname() == Some(name) || name.as_str() == self.name,
        }
    }
}

impl<'m> Held<'m> {
    /// Returns the database's name, given the service's.
    pub(crate) fn name(&self, service: &'m str) -> &'m str {
        let default = self.entry.unwrap_or(service);
        self.database.name.as_ref().map_or(default, |name| name.value.as_str())
    }

    /// Returns the owner's name, given the service's.
    pub(crate) fn owner(&self, service: &'m str) -> &'m str {
        let default = self.entry.unwrap_or(service);
        self.database.owner.as_ref().map_or(default, |owner| owner.value.as_str())
    }
}

/// Services by name and address.
pub(crate) struct View<'m> {
    pub(crate) manifest: &'m Manifest,
    pub(crate) services: Vec<Listed<'m>>,
    by_name: BTreeMap<&'m str, usize>,
    by_ip: BTreeMap<Ipv4Addr, usize>,
    by_hostname: BTreeMap<&'m DomainName, usize>,
}

impl<'m> View<'m> {
    pub(crate) fn new(manifest: &'m Manifest) -> Self {
        let services: Vec<Listed<'m>> = manifest.listed().collect();
        let mut view = Self {
            manifest,
            by_name: BTreeMap::new(),
            by_ip: BTreeMap::new(),
            by_hostname: BTreeMap::new(),
            services: Vec::new(),
        };
        // Of two that claim the same, the first has it: another rule speaks about the second.
        for (at, service) in services.iter().enumerate() {
            view.by_name.entry(service.name).or_insert(at);
            if let Some(ip) = service.ip() {
                view.by_ip.entry(ip).or_insert(at);
            }
            if let Some(hostname) = service.hostname() {
                view.by_hostname.entry(hostname).or_insert(at);
            }
        }
        Self { services, ..view }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Listed<'m>> {
        self.by_name.get(name).and_then(|at| self.services.get(*at))
    }

    pub(crate) fn enabled(&self, name: &str) -> Option<&Listed<'m>> {
        self.get(name).filter(|service| service.enabled())
    }

    pub(crate) fn at_address(&self, ip: Ipv4Addr) -> Option<&Listed<'m>> {
        self.by_ip.get(&ip).and_then(|at| self.services.get(*at))
    }

    pub(crate) fn named_host(&self, name: &DomainName) -> Option<&Listed<'m>> {
        let host = self.by_hostname.get(name).and_then(|at| self.services.get(*at));
        host.or_else(|| self.get(name.as_str()))
    }

    /// Finds the service that an upstream is.
    pub(crate) fn upstream(&self, upstream: &Upstream) -> Option<&Listed<'m>> {
        match &upstream.host {
            UpstreamHost::Address(IpAddr::V4(ip)) => self.at_address(*ip),
            UpstreamHost::Address(IpAddr::V6(_)) => None,
            UpstreamHost::Name(name) => self.named_host(name),
        }
    }

    /// Finds the host that a text names: an address, a host name, or a service.
    pub(crate) fn host(&self, text: &str) -> Option<&Listed<'m>> {
        if let Ok(ip) = text.parse() {
            return self.at_address(ip);
        }
        let by_name = self.services.iter().find(|service| {
            service.hostname().is_some_and(|name| name.as_str().eq_ignore_ascii_case(text))
        });
        self.get(text).or(by_name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &'m str> {
        self.by_name.keys().copied()
    }

    pub(crate) fn zone(&self) -> Option<&'m DomainName> {
        self.manifest.network.as_ref()?.domain.as_ref().map(|domain| &domain.value)
    }
}

/// Returns who knows the users of a login.
pub(crate) fn provider(auth: &Auth) -> &str {
    auth.provider.as_ref().map_or(PROVIDER, |provider| provider.value.as_str())
}
