//! The values of fields: parsed once, at the border.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::finding::Code;

/// Why a text is not a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub(crate) code: Code,
    pub(crate) message: String,
    pub(crate) label: &'static str,
    pub(crate) help: Option<String>,
}

impl Flaw {
    fn new(code: Code, message: String, label: &'static str) -> Self {
        Self { code, message, label, help: None }
    }

    fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// A value that is written as a text.
pub(crate) trait Textual: Sized {
    fn parse(text: &str) -> Result<Self, Flaw>;
}

impl Textual for String {
    fn parse(text: &str) -> Result<Self, Flaw> {
        Ok(text.to_owned())
    }
}

impl Textual for Ipv4Addr {
    fn parse(text: &str) -> Result<Self, Flaw> {
        text.parse().map_err(|_| {
            let message = format!("`{text}` is not an IPv4 address");
            let flaw = Flaw::new(Code::M101, message, "not four numbers from 0 to 255");
            match text.split_once('/') {
                Some((bare, _)) if bare.parse::<Self>().is_ok() => {
                    flaw.help(format!("the prefix length belongs to network_cidr: write {bare}"))
                }
                _ => flaw,
            }
        })
    }
}

/// An IPv4 network: its first address and the length of its prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    base: u32,
    prefix: u8,
}

impl Cidr {
    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32_u32.saturating_sub(self.prefix.into())).unwrap_or(0)
    }

    /// Tells whether an address lies within.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.base
    }

    /// Returns the address that names the network.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    /// Returns the address that reaches all hosts.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | !self.mask())
    }

    /// Returns the length of the prefix.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Tells whether a host can have an address: in a network of two addresses or one, all of them.
    pub fn is_host(self, address: Ipv4Addr) -> bool {
        let ends = [self.network(), self.broadcast()];
        self.contains(address) && (self.prefix >= 31 || !ends.contains(&address))
    }

    /// Finds the lowest host address that is not among `taken`.
    pub fn lowest_free(self, taken: &std::collections::BTreeSet<Ipv4Addr>) -> Option<Ipv4Addr> {
        let all = self.base..=self.broadcast().to_bits();
        let hosts = all.map(Ipv4Addr::from_bits).filter(|address| self.is_host(*address));
        hosts.take(taken.len().saturating_add(1)).find(|address| !taken.contains(address))
    }

    /// Tells how far from the network's first address an address is.
    pub fn offset(self, address: Ipv4Addr) -> u32 {
        address.to_bits().wrapping_sub(self.base)
    }
}

impl Textual for Cidr {
    fn parse(text: &str) -> Result<Self, Flaw> {
        let wrong = || {
            let message = format!("`{text}` is not a network");
            Flaw::new(Code::M102, message, "not an address, a slash and a prefix length")
                .help("write it like 192.168.99.0/24")
        };
        let (address, prefix) = text.split_once('/').ok_or_else(wrong)?;
        let address: Ipv4Addr = address.parse().map_err(|_| wrong())?;
        let digits = prefix.bytes().all(|b| b.is_ascii_digit());
        let prefix: u8 = prefix.parse().ok().filter(|p| digits && *p <= 32).ok_or_else(wrong)?;
        let whole = Self { base: 0, prefix };
        let network = Self { base: address.to_bits() & whole.mask(), prefix };
        if network.network() != address {
            let message = format!("`{text}` is an address and not a network");
            return Err(Flaw::new(Code::M102, message, "bits after the prefix are set")
                .help(format!("the network is {network}")));
        }
        Ok(network)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

/// A DNS name in lower case, without a dot at its end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainName(String);

impl DomainName {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells what stands before a zone's name; nothing when this is the zone, none when it is elsewhere.
    pub fn within(&self, zone: &Self) -> Option<&str> {
        let before = self.0.strip_suffix(zone.as_str())?;
        if before.is_empty() { Some("") } else { before.strip_suffix('.') }
    }

    /// Returns the first label.
    pub fn first_label(&self) -> &str {
        self.0.split('.').next().unwrap_or_default()
    }
}

impl Textual for DomainName {
    fn parse(text: &str) -> Result<Self, Flaw> {
        let wrong = |label: &'static str| {
            Flaw::new(Code::M111, format!("`{text}` is not a DNS name"), label)
        };
        if text.len() > 253 {
            return Err(wrong("longer than 253 characters"));
        }
        for label in text.split('.') {
            let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
            if label.is_empty() {
                return Err(wrong("a label is empty"));
            }
            if label.len() > 63 {
                return Err(wrong("a label is longer than 63 characters"));
            }
            if !label.bytes().all(fits) || label.starts_with('-') || label.ends_with('-') {
                return Err(
                    wrong("only letters, digits, and dashes inside of labels").maybe_scheme(text)
                );
            }
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl Flaw {
    fn maybe_scheme(self, text: &str) -> Self {
        match text.split_once("://") {
            Some((_, rest)) => {
                let name = rest.split(['/', ':']).next().unwrap_or_default();
                self.help(format!("a name alone: {name}"))
            }
            None => self,
        }
    }
}

impl fmt::Display for DomainName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where requests go: a host and a port, perhaps with a scheme.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upstream {
    /// Whether the upstream is spoken to with TLS.
    pub https: bool,
    /// The machine.
    pub host: UpstreamHost,
    /// The port.
    pub port: u16,
}

/// The machine of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum UpstreamHost {
    /// By address.
    Address(IpAddr),
    /// By name.
    Name(DomainName),
}

impl Textual for Upstream {
    fn parse(text: &str) -> Result<Self, Flaw> {
        let wrong = |label: &'static str| {
            Flaw::new(Code::M401, format!("`{text}` is not an upstream"), label)
        };
        let (https, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => return Err(wrong("only http:// and https:// can stand in front")),
        };
        if rest.contains('/') {
            return Err(wrong("no path can follow")
                .help("the path of requests is kept; `path` says which of them are meant"));
        }
        let Some((host, port)) = rest.rsplit_once(':') else {
            return Err(wrong("the port is missing").help(format!("write {rest}:80")));
        };
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(inner) => inner.parse().map(|ip| UpstreamHost::Address(IpAddr::V6(ip))).ok(),
            None if host.contains(':') => {
                return Err(wrong("an IPv6 address stands in brackets"));
            }
            None => host_of(host),
        };
        let host = host.ok_or_else(|| wrong("neither an address nor a name before the colon"))?;
        let port = port_of(port, text)?;
        Ok(Self { https, host, port })
    }
}

fn host_of(text: &str) -> Option<UpstreamHost> {
    if let Ok(ip) = text.parse() {
        return Some(UpstreamHost::Address(IpAddr::V4(ip)));
    }
    let numbers = text.split('.').all(|part| part.bytes().all(|b| b.is_ascii_digit()));
    let name = DomainName::parse(text).ok().filter(|_| !numbers);
    name.map(UpstreamHost::Name)
}

fn port_of(port: &str, text: &str) -> Result<u16, Flaw> {
    let digits = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if !digits {
        let message = format!("`{text}` is not an upstream");
        return Err(Flaw::new(Code::M401, message, "no number after the colon"));
    }
    port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        Flaw::new(Code::M402, format!("port {port} does not exist"), "ports are 1 to 65535")
    })
}

