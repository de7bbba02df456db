use std::collections::BTreeSet;

use super::Context;
use crate::finding::{Code, Finding, Severity};
use crate::model::Network;
use crate::view::NAME_SERVER;

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    let Some(network) = &context.manifest.network else { return };
    addresses(context, network, out);
    gateway(network, out);
    name_server(context, network, out);
    names(context, network, out);
    if let Some(tag) = &network.vlan_tag
        && !(1..=4094).contains(&tag.value)
    {
        let message = format!("VLAN tag {} does not exist", tag.value);
        out.push(Finding::new(Code::M108, message).at(tag.place, "tags are 1 to 4094"));
    }
}

fn addresses(context: &Context<'_>, network: &Network, out: &mut Vec<Finding>) {
    for service in &context.view.services {
        let Some(ip) = &service.service.ip else { continue };
        if let Some(gateway) = network.gateway.as_ref().filter(|gateway| gateway.value == ip.value)
        {
            let message = format!("`{}` has the gateway's address {}", service.name, ip.value);
            let finding =
                Finding::new(Code::M105, message).at(ip.place, "two machines, one address");
            out.push(finding.at(gateway.place, "the gateway").maybe_help(free(context)));
        }
        let Some(cidr) = &network.network_cidr else { continue };
        if !cidr.contains(ip.value) {
            let message =
                format!("address {} of `{}` is outside of {}", ip.value, service.name, cidr.value);
            let finding = Finding::new(Code::M103, message).at(ip.place, "not in the network");
            out.push(finding.at(cidr.place, "the network").maybe_help(free(context)));
        } else if !cidr.is_host(ip.value) {
            let what =
                if ip.value == cidr.network() { "names the network" } else { "reaches all hosts" };
            let message = format!("address {} of `{}` {what}", ip.value, service.name);
            let finding = Finding::new(Code::M104, message).at(ip.place, "no machine can have it");
            out.push(finding.at(cidr.place, "the network").maybe_help(free(context)));
        }
    }
}

/// Suggests the lowest address that nobody has.
pub(super) fn free(context: &Context<'_>) -> Option<String> {
    let network = context.manifest.network.as_ref()?;
    let cidr = network.network_cidr.as_ref()?;
    let gateway = network.gateway.as_ref().map(|gateway| gateway.value);
    let services = context.view.services.iter().filter_map(super::super::view::Listed::ip);
    let taken: BTreeSet<_> = services.chain(gateway).collect();
    let free = cidr.lowest_free(&taken)?;
    Some(format!("the lowest free address in {} is {free}", cidr.value))
}

fn gateway(network: &Network, out: &mut Vec<Finding>) {
    if let (Some(gateway), Some(cidr)) = (&network.gateway, &network.network_cidr)
        && !cidr.is_host(gateway.value)
    {
        let message = format!("gateway {} is no host of {}", gateway.value, cidr.value);
        let finding = Finding::new(Code::M106, message).at(gateway.place, "hosts cannot reach it");
        out.push(finding.at(cidr.place, "the network"));
    }
}

fn name_server(context: &Context<'_>, network: &Network, out: &mut Vec<Finding>) {
    let Some(server) = &network.dns_server else { return };
    let dns = context.view.get(NAME_SERVER).filter(|dns| dns.is_core());
    match context.view.at_address(server.value).filter(|service| service.enabled()) {
        None => {
            let message = format!("name server {} is no enabled service", server.value);
            let help = dns.and_then(|dns| Some(format!("`dns` is {}", dns.ip()?)));
            let finding =
                Finding::new(Code::M107, message).at(server.place, "nobody has this address");
            out.push(finding.maybe_help(help));
        }
        Some(found) => {
            let Some(dns) = dns.filter(|dns| dns.name != found.name) else { return };
            let message = format!("name server {} is `{}` and not `dns`", server.value, found.name);
            let finding =
                Finding::new(Code::M107, message).at(server.place, "every host asks here");
            let help = dns.ip().map(|ip| format!("`dns` is {ip}"));
            out.push(finding.at(dns.key, "`dns` is another").maybe_help(help));
        }
    }
}

fn names(context: &Context<'_>, network: &Network, out: &mut Vec<Finding>) {
    let Some(zone) = &network.domain else { return };
    let local = zone.as_str().rsplit('.').next() == Some("local");
    if local {
        let message = format!("zone `{}` belongs to multicast DNS", zone.value);
        let finding = Finding::new(Code::M109, message).at(zone.place, "below .local");
        let finding = finding.help("use .lan, .internal or a domain of your own");
        out.push(finding.severity(Severity::Warning));
    } else if zone.as_str().bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        let message = format!("zone `{}` is a number", zone.value);
        out.push(Finding::new(Code::M109, message).at(zone.place, "not a domain"));
    }
    for service in &context.view.services {
        let Some(hostname) = &service.service.hostname else { continue };
        if hostname.within(zone).is_none_or(str::is_empty) {
            let message = format!("host name `{}` is outside of the zone", hostname.value);
            let finding = Finding::new(Code::M110, message)
                .at(hostname.place, format!("not below {}", zone.value))
                .at(zone.place, "the zone");
            out.push(finding.help(format!("write {}.{}", service.name, zone.value)));
        }
    }
}
