use std::net::IpAddr;

use super::{Claim, Context, twice};
use crate::decode::Spanned;
use crate::finding::{Code, Finding, Severity};
use crate::model::{Auth, Oidc};
use crate::similar::did_you_mean;
use crate::values::{AuthType, DomainName, Textual, UpstreamHost};
use crate::view::{FORWARD_AUTH_PORT, Listed, provider};

/// Scopes that the provider knows.
const SCOPES: [&str; 8] =
    ["openid", "email", "profile", "offline_access", "address", "phone", "groups", "entitlements"];

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    let mut clients = Vec::new();
    for service in &context.view.services {
        for (entry, auth) in service.logins() {
            provider_exists(context, service, auth, out);
            kinds(service, auth, out);
            if auth.r#type.as_ref().is_some_and(|kind| kind.value == AuthType::Oidc) {
                clients.push(client(service, entry, auth));
                oidc(service, auth, out);
            }
            forward(context, auth, out);
        }
        unassigned(service, out);
    }
    out.extend(twice(clients, Code::M605, |_| None));
}

fn provider_exists(
    context: &Context<'_>,
    service: &Listed<'_>,
    auth: &Spanned<Auth>,
    out: &mut Vec<Finding>,
) {
    let name = provider(auth);
    if !service.enabled() || context.view.enabled(name).is_some() {
        return;
    }
    let place = auth.provider.as_ref().map_or(auth.key, |provider| provider.place);
    let shown = name.escape_debug();
    let finding = match context.view.get(name) {
        Some(disabled) => {
            let message = format!("identity provider `{shown}` of `{}` is disabled", service.name);
            let finding = Finding::new(Code::M602, message).at(place, "nobody to log in at");
            finding.at(disabled.key, "disabled")
        }
        None => {
            let message =
                format!("identity provider `{shown}` of `{}` is no service", service.name);
            let finding = Finding::new(Code::M602, message)
                .at(place, "not defined in core_services or services");
            finding.maybe_help(did_you_mean(name, context.view.names()))
        }
    };
    out.push(finding);
}

fn kinds(service: &Listed<'_>, auth: &Spanned<Auth>, out: &mut Vec<Finding>) {
    let Some(kind) = &auth.r#type else { return };
    let (wrong, owner) = match kind.value {
        AuthType::Oidc => {
            let upstream = auth.forward_auth_upstream.as_ref();
            (upstream.map(|upstream| (upstream.key, "forward_auth_upstream")), "forward_auth")
        }
        AuthType::ForwardAuth => (auth.oidc.as_ref().map(|oidc| (oidc.key, "oidc")), "oidc"),
    };
    if let Some((place, field)) = wrong {
        let message = format!("`{field}` does not belong to the login of `{}`", service.name);
        let finding =
            Finding::new(Code::M610, message).at(place, format!("only {owner} reads this"));
        out.push(finding.at(kind.place, format!("the login is {}", kind.value)));
    }
}

/// Returns the client id, written or derived, as a claim.
fn client(service: &Listed<'_>, entry: Option<&str>, auth: &Spanned<Auth>) -> (String, Claim) {
    let written = auth.oidc.as_ref().and_then(|oidc| oidc.client_id.as_ref());
    let id = written.map_or_else(|| client_id(service.name, entry), |id| id.value.clone());
    let place = written.map_or(auth.key, |id| id.place);
    let by = match entry {
        Some(entry) => format!("{}.interface.proxy.{entry}", service.path()),
        None => service.path(),
    };
    let what = format!("the client id `{}`", id.escape_debug());
    (id, Claim { place, by, what })
}

/// Derives the client id of a login that names none.
pub(crate) fn client_id(service: &str, entry: Option<&str>) -> String {
    match entry {
        Some(entry) => format!("{service}-{entry}-oidc"),
        None => format!("{service}-oidc"),
    }
}

fn oidc(service: &Listed<'_>, auth: &Spanned<Auth>, out: &mut Vec<Finding>) {
    let oidc = auth.oidc.as_ref();
    let uris = oidc.and_then(|oidc| oidc.redirect_uris.as_ref());
    if uris.is_none_or(|uris| uris.is_empty()) {
        let message = format!("the OIDC login of `{}` has no redirect URIs", service.name);
        let place = uris.map_or_else(|| oidc.map_or(auth.key, |oidc| oidc.key), |uris| uris.place);
        let finding = Finding::new(Code::M603, message).at(place, "nobody could come back");
        let domain = service.vhosts().iter().find_map(|vhost| vhost.proxy.domain.clone());
        let help = domain.map(|domain| format!("add https://{}/oidc/callback", domain.value));
        out.push(finding.maybe_help(help));
    }
    for uri in uris.into_iter().flat_map(|uris| &uris.value) {
        out.extend(redirect(service, uri));
    }
    out.extend(oidc.and_then(|oidc| scopes(service, oidc)));
    let known = oidc.and_then(|oidc| oidc.scopes.as_ref());
    for scope in known.into_iter().flat_map(|scopes| &scopes.value) {
        if !SCOPES.contains(&scope.value.as_str()) {
            let message = format!("scope `{}` is unknown", scope.escape_debug());
            let finding =
                Finding::new(Code::M606, message).at(scope.place, "not asked for anywhere");
            let finding = finding.maybe_help(did_you_mean(&scope.value, SCOPES));
            out.push(finding.severity(Severity::Warning));
        }
    }
}

