use super::Context;
use crate::decode::Spanned;
use crate::finding::{Code, Finding, Severity};
use crate::model::Network;
use crate::secret::{Kind, implied};
use crate::similar::did_you_mean;
use crate::values::{ClientType, DomainName};

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    literals(context, out);
    if let Some(network) = &context.manifest.network {
        outposts(context, network, out);
    }
    sealed(context, out);
    certificate(context, out);
}

/// A text that only says where a secret will be is none.
fn is_reference(text: &str) -> bool {
    text.is_empty() || text.starts_with("/run/secrets/") || text.starts_with("sops:")
}

/// A text that everybody knows is no secret at all.
fn is_placeholder(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["changeme", "change-me", "change_me"].iter().any(|word| lower.contains(word))
}

fn literal(field: &Spanned<String>, path: &str, out: &mut Vec<Finding>) {
    if !is_reference(&field.value) {
        let message = format!("{path} is a secret, for everybody to read");
        let finding = Finding::new(Code::M902, message).at(field.place, "ends up in the Nix store");
        out.push(finding.help("seal it with nixmox-secrets, and leave the field out"));
    }
}

fn literals(context: &Context<'_>, out: &mut Vec<Finding>) {
    let radius = context
        .manifest
        .network
        .as_ref()
        .and_then(|network| network.outposts.as_ref()?.radius.as_ref()?.shared_secret.as_ref());
    if let Some(secret) = radius {
        let from = out.len();
        literal(secret, "network.outposts.radius.shared_secret", out);
        // The field is the manifest's own, and those that have it were always deployed with it.
        for finding in out.iter_mut().skip(from).filter(|_| !is_placeholder(&secret.value)) {
            finding.severity = Severity::Warning;
        }
    }
    for service in &context.view.services {
        for held in service.all_databases() {
            if let Some(password) = &held.database.password {
                literal(password, &format!("the database password of `{}`", service.name), out);
            }
        }
        for (_, auth) in service.logins() {
            let secret = auth.oidc.as_ref().and_then(|oidc| oidc.client_secret.as_ref());
            if let Some(secret) = secret {
                literal(secret, &format!("the client secret of `{}`", service.name), out);
            }
        }
        commands(service, out);
    }
}

/// Texts that programs get: a password in them is one in the manifest.
fn commands(service: &crate::view::Listed<'_>, out: &mut Vec<Finding>) {
    let health = service.interface().and_then(|interface| interface.health.as_ref());
    let health = health.map(|health| [&health.startup, &health.liveness, &health.readiness]);
    let vhosts = service.vhosts();
    let extra = vhosts.iter().map(|vhost| &vhost.proxy.extra_config);
    let texts = health.into_iter().flatten().chain(extra).flatten();
    for text in texts {
        if let Some(word) = suspicious(&text.value) {
            let message = format!("a text of `{}` holds a secret", service.name);
            let finding = Finding::new(Code::M902, message).at(text.place, format!("`{word}`"));
            out.push(finding.help("let the program read it from /run/secrets"));
        }
    }
}

/// Finds what gives a secret away: a name of one with a value behind it, a user and password in a URL.
fn suspicious(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    for word in ["password", "passwd", "secret", "token", "api_key", "apikey"] {
        for (at, _) in lower.match_indices(word) {
            let rest = lower.get(at.saturating_add(word.len())..).unwrap_or_default();
            let Some(value) = rest.strip_prefix(['=', ':']) else { continue };
            let value = value.trim_start_matches(['"', '\'']);
            let plain = value.starts_with(|c: char| c.is_alphanumeric());
            if plain {
                return Some(word);
            }
        }
    }
    if is_placeholder(text) {
        return Some("changeme");
    }
    let authority = lower.split_once("://").map(|(_, rest)| rest.split('/').next().unwrap_or(rest));
    let user = authority.and_then(|authority| authority.rsplit_once('@')).map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':')).map(|(_, password)| password);
    password.filter(|p| !p.is_empty() && !p.starts_with('$')).map(|_| "user:password@")
}

