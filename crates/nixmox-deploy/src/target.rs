//! A node, and how it is reached.

use std::fmt;
use std::num::NonZeroU16;

use nixmox_hostkey::HostPublicKey;
use nixmox_topology::NodeName;
use thiserror::Error;

use crate::SshOption;

/// The longest address: what a DNS name can have.
const MAX_ADDRESS: usize = 253;
/// The longest user name that Linux takes.
const MAX_USER: usize = 32;

/// A node and how to reach it.
#[derive(Debug, Clone)]
pub struct Target {
    /// Which system runs there.
    pub os: Os,
    /// Which node it is; its host key is looked up under this name, whatever the address is.
    pub node: NodeName,
    /// Where it is.
    pub address: Address,
    /// Whom to log in as; without one ssh's own configuration decides, and root when that is silent.
    pub user: Option<UserName>,
    /// Another port than ssh's configuration says.
    pub port: Option<NonZeroU16>,
    /// More settings of ssh for this node.
    pub ssh_options: Vec<SshOption>,
    /// Whether the node builds what it is to run.
    pub build_on_remote: bool,
    /// Whether commands on the node go through `sudo`.
    pub use_remote_sudo: bool,
    /// The keys that the node may answer with. Without any, [`crate::Trust`] decides.
    pub host_keys: Vec<HostPublicKey>,
}

impl Target {
    /// Makes a target that runs NixOS, with ssh's own settings and no known key.
    pub fn new(node: NodeName, address: Address) -> Self {
        Self {
            os: Os::NixOs,
            node,
            address,
            user: None,
            port: None,
            ssh_options: Vec::new(),
            build_on_remote: false,
            use_remote_sudo: false,
            host_keys: Vec::new(),
        }
    }
}

/// Which system a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Os {
    /// NixOS.
    #[default]
    NixOs,
    /// macOS with nix-darwin.
    Darwin,
}

/// A DNS name, an IPv4 or an IPv6 address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address(String);

impl Address {
    /// Takes an address as somebody wrote it; brackets around IPv6 are taken off.
    ///
    /// # Errors
    ///
    /// [`TargetError::Address`] when it is empty, too long, begins with a dash or has other characters than
    /// addresses have.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
        let good = |c: char| c.is_ascii_alphanumeric() || "-._:%".contains(c);
        let begins = bare.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == ':');
        if bare.len() > MAX_ADDRESS || !begins || !bare.chars().all(good) {
            return Err(TargetError::Address);
        }
        Ok(Self(bare.to_owned()))
    }

    /// Returns the address as text, IPv6 without brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The name of an account on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserName(String);

impl UserName {
    /// Takes the name of an account as Linux has them.
    ///
    /// # Errors
    ///
    /// [`TargetError::User`] when it is empty, longer than 32 characters, begins with anything but a letter or an
    /// underscore, or has other characters than letters, digits, dashes, dots and underscores.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        let good = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if text.len() > MAX_USER || !begins || !text.chars().all(good) {
            return Err(TargetError::User);
        }
        Ok(Self(text.to_owned()))
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What is wrong with how a node is to be reached.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TargetError {
    /// This cannot be an address.
    #[error(
        "an address has letters, digits, dots, dashes and colons, and begins with none of the last"
    )]
    Address,
    /// This cannot be an account.
    #[error("an account has at most {MAX_USER} letters, digits, dashes, dots and underscores")]
    User,
    /// The option is not one that a repository may set.
    #[error(
        "the ssh option {name} cannot be set for a node; it belongs in the user's own configuration"
    )]
    OptionNotAllowed {
        /// Its name as it was written.
        name: String,
    },
    /// The option has no value, or one that would not stay on its line.
    #[error("the ssh option {name} has no value on one line")]
    OptionValue {
        /// Its name.
        name: String,
    },
    /// An argument is no option that is known here.
    #[error("{word:?} is no option of ssh that a node can have")]
    Argument {
        /// The argument.
        word: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn address(text: &str, expect: Option<&str>) {
        assert_eq!(Address::parse(text).ok().as_ref().map(Address::as_str), expect, "{text}");
    }

    #[test]
    fn addresses_are_names_and_numbers() {
        address("web.example.org", Some("web.example.org"));
        address("10.0.0.1", Some("10.0.0.1"));
        address("[fe80::1%eth0]", Some("fe80::1%eth0"));
        address("::1", Some("::1"));
    }

    #[test]
    fn addresses_cannot_become_options_or_lines() {
        for bad in
            ["", "-oProxyCommand=x", "a b", "a\nProxyCommand x", "a\"", "%h", &"x".repeat(254)]
        {
            address(bad, None);
        }
    }

    #[test]
    fn accounts_are_what_linux_takes() {
        assert_eq!(UserName::parse("deploy").map(|user| user.to_string()), Ok("deploy".into()));
        for bad in ["", "-l", "a b", "root\n", "1a", &"x".repeat(33)] {
            assert_eq!(UserName::parse(bad), Err(TargetError::User), "{bad}");
        }
    }
}