impl fmt::Display for UpstreamHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", if self.https { "https://" } else { "" }, self.host, self.port)
    }
}

/// How users log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthType {
    /// The application asks the provider.
    Oidc,
    /// The proxy asks the provider, for every request.
    ForwardAuth,
}

impl Textual for AuthType {
    fn parse(text: &str) -> Result<Self, Flaw> {
        match text {
            "oidc" => Ok(Self::Oidc),
            "forward_auth" => Ok(Self::ForwardAuth),
            other => Err(choice(Code::M601, "kind of login", other, &["oidc", "forward_auth"])),
        }
    }
}

impl fmt::Display for AuthType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oidc => "oidc",
            Self::ForwardAuth => "forward_auth",
        })
    }
}

/// Whether an OIDC client can keep a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientType {
    /// It can.
    Confidential,
    /// It cannot.
    Public,
}

impl Textual for ClientType {
    fn parse(text: &str) -> Result<Self, Flaw> {
        match text {
            "confidential" => Ok(Self::Confidential),
            "public" => Ok(Self::Public),
            other => Err(choice(Code::M607, "client type", other, &["confidential", "public"])),
        }
    }
}

impl fmt::Display for ClientType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confidential => "confidential",
            Self::Public => "public",
        })
    }
}

fn choice(code: Code, what: &str, found: &str, allowed: &[&'static str]) -> Flaw {
    let flaw = Flaw::new(code, format!("`{found}` is no {what}"), "unknown");
    match crate::similar::closest(found, allowed.iter().copied()) {
        Some(near) => flaw.help(format!("did you mean `{near}`?")),
        None => flaw.help(format!("there are `{}`", allowed.join("` and `"))),
    }
}

/// The path of requests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UrlPath(String);

impl UrlPath {
    /// Returns the path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Textual for UrlPath {
    fn parse(text: &str) -> Result<Self, Flaw> {
        let odd = |c: char| c.is_whitespace() || c.is_control() || "{}\"`".contains(c);
        if !text.starts_with('/') {
            let flaw = Flaw::new(Code::M408, format!("path `{text}` is relative"), "no / in front");
            return Err(flaw.help(format!("write /{text}")));
        }
        if text.contains(odd) {
            let message = format!("path `{}` has characters that no path has", text.escape_debug());
            return Err(Flaw::new(Code::M408, message, "spaces, quotes or braces"));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for UrlPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Gives a type that is written as a text its JSON forms.
macro_rules! written_as_text {
    ($($name:ident: $schema:tt;)*) => {
        $(
            impl Serialize for $name {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.collect_str(self)
                }
            }

            impl JsonSchema for $name {
                fn schema_name() -> Cow<'static, str> {
                    stringify!($name).into()
                }

                fn json_schema(_: &mut SchemaGenerator) -> Schema {
                    json_schema!($schema)
                }
            }
        )*
    };
}

written_as_text! {
    Cidr: { "type": "string", "pattern": r"^\d{1,3}(\.\d{1,3}){3}/\d{1,2}$", "examples": ["192.168.99.0/24"] };
    DomainName: { "type": "string", "format": "hostname", "maxLength": 253 };
    Upstream: { "type": "string", "pattern": r"^(https?://)?(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$", "examples": ["192.168.99.14:8080"] };
    UrlPath: { "type": "string", "pattern": "^/" };
    AuthType: { "enum": ["oidc", "forward_auth"] };
    ClientType: { "enum": ["confidential", "public"] };
}