fn outposts(context: &Context<'_>, network: &Network, out: &mut Vec<Finding>) {
    let Some(outposts) = &network.outposts else { return };
    let networks = outposts.radius.as_ref().and_then(|radius| radius.client_networks.as_ref());
    for network in networks.into_iter().flat_map(|networks| &networks.value) {
        if network.prefix() == 0 {
            let message = "RADIUS answers the whole internet";
            let finding = Finding::new(Code::M903, message).at(network.place, "everybody");
            let cidr = context.manifest.network.as_ref().and_then(|n| n.network_cidr.as_ref());
            out.push(finding.maybe_help(cidr.map(|cidr| format!("narrow it to {}", cidr.value))));
        }
    }
    let base = outposts.ldap.as_ref().and_then(|ldap| ldap.base_dn.as_ref());
    if let (Some(base), Some(zone)) = (base, &network.domain) {
        let expected = base_dn(zone);
        let found = base.value.to_lowercase().replace(' ', "");
        if found != expected && !found.ends_with(&format!(",{expected}")) {
            let message = format!("LDAP base `{}` is not the zone's", base.escape_debug());
            let finding = Finding::new(Code::M904, message).at(base.place, "another domain");
            out.push(finding.at(zone.place, "the zone").help(format!("write {expected}")));
        }
    }
}

/// Writes a zone as LDAP does.
fn base_dn(zone: &DomainName) -> String {
    let parts: Vec<String> = zone.as_str().split('.').map(|label| format!("dc={label}")).collect();
    parts.join(",")
}

/// Compares the names that the manifest implies with those that are sealed.
fn sealed(context: &Context<'_>, out: &mut Vec<Finding>) {
    let Some(sealed) = &context.facts.secrets else { return };
    let implied = implied(context.manifest);
    for secret in &implied {
        let there = sealed.contains(&secret.name);
        let code = match secret.kind {
            Kind::DatabasePassword => Code::M510,
            Kind::ClientSecret(_) => Code::M611,
            Kind::Password | Kind::Given => Code::M905,
        };
        let public = secret.kind == Kind::ClientSecret(ClientType::Public);
        match (there, public) {
            (false, false) => {
                let message = format!("no sealed secret is called `{}`", secret.name);
                let help = did_you_mean(&secret.name, sealed.iter().map(String::as_str));
                let finding = Finding::new(code, message).at(secret.place, "needs it");
                out.push(finding.help(help.unwrap_or("seal it with nixmox-secrets".to_owned())));
            }
            (true, true) => {
                let message = format!("`{}` is sealed for a public client", secret.name);
                let finding = Finding::new(code, message).at(secret.place, "does not use it");
                out.push(finding.severity(Severity::Warning));
            }
            _ => {}
        }
    }
    let place = context.manifest.services.as_ref().or(context.manifest.core_services.as_ref());
    for name in sealed.iter().filter(|name| !implied.iter().any(|secret| secret.name == **name)) {
        let message = format!("nothing asks for the sealed secret `{}`", name.escape_debug());
        let finding = Finding::new(Code::M905, message).severity(Severity::Note);
        out.push(match place {
            Some(section) => finding.at(section.key, "no service implies it"),
            None => finding,
        });
    }
}

/// Tells whether a certificate's name covers a domain: a wildcard stands for one label.
pub(super) fn covers(name: &str, domain: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(zone) => {
            domain.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(zone))
        }
        None => name.eq_ignore_ascii_case(domain),
    }
}

fn certificate(context: &Context<'_>, out: &mut Vec<Finding>) {
    let Some(certificate) = &context.facts.certificate else { return };
    for service in &context.view.services {
        for vhost in service.vhosts() {
            let Some(domain) = &vhost.proxy.domain else { continue };
            if !certificate.names.iter().any(|name| covers(name, domain.as_str())) {
                let message = format!("the certificate does not cover `{}`", domain.value);
                let finding =
                    Finding::new(Code::M906, message).at(domain.place, "not among its names");
                out.push(finding.help(format!("it is for {}", certificate.names.join(", "))));
            }
        }
    }
    if certificate.days_left < 30 {
        let message = match certificate.days_left {
            left if left < 0 => format!("the certificate ended {} days ago", left.saturating_neg()),
            left => format!("the certificate ends in {left} days"),
        };
        let zone = context.manifest.network.as_ref().and_then(|network| network.domain.as_ref());
        let finding = Finding::new(Code::M906, message);
        out.push(match zone {
            Some(zone) => finding.at(zone.place, "the zone it is for"),
            None => finding,
        });
    }
}
