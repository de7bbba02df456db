use super::Context;
use crate::finding::{Code, Finding, Severity};
use crate::model::Proxy;
use crate::similar::closest;
use crate::values::{Upstream, UpstreamHost};
use crate::view::{Listed, PROXY_SERVER, Vhost};

/// Ports of protocols that are not HTTP.
const NOT_HTTP: [(u16, &str); 12] = [
    (22, "SSH"),
    (25, "SMTP"),
    (53, "DNS"),
    (110, "POP3"),
    (143, "IMAP"),
    (389, "LDAP"),
    (465, "SMTP"),
    (587, "SMTP"),
    (636, "LDAP"),
    (3306, "MySQL"),
    (5432, "PostgreSQL"),
    (6379, "Redis"),
];

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    for service in &context.view.services {
        let Some(proxies) = service.proxies() else { continue };
        if service.enabled() && context.view.enabled(PROXY_SERVER).is_none() {
            let message = format!("`{}` has a proxy entry, and there is no proxy", service.name);
            let finding = Finding::new(Code::M412, message).at(proxies.key, "nothing serves this");
            let finding = match context.view.get(PROXY_SERVER) {
                Some(disabled) => finding.at(disabled.key, "disabled"),
                None => finding,
            };
            out.push(finding.help("enable a core service called `caddy`"));
        }
        for vhost in service.vhosts() {
            upstream(context, service, &vhost, out);
            domain(context, &vhost, out);
            extra(context, vhost.proxy, out);
            watched(service, &vhost, out);
            authz(service, &vhost, out);
        }
    }
}

fn upstream(
    context: &Context<'_>,
    service: &Listed<'_>,
    vhost: &Vhost<'_>,
    out: &mut Vec<Finding>,
) {
    let Some(spanned) = &vhost.proxy.upstream else { return };
    let (upstream, place) = (&spanned.value, spanned.place);
    if let Some((port, protocol)) = NOT_HTTP.iter().find(|(port, _)| *port == upstream.port) {
        let message = format!("upstream {upstream} speaks {protocol} and not HTTP");
        let label = format!("port {port} is {protocol}'s");
        out.push(Finding::new(Code::M413, message).at(place, label));
    }
    if vhost.proxy.external.as_ref().is_some_and(|external| external.value) {
        return;
    }
    if service.is_at(upstream) {
        if service.name == PROXY_SERVER && matches!(upstream.port, 80 | 443) {
            let message = format!("caddy proxies to itself at {upstream}");
            let finding = Finding::new(Code::M414, message).at(place, "the proxy's own port");
            out.push(finding.help("remove the entry, or name the port of something else"));
        }
        closed_port(service, upstream, (spanned.place, service.name), out);
        return;
    }
    match context.view.upstream(upstream) {
        Some(other) => {
            let message = format!("upstream {upstream} of `{}` is `{}`", service.name, other.name);
            let finding = Finding::new(Code::M404, message).at(place, "another service");
            out.push(finding.at(other.key, "this one"));
            closed_port(other, upstream, (spanned.place, other.name), out);
        }
        None => {
            let message = format!("upstream {upstream} does not belong to any service");
            let (label, near) = match &upstream.host {
                UpstreamHost::Address(_) => (
                    "no service has this address",
                    service
                        .ip()
                        .map(|ip| format!("`{}` is {ip}; did you transpose digits?", service.name)),
                ),
                UpstreamHost::Name(name) => {
                    let hosts = context.view.services.iter();
                    let hosts = hosts.filter_map(|s| s.hostname()).map(|name| name.as_str());
                    let near = closest(name.as_str(), hosts.chain(context.view.names()));
                    ("no service has this name", near.map(|near| format!("did you mean {near}?")))
                }
            };
            let external = "For an external host set `external = true`";
            let help = near.map_or(external.to_owned(), |near| format!("{near} {external}"));
            out.push(Finding::new(Code::M403, message).at(place, label).help(help));
        }
    }
}

fn closed_port(
    host: &Listed<'_>,
    upstream: &Upstream,
    (place, name): (crate::Place, &str),
    out: &mut Vec<Finding>,
) {
    let Some(ports) = &host.service.ports else { return };
    if !ports.iter().any(|port| port.value == i64::from(upstream.port)) {
        let port = upstream.port;
        let message = format!("port {port} of `{name}` is not open");
        let finding = Finding::new(Code::M405, message).at(place, "the proxy asks here");
        out.push(
            finding.at(ports.place, "only these are open").help(format!("add {port} to ports")),
        );
    }
}

