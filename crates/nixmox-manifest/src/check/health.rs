use super::Context;
use crate::decode::Spanned;
use crate::finding::{Code, Finding};
use crate::model::Health;
use crate::view::Listed;

/// A day, in seconds.
const DAY: i64 = 86_400;

pub(super) fn check(context: &Context<'_>, out: &mut Vec<Finding>) {
    for service in &context.view.services {
        let health = service.interface().and_then(|interface| interface.health.as_ref());
        let Some(health) = health else {
            if service.enabled() {
                let message = format!("`{}` has no health check", service.name);
                let finding =
                    Finding::new(Code::M703, message).at(service.key, "never known to be well");
                let help = format!(
                    "health.startup = \"systemctl is-active --quiet {}\" is a beginning",
                    service.name
                );
                out.push(finding.help(help));
            }
            continue;
        };
        numbers(health, out);
        for command in commands(health) {
            shell(context, command, out);
            port(service, command, out);
        }
    }
}

fn commands(health: &Health) -> impl Iterator<Item = &Spanned<String>> {
    [&health.startup, &health.liveness, &health.readiness].into_iter().flatten()
}

fn numbers(health: &Health, out: &mut Vec<Finding>) {
    for (name, value) in [("interval", &health.interval), ("timeout", &health.timeout)] {
        if let Some(value) = value.as_ref().filter(|value| !(1..=DAY).contains(&value.value)) {
            let message = format!("a {name} of {} seconds makes no sense", value.value);
            out.push(Finding::new(Code::M701, message).at(value.place, "1 to 86400"));
        }
    }
    if let Some(retries) = health.retries.as_ref().filter(|r| !(1..=DAY).contains(&r.value)) {
        let message = format!("{} retries make no sense", retries.value);
        out.push(Finding::new(Code::M701, message).at(retries.place, "at least 1"));
    }
    if let (Some(interval), Some(timeout)) = (&health.interval, &health.timeout)
        && timeout.value > interval.value
    {
        let message = format!(
            "a timeout of {} seconds is longer than the interval of {}",
            timeout.value, interval.value
        );
        let finding =
            Finding::new(Code::M702, message).at(timeout.place, "the whole time to start");
        out.push(finding.at(interval.place, "between two checks"));
    }
}

fn shell(context: &Context<'_>, command: &Spanned<String>, out: &mut Vec<Finding>) {
    let problem = match quotes(&command.value) {
        Some(problem) => Some(problem.to_owned()),
        None => context.facts.shell.and_then(|shell| shell.judge(&command.value).err()),
    };
    if let Some(problem) = problem {
        let message = format!("the health command is no shell command: {problem}");
        out.push(Finding::new(Code::M704, message).at(command.place, problem));
    }
}

/// Finds what every shell refuses: an empty command, a quote that is not closed.
fn quotes(command: &str) -> Option<&'static str> {
    if command.trim().is_empty() {
        return Some("it is empty");
    }
    let mut open: Option<char> = None;
    let mut escaped = false;
    let mut word_starts = true;
    let mut comment = false;
    for c in command.chars() {
        if comment {
            comment = c != '\n';
        } else if escaped {
            escaped = false;
        } else {
            match (open, c) {
                (None | Some('"'), '\\') => escaped = true,
                (None, '"' | '\'') => open = Some(c),
                (Some(quote), c) if c == quote => open = None,
                (None, '#') if word_starts => comment = true,
                _ => {}
            }
        }
        word_starts = c.is_whitespace() || matches!(c, ';' | '&' | '|' | '(');
    }
    open.map(|_| "a quote is not closed")
}

/// Compares the port of a URL on this host with those the service has.
fn port(service: &Listed<'_>, command: &Spanned<String>, out: &mut Vec<Finding>) {
    let Some(ports) = &service.service.ports else { return };
    let Some(port) = probed(&command.value, service) else { return };
    let listed = ports.iter().any(|listed| listed.value == i64::from(port));
    let vhosts = service.vhosts();
    let upstreams = vhosts.iter().filter_map(|vhost| vhost.proxy.upstream.as_ref());
    if listed || upstreams.into_iter().any(|upstream| upstream.port == port) {
        return;
    }
    let message = format!("the health command of `{}` asks port {port}", service.name);
    let finding = Finding::new(Code::M705, message).at(command.place, "not the service's port");
    out.push(finding.at(ports.place, "these are"));
}

/// Finds the port of the first URL of this machine in a command.
fn probed(command: &str, service: &Listed<'_>) -> Option<u16> {
    let (_, rest) = command.split_once("://")?;
    let secure = command.contains("https://");
    let authority =
        rest.split(|c: char| c == '/' || c.is_whitespace() || "\"'?".contains(c)).next()?;
    let (host, port) =
        authority.rsplit_once(':').unwrap_or((authority, if secure { "443" } else { "80" }));
    let own = service.ip().is_some_and(|ip| ip.to_string() == host)
        || service.hostname().is_some_and(|name| name.as_str() == host);
    let local = matches!(host, "localhost" | "127.0.0.1" | "[::1]" | "0.0.0.0");
    port.parse().ok().filter(|_| own || local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unclosed_quotes_are_found() {
        #[track_caller]
        fn check(command: &str, good: bool) {
            assert_eq!(quotes(command).is_none(), good, "{command}");
        }
        check("systemctl is-active x", true);
        check("echo \"a\" 'b'", true);
        check("echo \"it's\"", true);
        check("echo it\\'s", true);
        check("echo 'it\\'", true);
        check("true # it's", true);
        check("echo it's", false);
        check("echo \"a", false);
        check("  ", false);
    }
}
