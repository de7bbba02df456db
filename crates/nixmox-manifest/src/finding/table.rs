use std::fmt;
use std::str::FromStr;

use super::Severity::{Error, Note, Warning};
use super::{Rule, Severity};

macro_rules! rules {
    ($($code:ident $severity:ident $title:literal $explanation:literal)*) => {
        /// The stable name of a rule; `{}` prints it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $(#[doc = $title] $code),* }

        impl Code {
            /// Every rule, in order.
            pub const ALL: &'static [Self] = &[$(Self::$code),*];

            /// Returns the name as it is printed.
            pub fn name(self) -> &'static str {
                match self { $(Self::$code => stringify!($code)),* }
            }

            /// Returns the rule.
            pub fn rule(self) -> Rule {
                let (severity, title, explanation): (Severity, _, _) = match self {
                    $(Self::$code => ($severity, $title, $explanation)),*
                };
                Rule { code: self, severity, title, explanation }
            }
        }
    };
}

rules! {
M001 Error "the manifest cannot be read"
"The text is not valid in the format that its name promises, or a Nix expression fails. Nothing else can be checked until it reads. Nix that goes beyond plain data (paths, nixpkgs' lib, fetchers) needs an installed Nix."
M002 Error "a required section or field is missing"
"`network`, `core_services` and `services` are the manifest; every service needs an `ip`, because containers, DNS and the proxy are made from it, and a `hostname`, because metrics and the machine's own name are."
M003 Warning "a field is unknown"
"Nothing reads a field with this name, so whatever it was meant to do will not happen. Most often it is a slip of the pen. With --strict it is an error."
M004 Error "a value has the wrong type"
"The field takes another kind of value: a number is written without quotes, a list in brackets, `true` and `false` without quotes."
M005 Error "a name stands in both sections"
"Core services and services share one space of names. A tool that merges the two sections would silently drop the core service."
M006 Error "a name cannot be a service's"
"A service's name becomes a DNS label, a host, a Terraform resource and a database role: lower-case letters, digits and inner dashes, beginning with a letter, at most 63 characters. `localhost`, `all`, `common`, `current`, `default`, `self` and the names of the sections are taken."
M007 Note "a field is a relic"
"The field was read by earlier versions and is not any more, or means less than its name says. It does no harm; remove it when convenient."
M101 Error "an address is not IPv4"
"Four numbers from 0 to 255, without leading zeros and without a prefix length."
M102 Error "a network is not in CIDR form"
"A network is written as its first address and the length of its prefix: 192.168.99.0/24. Bits after the prefix must be zero, otherwise it is an address and not a network."
M103 Error "an address is outside of the network"
"Every service's address must lie within `network.network_cidr`: gateway, firewall and database access are derived from that."
M104 Error "an address is not a host's"
"The first address of a network names the network, the last one reaches all hosts; no machine can have either."
M105 Error "an address is the gateway's"
"Two machines would answer for the gateway's address, and the whole network loses its way out."
M106 Error "the gateway is outside of the network"
"Hosts reach their gateway directly, so it must lie within `network.network_cidr`."
M107 Warning "the name server is none of the services"
"Every host asks `network.dns_server`. If the manifest has no enabled service at that address, its names are served by something that this manifest does not make."
M108 Error "a VLAN tag is out of range"
"VLAN tags are 1 to 4094; 0 and 4095 are reserved."
M109 Error "a zone's name is not one"
"`network.domain` is the zone of all names: labels of letters, digits and inner dashes with dots between. A zone below `.local` belongs to multicast DNS and is a warning."
M110 Error "a host name is outside of the zone"
"The name server serves `network.domain` alone; a host with another name would not be found."
M111 Error "a name breaks DNS' rules"
"A label has at most 63 characters, a name at most 253; letters, digits and inner dashes are allowed."
M201 Error "two services have one address"
"Only one machine can have an address. The second one to start takes it from the first."
M202 Error "two services have one container number"
"`vmid` names the container on the hypervisor; the second would replace the first."
M203 Error "two services have one host name"
"Metrics, certificates and DNS tell hosts apart by their names."
M204 Error "two proxy entries claim one URL"
"The proxy can send a domain and path to one upstream only."
M205 Error "a port is listed twice"
"Two programs of one host cannot listen on one port; the second would not start."
M206 Error "a proxy domain is another service's host name"
"The name would have to mean the proxy and that machine at once."
M207 Warning "a proxy domain is the service's own host name"
"If DNS answers with the machine's own address, clients go around the proxy, its certificate and its login. The name must point at the proxy, and the machine is then reached by its address alone."
M208 Error "two names would be one alias"
"The first label of a proxy domain is published as a short name. Another service is already called that."
M301 Error "a dependency is unknown"
"`depends_on` and `deployment_phases` name services of this manifest, core or not."
M302 Error "a service depends on itself"
"It would wait for itself for ever."
M303 Error "dependencies go in a circle"
"None of these services could be started first. Implied dependencies count: a database, the proxy in front of a service, and the identity provider of a service outside of core."
M304 Error "an enabled service depends on a disabled one"
"The dependency will not be there."
M305 Warning "a core service depends on an application"
"Core is deployed first, so that the dependency is not there yet."
M306 Warning "a dependency is named twice"
"Once is enough; the second may have been meant to be another."
M307 Warning "an implied dependency is not declared"
"A service with a database needs the database server, one with a proxy entry the proxy, one with a login the identity provider. The order of deployment respects this anyway; declaring it keeps other readers of the manifest right."
M308 Error "a phase names an unknown service"
"`deployment_phases` lists services of this manifest."
M309 Warning "an enabled service is in no phase"
"Where `deployment_phases` exists, what it does not list is not deployed."
M310 Error "the phases contradict the dependencies"
"A service is deployed in an earlier phase than something it depends on."
M311 Warning "a phase lists a disabled service"
"It is skipped."
M312 Error "a phase is unknown"
"There are four: `tf_infra`, `nix_core`, `tf_auth_core` and `services`, in this order."
M401 Error "an upstream is not host:port"
"An upstream is an address or name, a colon and a port; an IPv6 address stands in brackets; `http://` or `https://` may stand in front, a path may not follow."
M402 Error "a port is out of range"
"Ports are 1 to 65535. Caddy does not tell: it would fail at the first request."
M403 Error "an upstream is none of the services"
"No service has this address or name, so that it is probably a slip. For a machine outside of the manifest set `external = true`."
M404 Note "an upstream is another service"
"The proxy entry stands with one service and leads to another."
M405 Warning "an upstream port is not open"
"The service lists its `ports`, and the firewall opens those; the proxy could not reach this one."
M406 Error "a proxy domain is outside of the zone"
"The name server and the certificate cover `network.domain` alone."
M407 Error "a certificate does not cover a domain"
"A wildcard covers exactly one label: *.example.lan covers a.example.lan and not a.b.example.lan."
M408 Error "a path does not begin with /"
"The proxy compares it with the paths of requests, which all do."
M409 Error "a proxy is one entry and several at once"
"`proxy` is either one entry with `domain` and `upstream`, or a set of named entries. Both at once would make some of them vanish."
M410 Error "a proxy is empty or lacks a field"
"An entry needs at least a `domain` and an `upstream`. Leave `proxy` out when the service has none."
M411 Error "extra configuration is not closed"
"The text is put into the site's block. A brace too many ends that block and may open another site; one too few swallows what follows. Caddy accepts both silently."
M412 Error "a proxy entry without a proxy"
"Something has to serve it: an enabled service called `caddy`."
M413 Warning "an upstream port does not speak HTTP"
"The proxy speaks HTTP. This port belongs to another protocol, and every request would fail."
M414 Warning "the proxy leads to itself"
"Caddy would pass the request to its own port, which passes it on again: a loop, unless something else listens there."
M415 Warning "a protected vhost is not watched"
"The entry asks for a login (`authz = true`), but the service has no health check: an outage looks like a login problem."
M416 Error "authz and auth contradict each other"
"`authz = true` without `auth` protects nothing. `auth` with `authz = false` is a warning: one of the two is not meant."
M501 Error "a database host is not the database server"
"Databases are made on the service called `postgresql`; no other machine has them."
M502 Warning "a database has no owner"
"The owner is then the service's own name. Naming it keeps it stable when the service is renamed."
M503 Error "two services have one database"
"Each database belongs to one service; the second would find the tables of the first."
M504 Warning "two services share a database owner"
"Either could read and drop the other's tables."
M505 Error "a database name is reserved, too long, or needs quotes"
"`postgres`, `template0`, `template1` and `pg_…` are PostgreSQL's own; a name has at most 63 bytes. One that needs quotes in SQL is only a note."
M506 Warning "a database extension is unknown"
"It is none of those that come with PostgreSQL; the server needs its package."
M507 Error "db and dbs at once"
"`db` is one database, `dbs` is several. Put the one into the set."
M508 Error "a database without a database server"
"Something has to hold it: an enabled service called `postgresql`."
M509 Warning "a database port is not the server's"
"The server listens on the port of its own `db`, or on 5432."
M510 Error "a database password is missing"
"Every database role gets its password from the sealed secrets; the names are derived from the manifest."
M601 Error "a kind of login is unknown"
"`oidc`: the application logs in itself; `forward_auth`: the proxy asks for every request."
M602 Error "an identity provider is none of the services"
"The provider must be an enabled service of this manifest."
M603 Error "OIDC without redirect URIs"
"The provider sends users back to these addresses alone; without one nobody can log in."
M604 Error "a redirect URI will not work"
"A redirect URI is absolute and https (http for loopback only, which is a note), has no fragment and no wildcard, and its host is one of the service's proxy domains: otherwise the login ends on a page that does not exist, or leaks."
M605 Error "two services have one client id"
"The provider tells applications apart by it."
M606 Error "OIDC scopes"
"Without `openid` it is not OpenID Connect, and most applications fail. A scope that the provider does not know is a warning."
M607 Error "a client type is unknown"
"`confidential`: the application keeps a secret; `public`: it cannot."
M608 Warning "a login that belongs to no proxy entry"
"The service has several proxy entries and one `auth` for all of it; say in the entries which of them it is for."
M609 Warning "a forward-auth upstream is not the provider"
"The proxy would ask another machine who the user is."
M610 Error "fields of another kind of login"
"`oidc` belongs to `type = \"oidc\"`, `forward_auth_upstream` to `type = \"forward_auth\"`; the other kind ignores it."
M611 Error "a client secret is missing"
"A confidential client needs its secret among the sealed ones. A public client with one is a warning: it is not used."
M701 Error "a health check's numbers make no sense"
"`interval` and `timeout` are seconds, 1 to 86400; `retries` is at least 1."
M702 Note "a timeout is longer than the interval"
"`timeout` is the whole time that a service may take to start; the next attempt does not wait for it."
M703 Warning "an enabled service has no health check"
"Deployment cannot tell whether it runs, and goes on."
M704 Error "a health command is not a shell command"
"The shell would refuse it, and the service would never count as healthy."
M705 Warning "a probe's port is not the service's"
"The health command asks a port that is neither among `ports` nor an upstream's."
M801 Error "a container number is out of range"
"Proxmox takes 100 to 999999999."
M802 Error "resources that no container can have"
"At least one core, 16 MiB of memory and 1 GiB of disk. More than the host has, all together, is a warning."
M803 Warning "a container has no number"
"It gets one that is derived from its address, so that it does not depend on other services. Write it down to keep it when the address changes."
M901 Error "a key is not an SSH public key"
"One line: the kind, base64, a comment. RSA below 3072 bits, and a key that is listed twice, are warnings."
M902 Error "a secret in the manifest"
"The manifest is in the repository, and what is evaluated from it is in the Nix store, for everybody to read. Seal it, and leave the field out. `outposts.radius.shared_secret`, which is a field of its own, is a warning as long as it is no `changeme`."
M903 Warning "RADIUS clients from everywhere"
"0.0.0.0/0 lets everybody who reaches the port try."
M904 Warning "the LDAP base is not the zone's"
"By convention dc=example,dc=lan belongs to example.lan; clients that guess it would guess wrong."
M905 Error "a secret is missing"
"Names of secrets are derived from the manifest; this one is not among the sealed files. A sealed name that nothing asks for is a note."
M906 Warning "a certificate does not fit"
"It covers not all domains of the manifest, or ends within 30 days."
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(text: &str) -> Result<Self, UnknownCode> {
        let found = Self::ALL.iter().find(|code| code.name().eq_ignore_ascii_case(text));
        found.copied().ok_or(UnknownCode)
    }
}

/// A text is not the name of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such rule")]
pub struct UnknownCode;
