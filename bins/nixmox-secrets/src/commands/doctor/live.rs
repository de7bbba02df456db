//! Machines' real keys, asked for with the user's own `ssh-keyscan`.

use std::io::{self, Read};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nixmox_cli::terminal::plural;
use nixmox_cli::{Exit, Failure, Progress};
use nixmox_secrets::doctor::{Trouble, live_key};
use nixmox_secrets::{Error, Fleet, host_public_key};
use nixmox_topology::NodeName;

use super::Examined;

/// How long one machine may take.
const DEADLINE: Duration = Duration::from_secs(12);
/// How long it may take to answer, in seconds, as `ssh-keyscan` takes it.
const ANSWER: &str = "5";
/// The most that is read of what a machine shows.
const LIMIT: u64 = 64 * 1024 + 1;
/// How many machines are asked at once.
const AT_ONCE: usize = 16;

/// A machine to ask.
pub(super) struct Wanted {
    host: NodeName,
    /// Where it was said to be; else ssh's configuration tells.
    address: Option<Address>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Address {
    name: String,
    port: String,
}

/// Reads what machines are to be asked.
pub(super) fn wanted(fleet: &Fleet, given: &[String]) -> Result<Vec<Wanted>, Failure> {
    let mut wanted = Vec::new();
    for given in given {
        if given.is_empty() {
            let hosts = fleet.topology().hosts().cloned();
            wanted.extend(hosts.map(|host| Wanted { host, address: None }));
            continue;
        }
        let (name, address) = match given.split_once('=') {
            Some((name, address)) => (name, Some(address)),
            None => (given.as_str(), None),
        };
        let topology = fleet.topology();
        let unknown = || {
            let failure = Failure::new(Exit::BadPath, format!("`{name}` is no host of this fleet"));
            match topology.closest(name).first() {
                Some(near) => failure.hint(format!("did you mean {near}?")),
                None => failure,
            }
        };
        let host = topology.hosts().find(|host| host.as_ref() == name).ok_or_else(unknown)?.clone();
        let bad = |address: &str| {
            Failure::new(Exit::Usage, format!("`{address}` is no address"))
                .hint("an address is a name or a number, with `:PORT` when it is not 22")
        };
        let address = address.map(|a| Address::parse(a).ok_or_else(|| bad(a))).transpose()?;
        wanted.push(Wanted { host, address });
    }
    Ok(wanted)
}

impl Address {
    /// Reads `name`, `name:port`, `[number]:port`, or a bare IPv6 number.
    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (name, port) = rest.split_once(']')?;
                (name, if port.is_empty() { "22" } else { port.strip_prefix(':')? })
            }
            None if text.matches(':').count() == 1 => text.split_once(':')?,
            None => (text, "22"),
        };
        Self::checked(name, port)
    }

    /// Lets nothing pass that a command could take for anything but a name and a number.
    fn checked(name: &str, port: &str) -> Option<Self> {
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-_:%".contains(c);
        let fine = !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('-')
            && name.chars().all(plain);
        let number = port.parse::<u16>().ok().filter(|port| *port > 0)?;
        fine.then(|| Self { name: name.to_owned(), port: number.to_string() })
    }
}

/// Compares the keys of machines with those of the repository.
pub(super) fn check(fleet: &Fleet, wanted: &[Wanted], examined: &mut Examined) {
    if wanted.is_empty() {
        return;
    }
    let progress = Progress::bar("asking machines", wanted.len());
    let mut asked = 0;
    for some in wanted.chunks(AT_ONCE) {
        let answers: Vec<Option<Trouble>> = std::thread::scope(|scope| {
            let asking: Vec<_> = some
                .iter()
                .map(|wanted| {
                    let progress = &progress;
                    scope.spawn(move || {
                        let trouble = ask(fleet, wanted);
                        progress.step();
                        trouble
                    })
                })
                .collect();
            asking.into_iter().map(|thread| thread.join().unwrap_or(None)).collect()
        });
        for (wanted, trouble) in some.iter().zip(answers) {
            asked += 1;
            if let Some(trouble) = trouble {
                examined.found(trouble, wanted.host.to_string());
            }
        }
    }
    examined.looked.push(format!("asked {}", plural(asked, "machine")));
}

