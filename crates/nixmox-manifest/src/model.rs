//! The manifest's types: every field keeps its place.

mod proxies;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::Serialize;

use crate::decode::{Decode, Decoder, Free, Spanned, find, relic, require};
use crate::finding::{Code, Finding};
use crate::source::{Data, Node, Place};
use crate::values::{AuthType, Cidr, ClientType, DomainName, Upstream, UrlPath};
pub use proxies::Proxies;

/// Makes a set with optional fields: the type, its schema, and how it is read.
macro_rules! model {
    ($($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
            #[schemars(deny_unknown_fields)]
            pub struct $name {
                $(
                    $(#[$about])*
                    #[serde(skip_serializing_if = "Option::is_none")]
                    pub $field: Option<Spanned<$type>>,
                )*
            }

            impl $name {
                pub(crate) const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

                pub(crate) fn of_entries(
                    entries: &[crate::source::Entry],
                    decoder: &mut Decoder,
                ) -> Self {
                    decoder.unknown(entries, Self::FIELDS);
                    Self { $($field: decoder.field(entries, stringify!($field))),* }
                }
            }
        )*
    };
}

/// Reads the named types as sets of their fields and nothing else.
macro_rules! decode_plainly {
    ($($name:ident),*) => {
        $(impl Decode for $name {
            fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
                let entries = decoder.entries(node)?;
                Some(Self::of_entries(entries, decoder))
            }
        })*
    };
}

decode_plainly!(Network, Outposts, Ldap, Radius, Resources, Interface, Auth, Oidc, Proxy, Health);

model! {
    /// A service manifest: what runs where.
    Manifest {
        /// The network that all services are in.
        network: Network,
        /// Services that everything else needs; they are deployed first, and a failure stops everything.
        core_services: BTreeMap<String, Spanned<Service>>,
        /// Applications.
        services: BTreeMap<String, Spanned<Service>>,
        /// Which services each phase of a deployment handles: `tf_infra`, `nix_core`, `tf_auth_core`, `services`.
        deployment_phases: BTreeMap<String, Spanned<Vec<Spanned<String>>>>,
        /// How long a service may take to become healthy, in seconds; 600 when left out.
        health_check_timeout: i64,
        /// How often a failed step is tried again; 5 when left out.
        retry_attempts: i64,
        /// Seconds between attempts; 15 when left out.
        retry_delay: i64,
        /// Whether a failed step is undone; true when left out.
        enable_rollback: bool,
        /// Whether health is watched between waves; true when left out.
        enable_health_monitoring: bool,
        /// Whether a picture of the dependencies is made; true when left out.
        enable_dependency_graphing: bool,
        /// Whether deployments are logged; true when left out.
        enable_deployment_logging: bool,
    }

    /// The network that all services are in.
    Network {
        /// The zone of all names.
        domain: DomainName,
        /// The name server that every host asks.
        dns_server: Ipv4Addr,
        /// The way out.
        gateway: Ipv4Addr,
        /// The network's addresses.
        network_cidr: Cidr,
        /// The VLAN that containers are in.
        vlan_tag: i64,
        /// SSH public keys, by user, that every host accepts.
        ssh_keys: BTreeMap<String, Spanned<Vec<Spanned<String>>>>,
        /// The identity provider's other faces.
        outposts: Outposts,
        /// Containers that are no services; nothing reads them yet.
        containers: Free,
    }

    /// The identity provider's other faces.
    Outposts {
        /// LDAP.
        ldap: Ldap,
        /// RADIUS.
        radius: Radius,
    }

    /// An LDAP outpost.
    Ldap {
        /// Where the tree begins: `dc=example,dc=lan`.
        base_dn: String,
    }

    /// A RADIUS outpost.
    Radius {
        /// A secret, which should not stand here.
        shared_secret: String,
        /// Networks that may ask.
        client_networks: Vec<Spanned<Cidr>>,
    }

    /// A service: one container, one host.
    Service {
        /// Whether it is there at all; false when left out.
        enable: bool,
        /// The host's address.
        ip: Ipv4Addr,
        /// The host's full name.
        hostname: DomainName,
        /// The container's number on the hypervisor.
        vmid: i64,
        /// A marker for people.
        version: String,
        /// What the container may use.
        resources: Resources,
        /// Whether the container starts with the hypervisor; true when left out.
        onboot: bool,
        /// Whether the container starts when it was made; true when left out.
        start: bool,
        /// Services that have to be there before.
        depends_on: Vec<Spanned<String>>,
        /// TCP ports that the firewall opens.
        ports: Vec<Spanned<i64>>,
        /// Who is told about certificates.
        admin_email: String,
        /// How it meets other services.
        interface: Interface,
    }

    /// What a container may use.
    Resources {
        /// Processor cores; 2 when left out.
        cores: i64,
        /// Memory in MiB; 2048 when left out.
        memory: i64,
        /// Disk in GiB; 16 when left out.
        disk_gb: i64,
    }

    /// How a service meets others.
    Interface {
        /// Its database.
        db: Database,
        /// Its databases, when there are several.
        dbs: BTreeMap<String, Spanned<Database>>,
        /// How it is reached from outside: one entry, or several by name.
        proxy: Proxies,
        /// How users log in.
        auth: Auth,
        /// How it is known to be well.
        health: Health,
        /// A relic.
        terraform: Free,
    }

    /// A database.
    Database {
        /// The server; the service `postgresql` when left out.
        host: String,
        /// The server's port; 5432 when left out.
        port: i64,
        /// The database's name; the service's, or the entry's, when left out.
        name: String,
        /// Its owner; as the name when left out.
        owner: String,
        /// Further databases of the same owner.
        additionaldbs: Vec<Spanned<String>>,
        /// Extensions that are made in it.
        extensions: Vec<Spanned<String>>,
        /// Whether the owner may do everything on the server.
        superuser: bool,
        /// A relic.
        mode: String,
        /// A secret, which should not stand here.
        password: String,
    }

    /// A vhost of the proxy.
    Proxy {
        /// Its name.
        domain: DomainName,
        /// The path it is for; `/` when left out.
        path: UrlPath,
        /// Where requests go.
        upstream: Upstream,
        /// Whether it is served with TLS; it always is.
        tls: bool,
        /// Whether users have to log in.
        authz: bool,
        /// Whether the upstream is a machine outside of this manifest.
        external: bool,
        /// Lines for the proxy's configuration of this site.
        extra_config: String,
        /// Header fields of responses.
        headers: BTreeMap<String, Spanned<String>>,
        /// How users of this entry log in.
        auth: Auth,
    }

    /// How users log in.
    Auth {
        /// `oidc` or `forward_auth`.
        r#type: AuthType,
        /// The service that knows the users.
        provider: String,
        /// Where the proxy asks; the provider's port 9000 when left out.
        forward_auth_upstream: Upstream,
        /// The application as an OIDC client.
        oidc: Oidc,
    }

    /// An OIDC client.
    Oidc {
        /// Its name at the provider; `<service>-oidc` when left out.
        client_id: String,
        /// `confidential` or `public`; confidential when left out.
        client_type: ClientType,
        /// Where the provider may send users back to.
        redirect_uris: Vec<Spanned<String>>,
        /// What is asked for; openid, email and profile when left out.
        scopes: Vec<Spanned<String>>,
        /// The claim that is the user's name.
        username_claim: String,
        /// The claim that is the user's groups.
        groups_claim: String,
        /// A secret, which should not stand here.
        client_secret: String,
    }

    /// How a service is known to be well: shell commands that end with 0.
    Health {
        /// Whether it has started.
        startup: String,
        /// Whether it lives.
        liveness: String,
        /// Whether it can be used.
        readiness: String,
        /// Seconds between checks; 30 when left out.
        interval: i64,
        /// Seconds that it may take to start; 60 when left out.
        timeout: i64,
        /// Checks that may fail in a row; 3 when left out.
        retries: i64,
    }
}