fn domain(context: &Context<'_>, vhost: &Vhost<'_>, out: &mut Vec<Finding>) {
    let (Some(domain), Some(zone)) = (&vhost.proxy.domain, context.view.zone()) else { return };
    let place = context.manifest.network.as_ref().and_then(|network| network.domain.as_ref());
    match domain.within(zone) {
        None => {
            let message = format!("domain `{}` is outside of the zone", domain.value);
            let finding =
                Finding::new(Code::M406, message).at(domain.place, format!("not below {zone}"));
            out.push(match place {
                Some(place) => finding.at(place.place, "the zone"),
                None => finding,
            });
        }
        Some(below) if below.contains('.') && !covered(context, domain.as_str()) => {
            let flat = below.replace('.', "-");
            let message = format!("wildcard certificate *.{zone} does not cover {}", domain.value);
            let label = match below.matches('.').count() {
                1 => "two labels below the zone",
                _ => "several labels below the zone",
            };
            let finding = Finding::new(Code::M407, message).at(domain.place, label);
            out.push(finding.help(format!("use {flat}.{zone}, or a certificate with this name")));
        }
        Some(_) => {}
    }
}

/// Tells whether the certificate that is really there covers a name.
fn covered(context: &Context<'_>, domain: &str) -> bool {
    let names = context.facts.certificate.iter().flat_map(|certificate| &certificate.names);
    names.into_iter().any(|name| super::secrets::covers(name, domain))
}

fn extra(context: &Context<'_>, proxy: &Proxy, out: &mut Vec<Finding>) {
    let Some(extra) = &proxy.extra_config else { return };
    let problem = match balance(&extra.value) {
        Balance::Even => context.facts.caddy.and_then(|caddy| caddy.judge(&extra.value).err()),
        Balance::Unclosed => Some("a brace is not closed".to_owned()),
        Balance::TooMany => Some("a brace closes the site itself".to_owned()),
    };
    if let Some(problem) = problem {
        let message = format!("extra_config is not the body of a site: {problem}");
        out.push(Finding::new(Code::M411, message).at(extra.place, problem));
    }
}

#[derive(Debug, PartialEq)]
enum Balance {
    Even,
    Unclosed,
    TooMany,
}

/// Counts braces as Caddy's lexer does: one that opens a block ends a line's last word, one that closes it is a
/// word of its own; in quotes and comments, and inside of `{placeholders}`, they are text.
fn balance(text: &str) -> Balance {
    let mut depth = 0_usize;
    for word in words(text) {
        match word {
            "{" => depth = depth.saturating_add(1),
            "}" => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return Balance::TooMany,
            },
            _ => {}
        }
    }
    if depth == 0 { Balance::Even } else { Balance::Unclosed }
}

/// Cuts a text into the words of a Caddyfile; quotes stay on.
fn words(text: &str) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match first {
            '#' => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after).trim_start();
                continue;
            }
            '"' | '`' => quoted_end(rest, first),
            _ => rest.find(char::is_whitespace).unwrap_or(rest.len()),
        };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after.trim_start();
    }
    words
}

fn quoted_end(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at.saturating_add(c.len_utf8());
        }
        escaped = quote == '"' && c == '\\' && !escaped;
    }
    text.len()
}

fn watched(service: &Listed<'_>, vhost: &Vhost<'_>, out: &mut Vec<Finding>) {
    let health = service.interface().and_then(|interface| interface.health.as_ref());
    let Some(authz) = vhost.proxy.authz.as_ref().filter(|authz| authz.value) else { return };
    if health.is_none() {
        let message = format!("the protected vhost of `{}` is not watched", service.name);
        let finding = Finding::new(Code::M415, message).at(authz.place, "asks for a login");
        out.push(finding.help("give the service a `health` with a `liveness` command"));
    }
}

fn authz(service: &Listed<'_>, vhost: &Vhost<'_>, out: &mut Vec<Finding>) {
    let Some(authz) = &vhost.proxy.authz else { return };
    let name = service.name;
    match (authz.value, vhost.auth) {
        (true, None) => {
            let message = format!("`{name}` asks for a login, and has none");
            let finding = Finding::new(Code::M416, message).at(authz.place, "protects nothing");
            out.push(finding.help("add `auth`, or drop `authz`"));
        }
        (false, Some(auth)) => {
            let message = format!("`{name}` has a login, and does not ask for it");
            let finding = Finding::new(Code::M416, message).at(authz.place, "nobody is asked");
            out.push(finding.at(auth.key, "the login").severity(Severity::Warning));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_are_counted_as_caddy_does() {
        #[track_caller]
        fn check(text: &str, expect: Balance) {
            assert_eq!(balance(text), expect, "{text}");
        }
        check("", Balance::Even);
        check("header {\n  X y\n}", Balance::Even);
        check("header {\n  X y\n", Balance::Unclosed);
        check("}\nevil.example {", Balance::TooMany);
        check("respond \"}\" 200", Balance::Even);
        check("# }\nheader X {host}", Balance::Even);
        check("header X `a } b`", Balance::Even);
        check("respond \"a \\\" } b\"", Balance::Even);
        check("header X \"}", Balance::Even);
    }
}