/// Asks one machine; nothing when its key is the repository's, or the host has none yet.
fn ask(fleet: &Fleet, wanted: &Wanted) -> Option<Trouble> {
    let named = wanted.address.is_some();
    let unknown = |cause: String| Some(Trouble::LiveUnknown(cause, named));
    let expected = match host_public_key(fleet, wanted.host.as_ref()) {
        Ok(key) => key,
        Err(Error::NoHostKey { .. }) if !named => return None,
        Err(error) => return unknown(error.to_string()),
    };
    let address = match &wanted.address {
        Some(address) => address.clone(),
        None => match by_configuration(&wanted.host) {
            Ok(address) => address,
            Err(error) => return unknown(error.to_string()),
        },
    };
    let mut scan = Command::new("ssh-keyscan");
    scan.args(["-T", ANSWER, "-t", "ed25519", "-p", &address.port, "--", &address.name]);
    let printed = match bounded(scan) {
        Ok(printed) => printed,
        Err(error) => return unknown(format!("ssh-keyscan: {error}")),
    };
    match live_key(&printed) {
        Ok(shown) if shown == expected => None,
        Ok(shown) => Some(Trouble::LiveKeyDiffers {
            expected: expected.fingerprint(),
            shown: shown.fingerprint(),
        }),
        Err(error) => unknown(format!("{} port {}: {error}", address.name, address.port)),
    }
}

/// Asks ssh's configuration where a host is.
fn by_configuration(host: &NodeName) -> io::Result<Address> {
    let mut ssh = Command::new("ssh");
    ssh.args(["-G", "--", host.as_ref()]);
    let printed = bounded(ssh)?;
    let text = String::from_utf8_lossy(&printed);
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    if let Some(jump) = field("proxyjump").filter(|jump| *jump != "none") {
        return Err(io::Error::other(format!(
            "it is reached through {jump}, which ssh-keyscan cannot"
        )));
    }
    let address = field("hostname").zip(field("port"));
    address
        .and_then(|(name, port)| Address::checked(name, port))
        .ok_or_else(|| io::Error::other("ssh's configuration has no usable address for it"))
}

/// Runs a command without input and returns the first of what it prints; it is ended when it takes too long.
fn bounded(command: Command) -> io::Result<Vec<u8>> {
    let mut command = nixmox_cli::scrubbed(command);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let out = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut printed = Vec::new();
        let read = out.map_or(Ok(0), |out| out.take(LIMIT).read_to_end(&mut printed));
        read.map(|_| printed)
    });
    let start = Instant::now();
    loop {
        if child.try_wait()?.is_some() {
            break;
        }
        if start.elapsed() > DEADLINE {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it took too long"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    reader.join().unwrap_or_else(|_| Err(io::Error::other("what it printed could not be read")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_names_and_numbers_alone() {
        #[track_caller]
        fn check(text: &str, expect: Option<(&str, &str)>) {
            let parsed = Address::parse(text);
            let parsed = parsed.as_ref().map(|a| (a.name.as_str(), a.port.as_str()));
            assert_eq!(parsed, expect, "{text}");
        }
        check("web1.example.org", Some(("web1.example.org", "22")));
        check("127.0.0.1:2222", Some(("127.0.0.1", "2222")));
        check("[::1]:2222", Some(("::1", "2222")));
        check("fe80::1%eth0", Some(("fe80::1%eth0", "22")));
        check("-oProxyCommand=x", None);
        check("a b", None);
        check("a;b", None);
        check("a:0", None);
        check("a:x", None);
        check("", None);
        check("[::1", None);
    }
}
