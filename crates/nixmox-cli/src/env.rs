use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

/// First parts of the names of variables that hold, or lead to, identities.
const NAMES: [&str; 7] = [
    "SOPS_AGE_KEY",
    "SOPS_AGE_SSH_PRIVATE_KEY",
    "AGE_KEY",
    "AGE_IDENTIT",
    "AGE_PASSPHRASE",
    "AGE_SECRET",
    "RAGE_PASSPHRASE",
];

/// What a value looks like that is itself an identity.
const CONTENTS: [&str; 3] = ["AGE-SECRET-KEY-", "AGE-PLUGIN-", "PRIVATE KEY-----"];

/// Takes identities out of the environment that `command` will see; every child process is started through this.
///
/// A variable goes when its name is one that sops or age reads identities from, or when its value is an identity.
#[must_use]
pub fn scrubbed(mut command: Command) -> Command {
    for (name, _) in env::vars_os().filter(|(name, value)| is_secret(name, value)) {
        command.env_remove(name);
    }
    command
}

/// Lists the variables that [`scrubbed`] takes out, for children that somebody else starts.
pub fn secret_variables() -> Vec<OsString> {
    env::vars_os().filter(|(name, value)| is_secret(name, value)).map(|(name, _)| name).collect()
}

fn is_secret(name: &OsStr, value: &OsString) -> bool {
    let name = name.as_bytes();
    let holds = |part: &str| {
        value.as_bytes().windows(part.len()).any(|w| w.eq_ignore_ascii_case(part.as_bytes()))
    };
    NAMES.iter().any(|start| name.starts_with(start.as_bytes()))
        || CONTENTS.iter().any(|p| holds(p))
}

/// Tells whether this process is root's.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_told_from_the_rest() {
        #[track_caller]
        fn check(name: &str, value: &str, expect: bool) {
            assert_eq!(
                is_secret(OsStr::new(name), &OsString::from(value)),
                expect,
                "{name}={value}"
            );
        }
        check("SOPS_AGE_KEY", "x", true);
        check("SOPS_AGE_KEY_FILE", "/home/a/key", true);
        check("SOPS_AGE_KEY_CMD", "pass show age", true);
        check("SOPS_AGE_SSH_PRIVATE_KEY_FILE", "/home/a/.ssh/id", true);
        check("AGE_PASSPHRASE", "x", true);
        check("MY_KEY", "age-secret-key-1qqq", true);
        check("MY_KEYS", "# mine\nAGE-SECRET-KEY-PQ-1QQQ", true);
        check("DEPLOY", "-----BEGIN OPENSSH PRIVATE KEY-----\nx", true);
        check("HOME", "/home/a", false);
        check("EDITOR", "vim", false);
        check("SSH_AUTH_SOCK", "/run/agent", false);
        check("LANGUAGE", "en", false);
    }
}