/// Which part of the manifest a service is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Section {
    /// `core_services`.
    CoreServices,
    /// `services`.
    Services,
}

impl Manifest {
    /// Returns the services of a section.
    pub fn section(
        &self,
        section: Section,
    ) -> Option<&Spanned<BTreeMap<String, Spanned<Service>>>> {
        match section {
            Section::CoreServices => self.core_services.as_ref(),
            Section::Services => self.services.as_ref(),
        }
    }
}

impl Section {
    /// Both sections, in the order in which they are deployed.
    pub const ALL: [Self; 2] = [Self::CoreServices, Self::Services];

    /// Returns the section's name as it is written.
    pub fn name(self) -> &'static str {
        match self {
            Self::CoreServices => "core_services",
            Self::Services => "services",
        }
    }
}

impl Decode for Manifest {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let entries = decoder.entries(node)?;
        let top = first_of(node);
        for section in ["network", "core_services", "services"] {
            require(decoder, (entries, top), section);
        }
        Some(Self::of_entries(entries, decoder))
    }
}

impl Decode for Service {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let entries = decoder.entries(node)?;
        let owner = first_of(node);
        for field in ["ip", "hostname"] {
            require(decoder, (entries, owner), field);
        }
        if let Some(interface) = find(entries, "interface")
            && let Data::Map(inner) = &interface.node.data
            && let Some(terraform) = find(inner, "terraform")
        {
            relic(decoder, terraform, "nothing reads this any more");
        }
        Some(Self::of_entries(entries, decoder))
    }
}

/// The whole of a large set is too much to point at: its first character will do.
fn first_of(node: &Node) -> Place {
    let range = node.place.range();
    Place::new(node.place.file(), range.start..range.start.saturating_add(1).min(range.end))
}

impl Decode for Database {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let entries = decoder.entries(node)?;
        if let Some(mode) = find(entries, "mode") {
            relic(decoder, mode, "nothing reads this any more");
        }
        if let Some(user) = find(entries, "user") {
            let message = format!("unknown field `user` in {}", decoder.here());
            let finding = Finding::new(Code::M003, message).at(user.key, "nothing reads this");
            decoder.findings.push(finding.help("did you mean `owner`?"));
            let rest: Vec<_> = entries.iter().filter(|e| e.name != "user").cloned().collect();
            return Some(Self::of_entries(&rest, decoder));
        }
        Some(Self::of_entries(entries, decoder))
    }
}
