use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::{Failed, run};
use crate::say;

/// A program that tests run, and the Debian package that has it.
const TOOLS: [(&str, &str); 45] = [
    ("age", "age"),
    ("age-keygen", "age"),
    ("argon2", "argon2"),
    ("bridge", "iproute2"),
    ("busybox", "busybox-static"),
    ("bwrap", "bubblewrap"),
    ("caddy", "caddy"),
    ("dash", "dash"),
    ("debootstrap", "debootstrap"),
    ("fish", "fish"),
    ("flock", "util-linux"),
    ("git", "git"),
    ("groff", "groff-base"),
    ("htpasswd", "apache2-utils"),
    ("ip", "iproute2"),
    ("jq", "jq"),
    ("mkpasswd", "whois"),
    ("nano", "nano"),
    ("nix", "nix-bin"),
    ("nix-build", "nix-bin"),
    ("nix-instantiate", "nix-bin"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("nsenter", "util-linux"),
    ("openssl", "openssl"),
    ("perl", "perl-base"),
    ("pg_ctlcluster", "postgresql"),
    ("prlimit", "util-linux"),
    ("python3", "python3"),
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("script", "bsdutils"),
    ("setpriv", "util-linux"),
    ("setsid", "util-linux"),
    ("shellcheck", "shellcheck"),
    ("ssh", "openssh-client"),
    ("ssh-keygen", "openssh-client"),
    ("ssh-keyscan", "openssh-client"),
    ("sshd", "openssh-server"),
    ("strace", "strace"),
    ("tc", "iproute2"),
    ("tmux", "tmux"),
    ("unshare", "util-linux"),
    ("vim", "vim"),
    ("wg", "wireguard-tools"),
    ("zsh", "zsh"),
];

/// Makes sure that every program is there: installs the missing ones on Debian as root, elsewhere names them.
pub(crate) fn provide() -> Result<(), Failed> {
    let packages = missing();
    if packages.is_empty() {
        return Ok(());
    }
    let list = packages.join(", ");
    if !Path::new("/etc/debian_version").exists() {
        return Err(Failed::new(format!("the tests need programs of these packages: {list}")));
    }
    if !is_root() {
        let command = packages.join(" ");
        return Err(Failed::new(format!(
            "the tests need more programs; as root: apt-get install {command}"
        )));
    }
    say(&format!("xtask: installing {list}"));
    run(&mut apt_get(&["update", "-qq"]))?;
    run(apt_get(&["install", "-y", "-qq", "--no-install-recommends"]).args(&packages))?;
    let still = missing();
    if still.is_empty() {
        return Ok(());
    }
    Err(Failed::new(format!("installed, but not found in PATH: {}", still.join(", "))))
}

/// Tells whether a program is in the search path.
pub(crate) fn find(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn missing() -> Vec<&'static str> {
    let absent = TOOLS.iter().filter(|(program, _)| !find(program));
    let mut packages: Vec<_> = absent.map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    packages
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Asks the kernel's description of this process, for want of a safe call in the standard library.
fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_in_the_search_path() {
        assert!(find("sh"));
        assert!(!find("no-such-program"));
    }

    #[test]
    fn tools_are_listed_once_and_in_order() {
        assert!(TOOLS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
