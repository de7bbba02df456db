use super::{Claim, Context, twice};
use crate::finding::{Code, Finding};

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    let services = &context.view.services;
    let ips = services.iter().filter_map(|service| {
        let ip = service.service.ip.as_ref()?;
        let what = format!("the address {}", ip.value);
        Some((ip.value, Claim { place: ip.place, by: service.path(), what }))
    });
    out.extend(twice(ips, Code::M201, |_| super::network::free(context)));
    let vmids = services.iter().filter_map(|service| {
        let vmid = service.service.vmid.as_ref()?;
        let what = format!("the container number {}", vmid.value);
        Some((vmid.value, Claim { place: vmid.place, by: service.path(), what }))
    });
    let highest = services.iter().filter_map(|s| s.service.vmid.as_ref()).map(|v| v.value).max();
    let next = highest.map(|highest| highest.saturating_add(1));
    out.extend(twice(vmids, Code::M202, |_| next.map(|next| format!("{next} is free"))));
    let hostnames = services.iter().filter_map(|service| {
        let name = service.service.hostname.as_ref()?;
        let what = format!("the host name {}", name.value);
        Some((name.value.clone(), Claim { place: name.place, by: service.path(), what }))
    });
    out.extend(twice(hostnames, Code::M203, |_| None));
    out.extend(twice(urls(context), Code::M204, |_| None));
    for service in services {
        let ports = service.ports().map(|port| {
            let what = format!("port {}", port.value);
            (port.value, Claim { place: port.place, by: service.path(), what })
        });
        out.extend(twice(ports, Code::M205, |_| None));
    }
    domains(context, out);
}

fn urls(context: &Context<'_>) -> Vec<((String, String), Claim)> {
    let mut urls = Vec::new();
    for service in &context.view.services {
        for vhost in service.vhosts() {
            let Some(domain) = &vhost.proxy.domain else { continue };
            let path = vhost.proxy.path.as_ref().map_or("/", |path| path.value.as_str());
            let what = format!("the URL {}{path}", domain.value);
            let claim = Claim { place: domain.place, by: service.path(), what };
            urls.push(((domain.value.to_string(), path.to_owned()), claim));
        }
    }
    urls
}

fn domains(context: &Context<'_>, out: &mut Vec<Finding>) {
    let zone = context.view.zone();
    for service in &context.view.services {
        for vhost in service.vhosts() {
            let Some(domain) = &vhost.proxy.domain else { continue };
            if service.hostname() == Some(&domain.value) {
                let message = format!("`{}` is proxied under its own host name", service.name);
                let finding = Finding::new(Code::M207, message)
                    .at(domain.place, "this name must lead to the proxy, not to the host");
                out.push(finding);
                continue;
            }
            if let Some(other) = context.view.named_host(&domain.value) {
                let message = format!("`{}` is the host name of `{}`", domain.value, other.name);
                let place = other.service.hostname.as_ref().map_or(other.key, |name| name.place);
                let finding = Finding::new(Code::M206, message).at(domain.place, "used as a vhost");
                out.push(finding.at(place, "used as a host name"));
                continue;
            }
            let label = zone.and_then(|zone| domain.within(zone)).filter(|l| !l.contains('.'));
            if let Some(other) = label.and_then(|label| context.view.get(label))
                && other.name != service.name
            {
                let message = format!("`{}` would be two things", other.name);
                let finding = Finding::new(Code::M208, message)
                    .at(domain.place, format!("an alias for the proxy, by {}", service.path()))
                    .at(other.key, "a service");
                out.push(finding.help("give one of the two another name"));
            }
        }
    }
}