fn scopes(service: &Listed<'_>, oidc: &Oidc) -> Option<Finding> {
    let scopes = oidc.scopes.as_ref()?;
    if scopes.iter().any(|scope| scope.value == "openid") {
        return None;
    }
    let message = format!("the scopes of `{}` lack `openid`", service.name);
    let finding = Finding::new(Code::M606, message).at(scopes.place, "without it this is not OIDC");
    Some(finding.help("add \"openid\""))
}

/// Judges a redirect URI.
fn redirect(service: &Listed<'_>, uri: &Spanned<String>) -> Option<Finding> {
    let text = uri.value.as_str();
    let shown = text.escape_debug().to_string();
    let finding =
        |message: String, label: &str| Some(Finding::new(Code::M604, message).at(uri.place, label));
    let Some((scheme, rest)) = text.split_once("://") else {
        return finding(format!("redirect URI `{shown}` is not absolute"), "no scheme in front");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host(authority);
    let loopback = is_loopback(host);
    match scheme {
        "https" => {}
        "http" if loopback => {
            let message = format!("redirect URI `{shown}` is for a program on the user's machine");
            return finding(message, "loopback").map(|f| f.severity(Severity::Note));
        }
        _ => {
            return finding(
                format!("redirect URI `{shown}` is not https"),
                "can be read on the way",
            );
        }
    }
    if text.contains('#') {
        return finding(format!("redirect URI `{shown}` has a fragment"), "is never sent");
    }
    if text.contains('*') {
        return finding(format!("redirect URI `{shown}` has a wildcard"), "is compared as it is");
    }
    let Ok(name) = DomainName::parse(host) else {
        return finding(format!("redirect URI `{shown}` has no host"), "no name after //");
    };
    let vhosts = service.vhosts();
    let domains: Vec<_> = vhosts.iter().filter_map(|vhost| vhost.proxy.domain.as_ref()).collect();
    if domains.is_empty() || domains.iter().any(|domain| domain.value == name) {
        return None;
    }
    let message = format!("redirect URI host {name} is not a proxy domain of {}", service.name);
    let found = Finding::new(Code::M604, message).at(uri.place, "leads elsewhere");
    let first = domains.first()?;
    let path = rest.strip_prefix(authority).unwrap_or_default();
    let help = format!("did you mean https://{}{}?", first.value, path.escape_debug());
    Some(found.at(first.place, "the proxy domain").help(help))
}

fn host(authority: &str) -> &str {
    let authority = authority.rsplit('@').next().unwrap_or_default();
    match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, _)) => inner,
        None => authority.split(':').next().unwrap_or_default(),
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn unassigned(service: &Listed<'_>, out: &mut Vec<Finding>) {
    let Some(auth) = service.auth().filter(|_| service.is_multi()) else { return };
    let several = service.vhosts().len() > 1;
    if let Some(proxies) = service.proxies().filter(|_| several) {
        let message =
            format!("the login of `{}` belongs to none of its proxy entries", service.name);
        let finding = Finding::new(Code::M608, message).at(auth.key, "for which of them?");
        out.push(
            finding.at(proxies.key, "several entries").help("move it into the entry it is for"),
        );
    }
}

fn forward(context: &Context<'_>, auth: &Spanned<Auth>, out: &mut Vec<Finding>) {
    let Some(upstream) = &auth.forward_auth_upstream else { return };
    let Some(known) = context.view.get(provider(auth)) else { return };
    let there = known.is_at(&upstream.value) && upstream.port == FORWARD_AUTH_PORT;
    if !there {
        let message = format!("forward-auth upstream {} is not `{}`", upstream.value, known.name);
        let finding =
            Finding::new(Code::M609, message).at(upstream.place, "asked for every request");
        let host = known.ip().map(|ip| UpstreamHost::Address(IpAddr::V4(ip)));
        let help = host.map(|host| format!("`{}` is {host}:{FORWARD_AUTH_PORT}", known.name));
        out.push(finding.at(known.key, "the provider").maybe_help(help));
    }
}
